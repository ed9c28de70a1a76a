// What a scan thread answers, without the thread: a trace whose parts lie in several sources is one, and a
// source that cannot be read is told while the others are read.
import t from 'tap';
import { HeadBuilder } from '../../src/block/head/builder.ts';
import { HeadReader } from '../../src/block/head/reader.ts';
import { createBlock } from '../../src/block/vparquet/create.ts';
import type { BlockMeta } from '../../src/block/meta.ts';
import { MemoryStore } from '../../src/objectstore/memory.ts';
import { FOOTER_TAIL_BYTES, parseFooter } from '../../src/parquet/footer.ts';
import { crashedResult } from '../../src/store/crashed-job.ts';
import { unpackFound } from '../../src/store/pack.ts';
import type {
  ScanJob,
  ScanSource,
  SearchJob,
  SearchJobResult,
  TraceJobResult,
} from '../../src/store/scan-job.ts';
import { ScanPool } from '../../src/store/scan-pool.ts';
import { Scanner } from '../../src/store/scanner.ts';
import { silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { aSpan, decodeTraces, encodeTraces, hexId, START_NANO, type TestSpan } from '../support/otlp.ts';

const SECOND = 1_000_000_000n;
const { signal } = new AbortController();

function headOf(spans: readonly TestSpan[]): SharedArrayBuffer {
  const head = new HeadBuilder({ maxBytes: 1 << 24 });
  const bytes = encodeTraces(spans);
  head.append(bytes, 0, bytes.length);
  return head.sab;
}

const asHead = (blockId: string, spans: readonly TestSpan[]): ScanSource => ({
  kind: 'head',
  blockId,
  sab: headOf(spans),
});

/** A block of the spans, put into the store. */
async function asBlock(
  store: MemoryStore,
  blockId: string,
  spans: readonly TestSpan[],
): Promise<ScanSource & { readonly meta: BlockMeta }> {
  const objects = new Map<string, number[]>();
  const meta = createBlock({
    head: new HeadReader(headOf(spans)),
    blockId,
    tenant: 'team',
    dedicatedColumns: [],
    sink: {
      create: (name) => {
        const bytes: number[] = [];
        objects.set(name, bytes);
        return { write: (part) => bytes.push(...part), close: () => {} };
      },
    },
  });
  for (const [name, bytes] of objects) await store.write(`team/${blockId}/${name}`, Uint8Array.from(bytes));
  return { kind: 'block', meta, location: 'backend' };
}

function setUp() {
  const local = new MemoryStore(() => 0);
  const backend = new MemoryStore(() => 0);
  return { local, backend, scanner: new Scanner({ local, backend, cacheBytes: 1 << 20 }) };
}

const span = (trace: number, id: number, over: Partial<TestSpan> = {}): TestSpan =>
  aSpan({ traceId: hexId(trace, 16), spanId: hexId(id, 8), ...over });
const idOf = (trace: number): Uint8Array => new Uint8Array(Buffer.from(hexId(trace, 16), 'hex'));

/** Trace 1 in two parts that share a span, trace 2 in the first source only. */
const ROOT = span(1, 1, { name: 'root' });
const SHARED = span(1, 2, { name: 'middle', parentSpanId: hexId(1, 8) });
const LEAF = span(1, 3, { name: 'leaf', parentSpanId: hexId(2, 8), startUnixNano: START_NANO + SECOND });
const OTHER = span(2, 4, { name: 'root' });

async function inTwoSources(backend: MemoryStore): Promise<readonly ScanSource[]> {
  return [asHead('head', [ROOT, SHARED, OTHER]), await asBlock(backend, 'block', [SHARED, LEAF])];
}

const search = (query: string, sources: readonly ScanSource[], combine?: Uint8Array): SearchJob => ({
  kind: 'search',
  query,
  range: { startSec: undefined, endSec: undefined },
  limit: 10,
  spansPerSpanSet: 3,
  format: 'json',
  sources,
  ...(combine === undefined ? {} : { combine }),
});

t.test('trace by id puts the parts together, each span once', async (t) => {
  const { scanner, backend } = setUp();
  const sources = await inTwoSources(backend);
  for (const order of [sources, sources.toReversed()]) {
    const job = { kind: 'trace', id: idOf(1), sources: order, format: 'proto', bytesMax: 0 } as const;
    const { trace, failures } = (await scanner.run(job, signal)) as TraceJobResult;
    t.same(
      decodeTraces(trace!)
        .map(({ spanId }) => spanId)
        .sort(),
      [1, 2, 3].map((id) => hexId(id, 8)),
    );
    t.same(failures, []);
  }
  const absent = { kind: 'trace', id: idOf(9), sources, format: 'json', bytesMax: 0 } as const;
  t.equal(((await scanner.run(absent, signal)) as TraceJobResult).trace, undefined);
});

t.test(
  'a trace in several sources is searched as a whole, one in a single source is left alone',
  async (t) => {
    const { scanner, backend } = setUp();
    const sources = await inTwoSources(backend);
    const query = '{ name = "root" } >> { name = "leaf" }';
    const apart = (await scanner.run(search(query, sources), signal)) as SearchJobResult;
    t.equal(apart.found.count, 0, 'no part has both');
    const ids = Uint8Array.from([...idOf(1), ...idOf(2)]);
    const whole = (await scanner.run(search(query, sources, ids), signal)) as SearchJobResult;
    t.same([...whole.combined], [...idOf(1)]);
    const [found] = unpackFound(whole.found);
    t.equal(whole.found.count, 1);
    t.same([...found!.id], [...idOf(1)]);
    t.match(JSON.parse(Buffer.from(found!.body).toString()), { rootTraceName: 'root', durationMs: Number });
  },
);

t.test('what cannot be read is told, the rest is answered', async (t) => {
  const { scanner, backend } = setUp();
  const [head, block] = await inTwoSources(backend);
  const missing = {
    ...block!,
    meta: { ...(block as { meta: BlockMeta }).meta, blockId: 'gone' },
  } as ScanSource;
  const sources = [missing, head!, block!];
  const found = (await scanner.run(search('{ name = "leaf" }', sources), signal)) as SearchJobResult;
  t.equal(found.found.count, 1);
  t.match(found.failures, [{ source: 'gone', code: 'not_found' }]);
  const job = { kind: 'trace', id: idOf(1), sources, format: 'proto', bytesMax: 0 } as const;
  const { trace, failures } = (await scanner.run(job, signal)) as TraceJobResult;
  t.equal(decodeTraces(trace!).length, 3);
  t.match(failures, [{ source: 'gone', code: 'not_found' }]);
});

t.test('a local block that has left the folder is read from the backend', async (t) => {
  const { scanner, backend } = setUp();
  const block = await asBlock(backend, 'block', [LEAF]);
  const sources = [{ ...block, location: 'local' } as ScanSource];
  const found = (await scanner.run(search('{ name = "leaf" }', sources), signal)) as SearchJobResult;
  t.equal(found.found.count, 1);
  t.same(found.failures, []);
});

t.test('a part that is damaged where the query did not look is told, the others are combined', async (t) => {
  const { scanner, backend } = setUp();
  const sources = [...(await inTwoSources(backend)), asHead('another', [SHARED])];
  const { meta } = sources[1] as { meta: BlockMeta };
  const key = `team/${meta.blockId}/data.parquet`;
  const data = (await backend.read(key)).slice();
  const footer = data.subarray(data.length - meta.footerSizeBytes - FOOTER_TAIL_BYTES, -FOOTER_TAIL_BYTES);
  const { leaves, rowGroups } = parseFooter(footer, data.length);
  const column = leaves.findIndex(({ path }) => path.at(-1) === 'StatusMessage');
  const { dataPageOffset, compressedBytes } = rowGroups[0]!.columns[column]!;
  data.fill(0xff, dataPageOffset, dataPageOffset + compressedBytes);
  await backend.write(key, data);
  const query = '{ name = "leaf" || name = "middle" }';
  const apart = (await scanner.run(search(query, sources), signal)) as SearchJobResult;
  t.same(apart.failures, []);
  const whole = (await scanner.run(search(query, sources, idOf(1)), signal)) as SearchJobResult;
  t.match(whole.failures, [{ source: 'block', code: 'block_corrupt' }]);
  t.equal(whole.found.count, 1);
});

t.test("scan threads that end: the others' jobs are done, and no job ends more than two", async (t) => {
  const metrics = new Metrics();
  const pool = new ScanPool({
    batchSizeMax: 7,
    threads: 2,
    queueLengthMax: 100,
    workerData: { localBlocksPath: '', backendPath: '', cacheBytes: 0 },
    heapBytesMax: 32 << 20,
    worker: new URL('../support/crashing-scan-worker.ts', import.meta.url),
    logger: silentLogger,
    metrics,
  });
  pool.start();
  t.teardown(() => pool.stop());
  const source = asHead('the-head', [aSpan()]);
  const search = async (query: string, limitMs = 0): Promise<SearchJobResult> => {
    const job: SearchJob = {
      kind: 'search',
      query,
      range: { startSec: undefined, endSec: undefined },
      limit: 1,
      spansPerSpanSet: 1,
      format: 'json',
      sources: [source],
    };
    return (await pool.run(job, { tenant: 'one', limitMs })) as SearchJobResult;
  };
  for (const fatal of ['throw', 'exit', 'memory']) {
    const good = Array.from({ length: 6 }, () => search('fine'));
    const bad = search(fatal);
    const more = Array.from({ length: 6 }, () => search('fine'));
    t.strictSame((await bad).failures, [
      { source: 'the-head', code: 'internal', message: 'the scan thread that read it ended' },
    ]);
    for (const { inspectedTraces } of await Promise.all([...good, ...more]))
      t.equal(inspectedTraces, 1, fatal);
  }
  const text = await metrics.text();
  t.match(text, /tempo_scan_thread_restarts_total 6\n/);
  t.match(text, /tempo_scan_jobs_total\{kind="search",result="crashed"\} 3\n/);
  t.match(text, /tempo_scan_jobs_total\{kind="search",result="done"\} 36\n/);
  const parts: ScanJob = { kind: 'trace', id: new Uint8Array(16), sources: [], format: 'part', bytesMax: 0 };
  t.equal(crashedResult(parts), undefined, 'without sources nothing is partial');
  const late = { code: 'deadline_exceeded', message: 'context deadline exceeded' };
  await t.rejects(search('forever', 20), late);
  t.equal((await search('fine', 60_000)).inspectedTraces, 1, 'others have their time');
});

t.test('a scan thread that cannot start is not tried in a loop', async (t) => {
  const metrics = new Metrics();
  const pool = new ScanPool({
    batchSizeMax: 7,
    threads: 1,
    queueLengthMax: 100,
    workerData: { localBlocksPath: '', backendPath: '', cacheBytes: 0 },
    heapBytesMax: 32 << 20,
    worker: new URL('../support/no-such-worker.ts', import.meta.url),
    logger: silentLogger,
    metrics,
  });
  const startMs = performance.now();
  pool.start();
  const job: ScanJob = { kind: 'trace', id: new Uint8Array(16), sources: [], format: 'part', bytesMax: 0 };
  for (let i = 0; i < 2; i++) {
    await t.rejects(pool.run(job, { tenant: 'one' }), {
      code: 'internal',
      message: 'the job ended its scan threads',
    });
  }
  t.ok(performance.now() - startMs > 690, 'pauses of 100, 200 and 400 ms');
  const waiting = t.rejects(pool.run(job, { tenant: 'one' }), { code: 'unavailable' });
  await pool.stop();
  await waiting;
  t.match(await metrics.text(), /tempo_scan_thread_restarts_total 4\n/);
});
