// Metrics queries: a job for each part of the sources, parts that come together on the way, and a job in the
// end that makes the series.
import { headCounts } from '../../block/head/reader.ts';
import type { MetricsAnswer, MetricsProgress, MetricsQuery, QueryStats } from '../../contracts/query.ts';
import type { SourceRef, TimeRange } from '../../contracts/recent-traces.ts';
import { TempoError } from '../../lib/errors.ts';
import { Slice } from '../../lib/slices.ts';
import type { QueryTurn } from '../../store/job-queue.ts';
import type {
  FinishMetricsJobResult,
  MetricsAsked,
  MetricsJob,
  MetricsJobResult,
  QueryInput,
  ScanFailure,
  ScanResult,
} from '../../store/scan-job.ts';
import type { RunOptions, ScanPool } from '../../store/scan-pool.ts';
import { type MetricsPart, partBytes } from '../../traceql/engine/metrics/part.ts';
import { textBytes } from '../../lib/filled-text.ts';
import { FinishEnd } from './finish-end.ts';
import { LateJobs } from './late-jobs.ts';
import { makingBytes, mayBeFewer } from './metrics-answer-size.ts';
import { MetricsParts } from './metrics-parts.ts';
import type { PartsBudget, PartsLease } from './parts-budget.ts';
import { BLOCK_BYTES_PER_SPAN, blockIdOf, type PlannedJob } from './plan.ts';
import type { QueryPlan } from './planner.ts';
import { keepUntilSent, type ResultBudget, type ResultLease } from './result-budget.ts';
import { runJobs } from './run-jobs.ts';

/** Series between two looks at the clock. */
const BODIES_A_LOOK = 1024;

export interface MetricsScan {
  readonly pool: Pick<ScanPool, 'run'>;
  readonly turn: QueryTurn;
  readonly budget: PartsBudget;
  /** Of the series that are made and sent. */
  readonly results: Pick<ResultBudget, 'take' | 'mayWait' | 'refusal'>;
  readonly sources: readonly SourceRef[];
  readonly plan: QueryPlan;
  readonly samplesMax: number;
  /** Jobs at a time. */
  readonly concurrency: number;
  readonly signal: AbortSignal | undefined;
  /** Told when the sources are needed no more, but for what is known of them. */
  readonly allRead: () => void;
  readonly onProgress: ((progress: MetricsProgress) => void) | undefined;
  /** How long the series of what was read in time may take when the time of the query is over. */
  readonly graceMs?: number;
}

interface FoundMetrics {
  readonly answer: MetricsAnswer;
  readonly failures: readonly ScanFailure[];
  /** Series were left out. */
  readonly isLimited: boolean;
}

/** What series are made of, and the memory for them. */
interface Ready {
  readonly parts: readonly MetricsPart[];
  readonly lease?: ResultLease;
}

/** What a job told beside its part. */
type JobTotals = Omit<MetricsJobResult, 'part' | 'kind'>;

const NANOS_PER_SECOND = 1_000_000_000n;
const GRACE_MS = 5000;
const NO_SERIES = 'the time of the query is over: no series were made of what was read';
/** Of a part: numbers and labels of a cell. */
const BYTES_PER_CELL = 48;

/** Whole seconds that contain the range of the query. */
export function secondsOf({ startUnixNano, endUnixNano }: MetricsQuery): TimeRange {
  const endSec = (endUnixNano + NANOS_PER_SECOND - 1n) / NANOS_PER_SECOND;
  return { startSec: Number(startUnixNano / NANOS_PER_SECOND), endSec: Number(endSec) };
}

export async function findMetrics(query: MetricsQuery, scan: MetricsScan): Promise<FoundMetrics> {
  const lease = scan.budget.open(query.tenant);
  try {
    return await findHolding(query, scan, lease);
  } finally {
    lease.drop();
  }
}

async function findHolding(query: MetricsQuery, scan: MetricsScan, lease: PartsLease): Promise<FoundMetrics> {
  const { plan, samplesMax, concurrency, signal, onProgress, turn } = scan;
  const { startUnixNano, endUnixNano, stepNanos, tenant } = query;
  const asked: MetricsAsked = {
    query: query.query,
    range: { startUnixNano, endUnixNano, stepNanos },
    samplesMax,
    exemplarsMax: query.isInstant ? 0 : query.exemplarsMax,
  };
  const late = new LateJobs(signal);
  const totals = new Map<PlannedJob, JobTotals>();
  const parts = new MetricsParts({
    merge: (some) => joinInThread(some, scan.pool, asked, { tenant, turn, signal }),
    replaced: (bytes, byBytes) => lease.replace(bytes, byBytes),
  });
  const orderOf = new Map(plan.jobs.map((job, i) => [job, i]));
  const allDone = new AbortController();
  const statsOf = statsOver(scan);
  const progress: MetricsProgress = {
    get stats() {
      return statsOf([...totals.values()]);
    },
    seriesSoFar: async () => seriesSoFar(query, { ...scan, signal: allDone.signal }, asked, parts.soFar),
  };
  try {
    await runJobs(plan.jobs, { concurrency, signal }, async (planned, end) => {
      const job: MetricsJob = { kind: 'metrics', ...asked, isExplained: query.isExplained, ...planned.input };
      const run = { tenant, turn, affinity: planned.affinity, signal: end };
      const result = await late.unless(runHolding(job, scan.pool, run, lease));
      parts.add(orderOf.get(planned)!, result?.part);
      if (result === undefined) return;
      const { part: _, kind: __, ...rest } = result;
      totals.set(planned, rest);
      onProgress?.(progress);
    });
  } finally {
    allDone.abort();
  }
  // in the order of the jobs, so that the same query gives the same answer
  const done = plan.jobs.flatMap((job) => totals.get(job) ?? []);
  const partial = [...late.reasons(plan.jobs.length)];
  await parts.all();
  lease.allRead();
  scan.allRead();
  const finished = await finish(query, scan, asked, (ends) => roomFor(query, scan, asked, parts, ends));
  if (finished === undefined) partial.push(NO_SERIES);
  if (finished?.isPartial) partial.push(`more than ${samplesMax} samples: a part of the series is here`);
  const stats = statsOf(done);
  const reports = done.flatMap(({ report }) => report ?? []);
  const series = finished === undefined ? [] : await bodiesOf(finished);
  const answer = { series, text: finished?.text, isCut: finished?.isCut ?? false, stats, partial, reports };
  const failures = done.flatMap((one) => one.failures);
  return { answer, failures, isLimited: finished?.isPartial ?? false };
}

/** Runs a job when there is room for its part. */
async function runHolding(
  job: MetricsJob,
  pool: Pick<ScanPool, 'run'>,
  run: RunOptions & { readonly signal: AbortSignal },
  lease: PartsLease,
): Promise<MetricsJobResult> {
  const bytesMax = Math.min(job.samplesMax, spansOf(job)) * BYTES_PER_CELL;
  await lease.begin(bytesMax, run.signal);
  let part: MetricsPart | undefined;
  try {
    const result = metricsResult(await pool.run(job, run));
    part = result.part;
    return result;
  } finally {
    lease.end(bytesMax, part && partBytes(part));
  }
}

function metricsResult(result: ScanResult): MetricsJobResult {
  if (result.kind !== 'metrics') throw new Error('a metrics job answered as something else');
  return result;
}

/** As many spans as its sources may have; Infinity = nobody knows. */
function spansOf({ whole, sources }: QueryInput): number {
  if (whole !== undefined) return Infinity;
  return sources.reduce((sum, source) => {
    if (source.kind === 'remote') return sum + source.spanCount;
    if (source.kind === 'head') return sum + headCounts(source.sab).spans;
    const { sizeBytes, totalRecords } = source.meta;
    const [from, to] = source.rowGroups ?? [0, totalRecords];
    return sum + (sizeBytes / BLOCK_BYTES_PER_SPAN) * ((to - from) / Math.max(1, totalRecords));
  }, 0);
}

/**
 * Small ones are made in any case; large ones, which may be too large to be shown, where there is room now.
 * @param scan its signal says that the answer itself is next, or nobody waits for it.
 */
async function seriesSoFar(
  query: MetricsQuery,
  scan: MetricsScan,
  asked: MetricsAsked,
  parts: readonly MetricsPart[],
): Promise<readonly Uint8Array[] | undefined> {
  const { results, signal } = scan;
  if (signal?.aborted) return undefined;
  const bytes = makingBytes(query, asked, parts);
  if (results.mayWait(query.tenant, bytes)) return undefined;
  const lease = await results.take(query.tenant, bytes, signal);
  try {
    const finished = await finish(query, scan, { ...asked, exemplarsMax: 0 }, async () => ({ parts }));
    if (finished === undefined || finished.isCut || finished.isPartial) return undefined;
    return await bodiesOf(finished);
  } catch (err) {
    const isFull = err instanceof TempoError && err.code === 'resource_exhausted';
    if (isFull || signal?.aborted) return undefined;
    throw err;
  } finally {
    lease.drop();
  }
}

async function joinInThread(
  parts: readonly MetricsPart[],
  pool: Pick<ScanPool, 'run'>,
  asked: MetricsAsked,
  run: RunOptions,
): Promise<MetricsPart> {
  const result = await pool.run({ kind: 'joinMetrics', ...asked, sources: [], parts }, run);
  if (result.kind !== 'joinMetrics') throw new Error('parts of a metrics query were not joined');
  return result.part;
}

/**
 * Waits for the memory of the series. Parts with the same series seem to need more than they do: before a
 * query waits they become one. Who has not got it when the time is over is refused.
 */
async function roomFor(
  query: MetricsQuery,
  { results }: MetricsScan,
  asked: MetricsAsked,
  all: MetricsParts,
  ends: FinishEnd,
): Promise<Ready> {
  let parts = all.soFar;
  let bytes = makingBytes(query, asked, parts);
  if (results.mayWait(query.tenant, bytes) && mayBeFewer(parts)) {
    parts = await all.asOne();
    bytes = makingBytes(query, asked, parts);
  }
  try {
    return { parts, lease: await results.take(query.tenant, bytes, ends.signal) };
  } catch (err) {
    throw ends.isTimeUp ? results.refusal() : err;
  }
}

/**
 * What was read in time is answered also when the time is over; undefined = not even that was possible.
 * @param ready tells what the series are made of, once they may be.
 */
async function finish(
  query: MetricsQuery,
  { pool, turn, signal, graceMs = GRACE_MS }: MetricsScan,
  asked: MetricsAsked,
  ready: (ends: FinishEnd) => Promise<Ready>,
): Promise<FinishMetricsJobResult | undefined> {
  const { tenant, isInstant, seriesMax, format } = query;
  const ends = new FinishEnd(signal, graceMs);
  try {
    const { parts, lease } = await ready(ends);
    try {
      const result = await pool.run(
        { kind: 'finishMetrics', ...asked, sources: [], parts, isInstant, seriesMax, format },
        { tenant, turn, signal: ends.signal },
      );
      if (result.kind !== 'finishMetrics')
        throw new Error('series were not made of the parts of a metrics query');
      const heldBytes = result.bodies.length + (result.text ? textBytes(result.text) : 0);
      if (lease) keepUntilSent(lease, heldBytes, signal);
      return result;
    } catch (err) {
      lease?.drop();
      if (ends.isTimeUp || (err instanceof TempoError && err.code === 'deadline_exceeded')) return undefined;
      throw err;
    }
  } finally {
    ends.over();
  }
}

async function bodiesOf({ bodies, ends }: FinishMetricsJobResult): Promise<Uint8Array[]> {
  const slice = new Slice();
  const found: Uint8Array[] = [];
  let begin = 0;
  for (const end of ends) {
    found.push(new Uint8Array(bodies.buffer, bodies.byteOffset + begin, end - begin));
    begin = end;
    if (found.length % BODIES_A_LOOK === 0 && slice.isOver) await slice.next();
  }
  return found;
}

/** For the jobs that are done; what is known of the sources is counted once. */
function statsOver({ sources, plan }: MetricsScan): (done: readonly JobTotals[]) => QueryStats {
  const totalBlocks = new Set(sources.map(blockIdOf)).size;
  const blocks = sources.flatMap((source) => (source.kind === 'block' ? [source.meta] : []));
  const totalBlockBytes = blocks.reduce((bytes, { sizeBytes }) => bytes + sizeBytes, 0);
  return (done) => {
    const sum = (of: (result: JobTotals) => number): number => done.reduce((n, one) => n + of(one), 0);
    return {
      inspectedTraces: sum((one) => one.inspectedTraces),
      inspectedSpans: sum((one) => one.inspectedSpans),
      inspectedBytes: plan.inspectedBytes + sum((one) => one.inspectedBytes),
      totalBlocks,
      totalBlockBytes,
      totalJobs: plan.jobs.length,
      completedJobs: done.length,
    };
  };
}
