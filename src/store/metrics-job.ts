// Metrics queries in scan threads: a job makes a part of what it reads, and another one makes the series of
// all parts.
import { MetricsAccumulator, type MetricsLimits } from '../traceql/engine/metrics/accumulate.ts';
import { type Check, checkOf } from '../traceql/engine/metrics/check.ts';
import { finishSeries, joinParts } from '../traceql/engine/metrics/finish.ts';
import { sharedPart } from '../traceql/engine/metrics/part.ts';
import { intervalCount } from '../traceql/engine/metrics/range.ts';
import type { LabelPool } from '../traceql/engine/metrics/label-pool.ts';
import type { ResultSeries } from '../traceql/engine/metrics/result-series.ts';
import { seriesText } from '../traceql/engine/metrics/series-text.ts';
import { type SeriesFormat, SeriesWriter } from '../traceql/engine/metrics/series-writer.ts';
import { parse } from '../traceql/parser.ts';
import { JobReports } from './job-reports.ts';
import type {
  FinishMetricsJob,
  FinishMetricsJobResult,
  JoinMetricsJob,
  JoinMetricsJobResult,
  MetricsAsked,
  MetricsJob,
  MetricsJobResult,
} from './scan-job.ts';
import type { VisitSource, WalkSources } from './source-walk.ts';

export async function scanMetrics(
  job: MetricsJob,
  walk: WalkSources,
  signal: AbortSignal,
): Promise<MetricsJobResult> {
  const metrics = new MetricsAccumulator(parse(job.query), job.range, limitsOf(job));
  const reports = job.isExplained === true ? new JobReports() : undefined;
  const visit: VisitSource = async (source, excluded) => {
    const options = { excludeTraces: excluded, signal };
    if (reports === undefined) return metrics.add(source, options);
    await reports.note(source, async (noted) => {
      await metrics.add(noted, options);
      return { matchedTraces: undefined };
    });
  };
  const failures = await walk(visit, (blockId) => reports?.spare(blockId));
  const { inspectedTraces, inspectedSpans, inspectedBytes } = metrics;
  const part = sharedPart(metrics.part());
  const totals = { inspectedTraces, inspectedSpans, inspectedBytes };
  return { kind: 'metrics', part, areTimely: metrics.areTimely, ...totals, report: reports?.job(), failures };
}

function limitsOf({ samplesMax, exemplarsMax }: MetricsAsked): MetricsLimits {
  return { cellsMax: samplesMax, exemplarsMax };
}

export function joinMetrics(job: JoinMetricsJob, signal: AbortSignal): JoinMetricsJobResult {
  const check = checkOf(() => signal.throwIfAborted());
  const part = joinParts(parse(job.query), job.range, job.parts, limitsOf(job), check);
  return { kind: 'joinMetrics', part: sharedPart(part) };
}

export function finishMetrics(job: FinishMetricsJob, signal: AbortSignal): FinishMetricsJobResult {
  const { range, samplesMax, seriesMax } = job;
  const check = checkOf(() => signal.throwIfAborted());
  const finished = finishSeries(parse(job.query), range, job.parts, limitsOf(job), check);
  const { series, pool, isPartial } = finished;
  const wanted = seriesMax > 0 ? series.slice(0, seriesMax) : series;
  const possible = wanted.slice(0, Math.max(1, Math.floor(samplesMax / intervalCount(range))));
  const isText = job.format === 'json' && !job.isInstant;
  return {
    kind: 'finishMetrics',
    ...(isText ? noSeries() : oneByOne(possible, pool, job, check)),
    text: isText ? seriesText(possible, range, pool, check) : undefined,
    isCut: wanted.length < series.length,
    isPartial: isPartial || possible.length < wanted.length,
    failures: [],
  };
}

type OneByOne = Pick<FinishMetricsJobResult, 'bodies' | 'ends'>;

/** New ones: they move to another thread. */
const noSeries = (): OneByOne => ({ bodies: new Uint8Array(0), ends: new Float64Array(0) });

/** Of a range as protobuf, or of an instant. */
function oneByOne(
  series: readonly ResultSeries[],
  pool: LabelPool,
  job: FinishMetricsJob,
  check: Check,
): OneByOne {
  const how: SeriesFormat =
    job.format === 'json'
      ? { format: 'json', isInstant: true }
      : { format: 'proto', isInstant: job.isInstant };
  const writer = new SeriesWriter(job.range, pool, how, check);
  const bodies = series.map((one) => writer.write(one));
  const ends = new Float64Array(bodies.length);
  let end = 0;
  bodies.forEach((body, i) => (ends[i] = end += body.length));
  const all = new Uint8Array(end);
  bodies.forEach((body, i) => all.set(body, ends[i]! - body.length));
  return { bodies: all, ends };
}
