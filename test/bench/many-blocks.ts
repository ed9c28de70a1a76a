// A bucket of many blocks in a MinIO of its own, and a server on it: how long a trace by id takes while
// nothing is cached, and when bloom filters are, and what it asks of the store. With --searches, what
// searches that must look into all blocks read while nothing is cached; --text N puts random text into spans.
// MINIO=/path/to/minio npm run bench:blocks -- [--blocks 1000] [--traces 200] [--runs 50] [--large-blooms]
// [--folder DIR] [--searches] [--text 120] [--distinct 8]: so many blocks are made, and stored many times
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { parseArgs } from 'node:util';
import { randomUUID } from 'node:crypto';
import { PutObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import { META_NAME } from '../../src/block/meta.ts';
import { TraceBloom } from '../../src/block/trace-bloom.ts';
import { eachConcurrently } from '../../src/lib/concurrent.ts';
import { BUCKET, s3Client, startMinio } from '../components/clouds.ts';
import { writeBlock } from '../support/block-rows.ts';
import { Chance } from '../support/fuzz.ts';
import { aTrace, type Attribute, hexId, type TestSpan } from '../support/otlp.ts';
import { type RunningTempo, startTempo } from '../support/server.ts';
import { cpuSeconds, memoryMib } from './proc.ts';
import { quantile } from './quantile.ts';

const { values: flags } = parseArgs({
  options: {
    blocks: { type: 'string', default: '1000' },
    traces: { type: 'string', default: '200' },
    spans: { type: 'string', default: '5' },
    runs: { type: 'string', default: '50' },
    'large-blooms': { type: 'boolean', default: false },
    folder: { type: 'string' },
    searches: { type: 'boolean', default: false },
    text: { type: 'string', default: '0' },
    distinct: { type: 'string' },
  },
});

const BLOCKS = Number(flags.blocks);
const TRACES = Number(flags.traces);
const SPANS = Number(flags.spans);
const RUNS = Number(flags.runs);
const TEXT_LENGTH = Number(flags.text);
const DISTINCT = Number(flags.distinct ?? flags.blocks);
const FILTER_BYTES_MAX = 1 << 20;
const TENANT = 'single-tenant';
const PREFIX = 'some/where';
const PUTS_AT_ONCE = 16;
const LARGE_TRACES = 85_000;
const GET = /^tempodb_backend_request_duration_seconds_count\{operation="GET",status_code="\d+"\} (\d+)/gm;
/** Counts come with a report of the store's thread, twice a second. */
const REPORTED_MS = 1200;

/** Spread over all ids, so that each block has some of each range. */
function idOf(block: number, trace: number): bigint {
  const n = BigInt(block * TRACES + trace + 1);
  return BigInt.asUintN(128, n * 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835n);
}

const chance = new Chance(1);
function aText(): string {
  return Array.from({ length: TEXT_LENGTH }, () => String.fromCharCode(97 + chance.below(26))).join('');
}

function spansOf(block: number, startUnixNano: bigint): TestSpan[] {
  return Array.from({ length: TRACES }, (_, i) =>
    aTrace(1, SPANS, (span) => ({
      traceId: hexId(idOf(block, i), 16),
      startUnixNano,
      endUnixNano: startUnixNano + 1_000_000n,
      attributes: [
        ['user.id', `user-${block}-${i}`],
        ['block', BigInt(block)],
        ['part', BigInt(span)],
        ['region', `region-${i % 5}`],
        ...(TEXT_LENGTH > 0 ? ([['db.statement', aText()]] satisfies Attribute[]) : []),
      ],
    })),
  ).flat();
}

/** As that of a block with 85,000 traces, or of any block of Grafana Tempo. */
function largeBloom(block: number): Uint8Array {
  const bloom = new TraceBloom(LARGE_TRACES);
  for (let i = 0; i < TRACES; i++) bloom.add(new Uint8Array(Buffer.from(hexId(idOf(block, i), 16), 'hex')));
  return bloom.shardBytes(0);
}

const made = new Map<number, ReturnType<typeof writeBlock>>();

/** Those of a block, which is made once. */
function objectsOf(block: number, startUnixNano: bigint, blockId: string): Map<string, Uint8Array> {
  const found =
    made.get(block) ??
    writeBlock([spansOf(block, startUnixNano)], {
      blockId,
      tenant: TENANT,
      ...(flags.searches ? { valueFilterBytesMax: FILTER_BYTES_MAX } : {}),
    });
  if (DISTINCT < BLOCKS) made.set(block, found);
  const objects = new Map(found.objects);
  const meta = Buffer.from(objects.get(META_NAME)!).toString();
  return objects.set(META_NAME, Buffer.from(meta.replaceAll(found.meta.blockId, blockId)));
}

async function fill(client: S3Client): Promise<number> {
  const startUnixNano = BigInt(Date.now() - 3_600_000) * 1_000_000n;
  let bytes = 0;
  await eachConcurrently(Array(BLOCKS).keys(), PUTS_AT_ONCE, async (block) => {
    const blockId = randomUUID();
    const objects = objectsOf(block % DISTINCT, startUnixNano, blockId);
    if (flags['large-blooms']) objects.set('bloom-0', largeBloom(block));
    for (const [name, Body] of objects) {
      bytes += Body.length;
      const Key = `${PREFIX}/${TENANT}/${blockId}/${name}`;
      await client.send(new PutObjectCommand({ Bucket: BUCKET, Key, Body }));
    }
  });
  return bytes;
}

async function askFor(
  tempo: RunningTempo,
  id: bigint,
): Promise<{ readonly ms: number; readonly bytes: number }> {
  const begin = performance.now();
  const response = await tempo.get(`/api/v2/traces/${hexId(id, 16)}`);
  if (!response.ok) throw new Error(`status ${response.status}: ${await response.text()}`);
  const body = (await response.json()) as { metrics?: { inspectedBytes?: string }; trace?: object };
  const ms = performance.now() - begin;
  if (!JSON.stringify(body.trace ?? {}).includes('spanId'))
    throw new Error(`trace ${hexId(id, 16)} is not found`);
  return { ms, bytes: Number(body.metrics?.inspectedBytes ?? 0) };
}

async function gets(tempo: RunningTempo): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, REPORTED_MS));
  const text = await (await tempo.get('/metrics')).text();
  return [...text.matchAll(GET)].reduce((sum, [, count]) => sum + Number(count), 0);
}

function say(what: string, value: string): void {
  process.stdout.write(`${what.padEnd(44)} ${value}\n`);
}

function start(): Promise<RunningTempo> {
  return startTempo(path.join(scratch, 'data'), { backend: minio.yaml });
}

async function measureById(): Promise<void> {
  const random = (n: number): bigint => idOf((n * 7919) % BLOCKS, (n * 31) % TRACES);
  const cold: number[] = [];
  let tempo = await start();
  for (let round = 0; round < 3; round++) {
    const before = await gets(tempo);
    const cpu = cpuSeconds([tempo.pid]);
    const { ms, bytes } = await askFor(tempo, random(round));
    const used = cpuSeconds([tempo.pid]) - cpu;
    cold.push(ms);
    const requests = (await gets(tempo)) - before;
    const read = `${requests} GETs, ${(bytes / 1e6).toFixed(2)} MB inspected`;
    say(`cold ${round + 1}`, `${ms.toFixed(0)} ms, ${read}, ${used.toFixed(2)} s CPU`);
    if (round < 2) {
      await tempo.stop();
      tempo = await start();
    }
  }
  const before = await gets(tempo);
  const cpu = cpuSeconds([tempo.pid]);
  const warm: number[] = [];
  for (let run = 0; run < RUNS; run++) warm.push((await askFor(tempo, random(run + 3))).ms);
  const used = (cpuSeconds([tempo.pid]) - cpu) / RUNS;
  const requests = ((await gets(tempo)) - before) / RUNS;
  const sorted = warm.toSorted((a, b) => a - b);
  const ms = (share: number): string => `${quantile(sorted, share).toFixed(0)} ms`;
  say('warm p50, p95, max', `${ms(0.5)}, ${ms(0.95)}, ${ms(1)}`);
  say('warm, one', `${requests.toFixed(1)} GETs, ${(used * 1000).toFixed(0)} ms CPU`);
  say('server VmRSS', `${memoryMib([tempo.pid], 'VmRSS').toFixed(0)} MiB`);
  await tempo.stop();
}

/** Each finds less than its limit, so that it looks into every block. */
const SEARCHES = [
  '{ status = error }',
  '{ duration > 1h }',
  `{ span.user.id = "user-${DISTINCT >> 1}-7" }`,
  '{ span.part = 77 }',
  '{ resource.service.name = "nobody" }',
  '{ span.db.statement =~ "qqqqqqqq.*" }',
];

interface SearchMetrics {
  readonly inspectedBytes?: string;
  readonly totalBlocks?: number;
  readonly totalBlockBytes?: string;
}

async function measureSearches(): Promise<void> {
  const nowSec = Math.floor(Date.now() / 1000);
  const times = `start=${nowSec - 24 * 3600}&end=${nowSec}`;
  for (const query of SEARCHES) {
    const tempo = await start();
    const before = await gets(tempo);
    const begin = performance.now();
    const response = await tempo.get(`/api/search?q=${encodeURIComponent(query)}&limit=20&${times}`);
    if (!response.ok) throw new Error(`status ${response.status}: ${await response.text()}`);
    const { traces = [], metrics = {} } = (await response.json()) as {
      readonly traces?: readonly object[];
      readonly metrics?: SearchMetrics;
    };
    const ms = performance.now() - begin;
    const requests = (await gets(tempo)) - before;
    const [read, stored] = [Number(metrics.inspectedBytes), Number(metrics.totalBlockBytes)];
    const megabytes = `${(read / 1e6).toFixed(2)} of ${(stored / 1e6).toFixed(1)} MB`;
    const share = `${((100 * read) / stored).toFixed(2)} %`;
    const found = `${traces.length} found in ${metrics.totalBlocks} blocks`;
    say(query, `${found}, ${megabytes}, ${share}, ${requests} GETs, ${ms.toFixed(0)} ms`);
    await tempo.stop();
  }
}

const scratch = mkdtempSync(path.join(tmpdir(), 'many-blocks-'));
const folder = flags.folder ?? path.join(scratch, 'minio');
const filled = path.join(folder, '..', `${path.basename(folder)}.${BLOCKS}.${TRACES}.${SPANS}`);
const minio = await startMinio(folder, { isNew: !existsSync(filled) });
try {
  if (!existsSync(filled)) {
    const client = s3Client(minio.address);
    say('blocks in the bucket', `${BLOCKS}, ${((await fill(client)) / 1e6).toFixed(1)} MB`);
    client.destroy();
    if (flags.folder !== undefined) writeFileSync(filled, '');
  }
  if (flags.searches) await measureSearches();
  else await measureById();
} finally {
  await minio.stop();
  rmSync(scratch, { recursive: true, force: true });
}
