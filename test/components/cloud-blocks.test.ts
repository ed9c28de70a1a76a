// The whole server on each cloud: spans come back from the bucket once the local copy of their block is gone,
// after a restart too; blocks go when they are too old; a server with nothing to do asks little. On MinIO it
// may do no more than the policy in guides of Tempo allows.
import { randomUUID } from 'node:crypto';
import { globSync } from 'node:fs';
import * as path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand } from '@aws-sdk/client-s3';
import t, { type Test } from 'tap';
import { httpExport } from '../support/hostile.ts';
import { aTrace, encodeTraces, hexId } from '../support/otlp.ts';
import { flush, searchIds, spansOfTrace } from '../support/read-api.ts';
import { type RunningTempo, startTempo } from '../support/server.ts';
import {
  BUCKET,
  type CloudServer,
  s3Client,
  startAzurite,
  startFakeGcs,
  startMinio,
  startMinioByPolicy,
  startVersitygw,
} from './clouds.ts';
import { testFolder } from '../support/test-folder.ts';

t.setTimeout(300_000);

const TRACES = 30;
const SPANS = 5;
const WAIT_LIMIT_MS = 60_000;
const WAIT_PAUSE_MS = 100;
const UPLOADED = 'ingester: { complete_block_timeout: 100ms, flush_check_period: 100ms }\n';
const RETAINED = 'compaction: { block_retention: 1h, compacted_block_retention: 1ms }';
const POLLED = `${UPLOADED}compactor: { ${RETAINED} }\n`;

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const endsAtMs = performance.now() + WAIT_LIMIT_MS;
  while (performance.now() < endsAtMs) {
    if (await isSo()) return;
    await pause(WAIT_PAUSE_MS);
  }
  throw new Error(`${what}: not within ${WAIT_LIMIT_MS} ms`);
}

async function metric(tempo: RunningTempo, line: RegExp): Promise<number> {
  const text = await (await tempo.get('/metrics')).text();
  return Number(line.exec(text)?.[1] ?? 0);
}

/** Requests are counted with each report of the store's thread, polls at once. */
const LATE_POLLS = 6;

const listed = /^tempodb_blocklist_length\{[^}]*\} (\d+)/m;

async function push(tempo: RunningTempo, from: number, atMs: number): Promise<void> {
  const startUnixNano = BigInt(atMs) * 1_000_000n;
  const spans = Array.from({ length: TRACES }, (_, i) =>
    aTrace(from + i, SPANS, () => ({ startUnixNano, endUnixNano: startUnixNano + 1_000_000n })),
  ).flat();
  const answer = await httpExport(tempo, encodeTraces(spans));
  if (answer.status !== 200) throw new Error(`push: status ${answer.status}`);
}

async function checkAll(
  t: Test,
  tempo: RunningTempo,
  from: number,
  what: string,
  count = TRACES,
): Promise<void> {
  const ids = Array.from({ length: count }, (_, i) => hexId(from + i, 16));
  t.same(await searchIds(tempo, '{ true }'), ids, `${what}: searched`);
  const counts = await Promise.all(ids.map((id) => spansOfTrace(tempo, id)));
  t.same(new Set(counts), new Set([SPANS]), `${what}: whole by id`);
}

async function servesFrom(t: Test, server: CloudServer): Promise<void> {
  const data = testFolder(t);
  const settings = { backend: `${server.yaml}    blocklist_poll: 1s\n`, yaml: UPLOADED };
  let tempo = await startTempo(data, settings);
  t.teardown(() => tempo.kill());
  await push(tempo, 1, Date.now());
  await flush(tempo);
  const local = (): string[] => globSync(`${data}/wal/blocks/*/*/data.parquet`);
  await until('no local block', () => Promise.resolve(local().length === 0));
  await checkAll(t, tempo, 1, 'from the bucket');
  t.equal(await tempo.stop(), 0);
  tempo = await startTempo(data, settings);
  t.equal(await metric(tempo, listed), 1, 'one block is found at start');
  await checkAll(t, tempo, 1, 'after a restart');
  const requests =
    /^tempodb_backend_request_duration_seconds_count\{operation="GET",status_code="20[06]"\} (\d+)/m;
  await until('requests are counted', async () => (await metric(tempo, requests)) > 3);
  t.equal(await tempo.stop(), 0);
  tempo = await startTempo(data, { ...settings, yaml: POLLED });
  t.notMatch(tempo.output(), /level=error/);
  await push(tempo, 1000, Date.now() - 3 * 3_600_000);
  await flush(tempo);
  // one block is listed too before the next poll finds the old one
  await until('the old block is gone', async () => {
    const found = await searchIds(tempo, '{ true }');
    return found.length === TRACES && (await metric(tempo, listed)) === 1;
  });
  await checkAll(t, tempo, 1, 'what is young stays');
  t.equal(await tempo.stop(), 0);
}

/** Blocks become one in the bucket, a server that begins then sees that one, and the others are deleted. */
async function compactsOn(t: Test, server: CloudServer): Promise<void> {
  const data = testFolder(t);
  const settings = (compaction: string) => ({
    backend: `${server.yaml.replace('some/where', 'compacted')}    blocklist_poll: 1s\n`,
    yaml: `${UPLOADED}compactor: { compaction: { ${compaction} } }\n`,
  });
  let tempo = await startTempo(data, settings('compaction_cycle: 1h'));
  t.teardown(() => tempo.kill());
  const blocks = 3;
  // One for all: blocks of different hours are not joined, and the test may run over the end of one.
  const startMs = Date.now();
  for (let n = 0; n < blocks; n++) {
    // every trace lies in two blocks, half of it twice
    await push(tempo, 1 + (n * TRACES) / 2, startMs);
    await flush(tempo);
  }
  await until('all blocks are listed', async () => (await metric(tempo, listed)) === blocks);
  const all = { from: 1, count: (TRACES * (blocks + 1)) / 2 };
  await checkAll(t, tempo, all.from, 'blocks as they are', all.count);
  t.equal(await tempo.stop(), 0);
  tempo = await startTempo(data, settings('compaction_cycle: 100ms, compacted_block_retention: 1ms'));
  const joined = /^tempodb_compaction_blocks_total\{level="0"\} (\d+)/m;
  await until('the blocks are joined', async () => (await metric(tempo, joined)) === blocks);
  const deleted = /^tempodb_retention_deleted_total (\d+)/m;
  await until('the joined ones are deleted', async () => (await metric(tempo, deleted)) === blocks);
  t.equal(await metric(tempo, listed), 1);
  await checkAll(t, tempo, all.from, 'the one block', all.count);
  t.notMatch(tempo.output(), /level=error/);
  t.equal(await tempo.stop(), 0);
  tempo = await startTempo(data, settings('compaction_cycle: 1h'));
  t.equal(await metric(tempo, listed), 1, 'after a restart');
  await checkAll(t, tempo, all.from, 'after a restart', all.count);
  t.equal(await tempo.stop(), 0);
}

for (const start of [startMinioByPolicy, startVersitygw, startFakeGcs, startAzurite]) {
  await t.test(start.name, { timeout: 200_000 }, async (t) => {
    const server = await start(path.join(testFolder(t), start.name));
    t.teardown(() => server.stop());
    await t.test('a server on it', (t) => servesFrom(t, server));
    await t.test('compaction on it', (t) => compactsOn(t, server));
  });
}

/** So many blocks more in the bucket as far as listings and metas go, made from one that is there. */
async function copyMetas(server: CloudServer, count: number): Promise<void> {
  const client = s3Client(server.address);
  const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: BUCKET }));
  const [, folder = '', block = ''] =
    Contents.map(({ Key = '' }) => /^(.*\/)([0-9a-f-]{36})\/meta\.json$/.exec(Key)).find(
      (found) => found !== null,
    ) ?? [];
  const original = `${folder}${block}/meta.json`;
  const { Body } = await client.send(new GetObjectCommand({ Bucket: BUCKET, Key: original }));
  const meta = (await Body?.transformToString()) ?? '';
  for (let i = 0; i < count; i++) {
    const id = randomUUID();
    const Key = `${folder}${id}/meta.json`;
    await client.send(new PutObjectCommand({ Bucket: BUCKET, Key, Body: meta.replaceAll(block, id) }));
  }
  client.destroy();
}

t.test('an idle server lists tenants and their blocks once a poll, however many there are', async (t) => {
  const scratch = testFolder(t);
  const server = await startMinio(path.join(scratch, 'minio'));
  t.teardown(() => server.stop());
  const tempo = await startTempo(path.join(scratch, 'data'), {
    backend: `${server.yaml}    blocklist_poll: 200ms\n`,
    yaml: UPLOADED,
    args: ['-compactor.disabled=true'],
  });
  t.teardown(() => tempo.kill());
  const pushed = 5;
  for (let i = 0; i < pushed; i++) {
    await push(tempo, 1 + i * 100, Date.now());
    await flush(tempo);
  }
  const head = /^tempodb_backend_request_duration_seconds_count\{operation="HEAD".*\} (\d+)/m;
  const any = /^tempodb_backend_request_duration_seconds_count\{.*\} (\d+)/gm;
  const polls = /^tempodb_blocklist_poll_duration_seconds_count (\d+)/m;
  // each upload asks once what the store has of it
  await until('uploads are counted', async () => (await metric(tempo, head)) === pushed);
  const copied = 200;
  await copyMetas(server, copied);
  await until('all are listed', async () => (await metric(tempo, listed)) === pushed + copied);
  const counted = async (): Promise<{ requests: number; polls: number }> => {
    const text = await (await tempo.get('/metrics')).text();
    const requests = [...text.matchAll(any)].reduce((sum, [, count]) => sum + Number(count), 0);
    return { requests, polls: Number(polls.exec(text)?.[1] ?? 0) };
  };
  // What the first polls read and write of so many: until nothing but listings is left of a second.
  await until('the index is written', async () => {
    const before = await counted();
    await until('five polls more', async () => (await counted()).polls >= before.polls + 5);
    const after = await counted();
    return after.requests - before.requests < 4 * (after.polls - before.polls);
  });
  const before = await counted();
  await until('twenty polls more', async () => (await counted()).polls >= before.polls + 20);
  const after = await counted();
  const [requests, taken] = [after.requests - before.requests, after.polls - before.polls];
  t.comment(`${requests} requests in ${taken} polls of ${pushed + copied} blocks`);
  // requests are told twice a second, so that those of a few polls may be told late
  t.ok(Math.abs(requests - 2 * taken) <= 2 * LATE_POLLS, `${requests} requests in ${taken} polls`);
  t.equal(await metric(tempo, head), pushed, 'no block is asked for by itself');
});

t.test('limits that tenants set are kept in a bucket', async (t) => {
  const scratch = testFolder(t);
  const server = await startMinio(path.join(scratch, 'minio'));
  t.teardown(() => server.stop());
  const client = server.yaml.replace('some/where', 'limits');
  const lines = ['overrides:', '  user_configurable_overrides:', '    enabled: true', '    client:'];
  const yaml = `${lines.join('\n')}\n${client.trimEnd().replaceAll(/^/gm, '  ')}\n`;
  let tempo = await startTempo(path.join(scratch, 'data'), { yaml });
  t.teardown(() => tempo.kill());
  const limits = JSON.stringify({ forwarders: [], metrics_generator: { processors: ['service-graphs'] } });
  const set = await fetch(`${tempo.url}/api/overrides`, {
    method: 'POST',
    body: limits,
    headers: { 'if-match': '0' },
  });
  t.equal(set.status, 200, await set.text());
  t.equal(await tempo.stop(), 0);
  tempo = await startTempo(path.join(scratch, 'data'), { yaml });
  t.match(await (await tempo.get('/api/overrides')).json(), {
    metrics_generator: { processors: ['service-graphs'] },
  });
  t.equal(await tempo.stop(), 0);
});
