// The ingester with its real threads: pushes are found at once, survive whatever ends the process, and become
// blocks.
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import fastify from 'fastify';
import t from 'tap';
import { HeadReader } from '../../src/block/head/reader.ts';
import type { BlockMeta } from '../../src/block/meta.ts';
import type { TimeRange } from '../../src/contracts/recent-traces.ts';
import { TempoError } from '../../src/lib/errors.ts';
import { type BlockWriter, BlockWriterThread } from '../../src/modules/ingester/block-writer.ts';
import { Heads } from '../../src/modules/ingester/heads.ts';
import {
  createIngester,
  type Ingester,
  type IngesterOptions,
  registerReadOnlyRoute,
} from '../../src/modules/ingester/index.ts';
import { memoryBudget } from '../../src/lib/memory-budget.ts';
import { scanRequest } from '../../src/model/otlp/scan.ts';
import { TraceRuns } from '../../src/model/otlp/trace-runs.ts';
import { LocalStore } from '../../src/objectstore/local.ts';
import { createLogger, silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { FewThreads } from '../support/few-threads.ts';
import { aSpan, encodeTraces, hexId, START_NANO } from '../support/otlp.ts';
import { testFolder } from '../support/test-folder.ts';

// Threads are started and disks synced: on a busy machine that takes longer than tap's 30 s.
t.setTimeout(240_000);

const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'ingester-'));
t.teardown(() => fs.rmSync(scratch, { recursive: true, force: true }));
const alive = setInterval(() => {}, 1000);
t.teardown(() => clearInterval(alive));

let folders = 0;
const aFolder = (): string => path.join(scratch, `data-${folders++}`);
const NO_ATTRIBUTE_LIMITS = { byTenant: new Map<string, number>(), otherwise: 0 };
const ALL: TimeRange = { startSec: undefined, endSec: undefined };

interface Harness {
  readonly ingester: Ingester;
  readonly metrics: Metrics;
  readonly uploaded: BlockMeta[];
  readonly lines: string[];
  readonly data: string;
}

type Overrides = Partial<Omit<IngesterOptions, 'config'>> & {
  readonly config?: Partial<IngesterOptions['config']>;
};

function anIngester(data: string, over: Overrides = {}): Harness {
  const metrics = new Metrics();
  const uploaded: BlockMeta[] = [];
  const lines: string[] = [];
  const { config, ...rest } = over;
  const ingester = createIngester({
    wal: { path: `${data}/wal`, sync: 'always', ingestionTimeRangeSlackMs: 120_000 },
    attributeLimits: () => NO_ATTRIBUTE_LIMITS,
    block: {
      version: 'vParquet4',
      bloomFilterFalsePositive: 0.01,
      bloomFilterShardSizeBytes: 102_400,
      valueFilterMaxBytes: 65_536,
      parquetDedicatedColumns: [],
    },
    backend: new LocalStore(`${data}/blocks`),
    logger: createLogger({ level: 'debug', format: 'logfmt', write: (line) => lines.push(line) }),
    metrics,
    onUploaded: (meta) => uploaded.push(meta),
    onHeadReleased: () => {},
    limits: () => ({ maxTracesPerUser: 2, maxGlobalTracesPerUser: 0, maxBytesPerTrace: 0 }),
    requestShutdown: () => {},
    headBytesMax: 256 * 1024 * 1024,
    log: { ringBytes: 1024 * 1024 },
    ...rest,
    config: {
      maxBlockBytes: 500_000_000,
      maxBlockDurationMs: 1_800_000,
      completeBlockTimeoutMs: 900_000,
      flushCheckPeriodMs: 10,
      flushAllOnShutdown: false,
      flushObjectStorage: true,
      traceIdlePeriodMs: 5000,
      traceLivePeriodMs: 30_000,
      ...config,
    },
  });
  return { ingester, metrics, uploaded, lines, data };
}

async function started(data: string, over: Overrides = {}): Promise<Harness> {
  const harness = anIngester(data, over);
  await harness.ingester.start();
  return harness;
}

/** A request with `spans` spans in traces of five; no two calls with different `first` share a span. */
function aRequest(first: number, spans: number, text = ''): Uint8Array {
  return encodeTraces(
    Array.from({ length: spans }, (_, i) =>
      aSpan({
        traceId: hexId(1 + Math.floor((first + i) / 5), 16),
        spanId: hexId(1 + first + i, 8),
        startUnixNano: START_NANO + BigInt(first + i),
        attributes: text === '' ? [] : [['text', `${text}${first + i}`]],
      }),
    ),
  );
}

async function push(
  { ingester }: Harness,
  first: number,
  spans: number,
  tenant = 'one',
  text = '',
): Promise<void> {
  await ingester.push({ tenant, body: aRequest(first, spans, text), spanCount: spans });
}

interface Found {
  readonly headSpans: number;
  readonly heads: number;
  readonly blockTraces: number;
  readonly blocks: number;
  readonly complete: boolean;
}

async function found({ ingester }: Harness, tenant = 'one', range = ALL): Promise<Found> {
  const recent = await ingester.recentSources(tenant, range);
  const { sources, complete } = recent;
  const count = { headSpans: 0, heads: 0, blockTraces: 0, blocks: 0, complete };
  for (const source of sources) {
    if (source.kind === 'head') {
      count.headSpans += new HeadReader(source.sab).spanCount;
      count.heads++;
    } else if (source.kind === 'block') {
      count.blockTraces += source.meta.totalObjects;
      count.blocks++;
    }
  }
  recent.release();
  return count;
}

async function metric(metrics: Metrics, name: string): Promise<number> {
  const text = await metrics.text();
  const at = text.split('\n').find((line) => line.startsWith(`${name} `));
  return Number(at?.slice(name.length));
}

/** Looks again each turn of the event loop until it is true. */
async function until(what: string, isTrue: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!(await isTrue())) {
    if (Date.now() > deadline) throw new Error(`did not happen: ${what}`);
    await new Promise(setImmediate);
  }
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (err) {
    if (err instanceof TempoError) return err.code;
    throw err;
  }
  return 'no error';
}

/** The folder as it would be found had the process been killed now. */
function killedCopy({ data }: Harness): string {
  const copy = aFolder();
  fs.cpSync(data, copy, { recursive: true });
  return copy;
}

const blockFolders = (data: string, tenant = 'one'): string[] =>
  fs.existsSync(`${data}/${tenant}`) ? fs.readdirSync(`${data}/${tenant}`) : [];

t.test('what is pushed before the builder runs is found', async (t) => {
  const builderWorker = new URL('../support/late-builder-worker.ts', import.meta.url);
  const harness = await started(aFolder(), { log: { builderWorker } });
  await push(harness, 0, 10);
  t.match(await found(harness), { headSpans: 10, complete: true });
  await harness.ingester.stop();
});

t.test('a builder that has not begun delays no stop', async (t) => {
  const builderWorker = new URL('../support/late-builder-worker.ts', import.meta.url);
  const data = aFolder();
  const first = await started(data, { log: { builderWorker } });
  await push(first, 0, 10);
  const begin = performance.now();
  await first.ingester.stop();
  const tookMs = performance.now() - begin;
  t.ok(tookMs < 1900, `stopped in ${tookMs} ms`);
  const second = await started(data);
  t.match(await found(second), { headSpans: 10, complete: true });
  await second.ingester.stop();
});

t.test('an ingester whose builder cannot begin is not ready', async (t) => {
  const builderWorker = new URL('data:text/javascript,throw new Error("cannot be loaded")');
  const { ingester } = await started(aFolder(), { log: { builderWorker } });
  const readiness = (): string | undefined => ingester.readiness?.();
  await until('it is not ready', () => readiness() !== undefined);
  t.match(readiness(), 'Ingester not ready: its builder thread ends');
  await ingester.stop();
});

t.test('what was pushed is found at once, in the head, then in the block', async (t) => {
  const harness = await started(aFolder());
  const { ingester, data } = harness;
  for (let i = 0; i < 20; i++) {
    await push(harness, i * 10, 10);
    t.equal((await found(harness)).headSpans, (i + 1) * 10);
  }
  t.strictSame(await found(harness, 'other'), {
    headSpans: 0,
    heads: 0,
    blockTraces: 0,
    blocks: 0,
    complete: true,
  });
  await ingester.flush();
  t.strictSame(await found(harness), { headSpans: 0, heads: 0, blockTraces: 40, blocks: 1, complete: true });
  t.equal(harness.uploaded.length, 1);
  const id = harness.uploaded[0]!.blockId;
  const names = ['bloom-0', 'data.parquet', 'index', 'meta.json', 'value-filter'];
  t.strictSame(fs.readdirSync(`${data}/blocks/one/${id}`).toSorted(), names);
  t.strictSame(fs.readdirSync(`${data}/wal/blocks/one/${id}`).toSorted(), [...names, 'flushed'].toSorted());
  t.match(fs.readFileSync(`${data}/wal/blocks/one/${id}/flushed`, 'utf8'), /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  const startSec = Number(START_NANO / 1_000_000_000n);
  t.equal((await found(harness, 'one', { startSec: startSec + 10, endSec: startSec + 20 })).blocks, 0);
  t.equal((await found(harness, 'one', { startSec, endSec: startSec + 20 })).blocks, 1);
  await ingester.stop();
  t.equal(await codeOf(push(harness, 0, 1)), 'unavailable');
});

t.test('killed at any time, started again: every acknowledged span, none twice', async (t) => {
  const harness = await started(aFolder());
  const copies: { readonly copy: string; readonly spans: number; readonly other: number }[] = [];
  const snapshot = (spans: number, other: number): void =>
    void copies.push({ copy: killedCopy(harness), spans, other });
  await push(harness, 0, 10);
  snapshot(10, 0);
  await push(harness, 0, 7, 'two');
  await push(harness, 10, 10);
  snapshot(20, 7);
  await harness.ingester.flush('one');
  snapshot(20, 7);
  await push(harness, 20, 10);
  snapshot(30, 7);
  await harness.ingester.flush();
  snapshot(30, 7);
  await harness.ingester.stop();
  snapshot(30, 7);
  for (const { copy, spans, other } of copies) {
    const again = await started(copy);
    for (const [tenant, want] of [
      ['one', spans],
      ['two', other],
    ] as const) {
      const { headSpans, blockTraces } = await found(again, tenant);
      // Traces of five spans, whole in one place by construction.
      t.equal(headSpans + spansOf(again, tenant, blockTraces), want, `${tenant} in ${path.basename(copy)}`);
    }
    await again.ingester.flush();
    t.equal((await found(again)).headSpans, 0);
    await again.ingester.stop();
  }
});

/** All traces of the test have five spans, but for the last of tenant `two`. */
function spansOf(_harness: Harness, tenant: string, traces: number): number {
  return tenant === 'two' && traces > 0 ? 7 : traces * 5;
}

t.test('blocks on the disk when the process starts', async (t) => {
  const first = await started(aFolder());
  await push(first, 0, 10);
  await first.ingester.flush();
  await push(first, 10, 10);
  const id = first.uploaded[0]!.blockId;
  const copy = killedCopy(first);
  await first.ingester.stop();
  // A block without its meta, and a complete block that did not reach the backend.
  const unfinished = `${copy}/wal/blocks/one/00000000-0000-0000-0000-000000000000`;
  fs.mkdirSync(unfinished, { recursive: true });
  fs.writeFileSync(`${unfinished}/data.parquet`, 'x');
  fs.rmSync(`${copy}/wal/blocks/one/${id}/flushed`);
  fs.rmSync(`${copy}/blocks`, { recursive: true });
  const again = await started(copy);
  t.notOk(fs.existsSync(unfinished));
  await until('the block is uploaded', () => again.uploaded.length === 1);
  t.ok(fs.existsSync(`${copy}/blocks/one/${id}/meta.json`));
  t.strictSame(await found(again), { headSpans: 10, heads: 1, blockTraces: 2, blocks: 1, complete: true });
  await again.ingester.stop();
});

t.test('a block that was compacted before its upload was marked is not told of as a new one', async (t) => {
  const first = await started(aFolder());
  await push(first, 0, 10);
  await first.ingester.flush();
  const id = first.uploaded[0]!.blockId;
  const copy = killedCopy(first);
  await first.ingester.stop();
  fs.rmSync(`${copy}/wal/blocks/one/${id}/flushed`);
  const folder = `${copy}/blocks/one/${id}`;
  fs.renameSync(`${folder}/meta.json`, `${folder}/meta.compacted.json`);
  const again = await started(copy);
  await again.ingester.flush();
  t.ok(fs.existsSync(`${copy}/wal/blocks/one/${id}/flushed`));
  t.notOk(fs.existsSync(`${folder}/meta.json`));
  t.same(again.uploaded, []);
  t.match(await found(again), { blockTraces: 2, blocks: 1 });
  await again.ingester.stop();
});

t.test('a block in the folder of another tenant is left where it is', async (t) => {
  const first = await started(aFolder());
  await push(first, 0, 10);
  await first.ingester.flush();
  const id = first.uploaded[0]!.blockId;
  const copy = killedCopy(first);
  await first.ingester.stop();
  const blocks = `${copy}/wal/blocks`;
  const other = id.replace(/^./, (digit) => (digit === '0' ? '1' : '0'));
  for (const folder of [`two/${id}`, `one/${other}`])
    fs.cpSync(`${blocks}/one/${id}`, `${blocks}/${folder}`, { recursive: true });
  fs.rmSync(`${blocks}/two/${id}/flushed`);
  const again = await started(copy);
  t.match(await found(again), { blocks: 1 });
  t.match(await found(again, 'two'), { blocks: 0 });
  const told = again.lines.filter((line) => line.includes('local block cannot be read'));
  t.equal(told.length, 2);
  t.match(told.join(''), `what is stored as two/${id} is the meta of one/${id}`);
  t.match(told.join(''), `what is stored as one/${other} is the meta of one/${id}`);
  t.ok(fs.existsSync(`${blocks}/two/${id}/data.parquet`));
  t.same(again.uploaded, []);
  await again.ingester.stop();
});

t.test('a block that was finished before its record was written counts', async (t) => {
  const data = aFolder();
  const written = Promise.withResolvers<void>();
  const writer = realWriter(data);
  // Killed right after the block is complete.
  const blockWriter: BlockWriter = {
    write: async (job) => {
      await writer.write(job);
      written.resolve();
      return new Promise(() => {});
    },
    stop: () => writer.stop(),
  };
  const first = await started(data, { blockWriter });
  await push(first, 0, 10);
  void first.ingester.flush().catch(() => {});
  await written.promise;
  const copy = killedCopy(first);
  await first.ingester.stop();
  const again = await started(copy);
  t.strictSame(await found(again), { headSpans: 0, heads: 0, blockTraces: 2, blocks: 1, complete: true });
  await again.ingester.stop();
  const third = await started(copy);
  t.strictSame(await found(third), { headSpans: 0, heads: 0, blockTraces: 2, blocks: 1, complete: true });
  await third.ingester.stop();
});

t.test('the format of blocks, and columns of a tenant', async (t) => {
  const column = (name: string) => ({ scope: 'span', name, type: 'int', options: [] }) as const;
  const block = {
    version: 'vParquet5',
    bloomFilterFalsePositive: 0.01,
    bloomFilterShardSizeBytes: 102_400,
    valueFilterMaxBytes: 65_536,
    parquetDedicatedColumns: [column('usual')],
  } as const;
  const harness = await started(aFolder(), {
    block,
    dedicatedColumnsOf: (tenant) => (tenant === 'two' ? [column('own')] : undefined),
  });
  for (const tenant of ['one', 'two']) await push(harness, 0, 5, tenant);
  await harness.ingester.flush();
  const metas = harness.uploaded.toSorted((a, b) => (a.tenantId < b.tenantId ? -1 : 1));
  t.match(metas, [
    { tenantId: 'one', format: 'vParquet5', dedicatedColumns: [column('usual')] },
    { tenantId: 'two', format: 'vParquet5', dedicatedColumns: [column('own')] },
  ]);
  await harness.ingester.stop();
});

function realWriter(data: string): BlockWriter {
  const bloom = { falsePositive: 0.01, shardSizeBytes: 102_400 };
  return new BlockWriterThread({
    workerData: { path: `${data}/wal/blocks`, dedicatedColumns: [], bloom, valueFilterBytesMax: 65_536 },
    odd: () => {},
    ended: () => {},
  });
}

t.test('a block that cannot be written is tried again, and nothing is lost meanwhile', async (t) => {
  const data = aFolder();
  const writer = realWriter(data);
  let isFull = true;
  const blockWriter: BlockWriter = {
    write: (job) => (isFull ? Promise.reject(new TempoError('unavailable', 'disk full')) : writer.write(job)),
    stop: () => writer.stop(),
  };
  const harness = await started(data, { blockWriter });
  await push(harness, 0, 10);
  await t.rejects(harness.ingester.flush(), { code: 'unavailable', cause: { message: 'disk full' } });
  t.strictSame(await found(harness), { headSpans: 10, heads: 1, blockTraces: 0, blocks: 0, complete: true });
  await t.rejects(harness.ingester.flush(), { code: 'unavailable' });
  isFull = false;
  await harness.ingester.flush();
  t.strictSame(await found(harness), { headSpans: 0, heads: 0, blockTraces: 2, blocks: 1, complete: true });
  // Each flush begins a try, and one may come before the first flush waits for it.
  t.ok((await metric(harness.metrics, 'tempo_ingester_failed_flushes_total')) >= 2);
  await harness.ingester.stop();
});

t.test('traces that are not whole are warned of when they become a block', async (t) => {
  const harness = await started(aFolder());
  const orphan = encodeTraces([aSpan({ parentSpanId: hexId(9, 8) })]);
  await harness.ingester.push({ tenant: 'one', body: orphan, spanCount: 1 });
  await harness.ingester.flush();
  for (const reason of ['disconnected_trace_wal_to_complete', 'rootless_trace_wal_to_complete']) {
    const name = `tempo_warnings_total{tenant="one",reason="${reason}"}`;
    t.equal(await metric(harness.metrics, name), 1);
  }
  await harness.ingester.stop();
});

t.test('a backend that fails holds the flush up, not the queries', async (t) => {
  const data = aFolder();
  const backend = new LocalStore(`${data}/blocks`);
  let isDown = true;
  const writeFile = backend.writeFile.bind(backend);
  backend.writeFile = (key, file) =>
    isDown ? Promise.reject(new TempoError('unavailable', 'backend is down')) : writeFile(key, file);
  const harness = await started(data, { backend });
  await push(harness, 0, 10);
  await t.rejects(harness.ingester.flush(), { cause: { message: 'backend is down' } });
  t.equal((await found(harness)).blockTraces, 2);
  t.equal(harness.uploaded.length, 0);
  isDown = false;
  await harness.ingester.flush();
  t.equal(harness.uploaded.length, 1);
  await harness.ingester.stop();
});

t.test('a head that ends the block writer takes no other with it', async (t) => {
  let ends = 0;
  const writer = new BlockWriterThread({
    workerData: undefined,
    worker: new URL('../support/crashing-block-worker.ts', import.meta.url),
    odd: () => {},
    ended: () => ends++,
  });
  const write = async (blockId: string): Promise<string> => {
    const job = { tenant: 'one', blockId, sab: new SharedArrayBuffer(8), dedicatedColumns: undefined };
    return writer.write(job).then(
      (meta) => meta.blockId,
      (err: Error) => err.message,
    );
  };
  const ended = 'block writer thread ended';
  const written = await Promise.all(['a', 'fatal', 'b', 'fatal', 'fatal', 'c'].map(write));
  t.strictSame(written, ['a', ended, 'b', ended, ended, 'c']);
  t.equal(ends, 3);
  await writer.stop();
  t.equal(await write('d'), 'the ingester is stopping');
  t.equal(ends, 3, 'an end that was asked for is none');
});

t.test('a block whose writer cannot start is told so, and written when it can', async (t) => {
  const few = new FewThreads(2);
  const writer = new BlockWriterThread({
    workerData: undefined,
    worker: new URL('../support/crashing-block-worker.ts', import.meta.url),
    startThread: few.start,
    odd: () => {},
    ended: () => {},
  });
  t.teardown(() => writer.stop());
  const write = (blockId: string): Promise<unknown> =>
    writer.write({ tenant: 'one', blockId, sab: new SharedArrayBuffer(8), dedicatedColumns: undefined });
  const refusal = { code: 'unavailable', message: 'the system lets no block-writer thread start' };
  await t.rejects(write('a'), refusal);
  await t.rejects(write('b'), refusal);
  t.match(await write('b'), { blockId: 'b' });
  const fatal = write('fatal');
  const [behind, last] = [write('c'), write('d')];
  few.left = 1;
  await t.rejects(fatal, { message: 'block writer thread ended' });
  await t.rejects(behind, refusal, 'those that wait are told one by one');
  t.match(await last, { blockId: 'd' });
});

t.test('a builder that may not start is started later, and loses nothing', async (t) => {
  const few = new FewThreads(0);
  const harness = await started(aFolder(), { log: { ringBytes: 128 * 1024, startThread: few.start } });
  await push(harness, 0, 20);
  const internals = harness.ingester as unknown as {
    readonly running: { readonly builder: { readonly worker: { terminate(): Promise<number> } } };
  };
  few.left = 2;
  await internals.running.builder.worker.terminate();
  await push(harness, 20, 20);
  await until('the builder has caught up', async () => (await found(harness)).complete);
  t.equal(few.refused, 2);
  t.equal((await found(harness)).headSpans, 40);
  await harness.ingester.stop();
});

t.test('a builder that crashes is started again from the log', async (t) => {
  const harness = await started(aFolder(), { log: { ringBytes: 128 * 1024 } });
  await push(harness, 0, 20);
  await harness.ingester.flush();
  await push(harness, 20, 30);
  await push(harness, 0, 10, 'two');
  t.equal((await found(harness)).headSpans, 30);
  const internals = harness.ingester as unknown as {
    readonly running: { readonly builder: { readonly worker: { terminate(): Promise<number> } } };
  };
  const ended = internals.running.builder.worker.terminate();
  // Larger than a quarter of the ring: its bytes were on their way to the builder that ends.
  await push(harness, 50, 1000, 'large', 'a fairly long text');
  await ended;
  await push(harness, 50, 10);
  await until('the builder has caught up', async () => (await found(harness)).complete);
  t.equal((await found(harness)).headSpans, 40);
  t.equal((await found(harness, 'two')).headSpans, 10);
  t.equal((await found(harness, 'large')).headSpans, 1000);
  t.equal(await metric(harness.metrics, 'tempo_ingester_builder_restarts_total'), 1);
  await harness.ingester.flush();
  t.strictSame(await found(harness), { headSpans: 0, heads: 0, blockTraces: 12, blocks: 2, complete: true });
  await harness.ingester.stop();
});

t.test('a request that no builder survives is set aside, the others go on', async (t) => {
  const builderWorker = new URL('../support/crashing-builder-worker.ts', import.meta.url);
  const setAside = (data: string): string[] =>
    fs.existsSync(`${data}/wal/quarantine`) ? fs.readdirSync(`${data}/wal/quarantine`) : [];
  const data = aFolder();
  const plain = await started(data);
  await push(plain, 0, 20);
  const fatal = aRequest(20, 5, 'fatal');
  await plain.ingester.push({ tenant: 'one', body: fatal, spanCount: 5 });
  await push(plain, 25, 15);
  const copy = killedCopy(plain);
  await plain.ingester.stop();

  const harness = await started(copy, { log: { ringBytes: 128 * 1024, builderWorker } });
  t.equal((await found(harness)).headSpans, 35, 'while it is replayed');
  const files = setAside(copy);
  t.match(files, [/^one-\d+\.otlp$/]);
  t.strictSame(new Uint8Array(fs.readFileSync(`${copy}/wal/quarantine/${files[0]}`)), fatal);
  t.match(harness.lines.join('\n'), /it is set aside" .*tenant=one .*spans=5 file=.*one-\d+\.otlp/);
  t.equal(await metric(harness.metrics, 'tempo_ingester_builder_restarts_total'), 2, 'it was tried twice');

  // Then while it runs, in the ring and beside it.
  await push(harness, 40, 5, 'one', 'fatal');
  await push(harness, 50, 1000, 'large', 'fatal, and a fairly long text');
  await push(harness, 45, 5);
  await until('the builder has caught up', async () => (await found(harness)).complete);
  t.equal((await found(harness)).headSpans, 40);
  t.equal(setAside(copy).length, 3);
  const errors = 'tempo_ingester_replay_errors_total{tenant="one"}';
  t.equal(await metric(harness.metrics, errors), 2);
  await harness.ingester.flush();
  t.strictSame((await found(harness)).headSpans, 0);
  const later = killedCopy(harness);
  await harness.ingester.stop();

  const again = await started(later);
  t.equal((await found(again)).headSpans, 0, 'what was set aside is not replayed again');
  t.equal((await found(again, 'large')).heads, 0);
  t.equal(setAside(later).length, 3, 'and kept');
  await again.ingester.stop();
});

t.test('a request that cannot be set aside holds the others up and is not lost', async (t) => {
  const builderWorker = new URL('../support/crashing-builder-worker.ts', import.meta.url);
  const data = aFolder();
  const harness = await started(data, { log: { builderWorker } });
  fs.writeFileSync(`${data}/wal/quarantine`, 'in the way');
  await push(harness, 0, 5, 'one', 'fatal');
  await push(harness, 5, 5);
  const told = /cannot be set aside, it is tried again" .*tenant=one/;
  await until('it is told', () => Promise.resolve(told.test(harness.lines.join('\n'))));
  t.notOk((await found(harness)).complete);
  fs.rmSync(`${data}/wal/quarantine`);
  await until('it is set aside', async () => (await found(harness)).complete);
  t.equal((await found(harness)).headSpans, 5);
  t.equal(fs.readdirSync(`${data}/wal/quarantine`).length, 1);
  await harness.ingester.stop();
});

t.test('little memory: heads are cut early, pushes wait, all is kept', async (t) => {
  const data = aFolder();
  const harness = await started(data, { headBytesMax: 1024 * 1024, log: { ringBytes: 128 * 1024 } });
  const spans = 20_000;
  for (let first = 0; first < spans; first += 100)
    await push(harness, first, 100, 'one', 'a fairly long text');
  // Larger than a quarter of the ring.
  await push(harness, spans, 1000, 'one', 'a fairly long text');
  await harness.ingester.flush();
  const { headSpans, blockTraces, blocks } = await found(harness);
  t.equal(headSpans, 0);
  t.equal(blockTraces, (spans + 1000) / 5);
  t.ok(blocks > 2, `${blocks} blocks`);
  const cuts = await metric(harness.metrics, 'tempo_ingester_heads_cut_total{reason="memory"}');
  t.ok(cuts > 1, `${cuts} cuts`);
  await harness.ingester.stop();
});

t.test('replay needs no more memory than the run that wrote the log', async (t) => {
  const data = aFolder();
  const first = await started(data);
  const spans = 20_000;
  for (let at = 0; at < spans; at += 100) await push(first, at, 100, 'one', 'a fairly long text');
  await first.ingester.stop();
  const again = await started(data, { headBytesMax: 1024 * 1024 });
  await again.ingester.flush();
  t.equal((await found(again)).blockTraces, spans / 5);
  t.ok((await found(again)).blocks > 2);
  await again.ingester.stop();
});

t.test('heads are cut by size and by age', async (t) => {
  const bySize = await started(aFolder(), { config: { maxBlockBytes: 300 } });
  for (let i = 0; i < 5; i++) await push(bySize, i * 50, 50);
  await until('five blocks', () => bySize.uploaded.length === 5);
  await bySize.ingester.stop();
  const byAge = await started(aFolder(), { config: { maxBlockDurationMs: 0 } });
  await push(byAge, 0, 10);
  await until('a block', () => byAge.uploaded.length === 1);
  t.equal(await metric(byAge.metrics, 'tempo_ingester_heads_cut_total{reason="age"}'), 1);
  await byAge.ingester.stop();
});

t.test('attributes are cut as their tenant wants it', async (t) => {
  const all = (bytes: number) => ({ byTenant: new Map([['own', bytes]]), otherwise: 100 });
  let attributeLimits = all(1000);
  const data = aFolder();
  const harness = await started(data, { attributeLimits: () => attributeLimits });
  const long = 'x'.repeat(500);
  const longest = async ({ ingester }: Harness, tenant: string): Promise<number> => {
    const recent = await ingester.recentSources(tenant, ALL);
    const [source] = recent.sources;
    if (source?.kind !== 'head') throw new Error('no head');
    const { strLength } = new HeadReader(source.sab).vecs;
    recent.release();
    // The first strings are whole resources and spans' names; those are short here.
    return Math.max(...strLength.toArray());
  };
  await push(harness, 0, 5, 'one', long);
  await push(harness, 0, 5, 'own', long);
  t.equal(await longest(harness, 'one'), 100 + '...[+401 bytes]'.length);
  t.equal(await longest(harness, 'own'), 501);
  const cut = 'tempo_distributor_attributes_truncated_total{tenant="one"}';
  await until('it is counted', async () => (await metric(harness.metrics, cut)) === 5);
  const late = 'tempo_warnings_total{tenant="one",reason="outside_ingestion_time_slack"}';
  t.equal(await metric(harness.metrics, late), 5, 'spans of long ago');
  t.equal(await metric(harness.metrics, 'tempo_spans_distance_in_past_seconds_count{tenant="one"}'), 5);
  const bucket = 'tempo_spans_distance_in_past_seconds_bucket{le="3600",tenant="one"}';
  t.match(
    (await harness.metrics.text()).replaceAll('tenant="one",le="3600"', 'le="3600",tenant="one"'),
    `${bucket} 0`,
  );
  attributeLimits = all(0);
  await push(harness, 5, 5, 'own', 'y'.repeat(3000));
  t.equal(await longest(harness, 'own'), 3001, 'as soon as limits change');
  const copy = killedCopy(harness);
  await harness.ingester.stop();
  const again = await started(copy, { attributeLimits: () => attributeLimits });
  t.equal(await longest(again, 'one'), 100 + '...[+401 bytes]'.length, 'the same after a crash');
  t.equal(await longest(again, 'own'), 3001);
  await again.ingester.stop();
});

t.test('bytes that are no request stop nobody', async (t) => {
  const harness = await started(aFolder());
  const garbage = Uint8Array.from({ length: 500 }, (_, i) => (i * 37) ^ 0x5a);
  await harness.ingester.push({ tenant: 'one', body: garbage, spanCount: 3 });
  await harness.ingester.push({ tenant: 'empty', body: new Uint8Array(0), spanCount: 0 });
  await push(harness, 0, 10);
  t.equal((await found(harness)).headSpans, 10);
  await harness.ingester.flush();
  t.equal((await found(harness)).blockTraces, 2);
  t.equal((await found(harness, 'empty')).blocks, 0);
  await harness.ingester.stop();
  t.strictSame(fs.readdirSync(`${harness.data}/wal/log`), [], 'the log is covered, the empty head too');
});

t.test('local blocks are deleted in time, but not under a reader', async (t) => {
  let now = Date.now();
  const harness = await started(aFolder(), {
    nowMs: () => now,
    config: { completeBlockTimeoutMs: 60_000, flushCheckPeriodMs: 5 },
  });
  const local = `${harness.data}/wal/blocks`;
  await push(harness, 0, 10);
  await harness.ingester.flush();
  const held = await harness.ingester.recentSources('one', ALL);
  now += 61_000;
  await push(harness, 10, 10);
  await harness.ingester.flush();
  t.equal(blockFolders(local).length, 2, 'the first is open, the second is young');
  held.release();
  held.release();
  await until('the first is deleted', () => blockFolders(local).length === 1);
  t.equal(blockFolders(`${harness.data}/blocks`).length, 2, 'the backend keeps both');
  t.equal((await found(harness)).blocks, 1);
  await harness.ingester.stop();
});

t.test('one that has stopped lists nothing: whoever asks goes on without it', async (t) => {
  const harness = await started(aFolder());
  await push(harness, 0, 10);
  (await harness.ingester.recentSources('one', ALL)).release();
  await harness.ingester.stop();
  await t.rejects(harness.ingester.recentSources('one', ALL), {
    code: 'unavailable',
    message: 'ingester is stopped',
  });
});

t.test('the log is kept below its limit by cutting the heads that hold it', async (t) => {
  const harness = await started(aFolder(), {
    log: { ringBytes: 1024 * 1024, segmentBytes: 20_000, sizeBytesMax: 100_000 },
  });
  await push(harness, 0, 5, 'slow');
  for (let i = 0; i < 100; i++) await push(harness, i * 50, 50, 'fast');
  await until(
    'segments are deleted',
    async () => (await metric(harness.metrics, 'tempo_log_size_bytes')) < 100_000,
  );
  t.equal(harness.uploaded.filter((meta) => meta.tenantId === 'slow').length, 1);
  await harness.ingester.stop();
});

t.test('flush and shutdown over HTTP', async (t) => {
  const asked = Promise.withResolvers<void>();
  const data = aFolder();
  const backend = new LocalStore(`${data}/blocks`);
  const harness = await started(data, { backend, requestShutdown: () => asked.resolve() });
  const app = fastify();
  harness.ingester.registerRoutes(app);
  await push(harness, 0, 10);
  await push(harness, 0, 10, 'two');
  const call = async (url: string): Promise<string> => {
    const { statusCode, body } = await app.inject({ url, method: 'POST' });
    return `${statusCode} ${body}`;
  };
  t.equal(await call('/flush?tenant=nobody'), '404 ');
  t.equal(await call('/flush?tenant=one'), '204 ');
  t.strictSame(
    harness.uploaded.map((meta) => meta.tenantId),
    ['one'],
  );
  const writeFile = backend.writeFile.bind(backend);
  backend.writeFile = () => Promise.reject(new TempoError('unavailable', 'backend is down'));
  t.match(await call('/flush'), /^500 block .* of tenant two: upload block failed: backend is down$/);
  backend.writeFile = writeFile;
  t.equal(await call('/flush'), '204 ');
  await push(harness, 10, 10);
  t.equal(await call('/ingester/shutdown'), '200 shutdown job acknowledged');
  await asked.promise;
  t.equal(harness.uploaded.length, 3);
  await harness.ingester.stop();
  await app.close();
});

t.test('a stop right after /ingester/shutdown waits until all is in the backend', async (t) => {
  const data = aFolder();
  const backend = new LocalStore(`${data}/blocks`);
  const harness = await started(data, { backend });
  const app = fastify();
  harness.ingester.registerRoutes(app);
  await push(harness, 0, 10);
  t.equal(harness.ingester.stopTakesMs(), 0);
  t.equal((await app.inject({ url: '/ingester/shutdown', method: 'POST' })).statusCode, 200);
  t.ok(harness.ingester.stopTakesMs() > 60_000, 'it may take its time');
  await harness.ingester.stop();
  t.equal(harness.uploaded.length, 1, 'as after the hook of a pod that is taken away');
  await app.close();
});

t.test('an ingester is read-only when it is told so', async (t) => {
  const place = {
    isMember: true,
    isReadOnly: false,
    readOnlyUpdatedSec: 5,
    fails: false,
    async setReadOnly(readOnly: boolean) {
      if (this.fails) throw new TempoError('unavailable', 'nobody takes it');
      this.isReadOnly = readOnly;
      this.readOnlyUpdatedSec = 1_767_225_600;
    },
  };
  const answersOf = (given: typeof place | undefined) => {
    const app = fastify();
    registerReadOnlyRoute(app, given, silentLogger);
    t.teardown(() => app.close());
    return async (method: 'GET' | 'POST' | 'DELETE' | 'PUT'): Promise<string> => {
      const path = '/ingester/prepare-instance-ring-downscale';
      const { statusCode, body } = await app.inject({ url: path, method });
      return `${statusCode} ${body}`.trim();
    };
  };
  const call = answersOf(place);
  t.equal(await call('GET'), '200 {"timestamp":0}');
  t.equal(await call('POST'), '200 {"timestamp":1767225600}');
  t.equal(await call('GET'), '200 {"timestamp":1767225600}');
  t.equal(await call('DELETE'), '200 {"timestamp":0}');
  t.equal(await call('PUT'), '405');
  place.fails = true;
  t.equal(await call('POST'), '500 nobody takes it');
  place.isMember = false;
  t.equal(await call('GET'), '503 the ingester is not in the ring, or is leaving it');
  t.equal(await answersOf(undefined)('GET'), '404 the ingester of a single process is in no ring');
});

t.test('that its next stop is the last is known after a restart, until it has stopped', async (t) => {
  const data = aFolder();
  const told: unknown[] = [];
  const ring = {
    leave: async () => undefined,
    onShutdown: (what: unknown) => void told.push(what),
  };
  const call = async (harness: Harness, method: 'GET' | 'POST' | 'DELETE'): Promise<string> => {
    const app = fastify();
    harness.ingester.registerRoutes(app);
    const { statusCode, body } = await app.inject({ url: '/ingester/prepare-downscale', method });
    await app.close();
    return `${statusCode} ${body}`.trim();
  };
  const over = { ring, unregistersOnShutdown: false };
  const first = await started(data, over);
  t.equal(await call(first, 'GET'), '200 unset');
  t.equal(await call(first, 'POST'), '204');
  await push(first, 0, 10);
  const again = await started(killedCopy(first), over);
  await first.ingester.stop();
  t.equal(await call(again, 'GET'), '200 set');
  t.same(told, Array(2).fill({ unregister: true, removeTokensFile: true }));
  t.equal(again.uploaded.length, 0);
  await again.ingester.stop();
  t.equal(again.uploaded.length, 1, 'nothing is left behind');
  const stays = await started(again.data, over);
  t.equal(await call(stays, 'GET'), '200 unset');
  t.equal(await call(stays, 'POST'), '204');
  t.equal(await call(stays, 'DELETE'), '204');
  t.same(told.at(-1), { unregister: false, removeTokensFile: false });
  const changed = await started(killedCopy(stays), over);
  t.equal(await call(changed, 'GET'), '200 unset');
  await Promise.all([stays.ingester.stop(), changed.ingester.stop()]);
});

const [MOUNT, UNMOUNT] = ['mount', 'umount'];

/** A file system of its own for a folder; undefined where mounting is not allowed. */
function mountSmall(folder: string, option: string): (() => void) | undefined {
  fs.mkdirSync(folder, { recursive: true });
  if (spawnSync(MOUNT, ['-t', 'tmpfs', '-o', option, 'tmpfs', folder]).status !== 0) return undefined;
  return () => void spawnSync(UNMOUNT, ['-l', folder]);
}

t.test('a full disk refuses; what was acknowledged is there when there is space again', async (t) => {
  const data = aFolder();
  const unmount = mountSmall(data, 'size=1m');
  if (unmount === undefined)
    return t.pass('no right to mount: the same with injected faults is in store-log.test.ts');
  t.teardown(unmount);
  const harness = await started(data);
  let acknowledged = 0;
  let refused = '';
  while (refused === '') {
    const code = await codeOf(push(harness, acknowledged, 100, 'one', 'a fairly long text'));
    if (code === 'no error') acknowledged += 100;
    else refused = code;
  }
  t.equal(refused, 'unavailable');
  t.equal((await found(harness)).headSpans, acknowledged);
  await t.rejects(harness.ingester.flush(), { code: 'unavailable' });
  t.equal(await codeOf(push(harness, acknowledged, 100, 'one', 'a fairly long text')), 'unavailable');
  await harness.ingester.stop();
  const again = await started(data);
  t.equal((await found(again)).headSpans, acknowledged, 'after a restart on the full disk');
  spawnSync(MOUNT, ['-o', 'remount,size=8m', data]);
  await push(again, acknowledged, 100, 'one', 'a fairly long text');
  await again.ingester.flush();
  t.equal((await found(again)).blockTraces, (acknowledged + 100) / 5);
  await again.ingester.stop();
});

t.test('a read-only disk is a clear error at start', async (t) => {
  const data = aFolder();
  const unmount = mountSmall(data, 'ro');
  if (unmount === undefined) return t.pass('no right to mount');
  t.teardown(unmount);
  const { ingester } = anIngester(data);
  await t.rejects(ingester.start(), { code: 'unavailable', message: /data folder .* cannot be written/ });
  await ingester.stop();
});

t.test('stopping', async (t) => {
  const kept = await started(aFolder());
  await push(kept, 0, 10);
  await kept.ingester.stop();
  t.equal(kept.uploaded.length, 0, 'no flush by default: the log keeps it');
  t.match(kept.ingester.readiness?.(), /stopped/);
  const flushed = await started(aFolder(), { config: { flushAllOnShutdown: true } });
  await push(flushed, 0, 10);
  await flushed.ingester.stop();
  t.equal(flushed.uploaded.length, 1);
  const crashed = await started(aFolder());
  await push(crashed, 0, 10);
  const copy = killedCopy(crashed);
  await crashed.ingester.stop();
  const idle = await started(copy, { config: { flushAllOnShutdown: true } });
  await idle.ingester.stop();
  t.equal(idle.uploaded.length, 1, 'also when nothing was pushed since the start');
});

t.test('a second ingester on the folder is refused', async (t) => {
  const first = await started(aFolder());
  const second = anIngester(first.data);
  await t.rejects(second.ingester.start(), { code: 'unavailable', message: /in use by process/ });
  await second.ingester.stop();
  await push(first, 0, 10);
  t.equal((await found(first)).headSpans, 10, 'the first is not disturbed');
  await first.ingester.stop();
});

t.test('the memory budget', (t) => {
  const gib = 1024 ** 3;
  const cases = [
    { name: 'a quarter of a small machine', facts: { totalBytes: 4 * gib }, want: gib, by: /quarter/ },
    { name: 'at most 2 GiB', facts: { totalBytes: 64 * gib }, want: 2 * gib, by: /quarter/ },
    {
      name: 'the configuration',
      facts: { totalBytes: gib, configuredBytes: 3 * gib },
      want: 3 * gib,
      by: /^memory.limit$/,
    },
    {
      name: 'the cgroup',
      facts: { totalBytes: 64 * gib, constrainedBytes: 3 * gib },
      want: 3 * gib,
      by: /cgroup/,
    },
    {
      name: 'no cgroup limit',
      facts: { totalBytes: 4 * gib, constrainedBytes: 2 ** 63 },
      want: gib,
      by: /quarter/,
    },
    {
      name: 'GOMEMLIMIT',
      facts: { totalBytes: 64 * gib, goMemLimit: '512MiB' },
      want: gib / 2,
      by: /^GOMEMLIMIT$/,
    },
    {
      name: 'the lesser',
      facts: { totalBytes: 64 * gib, constrainedBytes: gib, goMemLimit: '2GiB' },
      want: gib,
      by: /cgroup/,
    },
    { name: 'GOMEMLIMIT off', facts: { totalBytes: 4 * gib, goMemLimit: 'off' }, want: gib, by: /quarter/ },
  ];
  for (const { name, facts, want, by } of cases) {
    const none = { configuredBytes: 0, constrainedBytes: undefined, goMemLimit: undefined };
    const { bytes, from } = memoryBudget({ ...none, ...facts });
    t.equal(bytes, want, name);
    t.match(from, by, name);
  }
  for (const [goMemLimit, wrong] of [
    ['400Mi', '400Mi'],
    ['1GB', '1GB'],
    ['-1', '-1'],
    ['off', undefined],
    ['', undefined],
    ['400', undefined],
  ] as const) {
    const none = { configuredBytes: 0, constrainedBytes: undefined, totalBytes: gib };
    t.equal(memoryBudget({ ...none, goMemLimit }).unreadable, wrong, `GOMEMLIMIT=${goMemLimit}`);
  }
  t.end();
});

t.test('heads: which are scanned, and how far frames are in blocks', (t) => {
  const heads = new Heads();
  const sab = new SharedArrayBuffer(0);
  const begun = (blockId: string, fromSequence: number, toSequence: number) => {
    heads.begin('one', blockId, sab, fromSequence);
    const head = heads.find('one', blockId)!;
    head.toSequence = toSequence;
    head.state = 'cut';
    return head;
  };
  const [first, second] = [begun('first', 0, 5), begun('second', 5, 9)];
  heads.begin('one', 'third', sab, 9);
  const scanned = () => heads.scannable('one').map(({ blockId }) => blockId);
  t.same(scanned(), ['first', 'second', 'third']);
  second.state = 'complete';
  t.same(scanned(), ['first', 'third'], 'its block answers instead');
  t.equal(heads.recorded(second), undefined, 'nothing is covered past a head without a block');
  const taken = heads.takenRanges().map(({ fromSequence, toSequence }) => [fromSequence, toSequence]);
  t.same(taken, [
    [0, 5],
    [5, 9],
  ]);
  first.state = 'complete';
  t.equal(heads.recorded(first), 9);
  t.same(scanned(), ['third']);
  heads.orphanLive();
  t.same(scanned(), ['third'], 'answers until another builder has its frames');
  heads.begin('one', 'fourth', sab, 9);
  heads.dropOrphans();
  t.same(scanned(), ['fourth']);
  const until = () => heads.takenRanges().map(({ toSequence }) => toSequence);
  heads.logBegins(9);
  t.same(until(), [9], 'frame 9 is still in the log');
  heads.logBegins(10);
  t.same(until(), [], 'nothing is kept of frames that the log has no more');
  t.end();
});

t.test('spans beyond the limits of traces are refused before the log', async (t) => {
  const harness = await started(testFolder(t));
  t.teardown(() => harness.ingester.stop());
  const body = aRequest(0, 15);
  const traces = new TraceRuns();
  scanRequest(body, traces);
  const { rejected } = await harness.ingester.push({ tenant: 'one', body, spanCount: 15, traces });
  t.match(rejected, [{ reason: 'live_traces_exceeded', spanCount: 5 }]);
  t.equal((await found(harness)).headSpans, 10);
  const more = aRequest(15, 5);
  scanRequest(more, traces);
  t.match(await harness.ingester.push({ tenant: 'one', body: more, spanCount: 5, traces }), {
    rejected: [{ spanCount: 5 }],
  });
  t.equal((await found(harness)).headSpans, 10, 'nothing is written when nothing is left');
});

t.test(
  'metrics: traces of requests and live traces, counted when they come and not when replayed',
  async (t) => {
    const data = aFolder();
    const harness = await started(data, { config: { traceIdlePeriodMs: 2000 } });
    const read = (name: string): Promise<number> => metric(harness.metrics, name);
    t.equal(await read('tempo_ring_members{name="ingester",state="ACTIVE"}'), 1);
    await push(harness, 0, 50);
    await push(harness, 0, 50, 'two');
    await push(harness, 50, 25);
    const live = 'tempo_ingester_live_traces{tenant="one"}';
    const batches = 'tempo_distributor_traces_per_batch';
    await until('all requests are counted', async () => (await read(`${batches}_count`)) === 3);
    t.equal(await read(`${batches}_sum`), 25);
    t.equal(await read(`${batches}_bucket{le="8"}`), 1);
    t.equal(await read('tempo_ingester_traces_created_total{tenant="one"}'), 15);
    t.equal(await read('tempo_spans_distance_in_past_seconds_count{tenant="one"}'), 75);
    await until('silent traces live no more', async () => (await read(live)) === 0);
    await push(harness, 75, 25);
    await until('traces live again', async () => (await read(live)) > 0);
    await harness.ingester.stop();
    t.equal(await read('tempo_ring_members{name="ingester",state="ACTIVE"}'), 0);
    const again = await started(data);
    await until('the log is replayed', async () => (await found(again)).headSpans === 100);
    const created = 'tempo_ingester_traces_created_total{tenant="one"}';
    await until('what was replayed is told', async () => (await metric(again.metrics, created)) === 20);
    t.equal(await metric(again.metrics, `${batches}_count`), 0);
    await again.ingester.stop();
  },
);

const STRESS_MS = Number(process.env['STRESS_SECONDS'] ?? 2) * 1000;

t.test('under stress every push is kept or refused with a reason', async (t) => {
  const harness = await started(aFolder(), {
    headBytesMax: 1024 * 1024,
    log: { ringBytes: 96 * 1024, ringWaitMs: 50, segmentBytes: 256 * 1024 },
    limits: () => ({ maxTracesPerUser: 0, maxGlobalTracesPerUser: 0, maxBytesPerTrace: 0 }),
    config: { maxBlockDurationMs: 300 },
  });
  const { ingester, metrics } = harness;
  const builder = ingester as unknown as {
    readonly running: { readonly builder: { readonly worker?: { terminate(): Promise<number> } } };
  };
  const endMs = performance.now() + STRESS_MS;
  const isOver = (): boolean => performance.now() > endMs;
  const codes = new Map<string, number>();
  const kept = new Map<string, number>();
  let first = 0;
  const pusher = async (i: number): Promise<void> => {
    for (let round = 0; !isOver(); round++) {
      const tenant = `tenant-${(i + round) % 4}`;
      // Small ones of all lengths, and some that are too large for the ring.
      const spans = 5 * (round % 40 === 39 ? 60 : 1 + (round % 7));
      const from = first;
      first += spans;
      const code = await codeOf(push(harness, from, spans, tenant, 'x'.repeat((round * 7) % 97)));
      codes.set(code, (codes.get(code) ?? 0) + 1);
      if (code === 'no error') kept.set(tenant, (kept.get(tenant) ?? 0) + spans / 5);
    }
  };
  const disturb = async (): Promise<void> => {
    for (let round = 0; !isOver(); round++) {
      await new Promise((resolve) => setTimeout(resolve, 40));
      ingester.setPressure(round % 3 === 0 ? 'full' : round % 3 === 1 ? 'tight' : 'calm');
      if (round % 3 === 0) await builder.running.builder.worker?.terminate();
      else await codeOf(ingester.flush());
      await found(harness, `tenant-${round % 4}`);
    }
  };
  await Promise.all([...Array.from({ length: 12 }, (_, i) => pusher(i)), disturb()]);
  t.comment(JSON.stringify(Object.fromEntries(codes)));
  t.strictSame(
    [...codes.keys()].filter((code) => !['no error', 'unavailable', 'resource_exhausted'].includes(code)),
    [],
  );
  t.ok((codes.get('no error') ?? 0) > 20);
  t.ok((await metric(metrics, 'tempo_ingester_builder_restarts_total')) > 0);
  ingester.setPressure('calm');
  await until('all is in blocks', async () => (await codeOf(ingester.flush())) === 'no error');
  // What two builders were ended at is set aside: it is in a file of its own.
  for (const line of harness.lines) {
    const aside = /it is set aside.* tenant=(\S+) .*spans=(\d+)/.exec(line);
    if (aside !== null) kept.set(aside[1]!, kept.get(aside[1]!)! - Number(aside[2]) / 5);
  }
  for (const [tenant, traces] of kept) {
    const { headSpans, blockTraces, complete } = await found(harness, tenant);
    t.strictSame(
      { headSpans, blockTraces, complete },
      { headSpans: 0, blockTraces: traces, complete: true },
      tenant,
    );
  }
  await ingester.stop();
});
