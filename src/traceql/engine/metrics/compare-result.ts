// The series of compare(): of each attribute its most frequent values, and how often it occurs at all.
import type { Compare } from './compare.ts';
import { textValue } from './label-pool.ts';
import { type ResultSeries, sortSeries } from './result-series.ts';
import type { SeriesSet } from './series-set.ts';

interface Counted extends ResultSeries {
  readonly total: number;
}

export function comparedSeries(set: SeriesSet, stage: Compare): ResultSeries[] {
  const byAttribute = new Map<string, Counted[]>();
  for (const [row, values] of countsOf(set)) {
    const [side, name, value] = set.labelsOf(row) as [number, number, number];
    const key = `${side}/${name}`;
    const labels = [
      { key: '__meta_type', value: set.pool.values[side]! },
      { key: set.pool.textOf(name), value: value === 0 ? textValue('nil') : set.pool.values[value]! },
    ];
    const counted = { labels, values, total: values.reduce((sum, count) => sum + count, 0) };
    const others = byAttribute.get(key);
    if (others === undefined) byAttribute.set(key, [counted]);
    else others.push(counted);
  }
  return [...byAttribute.values()].flatMap((all) => mostFrequent(all, stage.topN));
}

/** Of equally frequent ones those that come first in order. */
function mostFrequent(all: readonly Counted[], limit: number): readonly ResultSeries[] {
  if (all.length <= limit) return all;
  return (sortSeries(all) as Counted[]).sort((a, b) => b.total - a.total).slice(0, limit);
}

function countsOf(set: SeriesSet): Map<number, Float64Array> {
  const rows = new Map<number, Float64Array>();
  set.cells.forEach((row, interval, slot) => {
    let values = rows.get(row);
    if (values === undefined) rows.set(row, (values = new Float64Array(set.shape.intervals)));
    values[interval] = set.cells.valueAt(slot);
  });
  return rows;
}
