// What a metrics function needs: how its cells are filled, from which field, and in which unit.
import type { FieldRef, MetricsName, MetricsStage, Query } from '../../ast.ts';
import type { CellKind } from './cells.ts';
import { type MetricsRange, intervalCount } from './range.ts';
import type { SeriesShape } from './series-set.ts';

const CELL_KINDS: Record<MetricsName, CellKind> = {
  rate: 'count',
  count_over_time: 'count',
  min_over_time: 'min',
  max_over_time: 'max',
  avg_over_time: 'avg',
  sum_over_time: 'sum',
  quantile_over_time: 'count',
  histogram_over_time: 'count',
};

/** Labels of a series of compare(): which spans, which attribute, which value. */
const COMPARE_WIDTH = 3;

export function hasBuckets(stage: MetricsStage): boolean {
  return (
    stage.kind === 'metrics' && (stage.name === 'quantile_over_time' || stage.name === 'histogram_over_time')
  );
}

export function shapeOf(stage: MetricsStage, range: MetricsRange): SeriesShape {
  const intervals = intervalCount(range);
  if (stage.kind === 'compare') {
    const { topN: frequentMax } = stage;
    return { kind: 'count', width: COMPARE_WIDTH, hasBuckets: false, frequentMax, intervals, madeOfGroup: 0 };
  }
  return {
    kind: CELL_KINDS[stage.name],
    width: stage.by.length,
    hasBuckets: hasBuckets(stage),
    frequentMax: 0,
    intervals,
    madeOfGroup: stage.quantiles.length,
  };
}

/**
 * A series of a part of the spans is one of all spans too, if with other values. Not where series compete for
 * places, or pass by their values.
 */
export function seriesStay({ metrics, second }: Query): boolean {
  return metrics?.kind === 'metrics' && second.length === 0;
}

const DURATIONS: ReadonlySet<string> = new Set(['span:duration', 'trace:duration', 'event:timeSinceStart']);

/** Durations are in ns in cells; those of spans are shown in seconds, as are buckets of all durations. */
export function isDuration(arg: FieldRef | undefined): boolean {
  return arg?.kind === 'intrinsic' && DURATIONS.has(arg.name);
}

export function isSpanDuration(arg: FieldRef | undefined): boolean {
  return arg?.kind === 'intrinsic' && arg.name === 'span:duration';
}
