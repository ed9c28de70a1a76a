// From the parts of all jobs to the series of the answer.
import type { FieldRef, MetricsStage, Query } from '../../ast.ts';
import { printField } from '../../print.ts';
import type { MetricsLimits } from './accumulate.ts';
import { type Check, noCheck } from './check.ts';
import { comparedSeries } from './compare-result.ts';
import { type MadeSeries, withExemplars } from './exemplar-result.ts';
import { type Exemplar, Exemplars } from './exemplars.ts';
import { type LabelPool, NO_VALUE } from './label-pool.ts';
import type { MetricsPart } from './part.ts';
import { isDuration, isSpanDuration, shapeOf } from './plan.ts';
import { type BucketCount, quantileOf } from './quantile.ts';
import type { MetricsRange } from './range.ts';
import { type Label, type ResultSeries, sortSeries } from './result-series.ts';
import { Samples } from './samples.ts';
import { applySecondStage } from './second-stage.ts';
import { SeriesSet } from './series-set.ts';

type Aggregation = Extract<MetricsStage, { kind: 'metrics' }>;

const NANOS_PER_SECOND = 1e9;

export interface FinishedSeries {
  /** In a stable order. */
  readonly series: readonly ResultSeries[];
  /** Of the values of labels. */
  readonly pool: LabelPool;
  /** There are more than could be kept. */
  readonly isPartial: boolean;
}

/** @param check is called now and then, and ends it by throwing. */
export function finishSeries(
  query: Query,
  range: MetricsRange,
  parts: readonly MetricsPart[],
  { cellsMax, exemplarsMax }: MetricsLimits,
  check: Check = noCheck,
): FinishedSeries {
  const set = joined(query, range, parts, cellsMax, check);
  const { pool } = set;
  let series = sortSeries(firstSeries(query, set, range, parts, exemplarsMax, check), pool, check);
  for (const second of query.second) series = applySecondStage(series, second, pool, check);
  return { series, pool, isPartial: set.share < 1 || set.madeOfGroup < set.shape.madeOfGroup };
}

/** One part of several, as they would come together in the end. */
export function joinParts(
  query: Query,
  range: MetricsRange,
  parts: readonly MetricsPart[],
  { cellsMax, exemplarsMax }: MetricsLimits,
  check: Check = noCheck,
): MetricsPart {
  const part = joined(query, range, parts, cellsMax, check).toPart();
  return { ...part, exemplars: joinedExemplars(query, range, parts, exemplarsMax) };
}

function joined(
  query: Query,
  range: MetricsRange,
  parts: readonly MetricsPart[],
  cellsMax: number,
  check: Check,
): SeriesSet {
  if (query.metrics === undefined) throw new Error('not a metrics query');
  const set = new SeriesSet(shapeOf(query.metrics, range), cellsMax, check);
  for (const part of parts) set.addPart(part);
  return set;
}

function joinedExemplars(
  query: Query,
  range: MetricsRange,
  parts: readonly MetricsPart[],
  max: number,
): readonly Exemplar[] {
  if (max === 0) return [];
  const exemplars = new Exemplars(query, range, max);
  for (const part of parts) for (const exemplar of part.exemplars) exemplars.add(exemplar);
  return exemplars.all;
}

function firstSeries(
  query: Query,
  set: SeriesSet,
  range: MetricsRange,
  parts: readonly MetricsPart[],
  exemplarsMax: number,
  check: Check,
): readonly ResultSeries[] {
  const stage = query.metrics!;
  if (stage.kind === 'compare') return comparedSeries(set, stage, check);
  const made = aggregated(set, stage, range, parts.length > 0 && !findsNothing(query), check);
  const exemplars = joinedExemplars(query, range, parts, exemplarsMax);
  return withExemplars(made, set, exemplars, stage.name === 'quantile_over_time');
}

/** `{ false }`: there is no series of it, not even one of zeros. */
function findsNothing({ stages: [first] }: Query): boolean {
  if (first?.kind !== 'filter' || first.expr.kind !== 'literal') return false;
  const { value } = first.expr;
  return value.type === 'bool' && !value.value;
}

function aggregated(
  set: SeriesSet,
  stage: Aggregation,
  range: MetricsRange,
  isAnythingRead: boolean,
  check: Check,
): MadeSeries[] {
  const { cells, shape } = set;
  const factor = stage.name === 'rate' ? 1 / (Number(range.stepNanos) / NANOS_PER_SECOND) : 1;
  const divisor = !shape.hasBuckets && isSpanDuration(stage.arg) ? NANOS_PER_SECOND : 1;
  const isCount = shape.kind === 'count';
  const isPlainCount = isCount && !shape.hasBuckets && stage.by.length === 0;
  const samples = new Samples(
    set,
    isCount ? 0 : Number.NaN,
    (slot) => (cells.resultAt(slot) * factor) / divisor,
    isPlainCount && isAnythingRead ? 0 : undefined,
  );
  if (stage.name === 'quantile_over_time') return quantiles(set, stage, samples, check);
  return samples.rows.map((row, place) => {
    check();
    const series = { labels: seriesLabels(set, stage, row), values: samples.at(place) };
    return { from: row, series };
  });
}

/** Labels of a series; a series without groups is named after the function. */
function seriesLabels(set: SeriesSet, stage: Aggregation, row: number): Label[] {
  const { pool } = set;
  const labels = groupLabels(set, stage.by, set.groupOf(row));
  if (set.shape.hasBuckets) {
    labels.push({ key: '__bucket', value: pool.idOfDouble(boundOf(set, stage, row)) });
  } else if (stage.by.length === 0) labels.push({ key: '__name__', value: pool.idOfText(stage.name) });
  return labels;
}

function groupLabels(set: SeriesSet, by: readonly FieldRef[], group: number): Label[] {
  const labels: Label[] = [];
  set.labelsOf(group).forEach((value, i) => {
    if (value !== NO_VALUE) labels.push({ key: printField(by[i]!), value });
  });
  return labels;
}

function boundOf(set: SeriesSet, stage: Aggregation, row: number): number {
  return 2 ** set.bucketOf(row) / (isDuration(stage.arg) ? NANOS_PER_SECOND : 1);
}

interface Bucket {
  readonly bound: number;
  /** One an interval. */
  readonly counts: Float64Array;
}

/** For each group and quantile a series, made of the counts of the group's buckets. */
function quantiles(set: SeriesSet, stage: Aggregation, samples: Samples, check: Check): MadeSeries[] {
  const groups = new Map<number, Bucket[]>();
  samples.rows.forEach((row, place) => {
    check();
    const group = set.groupOf(row);
    const buckets = groups.get(group);
    const bucket = { bound: boundOf(set, stage, row), counts: samples.at(place) };
    if (buckets === undefined) groups.set(group, [bucket]);
    else buckets.push(bucket);
  });
  const made: MadeSeries[] = [];
  const wanted = stage.quantiles.slice(0, set.madeOfGroup);
  for (const [group, buckets] of groups) {
    buckets.sort((a, b) => a.bound - b.bound);
    const labels = groupLabels(set, stage.by, group);
    const values = wanted.map(() => new Float64Array(set.shape.intervals));
    for (let interval = 0; interval < set.shape.intervals; interval++) {
      check(buckets.length + wanted.length);
      const counts = countsIn(buckets, interval);
      wanted.forEach((q, i) => (values[i]![interval] = quantileOf(q, counts)));
    }
    wanted.forEach((q, i) => {
      const own = [...labels, { key: 'p', value: set.pool.idOfDouble(q) }];
      made.push({ from: group, series: { labels: own, values: values[i]! } });
    });
  }
  return made;
}

function countsIn(buckets: readonly Bucket[], interval: number): BucketCount[] {
  return buckets
    .map(({ bound, counts }) => ({ bound, count: counts[interval]! }))
    .filter(({ count }) => count > 0);
}
