// The querier and the query-frontend in one process, on blocks that others write: every answer is that of the
// process that has them, and nothing is written, neither to a bucket nor to a folder.
import assert from 'node:assert/strict';
import { cpSync, readdirSync, statSync } from 'node:fs';
import t from 'tap';
import { httpExport, until } from '../support/hostile.ts';
import { aTrace, encodeTraces, hexId } from '../support/otlp.ts';
import { flush, searchIds, spansOfTrace } from '../support/read-api.ts';
import { startS3Double } from '../support/s3-double.ts';
import { type RunningTempo, startTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';

t.setTimeout(60_000);

const TRACES = 20;
const SPANS = 6;
const FAST = 'ingester: { complete_block_timeout: 50ms, flush_check_period: 50ms }\n';
const READER = ['-target=querier,query-frontend', '-storage.trace.blocklist_poll=200ms'];

const QUESTIONS = [
  '/api/search?q=%7B%7D&limit=1000',
  '/api/search?q=%7B%20name%20%3D%20%22span%22%20%7D%20%7C%20count()%20%3E%201',
  '/api/v2/search/tags',
  '/api/v2/search/tag/resource.service.name/values',
  '/api/metrics/query_range?q=%7B%7D%20%7C%20count_over_time()%20by%20(resource.service.name)&step=60',
];

async function pushSome(tempo: RunningTempo): Promise<string[]> {
  const startUnixNano = BigInt(Date.now()) * 1_000_000n;
  const spans = Array.from({ length: TRACES }, (_, i) =>
    aTrace(1 + i, SPANS, () => ({ startUnixNano, endUnixNano: startUnixNano + 1000n })),
  );
  assert.equal((await httpExport(tempo, encodeTraces(spans.flat()))).status, 200);
  await flush(tempo);
  return spans.map((_, i) => hexId(1 + i, 16));
}

/** Without what an answer says about how it was made. */
async function answers(tempo: RunningTempo, now: number): Promise<string[]> {
  return Promise.all(
    QUESTIONS.map(async (question) => {
      const range = question.includes('query_range') ? `&start=${now - 3600}&end=${now + 60}` : '';
      const response = await tempo.get(question + range);
      const body = (await response.json()) as Record<string, unknown>;
      const { metrics: _, ...said } = body;
      return `${response.status} ${JSON.stringify(said)}`;
    }),
  );
}

async function readsAll(reader: RunningTempo, ids: readonly string[]): Promise<void> {
  await until(async () => (await searchIds(reader, '{ true }')).length === ids.length);
  assert.deepEqual(await searchIds(reader, '{ true }'), ids);
  for (const id of ids.slice(0, 3)) assert.equal(await spansOfTrace(reader, id), SPANS);
}

t.test('on a bucket it only lists and reads', async (t) => {
  const double = await startS3Double();
  t.teardown(() => double.stop());
  const keys = 'access_key: user, secret_key: secret, insecure: true, prefix: below';
  const backend = `    backend: s3\n    s3: { bucket: traces, endpoint: '${double.endpoint}', ${keys} }\n`;
  const writer = await startTempo(`${testFolder(t)}/writer`, { backend, yaml: FAST });
  t.teardown(() => writer.kill());
  const ids = await pushSome(writer);
  await readsAll(writer, ids);
  const now = Math.floor(Date.now() / 1000);
  const expected = await answers(writer, now);
  t.equal(await writer.stop(), 0);
  const before = double.seen.length;
  const reader = await startTempo(`${t.testdirName}/reader`, { backend, args: READER });
  t.teardown(() => reader.kill());
  await readsAll(reader, ids);
  t.same(await answers(reader, now), expected);
  const methods = new Set(double.seen.slice(before).map((line) => line.split(' ')[0]));
  t.same(
    [...methods].filter((method) => method !== 'GET' && method !== 'HEAD'),
    [],
  );
  t.ok(methods.has('GET'));
  const push = await fetch(`http://127.0.0.1:${reader.ports.otlpHttp}/v1/traces`, { method: 'POST' }).then(
    () => 'it takes spans',
    () => 'nobody listens',
  );
  t.equal(push, 'nobody listens');
  t.equal((await reader.get('/flush')).status, 404);
  t.equal(await reader.stop(), 0);
});

t.test('of a folder it leaves everything as it is', async (t) => {
  const writer = await startTempo(`${testFolder(t)}/writer`, { yaml: FAST });
  t.teardown(() => writer.kill());
  const ids = await pushSome(writer);
  const now = Math.floor(Date.now() / 1000);
  const expected = await answers(writer, now);
  t.equal(await writer.stop(), 0);
  const folder = `${t.testdirName}/copy`;
  cpSync(`${writer.data}/blocks`, folder, { recursive: true, preserveTimestamps: true });
  const files = (): string[] =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .map((name) => `${name} ${statSync(`${folder}/${name}`).mtimeMs}`)
      .sort();
  const before = files();
  const backend = `    backend: local\n    local: { path: '${folder}' }\n`;
  const reader = await startTempo(`${t.testdirName}/reader`, { backend, args: READER });
  t.teardown(() => reader.kill());
  await readsAll(reader, ids);
  t.same(await answers(reader, now), expected);
  t.same(files(), before);
  t.same(readdirSync(reader.data), ['tempo.yaml'], 'it has no log and no blocks of its own');
  t.equal(await reader.stop(), 0);
});
