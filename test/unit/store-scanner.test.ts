// What a scan thread answers, without the thread: a trace whose parts lie in several sources is one, and a
// source that cannot be read is told while the others are read.
import { randomBytes } from 'node:crypto';
import { cpSync, readdirSync, readFileSync } from 'node:fs';
import os from 'node:os';
import t, { type Test } from 'tap';
import { helpersGiveWay } from '../../src/app/helper-threads.ts';
import { byRole, OuterCache } from '../../src/cache/outer-cache.ts';
import { CACHE_ROLES } from '../../src/cache/settings.ts';
import { HeadBuilder } from '../../src/block/head/builder.ts';
import { metaFromJson } from '../../src/block/meta-json.ts';
import type { BlockMeta } from '../../src/block/meta.ts';
import { Scratch, ScratchPool } from '../../src/lib/scratch.ts';
import { BucketStore } from '../../src/objectstore/bucket-store.ts';
import { CachedStore } from '../../src/objectstore/cached-store.ts';
import { MaterialAtHand } from '../../src/block/vparquet/group-columns.ts';
import { MemoryStore } from '../../src/objectstore/memory.ts';
import type { ObjectStore } from '../../src/objectstore/objectstore.ts';
import { FOOTER_TAIL_BYTES, parseFooter } from '../../src/parquet/footer.ts';
import { crashedResult } from '../../src/store/crashed-job.ts';
import { unpackFound } from '../../src/store/pack.ts';
import type {
  ScanJob,
  ScanResult,
  ScanSource,
  SearchJob,
  SearchJobResult,
  SharedTracesJobResult,
  TraceJobResult,
  WholeTraces,
} from '../../src/store/scan-job.ts';
import { StoppingError, type TempoError } from '../../src/lib/errors.ts';
import type { StartThread } from '../../src/lib/start-thread.ts';
import { JobQueue, QueryTurn } from '../../src/store/job-queue.ts';
import { ScanPool } from '../../src/store/scan-pool.ts';
import type { Pending } from '../../src/store/scan-thread.ts';
import { Scanner, type ScannerOptions } from '../../src/store/scanner.ts';
import { silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { FewThreads } from '../support/few-threads.ts';
import { until } from '../support/hostile.ts';
import { MEMCACHED, MemcachedDouble } from '../support/memcached-double.ts';
import { MemoryBucket } from '../support/memory-bucket.ts';
import { aSpan, decodeTraces, encodeTraces, hexId, START_NANO, type TestSpan } from '../support/otlp.ts';
import { asBlock, asHead } from '../support/scan-sources.ts';
import { testFolder } from '../support/test-folder.ts';

t.setTimeout(120_000);

const SECOND = 1_000_000_000n;
const { signal } = new AbortController();

function setUp() {
  const local = new MemoryStore(() => 0);
  const backend = new MemoryStore(() => 0);
  return { local, backend, scanner: new Scanner({ local, backend, cacheBytes: 1 << 20 }) };
}

const span = (trace: number, id: number, over: Partial<TestSpan> = {}): TestSpan =>
  aSpan({ traceId: hexId(trace, 16), spanId: hexId(id, 8), ...over });
const idOf = (trace: number): Uint8Array => new Uint8Array(Buffer.from(hexId(trace, 16), 'hex'));
const textOf = (trace: number): string => hexId(trace, 16).replace(/^0+/, '');

/** Trace 1 in two parts that share a span, trace 2 in the first source only. */
const ROOT = span(1, 1, { name: 'root' });
const SHARED = span(1, 2, { name: 'middle', parentSpanId: hexId(1, 8) });
const LEAF = span(1, 3, { name: 'leaf', parentSpanId: hexId(2, 8), startUnixNano: START_NANO + SECOND });
const OTHER = span(2, 4, { name: 'root' });

async function inTwoSources(backend: MemoryStore): Promise<readonly ScanSource[]> {
  return [asHead('head', [ROOT, SHARED, OTHER]), await asBlock(backend, 'block', [SHARED, LEAF])];
}

const search = (query: string, sources: readonly ScanSource[], whole?: WholeTraces): SearchJob => ({
  kind: 'search',
  query,
  range: { startSec: undefined, endSec: undefined },
  limit: 10,
  spansPerSpanSet: 3,
  format: 'json',
  sources,
  ...(whole === undefined ? {} : { whole }),
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

/** Where the traces are that lie in several of the sources. */
async function sharedOf(scanner: Scanner, sources: readonly ScanSource[]): Promise<SharedTracesJobResult> {
  return (await scanner.run(
    { kind: 'sharedTraces', sources, range: [0, 2 ** 32] },
    signal,
  )) as SharedTracesJobResult;
}

const wholeOf = (sources: readonly ScanSource[], { places }: SharedTracesJobResult): WholeTraces => ({
  name: 'some',
  version: '1',
  sources,
  places,
  range: [0, places.ends.length],
});

t.test('a trace in several sources is searched as a whole, one in a single source in place', async (t) => {
  const { scanner, backend } = setUp();
  const sources = await inTwoSources(backend);
  const query = '{ name = "root" } >> { name = "leaf" }';
  const apart = (await scanner.run(search(query, sources), signal)) as SearchJobResult;
  t.equal(apart.found.count, 0, 'no part has both');
  const shared = await sharedOf(scanner, sources);
  t.same(
    shared.without.map((rows) => [...rows]),
    [[0], [0]],
  );
  t.same(shared.traceCounts, [2, 1]);
  const whole = (await scanner.run(search(query, [], wholeOf(sources, shared)), signal)) as SearchJobResult;
  const [found] = unpackFound(whole.found);
  t.equal(whole.found.count, 1);
  t.equal(found!.traceId, textOf(1));
  t.match(JSON.parse(Buffer.from(found!.body).toString()), { rootTraceName: 'root', durationMs: Number });
  const inPlace = sources.map((source, i) => ({ ...source, without: shared.without[i]! }));
  const rest = (await scanner.run(search('{ }', inPlace), signal)) as SearchJobResult;
  t.same(
    unpackFound(rest.found).map(({ traceId }) => traceId),
    [textOf(2)],
  );
});

t.test('what was brought together is of use until a head has more of just these traces', async (t) => {
  const { scanner, backend } = setUp();
  const head = new HeadBuilder({ maxBytes: 1 << 24 });
  const add = (spans: readonly TestSpan[]): void => {
    const bytes = encodeTraces(spans);
    head.append(bytes, 0, bytes.length);
  };
  add([ROOT, SHARED]);
  const block = await asBlock(backend, 'block', [SHARED, LEAF]);
  const sources: readonly ScanSource[] = [block, { kind: 'head', blockId: 'head', sab: head.sab }];
  const versionNow = async (): Promise<string> => (await sharedOf(scanner, sources)).version;
  const first = await versionNow();
  add([OTHER]);
  t.equal(await versionNow(), first, 'another trace');
  add([ROOT]);
  t.equal(await versionNow(), first, 'a span that is there');
  add([span(1, 5, { name: 'more' })]);
  const second = await versionNow();
  t.not(second, first, 'a span of the trace');
  const over = async (): Promise<number> => {
    const shared = await sharedOf(scanner, sources);
    const whole = { ...wholeOf(sources, shared), version: shared.version };
    const { found } = (await scanner.run(search('{ name = "late" }', [], whole), signal)) as SearchJobResult;
    return found.count;
  };
  t.equal(await over(), 0);
  add([span(1, 6, { name: 'late' })]);
  t.equal(await over(), 1);
  add([span(3, 7)]);
  const more = await asBlock(backend, 'more', [span(3, 8)]);
  t.not((await sharedOf(scanner, [...sources, more])).version, await versionNow(), 'another trace in two');
});

t.test('jobs give back the memory that they have read into', async (t) => {
  const backend = new MemoryStore(() => 0);
  const more = Array.from({ length: 60 }, (_, i) => span(2, 10 + i, { kind: 1 + (i % 2) }));
  const spans = [ROOT, SHARED, LEAF, OTHER, ...more];
  const sources: readonly ScanSource[] = [
    await asBlock(backend, 'block', spans),
    await asBlock(backend, 'another', spans.slice(1)),
  ];
  const lent = new Set<Scratch>();
  let begun = 0;
  const begin = Reflect.get(ScratchPool.prototype, 'begin') as (this: ScratchPool) => Scratch;
  const end = Reflect.get(Scratch.prototype, 'end') as (this: Scratch) => void;
  // What is at hand of a block has to go even where the block has nothing that would lie there.
  const released = new Set<MaterialAtHand>();
  const release = Reflect.get(MaterialAtHand.prototype, 'release') as (this: MaterialAtHand) => void;
  t.teardown(() => {
    ScratchPool.prototype.begin = begin;
    Scratch.prototype.end = end;
    MaterialAtHand.prototype.release = release;
  });
  MaterialAtHand.prototype.release = function (): void {
    release.call(this);
    released.add(this);
  };
  ScratchPool.prototype.begin = function (): Scratch {
    const scratch = begin.call(this);
    lent.add(scratch);
    begun++;
    return scratch;
  };
  Scratch.prototype.end = function (): void {
    end.call(this);
    lent.delete(this);
  };
  const [source] = sources as [ScanSource];
  const jobs: readonly ScanJob[] = [
    { kind: 'sharedTraces', sources, range: [0, 2 ** 32] },
    { kind: 'traceTable', sources: [source] },
    { kind: 'traceParts', sources: [source], rows: Int32Array.of(0, 1) },
    { kind: 'trace', id: idOf(1), sources, format: 'proto', bytesMax: 0 },
    search('{ name = "leaf" }', sources),
  ];
  for (const job of jobs) {
    begun = 0;
    lent.clear();
    released.clear();
    // nothing fits the cache: all that is read is at hand only
    const scanner = new Scanner({ local: backend, backend, cacheBytes: 0 });
    t.match(await scanner.run(job, signal), { failures: [] });
    t.ok(begun > 0, `${job.kind} reads`);
    t.equal(lent.size, 0, job.kind);
    t.equal(released.size, 'sources' in job ? job.sources.length : 0, `${job.kind}: blocks`);
  }
});

t.test('memory that waits to be used again has a bound', async (t) => {
  const chunk = 256 * 1024;
  const pool = new ScratchPool(3 * chunk, 0xa5);
  const works = Array.from({ length: 4 }, () => pool.begin());
  const taken = works.map((work) => work.take(chunk));
  for (const work of works) work.end();
  t.equal(pool.keptBytes, 3 * chunk, 'what is beyond it goes');
  t.ok(
    taken.every((bytes) => bytes[0] === 0xa5),
    'given back',
  );
  works[0]!.end();
  t.equal(pool.keptBytes, 3 * chunk, 'only once');
  t.throws(() => works[0]!.take(1), /after the work/);
  const again = pool.begin();
  const first = again.take(100);
  t.equal(pool.keptBytes, 2 * chunk, 'one is in use');
  t.ok(
    taken.some(({ buffer }) => buffer === first.buffer),
    'of those that waited',
  );
  const second = again.take(7);
  const third = again.take(1);
  t.ok(second.byteOffset >= first.byteOffset + first.length && third.byteOffset >= second.byteOffset + 7);
  t.equal(third.byteOffset % 8, 0);
  t.ok(again.take(3 * chunk).length === 3 * chunk && pool.keptBytes === 2 * chunk, 'none is large enough');
  again.end();
  t.equal(pool.keptBytes, 3 * chunk, 'the large one is kept in place of what waited longer');
  const large = pool.begin();
  t.equal(large.take(3 * chunk).length, 3 * chunk);
  t.equal(pool.keptBytes, 0, 'it is used again');
  large.take(3 * chunk + 1);
  large.end();
  t.equal(pool.keptBytes, 3 * chunk, 'what is larger than all that may be kept drives nothing out');
  const earlier = pool.begin();
  earlier.take(3 * chunk);
  const later = pool.begin();
  later.take(chunk);
  earlier.end();
  later.end();
  t.equal(pool.keptBytes, chunk, 'what waited longest went');
  pool.limit(chunk);
  t.equal(pool.keptBytes, chunk);
  pool.limit(chunk - 1);
  t.equal(pool.keptBytes, 0);
  await t.rejects(
    pool.lend((scratch) => {
      scratch.take(1);
      throw new Error('in vain');
    }),
    /in vain/,
  );
});

t.test('a scan thread forgets what it has made of a head that is gone', async (t) => {
  const metrics = new Metrics();
  const pool = new ScanPool({
    batchSizeMax: 7,
    threads: 1,
    queueLengthMax: 100,
    tenantQueueLengthMax: 20,
    workerData: { localBlocksPath: os.tmpdir(), backendPath: os.tmpdir(), cacheBytes: 16 << 20 },
    heapBytesMax: 64 << 20,
    logger: silentLogger,
    metrics,
  });
  pool.start();
  t.teardown(() => pool.stop());
  const held = async (): Promise<number> =>
    Number(/tempo_head_columns_held_bytes (\d+)/.exec(await metrics.text())?.[1]);
  const gone = asHead('gone', [ROOT, OTHER]);
  await pool.run(search('{ name = "root" }', [gone]), { tenant: 'one' });
  const one = await held();
  t.ok(one > 0, 'something is kept');
  await pool.run(search('{ name = "root" }', [asHead('stays', [ROOT, OTHER])]), { tenant: 'one' });
  t.equal(await held(), 2 * one);
  pool.headReleased(1000, 'gone');
  await until(async () => {
    await pool.run(search('{ name = "root" }', []), { tenant: 'one' });
    return (await held()) === one;
  });
});

t.test('what is read of remote blocks has a role for caches, where these are wanted', async (t) => {
  class Watched extends MemoryStore {
    readonly roles: string[] = [];

    override read(...args: Parameters<ObjectStore['read']>): Promise<Uint8Array> {
      this.roles.push(`${args[0].split('/').at(-1)} ${args[2]}`);
      return super.read(args[0]);
    }

    override readRange(...args: Parameters<ObjectStore['readRange']>): Promise<Uint8Array> {
      this.roles.push(`range ${args[4]}`);
      return super.readRange(args[0], args[1], args[2]);
    }
  }
  const backend = new Watched(() => 0);
  const text = (): string => randomBytes(500).toString('base64');
  const spans = Array.from({ length: 2500 }, (_, i) =>
    span(i + 1, i + 1, { attributes: [['text', text()]] }),
  );
  const large = await asBlock(backend, 'large', spans);
  const small = await asBlock(backend, 'small', [span(1, 1)]);
  const rolesOf = async (source: ScanSource, changes: Partial<ScannerOptions>, id = 1): Promise<string[]> => {
    const local = new MemoryStore(() => 0);
    const scanner = new Scanner({ local, backend, cacheBytes: 1 << 20, isRemote: true, ...changes });
    backend.roles.length = 0;
    const sources = [source];
    await scanner.run({ kind: 'trace', id: idOf(id), sources, format: 'json', bytesMax: 0 }, signal);
    return [...new Set(backend.roles)].toSorted();
  };
  const cached = { bloomLevelMax: 0, bloomAgeMsMax: 0 };
  const ranges = ['range parquet-footer', 'range parquet-offset-idx', 'range parquet-page'];
  t.same(await rolesOf(large, { cached }), ['bloom-0 bloom', ...ranges]);
  t.same(await rolesOf(small, { cached }), ['bloom-0 bloom', 'data.parquet parquet-page']);
  t.same(await rolesOf(large, {}), ['bloom-0 undefined', 'range undefined']);
  t.same(await rolesOf(large, { cached, isRemote: false }), ['bloom-0 undefined', 'range undefined']);
  t.same(await rolesOf(large, { cached }, 5000), ['bloom-0 bloom'], 'nothing else where the trace is not');
  const bounds = [
    { bloomLevelMax: 0, bloomAgeMsMax: 60_000 },
    { bloomLevelMax: 1, bloomAgeMsMax: 0 },
  ];
  if (large.kind !== 'block') throw new Error('a block');
  const high = { ...large, meta: { ...large.meta, compactionLevel: 2, startSec: 1000 } };
  for (const bound of bounds) {
    t.same(await rolesOf(high, { cached: bound }), ['bloom-0 undefined', ...ranges], 'too high, too old');
  }
});

t.test('a limit takes the newest of all sources, and says whether more match', async (t) => {
  const { scanner, backend } = setUp();
  // 40 traces over four sources, several in one microsecond; the id of a trace says nothing of its time
  const traces = Array.from({ length: 40 }, (_, i) => {
    const startUnixNano = START_NANO + BigInt((i * 7) % 20) * 1000n + BigInt(i % 3);
    return span(i + 1, i + 1, { startUnixNano, name: i % 2 === 0 ? 'even' : 'odd' });
  });
  const part = (k: number): TestSpan[] => traces.filter((_, i) => i % 4 === k);
  const sources = [
    asHead('a', part(0)),
    await asBlock(backend, 'b', part(1)),
    asHead('c', part(2)),
    await asBlock(backend, 'd', part(3)),
  ];
  for (const query of ['{ }', '{ name = "odd" }']) {
    const idsWith = async (limit: number) => {
      const job = { ...search(query, sources), limit };
      const { found, hasMore } = (await scanner.run(job, signal)) as SearchJobResult;
      return { ids: unpackFound(found).map(({ traceId }) => traceId), hasMore };
    };
    const all = (await idsWith(100)).ids;
    t.equal(all.length, query === '{ }' ? 40 : 20);
    for (let limit = 1; limit <= all.length; limit++) {
      t.same(await idsWith(limit), { ids: all.slice(0, limit), hasMore: limit < all.length }, `${limit}`);
    }
  }
});

t.test('copies with the same spans are evaluated in one of them', async (t) => {
  const { scanner, backend } = setUp();
  const sources = [
    asHead('head', [OTHER, ROOT, SHARED, LEAF]),
    await asBlock(backend, 'block', [LEAF, SHARED, ROOT]),
    asHead('other', [span(2, 4, { kind: 2 })]),
  ];
  const { without, places } = await sharedOf(scanner, sources);
  t.same(
    without.map((rows) => [...rows]),
    [[0], [0], [0]],
    'another kind is another span',
  );
  t.same([...places.ends], [2]);
  t.same([...places.source], [0, 2]);
  t.same([...places.row], [0, 0]);
});

t.test('of a head only what was there when shared traces were looked for is searched', async (t) => {
  const { scanner } = setUp();
  const head = asHead('head', [ROOT, OTHER]);
  const found = (await scanner.run(search('{ }', [{ ...head, traceCount: 1 }]), signal)) as SearchJobResult;
  t.same(
    unpackFound(found.found).map(({ traceId }) => traceId),
    [textOf(1)],
  );
});

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
  const whole = wholeOf(sources, await sharedOf(scanner, sources));
  const together = (await scanner.run(search(query, [], whole), signal)) as SearchJobResult;
  t.match(together.failures, [{ source: 'block', code: 'block_corrupt' }]);
  t.equal(together.found.count, 1);
});

t.test("scan threads that end: the others' jobs are done, and no job ends more than two", async (t) => {
  const metrics = new Metrics();
  const pool = new ScanPool({
    batchSizeMax: 7,
    threads: 2,
    queueLengthMax: 100,
    tenantQueueLengthMax: 100,
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

t.test('where no scan thread may start, jobs are refused with the reason until one does', async (t) => {
  const few = new FewThreads();
  const pool = aPool(t, 2, new Metrics(), few.start);
  const run = async (query: string): Promise<ScanResult> =>
    pool.run(search(query, [asHead('the-head', [aSpan()])]), { tenant: 'one' });
  const refusal = { code: 'unavailable', message: 'the system lets no scan thread start' };
  await t.rejects(run('fine'), refusal);
  t.equal(few.refused, 2);
  few.left = 1;
  let answer: ScanResult | undefined;
  const isAnswered = async (): Promise<boolean> => {
    answer = await run('fine').catch((err: TempoError) => void t.match(err, refusal));
    return answer !== undefined;
  };
  t.ok(await until(isAnswered, 10_000));
  t.match(answer, { kind: 'search', inspectedTraces: 1, failures: [] });
  few.left = Infinity;
  // Both threads end; the jobs behind wait for one that starts, or are told that none does.
  const ends = ['exit', 'exit', 'exit', 'fine', 'fine', 'fine'].map((query) =>
    run(query).then(
      (result) => ('failures' in result ? result.failures.length : 0),
      (err: TempoError) => err.message,
    ),
  );
  const told = await Promise.all(ends);
  t.equal(told.at(-1), refusal.message, told.join());
  few.left = 0;
  t.ok(await until(isAnswered, 10_000), 'one starts again');
});

function aPool(t: Test, threads: number, metrics: Metrics, startThread?: StartThread): ScanPool {
  const pool = new ScanPool({
    ...(startThread === undefined ? {} : { startThread }),
    batchSizeMax: 7,
    threads,
    queueLengthMax: 100,
    tenantQueueLengthMax: 20,
    workerData: { localBlocksPath: '', backendPath: '', cacheBytes: 0 },
    heapBytesMax: 32 << 20,
    worker: new URL('../support/crashing-scan-worker.ts', import.meta.url),
    logger: silentLogger,
    metrics,
  });
  pool.start();
  t.teardown(() => pool.stop());
  return pool;
}

t.test(
  'tenants take turns, each may have so many jobs waiting, and a busy thread sees that a job is over',
  async (t) => {
    const metrics = new Metrics();
    const pool = aPool(t, 1, metrics);
    const sources = [asHead('the-head', [aSpan()])];
    const done: string[] = [];
    const run = async (tenant: string, query: string, signal?: AbortSignal): Promise<void> => {
      await pool.run(search(query, sources), { tenant, signal });
      done.push(tenant);
    };
    const client = new AbortController();
    const busy = run('many', 'busy', client.signal);
    const many = Array.from({ length: 21 }, () => run('many', 'fine'));
    const few = [run('few', 'fine'), run('other', 'fine'), run('few', 'fine')];
    await t.rejects(run('many', 'fine'), { code: 'resource_exhausted', message: 'job queue full' });
    t.match(await metrics.text(), /tempo_query_frontend_queue_length\{user="many"\} 20\n/);
    t.match(await metrics.text(), /tempo_query_frontend_discarded_requests_total\{user="many"\} 1\n/);
    const several = run(Array.from({ length: 300 }, (_, i) => i).join('|'), 'fine');
    t.match(await metrics.text(), /tempo_query_frontend_queue_length\{user="several tenants"\} 1\n/);
    client.abort();
    await t.rejects(busy, { code: 'cancelled' });
    await Promise.all([...many, ...few, several]);
    t.match(await metrics.text(), /tempo_query_frontend_queue_length\{user="several tenants"\} 0\n/);
    const short = done.filter((tenant) => tenant.length < 10);
    t.strictSame(short.slice(0, 7), ['many', 'many', 'few', 'other', 'many', 'few', 'many']);
  },
);

t.test('queries of a tenant: light ones and heavy ones take turns, the oldest first', (t) => {
  const queue = new JobQueue(1);
  const [old, middle, young, light] = Array.from({ length: 4 }, () => new QueryTurn()) as [
    QueryTurn,
    QueryTurn,
    QueryTurn,
    QueryTurn,
  ];
  for (const turn of [old, middle, young]) turn.cost(10_000);
  const names = new Map<Pending, string>();
  const add = (name: string, turn: QueryTurn, tenant = 'one'): Pending => {
    const job = { tenant, turn } as Pending;
    names.set(job, name);
    queue.add(job, 0);
    return job;
  };
  add('young 1', young);
  add('middle 1', middle);
  add('old 1', old);
  const left = add('middle 2', middle);
  add('old 2', old);
  add('light 1', light);
  add('light 2', light);
  add('light 3', light);
  add('other', young, 'two');
  t.ok(queue.remove(left));
  t.notOk(queue.remove(left), 'it does not wait any more');
  const order: (string | undefined)[] = [];
  const take = (isLightOnly = false): void => {
    const job = queue.take(0, isLightOnly);
    order.push(job && names.get(job));
  };
  t.equal(queue.lengthOf('one'), 7);
  for (let i = 0; i < 3; i++) take();
  t.strictSame(order.splice(0), ['light 1', 'other', 'old 1'], 'tenants take turns too');
  light.cost(10_000);
  take(true);
  t.strictSame(order.splice(0), [undefined], 'all are heavy by now');
  const newest = new QueryTurn();
  add('newest', newest);
  for (let i = 0; i < 7; i++) take();
  t.strictSame(order, ['newest', 'old 2', 'middle 1', 'young 1', 'light 2', 'light 3', undefined]);
  t.equal(queue.length + queue.lengthOf('one'), 0);
  t.end();
});

t.test('jobs whose caller gives up leave the queue at once', async (t) => {
  const pool = aPool(t, 1, new Metrics());
  const sources = [asHead('the-head', [aSpan()])];
  const client = new AbortController();
  const jobs = ['busy', 'fine', 'fine', 'fine'].map((query) =>
    pool.run(search(query, sources), { tenant: 'one', signal: client.signal }),
  );
  const ends = Promise.all(jobs.map((job) => t.rejects(job, { code: 'cancelled' })));
  client.abort();
  await ends;
  await pool.run(search('fine', sources), { tenant: 'one' });
});

t.test('caches of scan threads give way to answers, and come back', async (t) => {
  const golden = new URL('../golden/vparquet4/', import.meta.url);
  const meta = metaFromJson(readFileSync(new URL('meta.json', golden)));
  const backendPath = testFolder(t);
  cpSync(golden, `${backendPath}/${meta.tenantId}/${meta.blockId}`, { recursive: true });
  const cacheBytes = 4 << 20;
  const pool = new ScanPool({
    batchSizeMax: 1,
    threads: 1,
    queueLengthMax: 10,
    tenantQueueLengthMax: 10,
    workerData: { localBlocksPath: backendPath, backendPath, cacheBytes },
    heapBytesMax: 256 << 20,
    logger: silentLogger,
    metrics: new Metrics(),
  });
  pool.start();
  t.teardown(() => pool.stop());
  const source: ScanSource = { kind: 'block', meta, location: 'backend' };
  const read = async (): Promise<number> => {
    for (const query of ['{ span:id != "" && duration > 0 }', '{ name != "" && .http.url != "" }']) {
      await pool.run(search(query, [source]), { tenant: 'one' });
    }
    return pool.cachedBytes;
  };
  const before = await read();
  pool.yieldCaches(cacheBytes / 8);
  t.equal(await read(), before, 'a small answer changes nothing');
  pool.yieldCaches(100 * cacheBytes);
  const during = await read();
  // And a quarter of that is memory that waits to be used again.
  t.ok(during <= (cacheBytes / 4) * (5 / 4) && during < before, `${before} to ${during} bytes`);
  pool.yieldCaches(0);
  await read();
  t.ok((await read()) > during);
});

t.test(
  'scan threads and V8 helpers give way to the main thread',
  { skip: process.platform !== 'linux' },
  async (t) => {
    const workerData = { localBlocksPath: '', backendPath: '', cacheBytes: 0 };
    const pool = new ScanPool({
      batchSizeMax: 1,
      threads: 2,
      queueLengthMax: 10,
      tenantQueueLengthMax: 10,
      workerData,
      heapBytesMax: 256 << 20,
      logger: silentLogger,
      metrics: new Metrics(),
    });
    t.strictSame(nicerThreads(/^scan/), []);
    pool.start();
    t.teardown(() => pool.stop());
    const job: ScanJob = { kind: 'trace', id: new Uint8Array(16), sources: [], format: 'part', bytesMax: 0 };
    await Promise.all([0, 1].map((affinity) => pool.run(job, { tenant: 'one', affinity })));
    t.strictSame(nicerThreads(/^scan/), [5, 5]);
    helpersGiveWay();
    const helpers = nicerThreads(/V8Worker/);
    t.ok(helpers.length > 0);
    t.ok(helpers.every((more) => more === 5));
    t.strictSame(nicerThreads(/^(?!scan|.*V8Worker)/), [], 'no other one does');
  },
);

/** By how much threads of this process are nicer than this one, those that are, of all with such a name. */
function nicerThreads(name: RegExp): number[] {
  const stats = readdirSync('/proc/self/task').map((id) =>
    readFileSync(`/proc/self/task/${id}/stat`, 'latin1'),
  );
  const named = stats.filter((stat) => name.test(stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'))));
  const niceness = named.map((stat) => Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16]));
  return niceness.map((nice) => nice - os.getPriority()).filter((more) => more > 0);
}

interface CachedScans {
  readonly bucket: MemoryBucket;
  readonly items: MemcachedDouble['items'];
  readonly clock: { nowMs: number };
  /** As of a process that has just begun. */
  readonly begin: () => { readonly scanner: Scanner; readonly store: CachedStore; readonly told: string[] };
  readonly put: (blockId: string, spans: readonly TestSpan[]) => Promise<ScanSource & { meta: BlockMeta }>;
}

/** Scans of a bucket with a memcached in front of it. */
async function cachedScans(t: Test): Promise<CachedScans> {
  const double = new MemcachedDouble();
  const cache = new OuterCache({
    name: 'all',
    roles: CACHE_ROLES,
    client: { ...MEMCACHED, addresses: [await double.start()] },
    writersMax: 1,
    queueLengthMax: 1000,
  });
  await cache.open();
  t.teardown(async () => {
    cache.stop();
    await double.stop();
  });
  const bucket = new MemoryBucket();
  const clock = { nowMs: 0 };
  const inner = new BucketStore({
    bucket,
    prefix: '',
    retry: { attemptsMax: 1, firstDelayMs: 1, delayMsMax: 1 },
    hedge: { afterMs: 0, requestsMax: 1 },
    listConcurrency: 1,
    isWriter: true,
    onRetry: () => undefined,
    onHedge: () => undefined,
  });
  const begin = () => {
    const told: string[] = [];
    const store = new CachedStore(inner, 8 << 20, byRole([cache]), (folder) => void told.push(folder));
    const cached = { bloomLevelMax: 0, bloomAgeMsMax: 0 };
    const options = { local: new MemoryStore(() => 0), backend: store, isRemote: true, cacheBytes: 8 << 20 };
    return { scanner: new Scanner({ ...options, cached, nowMs: () => clock.nowMs }), store, told };
  };
  return { bucket, items: double.items, clock, begin, put: (id, spans) => asBlock(inner, id, spans) };
}

/** More than is read at once. */
const LARGE = Array.from({ length: 4000 }, (_, i) =>
  span(1 + (i >> 2), i + 1, { name: 'large', attributes: [['id', randomBytes(300).toString('hex')]] }),
);

/** Everything that is read of a block: rows, and a trace that is in it. */
async function readBlock(scanner: Scanner, source: ScanSource) {
  const found = (await scanner.run(
    search('{ .id =~ "a.*" || name != "x" }', [source]),
    signal,
  )) as SearchJobResult;
  const job = { kind: 'trace', id: idOf(1), sources: [source], format: 'part', bytesMax: 0 } as const;
  const trace = (await scanner.run(job, signal)) as TraceJobResult;
  return {
    count: found.found.count,
    hasTrace: trace.trace !== undefined,
    failures: [...found.failures, ...trace.failures].map(({ code }) => code),
  };
}

t.test('a cache that holds wrong bytes of a block', async (t) => {
  const damages: readonly { readonly name: string; readonly done: (value: Buffer) => Buffer }[] = [
    { name: 'of the right length', done: (value) => Buffer.from(value.map((byte) => byte ^ 0x5a)) },
    { name: 'too few', done: (value) => value.subarray(0, value.length >> 1) },
    { name: 'too many', done: (value) => Buffer.concat([value.subarray(0, 9), value]) },
    { name: 'none', done: () => Buffer.alloc(0) },
  ];
  const blocks = { small: [ROOT, SHARED, LEAF], large: LARGE };
  for (const [size, spans] of Object.entries(blocks)) {
    for (const { name, done } of damages) {
      const { bucket, items, begin, put } = await cachedScans(t);
      const source = await put('block', spans);
      const want = await readBlock(begin().scanner, source);
      t.match(want, { hasTrace: true, failures: [] });
      await until(() => items.size > 1, 5000);
      await until(() => [...items.keys()].some((key) => key.includes('bloom-0')), 5000);
      const sound = new Map(items);
      for (const [key, item] of sound) items.set(key, { ...item, value: done(item.value) });
      const second = begin();
      t.strictSame(await readBlock(second.scanner, source), want, `${size} block: ${name}`);
      t.ok(second.told.length <= 1, 'its parts are read again once');
      const isReplaced = (): boolean =>
        [...items].every(
          ([key, { value }]) => sound.get(key) === undefined || value.equals(sound.get(key)!.value),
        );
      t.ok(await until(isReplaced, 5000), 'and the cache has the right ones');
      const before = bucket.calls.read;
      t.strictSame(await readBlock(begin().scanner, source), want);
      t.equal(bucket.calls.read, before, 'so that whoever comes later reads nothing');
    }
  }
});

t.test('a block that is damaged itself is read past the cache once in a while', async (t) => {
  const { bucket, clock, begin, put } = await cachedScans(t);
  const source = await put('block', LARGE);
  const key = 'team/block/data.parquet';
  bucket.objects.set(
    key,
    bucket.objects.get(key)!.map((byte, i) => (i < source.meta.sizeBytes / 2 ? byte ^ 1 : byte)),
  );
  const { scanner, told } = begin();
  const { failures } = await readBlock(scanner, source);
  t.ok(failures.length > 0 && failures.every((code) => code === 'block_corrupt'));
  t.strictSame(told, ['team/block']);
  await readBlock(scanner, source);
  t.equal(told.length, 1);
  clock.nowMs += 3_600_000;
  await readBlock(scanner, source);
  t.equal(told.length, 2);
});

t.test('a scan thread that cannot start is not tried in a loop', async (t) => {
  const metrics = new Metrics();
  const pool = new ScanPool({
    batchSizeMax: 7,
    threads: 1,
    queueLengthMax: 100,
    tenantQueueLengthMax: 100,
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
  // By its kind queriers know that the process leaves, and begin the query again without it.
  const outcome = (): Promise<unknown> => pool.run(job, { tenant: 'one' }).catch((err: unknown) => err);
  const waiting = outcome();
  await pool.stop();
  t.ok((await waiting) instanceof StoppingError);
  t.ok((await outcome()) instanceof StoppingError);
  t.match(await metrics.text(), /tempo_scan_thread_restarts_total 4\n/);
});
