// How a query is cut into jobs and how answers come together.
import t from 'tap';
import { OuterCache } from '../../src/cache/outer-cache.ts';
import { HeadBuilder } from '../../src/block/head/builder.ts';
import type { BlockMeta } from '../../src/block/meta.ts';
import type { AnsweredTrace, MetricsQuery } from '../../src/contracts/query.ts';
import type { SourceRef } from '../../src/contracts/recent-traces.ts';
import type { MetricsProgress } from '../../src/contracts/query.ts';
import { TempoError, TimeIsUpError } from '../../src/lib/errors.ts';
import { LocalQuerier, LocalResultCache } from '../../src/modules/querier/index.ts';
import { findMetrics, type MetricsScan } from '../../src/modules/querier/metrics.ts';
import { LateJobs } from '../../src/modules/querier/late-jobs.ts';
import { mergeFirst, SearchMerge } from '../../src/modules/querier/merge.ts';
import { MetricsParts } from '../../src/modules/querier/metrics-parts.ts';
import { PartsBudget, type PartsLease } from '../../src/modules/querier/parts-budget.ts';
import {
  answerSize,
  distinctSources,
  type PlannedJob,
  planSearch,
  planTrace,
} from '../../src/modules/querier/plan.ts';
import { ResultBudget } from '../../src/modules/querier/result-budget.ts';
import { letGo } from '../../src/modules/querier/let-go.ts';
import { runJobs } from '../../src/modules/querier/run-jobs.ts';
import { PART_CODEC } from '../../src/modules/querier/metrics-part-bytes.ts';
import { decodeAnswer, encodeAnswer } from '../../src/modules/querier/outer-answers.ts';
import { OuterResultCache } from '../../src/modules/querier/outer-result-cache.ts';
import type { MetricsRange } from '../../src/traceql/engine/metrics/range.ts';
import { SEARCH_CODEC } from '../../src/modules/querier/result-bytes.ts';
import { TAGS_CODEC } from '../../src/modules/querier/tags-bytes.ts';
import type { KeptPart } from '../../src/modules/querier/metrics-cache.ts';
import { type AnswerCache, CachedJobs, type ResultCache } from '../../src/modules/querier/result-cache.ts';
import { Settled } from '../../src/modules/querier/settled.ts';
import { Blocklist } from '../../src/store/blocklist.ts';
import { QueryTurn } from '../../src/store/job-queue.ts';
import type { RunOptions } from '../../src/store/scan-pool.ts';
import { packFound, unpackFound } from '../../src/store/pack.ts';
import type {
  MetricsJob,
  MetricsJobResult,
  ScanJob,
  ScanResult,
  ScanSource,
  SearchJob,
  SearchJobResult,
  SharedTracesJob,
  SharedTracesJobResult,
  TagNamesJobResult,
  TagsJob,
  TagsJobResult,
} from '../../src/store/scan-job.ts';
import type { MetricsPart } from '../../src/traceql/engine/metrics/part.ts';
import { newestFirst } from '../../src/traceql/engine/order.ts';
import { silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { Chance } from '../support/fuzz.ts';
import { MEMCACHED, MemcachedDouble } from '../support/memcached-double.ts';

const meta = (blockId: string, sizeBytes = 100, totalRecords = 4): BlockMeta => ({
  format: 'vParquet4',
  blockId,
  tenantId: 'team',
  startSec: 0,
  endSec: 1,
  totalObjects: 1,
  sizeBytes,
  compactionLevel: 0,
  totalRecords,
  bloomShards: 1,
  footerSizeBytes: 1,
  dedicatedColumns: [],
  replicationFactor: 0,
});
const head = (blockId: string): SourceRef => ({ kind: 'head', blockId, sab: new SharedArrayBuffer(8) });
const local = (blockId: string): SourceRef => ({ kind: 'block', meta: meta(blockId), location: 'local' });

t.test('a block id counts once', (t) => {
  const sources = distinctSources([head('a'), local('a'), head('b'), local('c')], [meta('c'), meta('d')]);
  t.same(
    sources.map((s) => (s.kind === 'block' ? `${s.location} ${s.meta.blockId}` : `${s.kind} ${s.blockId}`)),
    ['local a', 'head b', 'local c', 'backend d'],
  );
  const isReplaced = (id: string): boolean => id === 'a' || id === 'b';
  t.same(
    distinctSources([head('a'), local('a'), head('b'), local('c')], [meta('d')], isReplaced).map(
      (source) => source.kind === 'block' && source.meta.blockId,
    ),
    ['c', 'd'],
    'what another block stands for is left out',
  );
  t.end();
});

t.test('blocks are cut by row groups of about the wanted size', (t) => {
  const block = (sizeBytes: number, records: number) =>
    ({ kind: 'block', meta: meta('x', sizeBytes, records), location: 'backend' }) as const;
  const rows = (sizeBytes: number, records: number, target: number, threads = 2) =>
    planSearch([block(sizeBytes, records)], target, threads).map(({ input }) => input.sources[0]!.rowGroups);
  t.same(rows(400, 4, 200), [
    [0, 2],
    [2, 4],
  ]);
  t.same(rows(400, 5, 1), [
    [0, 1],
    [1, 2],
    [2, 3],
    [3, 4],
    [4, 5],
  ]);
  t.same(rows(400, 3, 10_000), [[0, 3]]);
  t.equal(planSearch([head('h')], 1, 4).length, 1);
  t.same(rows(0, 0, 100), []);
  const mib = 1024 * 1024;
  t.same(
    rows(100 * mib, 6, 200 * mib, 4),
    [
      [0, 1],
      [1, 3],
      [3, 4],
      [4, 6],
    ],
    'every thread has some of it',
  );
  t.same(rows(20 * mib, 6, 200 * mib, 4).length, 2, 'not of a small one');
  t.same(rows(100 * mib, 1, 200 * mib, 4), [[0, 1]]);
  const large = { ...meta('x', 100 * mib, 6), totalObjects: 6000 };
  const answering = (bytesPerTrace: number) =>
    planSearch([{ kind: 'block', meta: large, location: 'backend' }], 200 * mib, 2, bytesPerTrace).map(
      ({ input, affinity }) => [input.sources[0]!.rowGroups!.join('-'), affinity - affinityOf],
    );
  const affinityOf = planSearch([block(1, 1)], 1, 1)[0]!.affinity;
  t.same(
    answering(8000),
    [
      ['0-2', 0],
      ['2-3', 0],
      ['3-5', 1],
      ['5-6', 1],
    ],
    'large answers are made in pieces, by the same threads',
  );
  t.equal(answering(100).length, 2);
  t.equal(answering(1e6).length, 6);
  const affinities = (blocks: readonly ReturnType<typeof block>[]) =>
    planSearch(blocks, 1, 1).map(({ affinity }) => affinity);
  const alone = affinities([block(400, 2)]);
  t.same(affinities([block(400, 3), block(400, 2)]).slice(3), alone, 'whatever else is read');
  t.end();
});

t.test('trace jobs take every source once', (t) => {
  const sources = Array.from({ length: 140 }, (_, i) => local(`block-${i}`));
  const jobs = planTrace(sources, 3);
  t.equal(jobs.length, 3);
  t.equal(new Set(jobs.flatMap(({ input }) => input.sources)).size, 140);
  t.equal(planTrace(sources.slice(0, 63), 3).length, 1, 'copies are compared within a job');
  t.same(planTrace([], 3), []);
  t.end();
});

const packed = (entries: readonly (readonly [string, bigint])[]) =>
  packFound(
    entries.map(([traceId, startUnixNano]) => ({
      traceId,
      startUnixNano,
      durationNanos: 100n - startUnixNano,
      json: new TextEncoder().encode(traceId),
    })),
    'json',
  );
const found = (entries: readonly (readonly [string, bigint])[]) => unpackFound(packed(entries));

t.test('merging: newest first, each trace once, at most the limit', (t) => {
  const merged = mergeFirst(
    [
      found([
        ['a', 9n],
        ['b', 5n],
      ]),
      found([
        ['c', 7n],
        ['a', 6n],
      ]),
    ],
    3,
  );
  t.same(
    merged.map((trace) => [trace.traceId, new TextDecoder().decode(trace.body)]),
    [
      ['a', 'a'],
      ['c', 'c'],
      ['b', 'b'],
    ],
  );
  t.equal(mergeFirst([found([['a', 9n]]), found([['b', 8n]])], 1).length, 1);
  const byDuration = mergeFirst([found([['a', 9n]]), found([['b', 8n]])], 1, {
    by: 'duration',
    isDescending: true,
  });
  t.same(
    byDuration.map(({ traceId }) => traceId),
    ['b'],
  );
  t.ok(newestFirst(found([['a', 1n]])[0]!, found([['b', 1n]])[0]!) < 0, 'ties by id');
  t.ok(newestFirst(found([['f', 1n]])[0]!, found([['10', 1n]])[0]!) < 0, 'as the bytes of ids');
  t.end();
});

t.test('what is certain before all jobs are done: in the answer, each trace once', (t) => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  t.comment(`seed ${seed}`);
  const chance = new Chance(seed);
  const SECOND = 1_000_000_000n;
  let early = 0;
  let id = 0;
  /** A job that looks at some traces and finds some of them, none later than so many seconds. */
  const aJob = (source: ScanSource, inspectedTraces: number, latestSec: number) => {
    const entries = Array.from({ length: chance.below(inspectedTraces + 1) }, () => {
      const startUnixNano = BigInt(chance.below(latestSec)) * SECOND + BigInt(chance.below(3));
      return [(++id).toString(16), startUnixNano] as const;
    });
    entries.sort(([, a], [, b]) => Number(b - a));
    const job = { input: { sources: [source] }, affinity: 0, newestStart: latestSec * 1e6 };
    return { job, inspectedTraces, traces: found(entries) };
  };
  const aSource = (i: number) => {
    const counts = [chance.below(6), chance.below(6)];
    const latestSec = 2 + chance.below(40);
    if (chance.once(4)) return [aJob({ ...head(`${i}`), traceCount: counts[0]! }, counts[0]!, 50)];
    const totalObjects = counts[0]! + counts[1]!;
    const block = { ...meta(`${i}`), totalObjects };
    return counts.map((count, group) =>
      aJob(
        { kind: 'block', meta: block, location: 'backend', rowGroups: [group, group + 1] },
        count,
        latestSec,
      ),
    );
  };
  for (let round = 0; round < 500; round++) {
    const limit = 1 + chance.below(15);
    const jobs = Array.from({ length: 1 + chance.below(6) }, (_, i) => aSource(i)).flat();
    const answer = mergeFirst(
      jobs.map(({ traces }) => traces),
      limit,
    );
    const settled = new Settled(
      limit,
      jobs.map(({ job }) => job),
    );
    const taken: string[] = [];
    let merged: ReturnType<typeof mergeFirst> = [];
    const open = [...jobs];
    while (open.length > 0) {
      const [done] = open.splice(chance.below(open.length), 1);
      settled.done(done!.job.input, done!.inspectedTraces);
      merged = mergeFirst([merged, done!.traces], limit);
      taken.push(...settled.take(merged).map(({ traceId }) => traceId));
      if (open.length > 0) early += taken.length;
    }
    t.strictSame(taken.toSorted(), answer.map(({ traceId }) => traceId).toSorted(), `round ${round}`);
  }
  t.ok(early > 100, `${early} were certain early`);
  t.end();
});

const WHOLE = { from: 'all', blocks: undefined, bytesMax: 0 } as const;
const ANY = { startSec: undefined, endSec: undefined };

/** A querier over one head and two blocks of the backend, with an invented scan. */
function aQuerier(scan: (job: ScanJob) => ScanResult, concurrentJobs = 1000, resultCache?: ResultCache) {
  const metrics = new Metrics();
  const jobs: ScanJob[] = [];
  const limits = new Set<string>();
  const counts = { released: 0 };
  const { sab } = new HeadBuilder({ maxBytes: 1 << 20 });
  const blocklist = new Blocklist();
  for (const blockId of ['one', 'two']) blocklist.added(meta(blockId));
  const querier = new LocalQuerier({
    admit: async () => {},
    blocklist,
    pool: {
      run: (job, { limitMs }) => {
        jobs.push(job);
        limits.add(`${job.kind} ${limitMs}`);
        return new Promise((resolve) => resolve(scan(job)));
      },
    },
    recent: {
      recentSources: () =>
        Promise.resolve({
          sources: [{ kind: 'head', blockId: 'head', sab }],
          complete: false,
          release: () => void counts.released++,
        }),
    },
    logger: silentLogger,
    metrics,
    targetBytesPerJob: 1000,
    scanThreads: 2,
    concurrentJobs,
    metricsJobs: { targetBytesPerJob: 50, concurrentJobs: 1000 },
    samplesMax: 1_000_000,
    resultBytesMax: 1 << 20,
    resultBytesTaken: () => {},
    metricsPartsBytesMax: 1 << 20,
    idsPerJob: 1000,
    sharedCacheBytes: 10_000,
    jobLimitMs: (kind) => (kind === 'trace' ? 10 : 30),
    nowMs: () => 0,
    resultCache,
  });
  return { querier, jobs, limits, counts, metrics };
}

/** Traces of three sources: some rows of the first are elsewhere, and some places make traces whole. */
function sharedOf(
  job: SharedTracesJob,
  without: readonly number[],
  places: readonly (readonly [source: number, row: number])[],
): ScanResult {
  return {
    kind: 'sharedTraces',
    without: job.sources.map((_, i) => Int32Array.from(i === 0 ? without : [])),
    traceCounts: job.sources.map(() => 5),
    newestStarts: job.sources.map(() => Infinity),
    apart: job.sources.map(() => new Int32Array(0)),
    startMicros: new Float64Array(places.length > 0 ? 1 : 0).fill(Number.NaN),
    endMicros: new Float64Array(places.length > 0 ? 1 : 0).fill(Number.NaN),
    places: {
      ends: Int32Array.from(places.length > 0 ? [places.length] : []),
      source: Int32Array.from(places, ([source]) => source),
      row: Int32Array.from(places, ([, row]) => row),
    },
    version: '1',
    inspectedBytes: 0,
    failures: [],
  };
}

t.test('a querier over what is recent elsewhere, with the budgets and metrics of the first', async (t) => {
  const { querier, jobs, counts, metrics } = aQuerier((job) =>
    job.kind === 'sharedTraces'
      ? sharedOf(job, [], [])
      : {
          kind: 'search',
          found: packed([]),
          hasMore: false,
          inspectedTraces: 0,
          inspectedSpans: 0,
          inspectedBytes: 0,
          failures: [],
        },
  );
  let released = 0;
  const { sab } = new HeadBuilder({ maxBytes: 1 << 20 });
  const other = querier.over({
    recentSources: async () => ({
      sources: [{ kind: 'head', blockId: 'elsewhere', sab }],
      complete: true,
      release: () => void released++,
    }),
  });
  const heads = async (one: LocalQuerier): Promise<readonly unknown[]> => {
    jobs.length = 0;
    const range = { startSec: 1, endSec: 2 };
    await one.search({
      tenant: 't',
      query: '{}',
      range,
      limit: 5,
      spansPerSpanSet: 3,
      format: 'json',
      ...WHOLE,
    });
    const sources = jobs.flatMap((job) => (job.kind === 'search' ? job.sources : []));
    return sources.flatMap((source) => (source.kind === 'head' ? [source.blockId] : []));
  };
  t.same(await heads(other), ['elsewhere']);
  t.same([counts.released, released], [0, 1]);
  t.same(await heads(querier), ['head'], 'and the first as before');
  t.same([counts.released, released], [1, 1]);
  t.match(await metrics.text(), /tempo_query_frontend_jobs_per_query_count\{op="search"\} 2\n/);
});

t.test('a querier tells each source that failed once, and lets go of all of them', async (t) => {
  const failures = [{ source: 'two', code: 'block_corrupt', message: 'bad page' }];
  const stats = { hasMore: false, inspectedTraces: 1, inspectedSpans: 2, inspectedBytes: 3 };
  const { querier, jobs, limits, counts, metrics } = aQuerier((job) => {
    if (job.kind === 'trace')
      return { kind: 'trace', trace: undefined, isCut: false, inspectedBytes: 5, failures };
    if (job.kind === 'sharedTraces') return sharedOf(job, [2, 0], []);
    return { kind: 'search', found: packed([['a', 1n]]), ...stats, failures };
  });
  const query = {
    tenant: 'team',
    query: '{ }',
    range: ANY,
    limit: 5,
    spansPerSpanSet: 3,
    format: 'json',
  } as const;
  const answer = await querier.search(query);
  const lag = 'recently acknowledged spans are not searchable yet';
  t.same(answer.partial, [lag, 'block two could not be read: bad page']);
  t.same(
    answer.traces.map(({ traceId }) => traceId),
    ['a'],
    'found by three jobs, answered once',
  );
  t.match(answer.stats, { inspectedTraces: 3, inspectedBytes: 9, totalBlocks: 3, completedJobs: 3 });
  t.match(jobs[0], { kind: 'sharedTraces', sources: { length: 3 } }, 'first what lies in several sources');
  const trace = await querier.findTrace({
    tenant: 'team',
    id: new Uint8Array(16),
    range: ANY,
    format: 'proto',
    ...WHOLE,
  });
  t.match(trace, { trace: undefined, inspectedBytes: 5 });
  t.same([...limits], ['sharedTraces 30', 'search 30', 'trace 10'], 'time that jobs may take');
  t.equal(counts.released, 2);
  t.match(await metrics.text(), /failed_sources_total\{code="block_corrupt"\} 2/);
});

t.test(
  'traces that come together have a name for the next query only where all sources were read',
  async (t) => {
    const stats = { hasMore: false, inspectedTraces: 1, inspectedSpans: 2, inspectedBytes: 3 };
    let failures: SearchJobResult['failures'] = [];
    const { querier, jobs } = aQuerier((job) => {
      const places = [
        [0, 1],
        [1, 2],
      ] as const;
      if (job.kind === 'sharedTraces') return { ...sharedOf(job, [], places), failures };
      return { kind: 'search', found: packed([]), ...stats, failures: [] };
    });
    const names = async () => {
      jobs.length = 0;
      const query = { tenant: 'team', query: '{ }', range: ANY, limit: 5, spansPerSpanSet: 3 };
      await querier.search({ ...query, format: 'json' });
      return jobs.flatMap((job) => (job.kind === 'search' && job.whole ? [typeof job.whole.name] : []));
    };
    failures = [{ source: 'two', code: 'not_found', message: 'no such block' }];
    t.strictSame(await names(), ['undefined']);
    failures = [];
    t.strictSame(await names(), ['string']);
  },
);

t.test('sources whose traces are all older than what was found are not searched', async (t) => {
  const asked: string[] = [];
  const { querier } = aQuerier((job) => {
    const stats = { inspectedTraces: 1, inspectedSpans: 2, inspectedBytes: 3, failures: [] };
    if (job.kind === 'sharedTraces') {
      return { ...(sharedOf(job, [], []) as SharedTracesJobResult), newestStarts: [900, 100, 500] };
    }
    const [source] = job.sources;
    const name = source?.kind === 'block' ? source.meta.blockId : source!.blockId;
    asked.push(name);
    const found = { head: [['a', 800_000n]], two: [['b', 400_000n]], one: [] } as const;
    return { kind: 'search', found: packed(found[name as 'head']), hasMore: false, ...stats };
  }, 1);
  const query = { tenant: 'team', query: '{ }', range: ANY, spansPerSpanSet: 3, format: 'json' } as const;
  const two = await querier.search({ ...query, limit: 2 });
  t.strictSame(asked, ['head', 'two'], 'the newest first');
  t.strictSame(
    two.traces.map(({ traceId }) => traceId),
    ['a', 'b'],
  );
  t.equal(two.hasMore, true, 'there may be more');
  t.match(two.stats, { totalJobs: 3, completedJobs: 2 });
  const three = await querier.search({ ...query, limit: 3 });
  t.match(three, { hasMore: false, stats: { completedJobs: 3 } });
  asked.length = 0;
  await querier.search({ ...query, limit: 1, order: { by: 'duration', isDescending: true } });
  t.equal(asked.length, 3, 'in another order all are searched');

  three.letGo!();
  t.same([three.traces.length, three.traces.map(({ body }) => body.buffer.byteLength)], [2, [0, 0]]);
});

t.test('an answer does not free what a cache has', async (t) => {
  const resultCache = { get: async () => undefined, set: () => {} };
  const scan = (job: ScanJob): ScanResult =>
    job.kind === 'sharedTraces'
      ? sharedOf(job, [], [])
      : {
          kind: 'search',
          found: packed([['a', 1n]]),
          hasMore: false,
          inspectedTraces: 0,
          inspectedSpans: 0,
          inspectedBytes: 0,
          failures: [],
        };
  const { querier } = aQuerier(scan, 1, resultCache);
  const query = { tenant: 'team', query: '{ }', range: ANY, spansPerSpanSet: 3, format: 'json' } as const;
  const answer = await querier.search({ ...query, limit: 2 });
  t.match([answer.traces.length, answer.letGo], [1, undefined]);
});

t.test('jobs of a query: a few at a time, and all end with the first that fails', async (t) => {
  const jobs = Array.from({ length: 9 }, (_, i): PlannedJob => {
    return { input: { sources: [] }, affinity: i, newestStart: 9 - i };
  });
  let running = 0;
  let most = 0;
  const seen: number[] = [];
  await runJobs(jobs, { concurrency: 3, signal: undefined }, async ({ affinity }) => {
    most = Math.max(most, ++running);
    seen.push(affinity);
    await new Promise((resolve) => setImmediate(resolve));
    running--;
  });
  t.strictSame([most, seen], [3, [0, 1, 2, 3, 4, 5, 6, 7, 8]]);
  const until = (signal: AbortSignal): Promise<never> =>
    new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('ended'))));
  const begun: number[] = [];
  const failing = runJobs(jobs, { concurrency: 3, signal: undefined }, async ({ affinity }, signal) => {
    begun.push(affinity);
    if (affinity === 2) throw new TempoError('internal', 'broken');
    await until(signal);
  });
  await t.rejects(failing, { message: 'broken' });
  t.strictSame(begun, [0, 1, 2]);
  let oldest = 0;
  const few = runJobs(
    jobs,
    { concurrency: 2, signal: undefined, isNeeded: ({ newestStart }) => newestStart > oldest },
    async ({ affinity }, signal) => {
      if (affinity !== 0) await until(signal);
      oldest = 8;
    },
  );
  await few;
  const client = new AbortController();
  const left = runJobs(jobs, { concurrency: 2, signal: client.signal }, (_, signal) => until(signal));
  client.abort();
  await t.rejects(left, { message: 'ended' });
  const told: boolean[] = [];
  await runJobs(jobs, { concurrency: 2, signal: client.signal }, async (_, signal) => {
    told.push(signal.aborted);
  });
  t.strictSame(told, Array(9).fill(true), 'each job is told that the query is over');
});

t.test('answers that are large together wait for each other, small ones do not', async (t) => {
  const metrics = new Metrics();
  const MIB = 1 << 20;
  const taken: number[] = [];
  const tell = (bytes: number): void => void taken.push(bytes / MIB);
  const budget = new ResultBudget({ bytesMax: 12 * MIB, waitMs: 0, taken: tell, metrics });
  const large = await budget.take('one', 50 * MIB, undefined);
  large.found(MIB);
  large.found(MIB);
  const small = await budget.take('one', MIB, undefined);
  const begun: string[] = [];
  const wait = async (name: string, bytes: number, signal?: AbortSignal) => {
    const lease = await budget.take('one', bytes, signal);
    begun.push(name);
    return lease;
  };
  const client = new AbortController();
  const left = wait('left', 2 * MIB, client.signal);
  const first = wait('first', 6 * MIB);
  const second = wait('second', 3 * MIB);
  t.match(await metrics.text(), /tempo_querier_waiting_searches 3\n/);
  client.abort();
  await t.rejects(left, { code: 'cancelled' });
  await t.rejects(
    budget.take('one', 2 * MIB, client.signal),
    { code: 'cancelled' },
    'who has left does not wait',
  );
  large.holds(4 * MIB);
  await Promise.resolve();
  t.strictSame(begun, [], '4 and 1 and 6 MiB are more than 9 of a tenant');
  large.drop();
  const six = await first;
  t.strictSame(begun, ['first'], '1 and 6 and 3 too');
  small.drop();
  const three = await second;
  t.match(await metrics.text(), /tempo_querier_result_bytes 9437184\n/);
  six.drop();
  three.drop();
  three.drop();
  t.strictSame(taken, [1, 4, 0], 'what was found, once each');
  while (!/tempo_querier_result_bytes 0\n/.test(await metrics.text())) {
    await new Promise((resolve) => setTimeout(resolve, 5)); // until garbage was collected
  }

  const impatient = new ResultBudget({ bytesMax: 1, waitMs: 1, taken: () => {}, metrics: new Metrics() });
  await impatient.take('one', 2 * MIB, undefined);
  await t.rejects(impatient.take('one', 2 * MIB, undefined), {
    code: 'resource_exhausted',
    message: 'answers hold 2097152 bytes of at most 1, try again later, or ask for less',
  });
});

t.test('a flood of large answers of one tenant holds up its own ones only', async (t) => {
  const MIB = 1 << 20;
  const metrics = new Metrics();
  const budget = new ResultBudget({ bytesMax: 16 * MIB, waitMs: 0, taken: () => {}, metrics });
  const begun: string[] = [];
  const take = async (tenant: string, mib: number): Promise<() => void> => {
    const lease = await budget.take(tenant, mib * MIB, undefined);
    begun.push(tenant);
    return () => lease.drop();
  };
  const gone = await budget.take('gone', MIB, undefined);
  gone.drop();
  gone.holds(MIB);
  t.match(await metrics.text(), /tempo_querier_result_bytes 0\n/, 'what was dropped holds nothing');
  const endFlood = await take('flood', 1000);
  const flood = [take('flood', 1000), take('flood', 1000)];
  const endFew = await take('few', 4);
  t.strictSame(begun, ['flood', 'few'], 'a quarter is for the others, beside an answer of any size');
  const other = take('other', 10);
  const few = take('few', 4);
  endFlood();
  const endSecond = await flood[0]!;
  t.strictSame(begun.slice(2), ['flood'], 'its turn');
  endSecond();
  const endSecondFew = await few;
  endSecondFew();
  t.strictSame(begun.slice(3), ['few'], 'a large one that is next holds up the flood');
  endFew();
  const endOther = await other;
  endOther();
  await flood[1];
  t.strictSame(begun.slice(4), ['other', 'flood']);
});

t.test('a tenant that has had a large answer may ask for the next at once', async (t) => {
  const MIB = 1 << 20;
  const budget = new ResultBudget({ bytesMax: 16 * MIB, waitMs: 0, taken: () => {}, metrics: new Metrics() });
  const first = await budget.take('one', 1000 * MIB, undefined);
  first.holds(2 * MIB);
  first.drop();
  let isBegun = false;
  void budget.take('one', 1000 * MIB, undefined).then(() => (isBegun = true));
  await new Promise(setImmediate);
  t.ok(isBegun, 'what was sent counts for a while beside its share, not in it');
});

t.test('a large answer begins beside little that nobody reads, and counts as what is free', async (t) => {
  const MIB = 1 << 20;
  const metrics = new Metrics();
  const budget = new ResultBudget({ bytesMax: 16 * MIB, waitMs: 0, taken: () => {}, metrics });
  const begun: string[] = [];
  const take = async (tenant: string, mib: number, name: string) => {
    t.equal(budget.mayWait(tenant, mib * MIB), name.startsWith('waiting'), `${name}, as is told before`);
    const lease = await budget.take(tenant, mib * MIB, undefined);
    begun.push(name);
    return lease;
  };
  const unread = await take('one', 9, 'unread');
  unread.holds(3 * MIB);
  const large = await Promise.race([
    take('one', 1000, 'large'),
    new Promise<undefined>((resolve) => setImmediate(resolve, undefined)),
  ]);
  if (large === undefined) return t.fail('a quarter of the share holds up a large answer');
  await take('another', 4, 'of another');
  t.strictSame(begun, ['unread', 'large', 'of another'], 'the share of a tenant is all that it counts as');
  void take('one', 2, 'waiting of one');
  void take('another', 2, 'waiting of another');
  await take('another', 0.5, 'small');
  await new Promise(setImmediate);
  t.strictSame(begun.slice(3), ['small'], 'all is taken');
  large.drop();
  await new Promise(setImmediate);
  t.strictSame(begun.slice(4), [], 'what was sent is not free at once');
  while (begun.length < 6) await new Promise((resolve) => setTimeout(resolve, 5));

  const more = new ResultBudget({ bytesMax: 16 * MIB, waitMs: 0, taken: () => {}, metrics: new Metrics() });
  const rest = await more.take('one', 3 * MIB + 1, undefined);
  t.ok(more.mayWait('one', 1000 * MIB), 'what is more than a quarter holds it up');
  t.notOk(more.mayWait('another', 1000 * MIB));
  rest.drop();
  t.notOk(more.mayWait('one', 8 * MIB));
});

t.test('how large an answer may be', (t) => {
  const block = (totalObjects: number, spans: number): SourceRef => ({
    kind: 'block',
    meta: { ...meta('x', 90 * spans), totalObjects },
    location: 'backend',
  });
  const of = (sources: readonly SourceRef[], limit: number, spansPerSpanSet: number): number =>
    answerSize(sources, { limit, spansPerSpanSet }).bytes;
  t.equal(of([block(1000, 20_000)], 20, 3), 20 * (400 + 3 * 200));
  t.equal(answerSize([block(1000, 20_000)], { limit: 20, spansPerSpanSet: 3 }).bytesPerTrace, 20);
  t.equal(of([block(1000, 20_000), block(1000, 0)], 1e6, 0), 2000 * (400 + 10 * 200));
  t.equal(of([], 1e6, 0), 0);
  t.equal(of([{ kind: 'head', blockId: 'h', sab: new HeadBuilder({ maxBytes: 1 << 20 }).sab }], 5, 0), 0);
  t.end();
});

t.test('of what jobs found only what is of use is held', (t) => {
  const jobs = Array.from({ length: 3 }, (_, affinity): PlannedJob => {
    return { input: { sources: [head('h')] }, affinity, newestStart: Infinity };
  });
  const merge = new SearchMerge({ limit: 2 }, [], jobs, 0);
  let done = 0;
  const jsons: Uint8Array[] = [];
  const large = (traceId: string, startUnixNano: bigint) => {
    const json = new Uint8Array(1 << 20);
    jsons.push(json);
    return { traceId, startUnixNano, durationNanos: 1n, json };
  };
  const add = (traces: readonly ReturnType<typeof large>[]): void => {
    const counts = { hasMore: false, inspectedTraces: 0, inspectedSpans: 0, inspectedBytes: 0 };
    merge.add(jobs[done++]!.input, {
      kind: 'search',
      found: packFound(traces, 'json'),
      ...counts,
      report: undefined,
      failures: [],
    });
  };
  add([large('a', 9n), large('b', 3n)]);
  t.equal(merge.heldBytes, 2 << 20);
  t.equal(merge.notBeforeUnixNano, undefined, 'nothing is known of others');
  add([large('c', 5n), large('d', 2n)]);
  t.equal(merge.heldBytes, 4 << 20);
  t.equal(merge.notBeforeUnixNano, 5n);
  add([large('e', 4n)]);
  t.equal(merge.heldBytes, 2 << 20, 'buffers without a trace are free');
  t.same(
    merge.traces.map(({ traceId, body }) => [traceId, body.buffer.byteLength]),
    [
      ['a', 1 << 20],
      ['c', 1 << 20],
    ],
  );
  const bodies = merge.traces.map(({ body }) => body);
  merge.free();
  t.same([merge.traces, bodies.map(({ buffer }) => buffer.byteLength)], [[], [0, 0]]);
  // It had no hold on the others any more.
  t.same(
    jsons.map(({ length }) => length),
    [0, 1 << 20, 0, 1 << 20, 1 << 20],
  );
  t.end();
});

t.test('what bodies lie in is free at once, but for what others have too', (t) => {
  const body = (inBuffer: ArrayBuffer): Uint8Array => new Uint8Array(inBuffer).fill(1);
  const own = new ArrayBuffer(3 << 20);
  const message = new ArrayBuffer(100);
  const job = { input: { sources: [head('h')] }, affinity: 0, newestStart: Infinity };
  const merge = new SearchMerge({ limit: 2 }, [], [job, job], 0);
  const add = (traceId: string, chunk: Uint8Array, end: number): void => {
    const json = chunk.subarray(0, end);
    const found = packFound([{ traceId, startUnixNano: 1n, durationNanos: 1n, json }], 'json');
    const packed = {
      ...found,
      chunks: [chunk],
      bodyChunks: new Int32Array(1),
      bodyStarts: new Float64Array(1),
    };
    const counts = { hasMore: false, inspectedTraces: 0, inspectedSpans: 0, inspectedBytes: 0, failures: [] };
    const result = { ...packed, bodyEnds: Float64Array.of(end) };
    merge.add(job.input, { kind: 'search', found: result, report: undefined, ...counts });
  };
  add('a', body(own), 1000);
  add('b', body(message).subarray(1), 50);
  const copied = merge.traces[0]!.body.buffer;
  t.not(copied, own, 'most of it was of no use');
  merge.free();
  t.same(
    [own.byteLength, copied.byteLength, message.byteLength],
    [3 << 20, 0, 100],
    'it had let go of the first',
  );
  t.end();
});

t.test('what is left of large buffers is copied in steps, the most wasteful first', (t) => {
  const MIB = 1 << 20;
  const inBuffer = (sizeBytes: number, bodies: readonly number[]): AnsweredTrace[] => {
    const buffer = new Uint8Array(sizeBytes);
    let at = 0;
    return bodies.map((length, i) => {
      const body = buffer.subarray(at, (at += length)).fill(i + 1);
      return { traceId: `${i}`, startUnixNano: 0n, durationNanos: 0n, body };
    });
  };
  const dense = inBuffer(2 * MIB, [MIB]);
  const half = inBuffer(8 * MIB, [2 * MIB, MIB]);
  const sparse = inBuffer(20 * MIB, [MIB, MIB, MIB]);
  const all = [half[0]!, sparse[0]!, dense[0]!, sparse[1]!, sparse[2]!, half[1]!];
  const texts = all.map(({ body }) => Buffer.from(body));
  const first = letGo(all);
  t.equal(first.heldBytes, 2 * MIB + 8 * MIB + 3 * MIB);
  t.strictSame(
    first.traces.map((trace, i) => trace === all[i]),
    [true, false, true, false, false, true],
  );
  const second = letGo(first.traces);
  t.equal(second.heldBytes, 2 * MIB + 3 * MIB + 3 * MIB);
  t.ok(second.traces.every(({ body }, i) => texts[i]!.equals(body)));
  t.equal(letGo(second.traces).traces, second.traces, 'half of a buffer is enough');
  const huge = letGo(inBuffer(32 * MIB, [6 * MIB]));
  t.equal(huge.heldBytes, 6 * MIB, 'one that is more than a step is copied at once');
  t.end();
});

t.test('a query that fails lets go of its sources too', async (t) => {
  const { querier, counts } = aQuerier(() => {
    throw new TempoError('cancelled', 'gone');
  });
  const query = {
    tenant: 'team',
    query: '{ }',
    range: ANY,
    limit: 5,
    spansPerSpanSet: 3,
    format: 'json',
  } as const;
  await t.rejects(querier.search(query), { code: 'cancelled' });
  await t.rejects(
    querier.findTrace({ tenant: 'team', id: new Uint8Array(16), range: ANY, format: 'json', ...WHOLE }),
  );
  t.equal(counts.released, 2);
});

t.test('jobs that are not done in time: the others are the answer, which says so', async (t) => {
  const overdue = new TempoError('deadline_exceeded', 'context deadline exceeded');
  const result = (traceId: string): SearchJobResult => ({
    kind: 'search',
    found: packed([[traceId, 1n]]),
    hasMore: false,
    inspectedTraces: 1,
    inspectedSpans: 2,
    inspectedBytes: 3,
    failures: [],
  });
  const query = {
    tenant: 'team',
    query: '{}',
    range: ANY,
    limit: 5,
    spansPerSpanSet: 3,
    format: 'json',
  } as const;
  let isLate = (_index: number): boolean => false;
  let searches = 0;
  const { querier } = aQuerier((job) => {
    if (job.kind === 'sharedTraces') return sharedOf(job, [], []);
    if (isLate(searches++)) throw overdue;
    return result('a');
  });
  const completed: number[] = [];
  isLate = (index) => index === 1;
  const answer = await querier.search(query, undefined, ({ stats }) => completed.push(stats.completedJobs));
  t.match(answer.traces, [{ traceId: 'a' }]);
  t.match(answer.stats, { completedJobs: 2, totalJobs: 3 });
  t.same(completed, [1, 2]);
  t.equal(answer.partial.at(-1), 'querier.search.query_timeout is over: 1 of 3 parts were not read');
  isLate = () => true;
  await t.rejects(querier.search(query), overdue, 'nothing was read');

  const ended = new AbortController();
  isLate = (index) => {
    if (index === 4) ended.abort(new TimeIsUpError('query_frontend.api_timeout', 'too late'));
    return index > 4;
  };
  searches = 3;
  const part = await querier.search(query, ended.signal);
  t.match(part.stats, { completedJobs: 2, totalJobs: 3 });
  t.equal(part.partial.at(-1), 'query_frontend.api_timeout is over: 1 of 3 parts were not read');
  const late = new LateJobs(undefined);
  t.equal(await late.unless(Promise.reject(overdue)), undefined);
  t.throws(() => late.reasons(3), overdue, 'none was done, and none of the others was begun');

  const gone = new AbortController();
  searches = 0;
  isLate = (index) => {
    if (index === 1) gone.abort(new TempoError('cancelled', 'gone'));
    return index > 0;
  };
  await t.rejects(querier.search(query, gone.signal), overdue, 'nobody waits for a part');

  let parts = 0;
  const tags = aQuerier((job) => {
    parts++;
    if (parts % 3 === 2) throw overdue;
    const rest = { inspectedBytes: 3, failures: [] };
    if (job.kind === 'tagNames') return { kind: 'tagNames', names: [[`n${parts}`, 'n1']], ...rest };
    const types = [{ type: 'int', values: [`${parts}`, '7'] }] as const;
    return { kind: 'tagValues', values: { types, isCut: false }, ...rest };
  }).querier;
  const filter = { tenant: 'team', query: undefined, range: ANY };
  const taken: unknown[] = [];
  const names = await tags.tagNames({ ...filter, scopes: ['span'] }, undefined, (progress) =>
    taken.push(progress.takeNames()),
  );
  const reason = 'querier.search.query_timeout is over: 1 of 3 parts were not read';
  t.match(names, { names: [['n1', 'n3']], inspectedBytes: 6 });
  t.equal(names.partial.at(-1), reason);
  t.same(taken.splice(0), [[['n1']], [['n3']]], 'each name once');
  const fields = [{ kind: 'attribute', scope: 'span', name: 'n' }] as const;
  const values = await tags.tagValues({ ...filter, fields, bytesMax: 2 }, undefined, (progress) =>
    taken.push(progress.takeTypes()),
  );
  t.same(values.values, { types: [{ type: 'int', values: ['4', '6'] }], isCut: true });
  t.same(values.partial.slice(-2), [reason, 'more values than 2 bytes: the first of them are here']);
  t.same(taken, [[{ type: 'int', values: ['4', '7'] }], []], 'no more bytes than the answer may have');
});

t.test('very many values are told some at a time, each once', async (t) => {
  const count = 40_000;
  const ints = Array.from({ length: count }, (_, i) => String(i));
  const strings = ints.toSorted();
  let jobs = 0;
  const { querier } = aQuerier((job) => {
    const types =
      jobs++ === 0
        ? [{ type: 'int', values: ints } as const]
        : [{ type: 'string', values: strings } as const];
    if (job.kind !== 'tagValues') throw new Error(job.kind);
    return { kind: 'tagValues', values: { types, isCut: false }, inspectedBytes: 1, failures: [] };
  });
  const told: string[] = [];
  let most = 0;
  const fields = [{ kind: 'attribute', scope: 'span', name: 'n' }] as const;
  const query = { tenant: 'team', query: undefined, range: ANY, fields, bytesMax: Infinity };
  const { values } = await querier.tagValues(query, undefined, (progress) => {
    const taken = progress.takeTypes().flatMap((some) => some.values.map((value) => some.type + value));
    most = Math.max(most, taken.length);
    told.push(...taken);
  });
  t.ok(jobs > 1 && told.length > count / 2 && most < count, `${told.length} in ${jobs}, ${most} at a time`);
  t.equal(new Set(told).size, told.length);
  t.same(
    values.types.map(({ type, values: some }) => [type, some.length]),
    [
      ['int', count],
      ['string', count],
    ],
    'the answer has all',
  );
});

t.test('a metrics query: jobs of its own size, parts that come together, a part that is late', async (t) => {
  const asked: ScanJob[] = [];
  const base = { inspectedTraces: 1, inspectedSpans: 2, inspectedBytes: 3 };
  let isLate = true;
  let early = 0;
  const soFar = (job: Extract<ScanJob, { kind: 'finishMetrics' }>): ScanResult => {
    early++;
    if (early === 2) throw new TempoError('resource_exhausted', 'queue is full');
    const bodies = Uint8Array.of(9);
    const isCut = early === 3;
    const rest = { text: undefined, isCut, isPartial: false, failures: [] };
    return { kind: job.kind, bodies, ends: Float64Array.of(1), ...rest };
  };
  const { querier, counts } = aQuerier((job) => {
    asked.push(job);
    if (job.kind === 'sharedTraces') return sharedOf(job, [], []);
    if (job.kind === 'finishMetrics') {
      if (job.exemplarsMax === 0) return soFar(job);
      const bodies = new Uint8Array([1, 2, 3]);
      return {
        kind: job.kind,
        bodies,
        ends: Float64Array.of(1, 3),
        text: undefined,
        isCut: true,
        isPartial: true,
        failures: [],
      };
    }
    const source = job.sources[0];
    if (isLate && source?.kind === 'head') throw new TempoError('deadline_exceeded', 'too late');
    const code = 'block_corrupt';
    const failures = [{ source: 'two', code, message: 'gone' }];
    return { kind: 'metrics', part: undefined, ...base, failures };
  });
  const query = {
    tenant: 'team',
    query: '{} | rate()',
    startUnixNano: 1n,
    endUnixNano: 2_000_000_001n,
    stepNanos: 500_000_000n,
    isInstant: false,
    exemplarsMax: 7,
    seriesMax: 2,
    format: 'json',
  } as const;
  const completed: number[] = [];
  const series: ReturnType<MetricsProgress['seriesSoFar']>[] = [];
  const answer = await querier.metrics(query, undefined, (progress) => {
    completed.push(progress.stats.completedJobs);
    series.push(progress.seriesSoFar());
  });
  const jobs = asked.filter(({ kind }) => kind === 'metrics');
  t.equal(jobs.length, 5, 'one for the head, two for each block');
  t.match(jobs[0], { query: query.query, range: { startUnixNano: 1n, stepNanos: 500_000_000n } });
  t.match(asked.at(-1), {
    kind: 'finishMetrics',
    isInstant: false,
    seriesMax: 2,
    format: 'json',
    sources: [],
  });
  t.same(answer.series, [Uint8Array.of(1), Uint8Array.of(2, 3)]);
  t.match(answer, {
    isCut: true,
    stats: { inspectedSpans: 8, totalBlocks: 3, totalJobs: 5, completedJobs: 4 },
  });
  t.same(completed, [1, 2, 3, 4]);
  t.match(answer.partial, [
    /not searchable yet/,
    /^block two could not be read: gone$/,
    /: 1 of 5 parts were not read$/,
    /^more than 1000000 samples/,
  ]);
  t.equal(counts.released, 1);
  isLate = false;
  t.equal((await querier.metrics(query)).stats.completedJobs, 5);
  t.same(await Promise.all(series), [[Uint8Array.of(9)], undefined, undefined, [Uint8Array.of(9)]]);
  let late: MetricsProgress | undefined;
  await querier.metrics(query, undefined, (progress) => (late = progress));
  asked.splice(0);
  t.equal(await late!.seriesSoFar(), undefined, 'too late');
});

t.test('a metrics query has let go of its sources when its series are made', async (t) => {
  const released: number[] = [];
  const { querier, counts } = aQuerier((job) => {
    if (job.kind === 'sharedTraces') return sharedOf(job, [], []);
    released.push(counts.released);
    const totals = { inspectedTraces: 0, inspectedSpans: 0, inspectedBytes: 0, failures: [] };
    if (job.kind === 'metrics') return { kind: 'metrics', part: undefined, ...totals };
    const bodies = { bodies: new Uint8Array(0), ends: new Float64Array(0), text: undefined };
    return { kind: 'finishMetrics', ...bodies, isCut: false, isPartial: false, failures: [] };
  });
  await querier.metrics(TWO_RATES);
  t.same(released, [0, 0, 0, 0, 0, 1]);
  t.equal(counts.released, 1, 'once');
});

const TWO_RATES: MetricsQuery = {
  tenant: 'team',
  query: '{} | rate()',
  startUnixNano: 0n,
  endUnixNano: 2n,
  stepNanos: 1n,
  isInstant: false,
  exemplarsMax: 0,
  seriesMax: 0,
  format: 'json',
};

/** One job over one block. */
function oneBlockScan(how: Pick<MetricsScan, 'pool' | 'signal'> & Partial<MetricsScan>): MetricsScan {
  const jobs = planSearch([local('a')], 100, 1);
  return {
    turn: new QueryTurn(),
    budget: new PartsBudget({ bytesMax: 1, metrics: new Metrics() }),
    results: new ResultBudget({ bytesMax: 1, waitMs: 0, metrics: new Metrics(), taken: () => undefined }),
    sources: [local('a')],
    plan: { jobs, inPlace: jobs, whole: [], chooseWhole: () => [], inspectedBytes: 0, failures: [] },
    samplesMax: 100,
    concurrency: 1,
    allRead: () => {},
    onProgress: undefined,
    graceMs: 1,
    ...how,
  };
}

/** Cells by their series, which are numbered from 0 on, and intervals. */
function partOf(cells: readonly (readonly [row: number, interval: number])[]): MetricsPart {
  const series = new Set(cells.map(([row]) => row)).size;
  return {
    values: new Uint8Array(0),
    valueEnds: new Uint32Array(0),
    labels: new Int32Array(0),
    buckets: new Uint8Array(series),
    groups: series,
    rows: Int32Array.from(cells, ([row]) => row),
    intervals: Int32Array.from(cells, ([, interval]) => interval),
    cells: new Float64Array(cells.length),
    rests: new Float64Array(0),
    weights: new Float64Array(0),
    share: 1,
    exemplars: [],
  };
}

const countsOf = (series: number): MetricsPart =>
  partOf(Array.from({ length: series }, (_, row) => [row, 0] as const));

t.test('series of a metrics query wait for memory, and hold it until they are sent', async (t) => {
  const metrics = new Metrics();
  const results = new ResultBudget({ bytesMax: 3 << 20, waitMs: 0, metrics, taken: () => undefined });
  const held = async (): Promise<number> =>
    Number(/^tempo_querier_result_bytes (\d+)/m.exec(await metrics.text())![1]);
  let part = countsOf(1);
  let finishes = 0;
  let isBroken = false;
  const run = (job: ScanJob): Promise<ScanResult> => {
    const base = { inspectedTraces: 1, inspectedSpans: 2, inspectedBytes: 3, failures: [] };
    if (job.kind === 'metrics') return Promise.resolve({ kind: 'metrics', part, ...base });
    finishes++;
    if (isBroken) return Promise.reject(new TempoError('internal', 'broken'));
    const bodies = new Uint8Array(1000);
    const rest = {
      ends: Float64Array.of(1000),
      text: {
        bytes: new Uint8Array(500),
        ends: Float64Array.of(500),
        fill: new Uint8Array(200),
        fillFrom: Uint32Array.of(0),
        fillTo: Uint32Array.of(200),
      },
      isCut: false,
      isPartial: false,
      failures: [],
    };
    return Promise.resolve({ kind: 'finishMetrics', bodies, ...rest });
  };
  const ask = (signal: AbortSignal) =>
    findMetrics(TWO_RATES, oneBlockScan({ pool: { run }, results, signal, samplesMax: 1e6 }));

  const first = new AbortController();
  await ask(first.signal);
  t.equal(await held(), 1000 + 500 + 8 + 200 + 4 + 4, 'made, and not yet sent: bodies, and all of a text');
  first.abort();
  t.equal(await held(), 0);
  isBroken = true;
  await t.rejects(ask(new AbortController().signal), { message: 'broken' });
  t.equal(await held(), 0, 'there is no answer');
  isBroken = false;

  const other = await results.take('another', 3 << 20, undefined);
  part = countsOf(20_000);
  finishes = 0;
  const waiting = ask(new AbortController().signal);
  while (!/^tempo_querier_waiting_searches 1$/m.test(await metrics.text())) await new Promise(setImmediate);
  t.equal(finishes, 0, 'there is no room for the series of 20,000');
  other.drop();
  await waiting;
  t.equal(finishes, 1);
});

t.test('a metrics query whose series are not made in time has none, and says so', async (t) => {
  const run = (job: ScanJob, { signal }: RunOptions): Promise<ScanResult> => {
    if (job.kind === 'metrics') {
      const base = { inspectedTraces: 1, inspectedSpans: 2, inspectedBytes: 3, failures: [] };
      return Promise.resolve({ kind: 'metrics', part: undefined, ...base });
    }
    return new Promise((_, reject) => {
      const end = (): void => reject(new TempoError('cancelled', 'the request was cancelled'));
      signal?.addEventListener('abort', end);
    });
  };
  const ask = (signal: AbortSignal) => findMetrics(TWO_RATES, oneBlockScan({ pool: { run }, signal }));
  const late = new AbortController();
  const found = ask(late.signal);
  setImmediate(() => late.abort(new TimeIsUpError('query_frontend.api_timeout', 'too late')));
  const { answer } = await found;
  t.strictSame(answer.series, []);
  t.equal(answer.stats.completedJobs, 1);
  t.match(answer.partial, [/^the time of the query is over: no series/]);
  const client = new AbortController();
  const left = ask(client.signal);
  setImmediate(() => client.abort(new TempoError('cancelled', 'the client closed the request')));
  await t.rejects(left, { code: 'cancelled' });
});

t.test('parts of metrics queries: joined on the way, in the order of their jobs', async (t) => {
  const MIB = 1 << 20;
  const part = (name: number, mib: number): MetricsPart => {
    const none = { values: new Uint8Array(0), valueEnds: new Uint32Array(0), labels: new Int32Array(0) };
    const rest = { buckets: new Uint8Array(0), intervals: new Int32Array(0), rests: new Float64Array(0) };
    const cells = { rows: Int32Array.of(name), cells: new Float64Array((mib * MIB) / 8) };
    return { ...none, ...rest, ...cells, weights: new Float64Array(0), groups: 1, share: 1, exemplars: [] };
  };
  const joins: number[][] = [];
  let go = (): void => {};
  let heldBytes = 0;
  const parts = new MetricsParts({
    merge: async (some) => {
      joins.push(some.map(({ rows }) => rows[0]!));
      await new Promise<void>((resolve) => (go = resolve));
      if (joins.length === 3) throw new Error('as asked');
      return part(100 * joins.length, some.length);
    },
    replaced: (bytes, byBytes) => (heldBytes += byBytes - bytes),
  });
  parts.add(1, part(1, 3));
  parts.add(2, part(2, 3));
  t.strictSame(joins, [], 'the first one is not there');
  parts.add(0, undefined);
  t.strictSame(joins, [[1, 2]]);
  parts.add(4, part(4, 3));
  parts.add(3, part(3, 3));
  t.equal(joins.length, 1, 'one after another');
  go();
  await new Promise((resolve) => setImmediate(resolve));
  t.strictSame(joins.slice(1), [[100, 3, 4]]);
  t.equal(Math.round(heldBytes / MIB), -4, '6 MiB became 2');
  parts.add(5, part(5, 9));
  go();
  await new Promise((resolve) => setImmediate(resolve));
  t.strictSame(joins.slice(2), [[200, 5]]);
  const all = parts.all();
  go();
  t.strictSame(
    (await all).map(({ rows }) => rows[0]),
    [200, 5],
    'what cannot be joined is as it was',
  );
});

t.test(
  'memory for parts of metrics queries: the oldest query of a tenant goes on, others wait',
  async (t) => {
    const metrics = new Metrics();
    const budget = new PartsBudget({ bytesMax: 100, metrics });
    const { signal } = new AbortController();
    const begun: string[] = [];
    const begin = async (name: string, lease: PartsLease, bytes: number, ends = signal): Promise<void> => {
      await lease.begin(bytes, ends);
      begun.push(name);
    };
    const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
    const old = budget.open('one');
    const young = budget.open('one');
    const other = budget.open('two');
    void begin('old 1', old, 60);
    void begin('old 2', old, 60);
    void begin('young', young, 60);
    void begin('other', other, 60);
    await turn();
    t.strictSame(begun.splice(0), ['old 1', 'other'], 'each tenant has one');
    t.match(await metrics.text(), /tempo_querier_waiting_metrics_jobs 2\n/);
    const client = new AbortController();
    const left = begin('left', young, 1, client.signal);
    client.abort();
    await t.rejects(left, { code: 'cancelled' });
    await t.rejects(young.begin(1, client.signal), { code: 'cancelled' });
    old.end(60, 90);
    await turn();
    t.strictSame(begun.splice(0), ['old 2'], 'above the bound too, but no more than one at a time');
    old.end(60, 10);
    old.replace(100, 20);
    other.end(60, undefined);
    await turn();
    t.strictSame(begun.splice(0), ['young'], '20 and 60 are not too much');
    t.match(await metrics.text(), /tempo_querier_metrics_part_bytes 80\n/);
    young.end(60, 5);
    const many = Array.from({ length: 18 }, () => begin('more', young, 60));
    await Promise.all(many.slice(0, 15));
    t.equal(begun.length, 15, '20 and 5, and 5 for each job: as much as the first part had');
    old.drop();
    await Promise.all(many);
    young.drop();
    other.drop();
    t.match(await metrics.text(), /tempo_querier_metrics_part_bytes 0\n/);
  },
);

t.test('memory for parts: a query that waits for its answer does not hold up the next', async (t) => {
  const budget = new PartsBudget({ bytesMax: 100, metrics: new Metrics() });
  const { signal } = new AbortController();
  const read = async (bytes: number): Promise<PartsLease> => {
    const lease = budget.open('one');
    await lease.begin(bytes, signal);
    lease.end(bytes, bytes);
    return lease;
  };
  const old = await read(50);
  const young = budget.open('one');
  let begun = 0;
  const begin = async (): Promise<void> => {
    await young.begin(60, signal);
    begun++;
  };
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const jobs = [begin(), begin(), begin()];
  await turn();
  t.equal(begun, 0, 'the old one may have jobs that are next');
  old.allRead();
  await turn();
  t.equal(begun, 1, 'one after another');
  young.end(60, 60);
  await turn();
  t.equal(begun, 2);
  young.end(60, 60);
  await jobs[2];
  young.end(60, 60);
  young.allRead();
  const third = budget.open('one');
  const waiting = third.begin(1, signal).then(() => begun++);
  await turn();
  t.equal(begun, 3, 'those that are read hold 230');
  young.drop();
  await waiting;
  t.equal(begun, 4);
});

t.test('what jobs over blocks answered is kept: the same question reads nothing again', async (t) => {
  const metrics = new Metrics();
  const cache = new LocalResultCache(3000, metrics);
  const cached = new CachedJobs(cache, metrics);
  let runs = 0;
  let failures: SearchJobResult['failures'] = [];
  const run = async (): Promise<SearchJobResult> => ({
    kind: 'search',
    found: packed([[`${++runs}`, 5n]]),
    areTimely: true,
    hasMore: true,
    inspectedTraces: 1,
    inspectedSpans: 2,
    inspectedBytes: 3,
    failures,
  });
  const block = {
    kind: 'block',
    meta: { ...meta('b'), startSec: 10, endSec: 20 },
    location: 'local',
  } as const;
  const job: SearchJob = {
    kind: 'search',
    query: '{}',
    range: { startSec: 5, endSec: 25 },
    limit: 7,
    spansPerSpanSet: 3,
    format: 'json',
    sources: [{ ...block, rowGroups: [0, 2] }],
  };
  const ids = async (over: Partial<SearchJob> = {}) => {
    const { found: traces, inspectedBytes } = await cached.search({ ...job, ...over }, run);
    return [unpackFound(traces)[0]!.traceId, inspectedBytes];
  };
  t.same(await ids(), ['1', 3]);
  t.same(await ids(), ['1', 0], 'nothing was read');
  t.same(await ids({ range: { startSec: 6, endSec: 24 } }), ['1', 0], 'any range around the block');
  const others: readonly Partial<SearchJob>[] = [
    { sources: [{ ...block, rowGroups: [0, 2], meta: { ...block.meta, tenantId: 'other' } }] },
    { query: '{ }' },
    { limit: 8 },
    { spansPerSpanSet: 4 },
    { format: 'proto' },
    { order: { by: 'duration', isDescending: true } },
    { after: { value: 5n, traceId: 'a' } },
    { range: ANY },
    { sources: [{ ...block, rowGroups: [2, 4] }] },
    { sources: [{ ...block, rowGroups: [0, 2], meta: { ...block.meta, blockId: 'c' } }] },
  ];
  for (const [i, over] of others.entries()) t.same(await ids(over), [String(i + 2), 3], JSON.stringify(i));
  runs = 100;
  const never: readonly Partial<SearchJob>[] = [
    { range: { startSec: 10, endSec: 25 } },
    { range: { startSec: 5, endSec: 20 } },
    { sources: [head('h')] },
    { sources: [{ ...block, without: Int32Array.of(1) }] },
    { isExplained: true },
  ];
  for (const over of never) {
    const [first] = await ids(over);
    t.not((await ids(over))[0], first);
  }
  failures = [{ source: 'b', code: 'block_corrupt', message: 'x' }];
  const [first] = await ids({ query: '{ name = "x" }' });
  t.not((await ids({ query: '{ name = "x" }' }))[0], first, 'what was not read whole is read again');
  failures = [];
  runs = 200;
  for (let i = 0; i < 20; i++) await ids({ limit: 20 + i });
  t.same(await ids({ limit: 39 }), ['220', 0]);
  t.same((await ids({ limit: 20 }))[1], 3, 'what was used longest ago went');
  const text = await metrics.text();
  t.match(text, /^tempo_querier_result_cache_requests_total\{result="hit"\} 3$/m);
  t.ok(Number(/^tempo_querier_result_cache_bytes (\d+)$/m.exec(text)?.[1]) <= 3000);
});

t.test('answers of jobs in a cache outside the process', async (t) => {
  const double = new MemcachedDouble();
  const outer = new OuterCache({
    name: 'frontend-search',
    roles: ['frontend-search'],
    client: { ...MEMCACHED, addresses: [await double.start()] },
    writersMax: 1,
    queueLengthMax: 10,
  });
  await outer.open();
  t.teardown(async () => {
    outer.stop();
    await double.stop();
  });
  const result: SearchJobResult = {
    kind: 'search',
    found: packed([
      ['a', 5n],
      ['b', 4n],
    ]),
    areTimely: true,
    matchedApart: Int32Array.of(3, 9),
    hasMore: true,
    inspectedTraces: 0,
    inspectedSpans: 0,
    inspectedBytes: 0,
    failures: [],
  };
  const local = new LocalResultCache(10_000, new Metrics());
  const cache = new OuterResultCache(outer, local);
  const key = 'block|0-1|{ name = "x" }';
  t.equal(await cache.get(key), undefined);
  cache.set(key, result);
  t.equal(await cache.get(key), result, 'at once from this process');
  while (double.items.size === 0) await new Promise(setImmediate);
  const name = [...double.items.keys()].join();
  t.match(name, /^tempo-ts:search1:[\w-]{43}$/);
  const other = new OuterResultCache(outer, undefined);
  t.same(await other.get(key), result, 'from another one');
  t.equal(await other.get(`${key} `), undefined);
  const bytes = double.items.get(name)!.value;
  for (let i = 0; i < bytes.length; i++) {
    const damaged = Buffer.from(bytes);
    damaged[i]! ^= 1;
    t.equal(decodeAnswer(SEARCH_CODEC, name, damaged), undefined);
    t.equal(decodeAnswer(SEARCH_CODEC, name, bytes.subarray(0, i)), undefined);
  }
  t.equal(decodeAnswer(SEARCH_CODEC, `${name}x`, bytes), undefined, 'the answer of another name');
  const plain = { ...result, areTimely: undefined, matchedApart: undefined, hasMore: false };
  t.match(decodeAnswer(SEARCH_CODEC, name, encodeAnswer(SEARCH_CODEC, name, plain)!), plain);
});

t.test('parts of metrics queries in a cache outside the process', async (t) => {
  const double = new MemcachedDouble();
  const outer = new OuterCache({
    name: 'frontend-search',
    roles: ['frontend-search'],
    client: { ...MEMCACHED, addresses: [await double.start()] },
    writersMax: 1,
    queueLengthMax: 20,
  });
  await outer.open();
  t.teardown(async () => {
    outer.stop();
    await double.stop();
  });
  const part = (first: number): MetricsPart => ({
    values: Uint8Array.of(1, 2, first),
    valueEnds: Uint32Array.of(3),
    labels: Int32Array.of(0, 1),
    buckets: Uint8Array.of(),
    groups: 7,
    rows: Int32Array.of(0, 1),
    intervals: Int32Array.of(3, 5),
    cells: Float64Array.of(0.5, first),
    rests: Float64Array.of(0, 1e-9),
    weights: Float64Array.of(1, 2),
    share: 1,
    exemplars: [
      {
        priority: 7,
        interval: 3,
        timestampMs: 1_700_000_000_123,
        value: NaN,
        group: [Uint8Array.of(0xff, 0)],
        bucket: 2,
        labels: [{ key: 'a "b"', value: Uint8Array.of(0x80) }],
      },
    ],
  });
  const cached = new CachedJobs(new OuterResultCache(outer, undefined), new Metrics());
  let runs = 0;
  let over: Partial<MetricsJobResult> = {};
  const run = async (): Promise<MetricsJobResult> => ({
    kind: 'metrics',
    part: part(++runs),
    areTimely: true,
    inspectedTraces: 1,
    inspectedSpans: 2,
    inspectedBytes: 3,
    failures: [],
    ...over,
  });
  const block = {
    kind: 'block',
    meta: { ...meta('b'), startSec: 110, endSec: 120 },
    location: 'backend',
    rowGroups: [0, 2],
  } as const;
  const sec = 1_000_000_000n;
  const rangeOf = (from: number, to: number, step = 10): MetricsRange => ({
    startUnixNano: BigInt(from) * sec,
    endUnixNano: BigInt(to) * sec,
    stepNanos: BigInt(step) * sec,
  });
  const job: MetricsJob = {
    kind: 'metrics',
    query: '{ } | rate()',
    range: rangeOf(80, 180),
    samplesMax: 1000,
    exemplarsMax: 5,
    sources: [block],
  };
  const first = await cached.metrics(job, run);
  while (double.items.size === 0) await new Promise(setImmediate);
  const unread = { inspectedTraces: 0, inspectedSpans: 0, inspectedBytes: 0 };
  t.match(await cached.metrics(job, run), { ...unread, part: first.part, failures: [] });
  t.equal(runs, 1);
  const [name] = [...double.items.keys()];
  t.match(name, /^tempo-ts:metrics1:[\w-]{43}$/);

  const plain = { ...job, exemplarsMax: 0 };
  const others: readonly MetricsJob[] = [
    { ...job, query: '{ } | count_over_time()' },
    { ...job, range: rangeOf(80, 180, 20) },
    { ...job, range: rangeOf(90, 180) },
    { ...job, range: rangeOf(80, 190) },
    { ...job, samplesMax: 1001 },
    { ...job, exemplarsMax: 6 },
    plain,
    { ...plain, range: rangeOf(81, 181) },
    { ...plain, range: rangeOf(80, 180, 20) },
    { ...plain, query: '{ } | compare({ status = error })' },
    { ...job, sources: [{ ...block, rowGroups: [2, 4] }] },
    { ...job, sources: [{ ...block, meta: { ...block.meta, blockId: 'c' } }] },
    { ...job, sources: [{ ...block, meta: { ...block.meta, tenantId: 'other' } }] },
  ];
  for (const [i, other] of others.entries()) {
    await cached.metrics(other, run);
    while (double.items.size < i + 2) await new Promise(setImmediate);
  }
  t.equal(runs, 1 + others.length, 'each question is another');

  const later = await cached.metrics({ ...plain, range: rangeOf(100, 170) }, run);
  t.same(later.part?.intervals, Int32Array.of(1, 3), 'the same spans, counted from another start');
  t.equal(runs, 1 + others.length);
  await cached.metrics({ ...plain, range: rangeOf(100, 130) }, run);
  t.equal(runs, 2 + others.length, 'a span of it is outside of the range');

  const kept = double.items.size;
  const never: readonly MetricsJob[] = [
    { ...job, query: '{ name = "never" } | rate()', sources: [head('h')] },
    { ...job, query: '{ name = "never" } | rate()', range: rangeOf(110, 180) },
    { ...job, query: '{ name = "never" } | rate()', range: rangeOf(80, 120) },
    { ...job, query: '{ name = "never" } | rate()', isExplained: true },
    { ...job, query: '{ name = "never" } | rate()', sources: [block, block] },
    { ...job, query: '{ name = "never" } | rate()', sources: [{ ...block, without: Int32Array.of(1) }] },
  ];
  for (const other of never) await cached.metrics(other, run);
  const partial: readonly Partial<MetricsJobResult>[] = [
    { areTimely: false },
    { failures: [{ source: 'b', code: 'block_corrupt', message: 'x' }] },
    { part: { ...part(0), share: 0.5 } },
    { part: undefined },
  ];
  for (over of partial) {
    await cached.metrics({ ...plain, query: '{ name = "partial" } | rate()' }, run);
    await cached.metrics({ ...plain, query: '{ name = "partial" } | rate()' }, run);
  }
  t.equal(runs, 2 + others.length + never.length + 2 * partial.length, 'these are done each time');
  t.equal(double.items.size, kept);

  const bytes = double.items.get(name!)!.value;
  t.ok(decodeAnswer(PART_CODEC, name!, bytes));
  for (let i = 0; i < bytes.length; i++) {
    const damaged = Buffer.from(bytes);
    damaged[i]! ^= 1;
    t.equal(decodeAnswer(PART_CODEC, name!, damaged), undefined);
    t.equal(decodeAnswer(PART_CODEC, name!, bytes.subarray(0, i)), undefined);
  }
  t.equal(decodeAnswer(PART_CODEC, `${name}x`, bytes), undefined, 'the part of another name');
  over = {};
  double.items.set(name!, { ...double.items.get(name!)!, value: Buffer.from('nonsense') });
  t.match(await cached.metrics(job, run), { inspectedBytes: 3 }, 'what is not ours is read anew');
});

t.test(
  'before the cache outside stands that of this process, and what is too large stays there',
  async (t) => {
    const outside = new Map<string, Uint8Array>();
    let asked = 0;
    const outer = {
      get: async (role: string, name: string) => {
        t.equal(role, 'frontend-search');
        asked++;
        return outside.get(name);
      },
      set: (name: string, bytes: Uint8Array) => void outside.set(name, bytes),
    };
    const near = () => new LocalResultCache(10_000_000, new Metrics());
    const searchOf = (bodyBytes: number): SearchJobResult => ({
      kind: 'search',
      found: { ...packed([]), chunks: [new Uint8Array(bodyBytes)] },
      hasMore: false,
      inspectedTraces: 0,
      inspectedSpans: 0,
      inspectedBytes: 0,
      failures: [],
    });
    const partOf = (bodyBytes: number): KeptPart => ({
      part: {
        values: new Uint8Array(bodyBytes),
        valueEnds: new Uint32Array(0),
        labels: new Int32Array(0),
        buckets: new Uint8Array(0),
        groups: 0,
        rows: new Int32Array(0),
        intervals: new Int32Array(0),
        cells: new Float64Array(0),
        rests: new Float64Array(0),
        weights: new Float64Array(0),
        share: 1,
        exemplars: [],
      },
      firstInterval: 7n,
    });
    const tagsOf = (bodyBytes: number): TagsJobResult => ({
      kind: 'tagNames',
      names: [['x'.repeat(bodyBytes)]],
      inspectedBytes: 0,
      failures: [],
    });
    const cases = [
      { name: 'search', of: (cache: ResultCache) => cache, make: searchOf, hasNear: true },
      { name: 'metrics', of: (cache: ResultCache) => cache.metrics!, make: partOf, hasNear: true },
      { name: 'tags', of: (cache: ResultCache) => cache.tags!, make: tagsOf, hasNear: false },
    ] as const;
    for (const { name, of, make, hasNear } of cases) {
      const open = () => of(new OuterResultCache(outer, near())) as AnswerCache<unknown>;
      const [cache, other] = [open(), open()];
      const answer = make(100);
      cache.set('k', answer);
      asked = 0;
      t.same(await cache.get('k'), answer, name);
      t.equal(asked, hasNear ? 0 : 1, `${name}: whoever has it does not ask`);
      t.same(await other.get('k'), answer, `${name}: from outside`);
      asked = 0;
      t.same(await other.get('k'), answer, name);
      t.equal(asked, hasNear ? 0 : 1, `${name}: what came from outside is here then`);
      const before = outside.size;
      cache.set('large', make(1_000_000));
      t.equal(outside.size, before, `${name}: too large`);
      t.equal((await cache.get('large')) !== undefined, hasNear, name);
      cache.set('fits', make(999_000));
      t.equal(outside.size, before + 1, name);
      const lone = of(new OuterResultCache(outer, undefined)) as AnswerCache<unknown>;
      t.same(await lone.get('k'), answer, `${name}: without a cache in this process`);
    }
  },
);

t.test('answers of jobs for tags in a cache outside the process', async (t) => {
  const double = new MemcachedDouble();
  const outer = new OuterCache({
    name: 'frontend-search',
    roles: ['frontend-search'],
    client: { ...MEMCACHED, addresses: [await double.start()] },
    writersMax: 1,
    queueLengthMax: 20,
  });
  await outer.open();
  t.teardown(async () => {
    outer.stop();
    await double.stop();
  });
  const metrics = new Metrics();
  const cached = new CachedJobs(new OuterResultCache(outer, undefined), metrics);
  let runs = 0;
  let failures: TagsJobResult['failures'] = [];
  const run = async (): Promise<TagNamesJobResult> => {
    const names = [[`n${++runs}`, 'a \u0000 \ud800']];
    return { kind: 'tagNames', names, inspectedBytes: 7, failures };
  };
  const block = { kind: 'block', meta: meta('b'), location: 'backend', rowGroups: [0, 2] } as const;
  const job: TagsJob = { kind: 'tagNames', scopes: ['span'], query: undefined, sources: [block] };
  const first = await cached.tags(job, run);
  while (double.items.size === 0) await new Promise(setImmediate);
  t.same(await cached.tags(job, run), { ...first, inspectedBytes: 0 });
  t.equal(runs, 1);
  const fields = [{ kind: 'attribute', scope: 'span', name: 'x' }] as const;
  const values: TagsJob = { ...job, kind: 'tagValues', fields, bytesMax: 10 };
  const others: readonly TagsJob[] = [
    { ...job, scopes: ['resource'] },
    { ...job, query: '{ name = "x" }' },
    { ...job, sources: [{ ...block, rowGroups: [2, 4] }] },
    { ...job, sources: [{ ...block, meta: meta('c') }] },
    { ...job, sources: [{ ...block, meta: { ...block.meta, tenantId: 'other' } }] },
    values,
    { ...values, bytesMax: 11 },
    { ...values, fields: [{ ...fields[0], name: 'y' }] },
  ];
  for (const [i, other] of others.entries()) {
    await cached.tags(other, run);
    while (double.items.size < i + 2) await new Promise(setImmediate);
  }
  t.equal(runs, 1 + others.length, 'each question is another');
  const head = { kind: 'head', blockId: 'h', sab: new SharedArrayBuffer(0) } as unknown as ScanSource;
  const unkept: readonly TagsJob[] = [
    { ...job, sources: [head] },
    { ...job, sources: [block, block] },
    { ...job, sources: [{ ...block, without: Int32Array.of(1) }] },
  ];
  for (const one of unkept) await cached.tags(one, run);
  failures = [{ source: 'b', code: 'block_corrupt', message: '' }];
  await cached.tags({ ...job, query: '{ }' }, run);
  await new Promise(setImmediate);
  t.equal(double.items.size, 1 + others.length, 'what may change is not kept');
  t.match(await metrics.text(), 'tempo_querier_result_cache_requests_total{result="hit"} 1');
  const [name, { value }] = [...double.items][0]!;
  t.match(name, /^tempo-ts:tags1:[\w-]{43}$/);
  for (let i = 0; i < value.length; i++) {
    const damaged = Buffer.from(value);
    damaged[i]! ^= 1;
    t.equal(decodeAnswer(TAGS_CODEC, name, damaged), undefined);
    t.equal(decodeAnswer(TAGS_CODEC, name, value.subarray(0, i)), undefined);
  }
  t.equal(decodeAnswer(TAGS_CODEC, `${name}x`, value), undefined, 'the answer of another name');
});
