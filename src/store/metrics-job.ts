// Metrics queries in scan threads: a job makes a part of what it reads, and another one makes the series of
// all parts.
import type { JobReport } from '../contracts/query.ts';
import { MetricsAccumulator, type MetricsLimits } from '../traceql/engine/metrics/accumulate.ts';
import { finishSeries } from '../traceql/engine/metrics/finish.ts';
import type { MetricsPart } from '../traceql/engine/metrics/part.ts';
import { type MetricsRange, intervalCount } from '../traceql/engine/metrics/range.ts';
import { SeriesWriter } from '../traceql/engine/metrics/series-writer.ts';
import { parse } from '../traceql/parser.ts';
import { JobReports } from './job-reports.ts';
import type { QueryInput, ScanFailure } from './scan-job.ts';
import type { WalkSources } from './source-walk.ts';

interface MetricsAsked {
  readonly query: string;
  readonly range: MetricsRange;
  /** Values of series and intervals, in a job and in the answer; what is beyond it is left out. */
  readonly samplesMax: number;
  /** 0 = none. */
  readonly exemplarsMax: number;
}

export interface MetricsJob extends MetricsAsked, QueryInput {
  readonly kind: 'metrics';
  /** What is read is told. */
  readonly isExplained?: boolean | undefined;
}

export interface FinishMetricsJob extends MetricsAsked {
  readonly kind: 'finishMetrics';
  readonly sources: readonly [];
  readonly parts: readonly MetricsPart[];
  readonly isInstant: boolean;
  /** 0 = no limit. */
  readonly seriesMax: number;
  readonly format: 'proto' | 'json';
}

export interface MetricsJobResult {
  readonly kind: 'metrics';
  /** undefined = nothing could be read. */
  readonly part: MetricsPart | undefined;
  readonly inspectedTraces: number;
  readonly inspectedSpans: number;
  readonly inspectedBytes: number;
  /** When it is explained. */
  readonly report?: JobReport | undefined;
  readonly failures: readonly ScanFailure[];
}

export interface FinishMetricsJobResult {
  readonly kind: 'finishMetrics';
  /** One behind the other; series i ends at ends[i]. */
  readonly bodies: Uint8Array;
  readonly ends: Float64Array;
  /** There are more than `seriesMax`. */
  readonly isCut: boolean;
  /** There are more than `samplesMax` allows. */
  readonly isPartial: boolean;
  readonly failures: readonly ScanFailure[];
}

export async function scanMetrics(
  job: MetricsJob,
  walk: WalkSources,
  signal: AbortSignal,
): Promise<MetricsJobResult> {
  const metrics = new MetricsAccumulator(parse(job.query), job.range, limitsOf(job));
  const reports = job.isExplained === true ? new JobReports() : undefined;
  const failures = await walk(async (source, excluded) => {
    const options = { excludeTraces: excluded, signal };
    if (reports === undefined) return metrics.add(source, options);
    await reports.note(source, async (noted) => {
      await metrics.add(noted, options);
      return { matchedTraces: undefined };
    });
  });
  const { inspectedTraces, inspectedSpans, inspectedBytes } = metrics;
  const part = metrics.part();
  const totals = { inspectedTraces, inspectedSpans, inspectedBytes };
  return { kind: 'metrics', part, ...totals, report: reports?.job(), failures };
}

function limitsOf({ samplesMax, exemplarsMax }: MetricsAsked): MetricsLimits {
  return { cellsMax: samplesMax, exemplarsMax };
}

export function finishMetrics(job: FinishMetricsJob): FinishMetricsJobResult {
  const { range, samplesMax, seriesMax } = job;
  const { series, pool, isPartial } = finishSeries(parse(job.query), range, job.parts, limitsOf(job));
  const wanted = seriesMax > 0 ? series.slice(0, seriesMax) : series;
  const possible = wanted.slice(0, Math.max(1, Math.floor(samplesMax / intervalCount(range))));
  const writer = new SeriesWriter(range, pool, job);
  const bodies = possible.map((one) => writer.write(one));
  const ends = new Float64Array(bodies.length);
  let end = 0;
  bodies.forEach((body, i) => (ends[i] = end += body.length));
  const all = new Uint8Array(end);
  bodies.forEach((body, i) => all.set(body, ends[i]! - body.length));
  return {
    kind: 'finishMetrics',
    bodies: all,
    ends,
    isCut: wanted.length < series.length,
    isPartial: isPartial || possible.length < wanted.length,
    failures: [],
  };
}
