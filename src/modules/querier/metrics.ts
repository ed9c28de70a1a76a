// Metrics queries: a job for each part of the sources, then one that makes the series of all parts.
import type { MetricsAnswer, MetricsProgress, MetricsQuery, QueryStats } from '../../contracts/query.ts';
import type { SourceRef, TimeRange } from '../../contracts/recent-traces.ts';
import { TempoError, TimeIsUpError } from '../../lib/errors.ts';
import type {
  FinishMetricsJobResult,
  MetricsAsked,
  MetricsJobResult,
  ScanFailure,
  ScanResult,
} from '../../store/scan-job.ts';
import type { ScanPool } from '../../store/scan-pool.ts';
import { LateJobs } from './late-jobs.ts';
import { blockIdOf, type PlannedJob } from './plan.ts';
import type { QueryPlan } from './planner.ts';
import { runJobs } from './run-jobs.ts';

export interface MetricsScan {
  readonly pool: Pick<ScanPool, 'run'>;
  readonly sources: readonly SourceRef[];
  readonly plan: QueryPlan;
  readonly samplesMax: number;
  /** Jobs at a time. */
  readonly concurrency: number;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ((progress: MetricsProgress) => void) | undefined;
}

interface FoundMetrics {
  readonly answer: MetricsAnswer;
  readonly failures: readonly ScanFailure[];
  /** Series were left out. */
  readonly isLimited: boolean;
}

const NANOS_PER_SECOND = 1_000_000_000n;

/** Whole seconds that contain the range of the query. */
export function secondsOf({ startUnixNano, endUnixNano }: MetricsQuery): TimeRange {
  const endSec = (endUnixNano + NANOS_PER_SECOND - 1n) / NANOS_PER_SECOND;
  return { startSec: Number(startUnixNano / NANOS_PER_SECOND), endSec: Number(endSec) };
}

export async function findMetrics(query: MetricsQuery, scan: MetricsScan): Promise<FoundMetrics> {
  const { plan, samplesMax, concurrency, signal, onProgress } = scan;
  const { startUnixNano, endUnixNano, stepNanos } = query;
  const exemplarsMax = query.isInstant ? 0 : query.exemplarsMax;
  const asked = {
    query: query.query,
    range: { startUnixNano, endUnixNano, stepNanos },
    samplesMax,
    exemplarsMax,
  };
  const late = new LateJobs(signal);
  const results = new Map<PlannedJob, MetricsJobResult>();
  // in the order of the jobs, so that the same query gives the same answer
  const inOrder = (): MetricsJobResult[] => plan.jobs.flatMap((job) => results.get(job) ?? []);
  const allDone = new AbortController();
  const progress: MetricsProgress = {
    get stats() {
      return statsOf(scan, [...results.values()]);
    },
    seriesSoFar: async () => seriesSoFar(query, { ...scan, signal: allDone.signal }, asked, inOrder()),
  };
  try {
    await runJobs(plan.jobs, { concurrency, signal }, async (planned, end) => {
      const { input, affinity } = planned;
      const job = { kind: 'metrics', ...asked, isExplained: query.isExplained, ...input } as const;
      const run = scan.pool.run(job, { tenant: query.tenant, affinity, signal: end });
      const result = await late.unless(run);
      if (result === undefined) return;
      results.set(planned, metricsResult(result));
      onProgress?.(progress);
    });
  } finally {
    allDone.abort();
  }
  const done = inOrder();
  const partial = [...late.reasons(plan.jobs.length)];
  const finished = await finish(query, scan, asked, done);
  if (finished.isPartial) partial.push(`more than ${samplesMax} samples: a part of the series is here`);
  const stats = statsOf(scan, done);
  const reports = done.flatMap(({ report }) => report ?? []);
  const answer = { series: bodiesOf(finished), isCut: finished.isCut, stats, partial, reports };
  const failures = done.flatMap((one) => one.failures);
  return { answer, failures, isLimited: finished.isPartial };
}

function metricsResult(result: ScanResult): MetricsJobResult {
  if (result.kind !== 'metrics') throw new Error('a metrics job answered as something else');
  return result;
}

/** @param scan its signal says that the answer itself is next, or nobody waits for it. */
async function seriesSoFar(
  query: MetricsQuery,
  scan: MetricsScan,
  asked: MetricsAsked,
  results: readonly MetricsJobResult[],
): Promise<readonly Uint8Array[] | undefined> {
  if (scan.signal?.aborted) return undefined;
  try {
    const finished = await finish(query, scan, { ...asked, exemplarsMax: 0 }, results);
    return finished.isCut || finished.isPartial ? undefined : bodiesOf(finished);
  } catch (err) {
    const isFull = err instanceof TempoError && err.code === 'resource_exhausted';
    if (isFull || scan.signal?.aborted) return undefined;
    throw err;
  }
}

async function finish(
  { tenant, isInstant, seriesMax, format }: MetricsQuery,
  { pool, signal }: MetricsScan,
  asked: MetricsAsked,
  results: readonly MetricsJobResult[],
): Promise<FinishMetricsJobResult> {
  const parts = results.flatMap(({ part }) => (part === undefined ? [] : [part]));
  // what was done in time is answered also when the time of the query is over
  const isOver = signal?.reason instanceof TimeIsUpError;
  const result = await pool.run(
    { kind: 'finishMetrics', ...asked, sources: [], parts, isInstant, seriesMax, format },
    { tenant, signal: isOver ? undefined : signal },
  );
  if (result.kind !== 'finishMetrics')
    throw new Error('series were not made of the parts of a metrics query');
  return result;
}

function bodiesOf({ bodies, ends }: FinishMetricsJobResult): Uint8Array[] {
  return Array.from(ends, (end, i) => bodies.subarray(i === 0 ? 0 : ends[i - 1], end));
}

function statsOf({ sources, plan }: MetricsScan, done: readonly MetricsJobResult[]): QueryStats {
  const sum = (of: (result: MetricsJobResult) => number): number => done.reduce((n, one) => n + of(one), 0);
  const blocks = sources.flatMap((source) => (source.kind === 'block' ? [source.meta] : []));
  return {
    inspectedTraces: sum((one) => one.inspectedTraces),
    inspectedSpans: sum((one) => one.inspectedSpans),
    inspectedBytes: plan.inspectedBytes + sum((one) => one.inspectedBytes),
    totalBlocks: new Set(sources.map(blockIdOf)).size,
    totalBlockBytes: blocks.reduce((bytes, { sizeBytes }) => bytes + sizeBytes, 0),
    totalJobs: plan.jobs.length,
    completedJobs: done.length,
  };
}
