// The server with its blocks in a store that speaks S3 and fails now and then: what was acknowledged comes
// back from there, after a restart too, and a store that is not there ends the start with one line.
import { globSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { freePort } from '../support/free-port.ts';
import { httpExport } from '../support/hostile.ts';
import { aTrace, encodeTraces, hexId } from '../support/otlp.ts';
import { flush, searchIds, spansOfTrace } from '../support/read-api.ts';
import { startS3Double } from '../support/s3-double.ts';
import { startTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';

t.setTimeout(60_000);

const TRACES = 20;
const SPANS = 6;
const WAIT_PAUSE_MS = 20;
const YAML = 'ingester: { complete_block_timeout: 50ms, flush_check_period: 50ms }\n';

function backend(endpoint: string): string {
  const retries = 'retry_backoff_initial: 1ms, retry_backoff_max: 5ms';
  const keys = `access_key: user, secret_key: secret, insecure: true, prefix: below, ${retries}`;
  const s3 = `{ bucket: traces, endpoint: '${endpoint}', ${keys} }`;
  return `    backend: s3\n    s3: ${s3}\n    blocklist_poll: 300ms\n`;
}

t.test('blocks in a store that answers one request of four with 503', async (t) => {
  const double = await startS3Double();
  t.teardown(() => double.stop());
  const data = testFolder(t);
  const options = { backend: backend(double.endpoint), yaml: YAML };
  let tempo = await startTempo(data, options);
  t.teardown(() => tempo.kill());
  double.failEvery(4);
  const ids: string[] = [];
  for (let round = 0; round < 3; round++) {
    const startUnixNano = BigInt(Date.now()) * 1_000_000n;
    const first = 1 + round * TRACES;
    const spans = Array.from({ length: TRACES }, (_, i) =>
      aTrace(first + i, SPANS, () => ({ startUnixNano, endUnixNano: startUnixNano + 1000n })),
    );
    const answer = await httpExport(tempo, encodeTraces(spans.flat()));
    t.equal(answer.status, 200);
    ids.push(...spans.map((_, i) => hexId(first + i, 16)));
    await flush(tempo);
  }
  const local = (): string[] => globSync(`${data}/wal/blocks/*/*/meta.json`);
  while (local().length > 0) await pause(WAIT_PAUSE_MS);
  const checkAll = async (what: string): Promise<void> => {
    t.same(await searchIds(tempo, '{ true }'), ids, `${what}: searched`);
    const counts = await Promise.all(ids.map((id) => spansOfTrace(tempo, id)));
    t.same(new Set(counts), new Set([SPANS]), `${what}: by id`);
  };
  await checkAll('from the store');
  t.equal(await tempo.stop(), 0);
  tempo = await startTempo(data, options);
  await checkAll('after a restart');
  const keys = [...double.objects.keys()];
  t.equal(keys.filter((key) => key.endsWith('/meta.json')).length, 3);
  t.ok(
    keys.every((key) => key.startsWith('below/single-tenant/')),
    'nothing is left of the check at start',
  );
  t.ok(keys.includes('below/single-tenant/index.json.gz'), 'others find a tenant index');
  t.equal(await tempo.stop(), 0);
});

t.test('a store that is not there', async (t) => {
  const endpoint = `127.0.0.1:${await freePort()}`;
  const message = await startTempo(testFolder(t), { backend: backend(endpoint) }).then(
    () => 'it started',
    (err: Error) => err.message,
  );
  t.match(message, /^tempo ended with 1:/);
  const line = message.split('\n').find((text) => text.includes('level=error')) ?? '';
  t.match(line, /cannot list in s3 bucket traces at 127\.0\.0\.1:\d+: connect ECONNREFUSED/);
  t.match(line, 'check the endpoint');
});
