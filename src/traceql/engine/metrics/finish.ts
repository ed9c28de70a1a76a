// From the parts of all jobs to the series of the answer.
import type { FieldRef, MetricsStage, Query } from '../../ast.ts';
import { printField } from '../../print.ts';
import type { MetricsLimits } from './accumulate.ts';
import { comparedSeries } from './compare-result.ts';
import { doubleValue, NO_VALUE, textValue } from './label-pool.ts';
import type { MetricsPart } from './part.ts';
import { isDuration, isSpanDuration, shapeOf } from './plan.ts';
import { type BucketCount, quantileOf } from './quantile.ts';
import type { MetricsRange } from './range.ts';
import { type Label, type ResultSeries, sortSeries } from './result-series.ts';
import { applySecondStage } from './second-stage.ts';
import { SeriesSet } from './series-set.ts';

type Aggregation = Extract<MetricsStage, { kind: 'metrics' }>;

const NANOS_PER_SECOND = 1e9;

export interface FinishedSeries {
  /** In a stable order. */
  readonly series: readonly ResultSeries[];
  /** There are more than could be kept. */
  readonly isPartial: boolean;
}

export function finishSeries(
  query: Query,
  range: MetricsRange,
  parts: readonly MetricsPart[],
  { cellsMax }: MetricsLimits,
): FinishedSeries {
  const stage = query.metrics;
  if (stage === undefined) throw new Error('not a metrics query');
  const set = new SeriesSet(shapeOf(stage, range), cellsMax);
  for (const part of parts) set.addPart(part);
  const first =
    stage.kind === 'compare' ? comparedSeries(set, stage) : aggregated(set, stage, range, parts.length > 0);
  let series = sortSeries(first);
  for (const second of query.second) series = applySecondStage(series, second);
  return { series, isPartial: set.share < 1 };
}

function aggregated(
  set: SeriesSet,
  stage: Aggregation,
  range: MetricsRange,
  isAnythingRead: boolean,
): ResultSeries[] {
  const { kind } = set.shape;
  const factor = stage.name === 'rate' ? 1 / (Number(range.stepNanos) / NANOS_PER_SECOND) : 1;
  const divisor = !set.shape.hasBuckets && isSpanDuration(stage.arg) ? NANOS_PER_SECOND : 1;
  const rows = new Map<number, Float64Array>();
  const valuesOf = (row: number): Float64Array => {
    let values = rows.get(row);
    if (values === undefined) {
      values = new Float64Array(set.shape.intervals).fill(kind === 'count' ? 0 : Number.NaN);
      rows.set(row, values);
    }
    return values;
  };
  const isPlainCount = kind === 'count' && !set.shape.hasBuckets && stage.by.length === 0;
  if (isPlainCount && isAnythingRead) valuesOf(0);
  set.cells.forEach((row, interval, slot) => {
    valuesOf(row)[interval] = (set.cells.resultAt(slot) * factor) / divisor;
  });
  if (stage.name === 'quantile_over_time') return quantiles(set, stage, rows);
  return Array.from(rows, ([row, values]) => ({ labels: seriesLabels(set, stage, row), values }));
}

/** Labels of a series; a series without groups is named after the function. */
function seriesLabels(set: SeriesSet, stage: Aggregation, row: number): Label[] {
  const labels = groupLabels(set, stage.by, set.groupOf(row));
  if (set.shape.hasBuckets) {
    labels.push({ key: '__bucket', value: doubleValue(boundOf(set, stage, row)) });
  } else if (stage.by.length === 0) labels.push({ key: '__name__', value: textValue(stage.name) });
  return labels;
}

function groupLabels(set: SeriesSet, by: readonly FieldRef[], group: number): Label[] {
  const labels: Label[] = [];
  set.labelsOf(group).forEach((id, i) => {
    if (id !== NO_VALUE) labels.push({ key: printField(by[i]!), value: set.pool.values[id]! });
  });
  return labels;
}

function boundOf(set: SeriesSet, stage: Aggregation, row: number): number {
  return 2 ** set.bucketOf(row) / (isDuration(stage.arg) ? NANOS_PER_SECOND : 1);
}

/** For each group and quantile a series, made of the counts of the group's buckets. */
function quantiles(
  set: SeriesSet,
  stage: Aggregation,
  rows: ReadonlyMap<number, Float64Array>,
): ResultSeries[] {
  const groups = new Map<number, { readonly bound: number; readonly counts: Float64Array }[]>();
  for (const [row, counts] of rows) {
    const group = set.groupOf(row);
    const buckets = groups.get(group);
    const bucket = { bound: boundOf(set, stage, row), counts };
    if (buckets === undefined) groups.set(group, [bucket]);
    else buckets.push(bucket);
  }
  const series: ResultSeries[] = [];
  for (const [group, buckets] of groups) {
    buckets.sort((a, b) => a.bound - b.bound);
    const labels = groupLabels(set, stage.by, group);
    const byInterval = Array.from({ length: set.shape.intervals }, (_, interval): BucketCount[] =>
      buckets
        .map(({ bound, counts }) => ({ bound, count: counts[interval]! }))
        .filter(({ count }) => count > 0),
    );
    for (const q of stage.quantiles) {
      const values = Float64Array.from(byInterval, (counts) => quantileOf(q, counts));
      series.push({ labels: [...labels, { key: 'p', value: doubleValue(q) }], values });
    }
  }
  return series;
}
