// The series of compare(): of each attribute its most frequent values, and how often it occurs at all.
import type { Check } from './check.ts';
import type { Compare } from './compare.ts';
import { NO_VALUE } from './label-pool.ts';
import { textOf } from './label-value.ts';
import { type Label, type ResultSeries, sortSeries } from './result-series.ts';
import { Samples } from './samples.ts';
import type { SeriesSet } from './series-set.ts';

interface Counted extends ResultSeries {
  readonly total: number;
}

export function comparedSeries(set: SeriesSet, stage: Compare, check: Check): ResultSeries[] {
  const { pool, cells } = set;
  const { nilTextId } = pool;
  const samples = new Samples(set, 0, (slot) => cells.valueAt(slot));
  const byAttribute = new Map<number, Counted[]>();
  const names = new Map<number, string>();
  const types = new Map<number, Label>();
  samples.rows.forEach((row, place) => {
    const ids = set.labelsOf(row);
    const side = ids[0]!;
    const name = ids[1]!;
    const value = ids[2]!;
    let key = names.get(name);
    if (key === undefined) names.set(name, (key = textOf(pool.bytes(name))));
    let type = types.get(side);
    if (type === undefined) types.set(side, (type = { key: '__meta_type', value: side }));
    const labels = [type, { key, value: value === NO_VALUE ? nilTextId : value }];
    const values = samples.at(place);
    check(values.length);
    const counted = { labels, values, total: sumOf(values) };
    const at = side * pool.count + name;
    const others = byAttribute.get(at);
    if (others === undefined) byAttribute.set(at, [counted]);
    else others.push(counted);
  });
  const frequent = (all: readonly Counted[]): readonly Counted[] => {
    if (all.length <= stage.topN) return all;
    // of equally frequent ones those that come first in order
    return sortSeries(all, pool, check)
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
