// Compaction of blocks of hundreds of megabytes in a MinIO of its own by a running server: its memory, its
// CPU and how many timers of its main thread were late, so that it shows whether they grow with the blocks.
// MINIO=/path/to/minio npm run bench:compaction -- --corpus DIR [--copies 4] [--folder DIR]
import { createReadStream, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { PutObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import { HeadBuilder } from '../../src/block/head/builder.ts';
import { HeadReader } from '../../src/block/head/reader.ts';
import { metaToBytes } from '../../src/block/meta-json.ts';
import { type BlockMeta, META_NAME } from '../../src/block/meta.ts';
import { BLOOM_DEFAULTS } from '../../src/block/trace-bloom.ts';
import { createBlock, DEFAULT_DEDICATED_COLUMNS } from '../../src/block/vparquet/create.ts';
import { scanRequest, type SpanSink } from '../../src/model/otlp/scan.ts';
import { LocalStore } from '../../src/objectstore/local.ts';
import { SyncedFolder } from '../../src/objectstore/synced-folder.ts';
import { compactChecked } from '../../src/store/compact-checked.ts';
import { BUCKET, s3Client, startMinio } from '../components/clouds.ts';
import { startTempo } from '../support/server.ts';
import { type Corpus, cutCorpus, readCorpus } from './corpus.ts';
import { cpuSeconds, memoryMib } from './proc.ts';

const { values: flags } = parseArgs({
  options: {
    corpus: { type: 'string', default: '' },
    copies: { type: 'string', default: '4' },
    folder: { type: 'string' },
  },
});

const TENANT = 'single-tenant';
const PREFIX = 'some/where';
const HEAD_BYTES = 2 ** 30;
const FILTER_BYTES = 4 << 20;
const LIMIT_MS = 30 * 60_000;
const LOOK_MS = 250;
/** How late timers of the main thread fired. */
const DELAYS = /^tempo_main_thread_event_loop_delay_seconds_bucket\{le="(0\.05|\+Inf)"\} (\d+)/gm;
const COMPACTED = /msg="blocks are compacted".* spans=(\d+)/;

function blockId(n: number): string {
  return `${String(n).padStart(8, '0')}-1111-4333-8444-555555555555`;
}

/** A request with other trace ids, so that copies of a corpus are other traces. */
function changed(body: Uint8Array, copy: number): Uint8Array {
  const own = new Uint8Array(body);
  const sink: SpanSink = {
    clear: () => {},
    beginResource: () => {},
    resourceField: () => {},
    beginScope: () => {},
    scopeField: () => {},
    addSpan: (_body, _start, _end, idAt) => {
      own[idAt]! ^= copy;
    },
  };
  scanRequest(body, sink);
  return own;
}

/** A block of the corpus with other ids, in the folder. */
function makeBlock(folder: string, { requests }: Corpus, copy: number): BlockMeta {
  const builder = new HeadBuilder({ maxBytes: HEAD_BYTES });
  for (const { body } of requests) builder.append(changed(body, copy), 0, body.length);
  const sink = new SyncedFolder(folder, `${TENANT}/${blockId(copy)}`, META_NAME);
  const meta = createBlock({
    head: new HeadReader(builder.sab),
    blockId: blockId(copy),
    tenant: TENANT,
    format: 'vParquet4',
    dedicatedColumns: DEFAULT_DEDICATED_COLUMNS,
    sink,
  });
  sink.finish();
  return meta;
}

/** Several blocks as one. */
async function joined(folder: string, inputs: readonly BlockMeta[], n: number): Promise<BlockMeta> {
  const store = new LocalStore(folder);
  const { meta } = await compactChecked(
    { inputs, blockId: blockId(n), traceBytesMax: 0 },
    {
      backend: store,
      scratch: store,
      sink: new SyncedFolder(folder, `${TENANT}/${blockId(n)}`, META_NAME),
      bloom: BLOOM_DEFAULTS,
      valueFilterBytesMax: FILTER_BYTES,
    },
  );
  for (const input of inputs) rmSync(path.join(folder, TENANT, input.blockId), { recursive: true });
  return meta;
}

/** With a meta that says it is of now, so that all are of one window of time, and an active one. */
async function upload(client: S3Client, folder: string, meta: BlockMeta): Promise<void> {
  const id = meta.blockId;
  const own = path.join(folder, TENANT, id);
  const endSec = Math.floor(Date.now() / 1000);
  writeFileSync(path.join(own, META_NAME), metaToBytes({ ...meta, startSec: endSec - 60, endSec }));
  for (const name of readdirSync(own).toSorted((a, b) => Number(a === META_NAME) - Number(b === META_NAME))) {
    const file = path.join(own, name);
    const Key = `${PREFIX}/${TENANT}/${id}/${name}`;
    const ContentLength = statSync(file).size;
    await client.send(
      new PutObjectCommand({ Bucket: BUCKET, Key, Body: createReadStream(file), ContentLength }),
    );
  }
}

/** How many timers fired in all, and how many of them more than 50 ms late. */
async function delays(get: (url: string) => Promise<Response>): Promise<{ all: number; late: number }> {
  const text = await (await get('/metrics')).text();
  const counts = new Map([...text.matchAll(DELAYS)].map(([, le, count]) => [le, Number(count)]));
  const all = counts.get('+Inf') ?? 0;
  return { all, late: all - (counts.get('0.05') ?? 0) };
}

function say(what: string, value: string): void {
  process.stdout.write(`${what.padEnd(36)} ${value}\n`);
}

const scratch = mkdtempSync(path.join(flags.folder ?? tmpdir(), 'large-compaction-'));
const minio = await startMinio(path.join(scratch, 'minio'));
try {
  const corpus = readCorpus(flags.corpus);
  const halves = cutCorpus(corpus, [corpus.spans / 2, corpus.spans / 2]);
  const local = path.join(scratch, 'blocks');
  const client = s3Client(minio.address);
  for (const [i, half] of halves.entries()) {
    const parts: BlockMeta[] = [];
    for (let copy = 0; copy < Number(flags.copies); copy++) parts.push(makeBlock(local, half, copy));
    const meta = await joined(local, parts, 1000 + i);
    await upload(client, local, meta);
    say(`block ${i + 1}`, `${(meta.sizeBytes / 1e6).toFixed(0)} MB, ${meta.totalObjects} traces`);
  }
  client.destroy();
  rmSync(local, { recursive: true });
  const compaction = 'block_retention: 876000h, compaction_cycle: 1s';
  const tempo = await startTempo(path.join(scratch, 'data'), {
    backend: minio.yaml,
    yaml: `compactor: { compaction: { ${compaction} } }\n`,
  });
  try {
    const before = { cpu: cpuSeconds([tempo.pid]), rss: memoryMib([tempo.pid], 'VmRSS') };
    const endsAtMs = performance.now() + LIMIT_MS;
    let rss = 0;
    for (; !COMPACTED.test(tempo.output()); await pause(LOOK_MS)) {
      if (performance.now() > endsAtMs) throw new Error(`nothing was compacted:\n${tempo.output()}`);
      rss = Math.max(rss, memoryMib([tempo.pid], 'VmRSS'));
    }
    const spans = Number(COMPACTED.exec(tempo.output())?.[1]);
    const cpu = cpuSeconds([tempo.pid]) - before.cpu;
    say('compacted', `${spans} spans, ${((cpu * 1e6) / spans).toFixed(2)} µs CPU a span of the whole server`);
    say('VmRSS before, at most', `${before.rss.toFixed(0)} MiB, ${rss.toFixed(0)} MiB`);
    say('VmHWM', `${memoryMib([tempo.pid], 'VmHWM').toFixed(0)} MiB`);
    const { all, late } = await delays(tempo.get);
    say('timers of the main thread', `${all}, of which more than 50 ms late: ${late}`);
  } finally {
    await tempo.stop();
  }
} finally {
  await minio.stop();
  rmSync(scratch, { recursive: true, force: true });
}
