// How a query is cut into jobs and how answers come together.
import t from 'tap';
import type { BlockMeta } from '../../src/block/meta.ts';
import type { SourceRef } from '../../src/contracts/recent-traces.ts';
import { TempoError } from '../../src/lib/errors.ts';
import { LocalQuerier } from '../../src/modules/querier/index.ts';
import { mergeFirst, withCombined } from '../../src/modules/querier/merge.ts';
import { distinctSources, planSearch, planTrace } from '../../src/modules/querier/plan.ts';
import { Blocklist } from '../../src/store/blocklist.ts';
import { packFound, unpackFound } from '../../src/store/pack.ts';
import type { ScanJob, ScanResult, SearchJobResult } from '../../src/store/scan-job.ts';
import { newestFirst } from '../../src/traceql/engine/order.ts';
import { silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';

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
    sources.map((s) => (s.kind === 'head' ? `head ${s.blockId}` : `${s.location} ${s.meta.blockId}`)),
    ['local a', 'head b', 'local c', 'backend d'],
  );
  t.end();
});

t.test('blocks are cut by row groups of about the wanted size', (t) => {
  const rows = (sizeBytes: number, records: number, target: number) =>
    planSearch([{ kind: 'block', meta: meta('x', sizeBytes, records), location: 'backend' }], target).map(
      (job) => job.sources[0]!.rowGroups,
    );
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
  t.equal(planSearch([head('h')], 1).length, 1);
  t.end();
});

t.test('trace jobs take every source once', (t) => {
  const sources = Array.from({ length: 40 }, (_, i) => local(`block-${i}`));
  const jobs = planTrace(sources, 3);
  t.ok(jobs.length <= 3 && jobs.length > 1);
  t.equal(new Set(jobs.flatMap((job) => job.sources)).size, 40);
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

t.test('wholes take the place of their parts, and one that matches no more is gone', (t) => {
  const traces = found([
    ['a', 9n],
    ['b', 8n],
    ['c', 7n],
  ]);
  const whole = packed([['c', 10n]]);
  const combined = Uint8Array.from([...traces[1]!.id, ...traces[2]!.id]);
  const result: SearchJobResult = {
    kind: 'search',
    found: whole,
    combined,
    hasMore: false,
    inspectedTraces: 0,
    inspectedSpans: 0,
    inspectedBytes: 0,
    failures: [],
  };
  const order = (limit: number) => withCombined(traces, result, limit).map((trace) => trace.traceId);
  t.same(order(3), ['c', 'a']);
  t.same(order(1), ['c']);
  t.equal(withCombined(traces, { ...result, combined: new Uint8Array(0) }, 3).length, 3);
  t.end();
});

const WHOLE = { from: 'all', blocks: undefined, bytesMax: 0 } as const;
const ANY = { startSec: undefined, endSec: undefined };

/** A querier over one head and two blocks of the backend, with an invented scan. */
function aQuerier(scan: (job: ScanJob) => ScanResult) {
  const metrics = new Metrics();
  const jobs: ScanJob[] = [];
  const limits = new Set<string>();
  const counts = { released: 0 };
  const sab = new SharedArrayBuffer(0);
  const blocklist = new Blocklist();
  for (const blockId of ['one', 'two']) blocklist.added(meta(blockId));
  const querier = new LocalQuerier({
    admit: () => {},
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
    jobLimitMs: (kind) => (kind === 'trace' ? 10 : 30),
    nowMs: () => 0,
  });
  return { querier, jobs, limits, counts, metrics };
}

t.test('a querier tells each source that failed once, and lets go of all of them', async (t) => {
  const failures = [{ source: 'two', code: 'block_corrupt', message: 'bad page' }];
  const stats = { hasMore: false, inspectedTraces: 1, inspectedSpans: 2, inspectedBytes: 3 };
  const { querier, jobs, limits, counts, metrics } = aQuerier((job) => {
    if (job.kind === 'trace')
      return { kind: 'trace', trace: undefined, isCut: false, inspectedBytes: 5, failures };
    const combined = new Uint8Array(0);
    return { kind: 'search', found: packed([['a', 1n]]), combined, ...stats, failures };
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
  t.match(jobs.at(-1), { kind: 'search', combine: Uint8Array }, 'what was found is looked for everywhere');
  const trace = await querier.findTrace({
    tenant: 'team',
    id: new Uint8Array(16),
    range: ANY,
    format: 'proto',
    ...WHOLE,
  });
  t.match(trace, { trace: undefined, inspectedBytes: 5 });
  t.same([...limits], ['search 30', 'trace 10'], 'time that jobs may take');
  t.equal(counts.released, 2);
  t.match(await metrics.text(), /failed_sources_total\{code="block_corrupt"\} 2/);
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
