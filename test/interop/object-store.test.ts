// One bucket for both programs: each answers alike on the blocks that the other wrote there. MINIO names the
// server that holds it.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { BucketStore } from '../../src/objectstore/bucket-store.ts';
import { type CloudServer, S3_PASSWORD, S3_USER, startMinio } from '../components/clouds.ts';
import { openTestStore, s3Backend } from '../support/backends.ts';
import { flush } from '../support/read-api.ts';
import { type RunningTempo, startTempo } from '../support/server.ts';
import { askSearches, askTraces, differences } from './answers.ts';
import { loadCorpus } from './corpus.ts';
import { push, until } from './programs.ts';
import { SEARCHES } from './searches.ts';
import { testFolder } from '../support/test-folder.ts';

const TIMEOUT_MS = 900_000;
t.setTimeout(TIMEOUT_MS);

type Program = 'ours' | 'real';

const scratch = testFolder(t);
const server = await startMinio(join(scratch, 'minio'));
t.teardown(() => server.stop());

/** The usual configuration with the bucket in place of the folder. */
function configFile(prefix: string): string {
  const usual = readFileSync('test/interop/tempo-2.10.yaml', 'utf8');
  const keys = `access_key: ${S3_USER}, secret_key: ${S3_PASSWORD}, insecure: true, prefix: '${prefix}'`;
  const text = usual
    .replace('backend: local', 'backend: s3')
    .replace(/local: \{ path: .*\}/, `s3: { bucket: traces, endpoint: '${server.address}', ${keys} }`);
  const path = join(scratch, `${prefix}.yaml`);
  writeFileSync(path, text);
  return path;
}

function start(program: Program, data: string, config: string): Promise<RunningTempo> {
  const real = process.env['TEMPO_BIN'];
  if (real === undefined) throw new Error('TEMPO_BIN must name the program of Grafana Tempo 2.10');
  return startTempo(join(scratch, data), {
    configFile: config,
    args: ['-config.expand-env=true'],
    ...(program === 'real' ? { program: real } : {}),
  });
}

/** Blocks in the bucket, once they hold that many traces. */
async function blocksHolding(store: BucketStore, traces: number): Promise<number> {
  let blocks = 0;
  await until(`${traces} traces in the bucket`, async () => {
    const keys = (await store.listTree('single-tenant')).filter((key) => key.endsWith('/meta.json'));
    const metas = await Promise.all(keys.map((key) => store.read(`single-tenant/${key}`)));
    blocks = metas.length;
    const held = metas.map((meta) => JSON.parse(Buffer.from(meta).toString()) as { totalObjects: number });
    return held.reduce((sum, { totalObjects }) => sum + totalObjects, 0) >= traces;
  });
  return blocks;
}

async function untilListed(tempo: RunningTempo, blocks: number): Promise<void> {
  await until(`${blocks} blocks in the blocklist`, async () => {
    const metrics = await (await tempo.get('/metrics')).text();
    return Number(/^tempodb_blocklist_length\{[^}]*\} (\d+)/m.exec(metrics)?.[1]) === blocks;
  });
}

function storeBelow(prefix: string, { address }: CloudServer): Promise<BucketStore> {
  const keys = { accessKey: S3_USER, secretKey: S3_PASSWORD };
  return openTestStore(s3Backend({ endpoint: address, prefix, ...keys }));
}

for (const [writing, reading] of [
  ['ours', 'real'],
  ['real', 'ours'],
] as const) {
  await t.test(`${writing} writes, ${reading} reads`, { timeout: TIMEOUT_MS }, async (t) => {
    const corpus = loadCorpus();
    const prefix = `of-${writing}`;
    const config = configFile(prefix);
    const writer = await start(writing, `${prefix}-writer`, config);
    t.teardown(() => writer.kill());
    await push(writer, corpus);
    await flush(writer);
    const blocks = await blocksHolding(await storeBelow(prefix, server), corpus.traceIds.length);
    await untilListed(writer, blocks);
    const reader = await start(reading, `${prefix}-reader`, config);
    t.teardown(() => reader.kill());
    await untilListed(reader, blocks);
    const [byId, wanted] = [await askTraces(reader, corpus), await askTraces(writer, corpus)];
    t.strictSame(differences(byId, wanted), [], 'trace by id');
    const found = await askSearches(reader, corpus, SEARCHES);
    t.strictSame(differences(found, await askSearches(writer, corpus, SEARCHES)), [], 'searches');
    await reader.kill();
    await writer.kill();
  });
}
