// The series of compare(): of each attribute its most frequent values, and how often it occurs at all.
import type { Compare } from './compare.ts';
import { NO_VALUE } from './label-pool.ts';
import { textOf } from './label-value.ts';
import { type ResultSeries, sortSeries } from './result-series.ts';
import { Samples } from './samples.ts';
import type { SeriesSet } from './series-set.ts';

interface Counted extends ResultSeries {
  readonly total: number;
}

export function comparedSeries(set: SeriesSet, stage: Compare): ResultSeries[] {
  const { pool, cells } = set;
  const samples = new Samples(set, 0, (slot) => cells.valueAt(slot));
  const byAttribute = new Map<string, Counted[]>();
  const names = new Map<number, string>();
  samples.rows.forEach((row, place) => {
    const [side, name, value] = set.labelsOf(row) as [number, number, number];
    let key = names.get(name);
    if (key === undefined) names.set(name, (key = textOf(pool.bytes(name))));
    const labels = [
      { key: '__meta_type', value: side },
      { key, value: value === NO_VALUE ? pool.nilTextId : value },
    ];
    const values = samples.at(place);
    const counted = { labels, values, total: sumOf(values) };
    const others = byAttribute.get(`${side}/${name}`);
    if (others === undefined) byAttribute.set(`${side}/${name}`, [counted]);
    else others.push(counted);
  });
  const frequent = (all: readonly Counted[]): readonly Counted[] => {
    if (all.length <= stage.topN) return all;
    // of equally frequent ones those that come first in order
    return sortSeries(all, pool)
      .sort((a, b) => b.total - a.total)
      .slice(0, stage.topN);
  };
  return [...byAttribute.values()].flatMap(frequent);
}

function sumOf(values: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return sum;
}
