// Exemplars find their series: that of their group and bucket, of quantiles the one that is nearest.
import type { Exemplar } from './exemplars.ts';
import type { ResultSeries } from './result-series.ts';
import type { SeriesSet } from './series-set.ts';

/** A series, and the row (of quantiles the group) of the set that it is made of. */
export interface MadeSeries {
  readonly from: number;
  readonly series: ResultSeries;
}

/** The series with their exemplars, in order of time. */
export function withExemplars(
  made: readonly MadeSeries[],
  set: SeriesSet,
  exemplars: readonly Exemplar[],
  isOfGroup: boolean,
): readonly ResultSeries[] {
  if (exemplars.length === 0) return made.map(({ series }) => series);
  const byOrigin = new Map<number, ResultSeries[]>();
  for (const { from, series } of made) {
    const others = byOrigin.get(from);
    if (others === undefined) byOrigin.set(from, [series]);
    else others.push(series);
  }
  const placed = new Map<ResultSeries, Exemplar[]>();
  for (const exemplar of [...exemplars].sort((a, b) => a.timestampMs - b.timestampMs)) {
    const group = set.groupOfValues(exemplar.group);
    const from = isOfGroup ? group : set.rowIn(group, exemplar.bucket);
    const series = nearest(byOrigin.get(from) ?? [], exemplar);
    if (series === undefined) continue;
    const others = placed.get(series);
    if (others === undefined) placed.set(series, [exemplar]);
    else others.push(exemplar);
  }
  return made.map(({ series }) => {
    const own = placed.get(series);
    return own === undefined ? series : { ...series, exemplars: own };
  });
}

function nearest(all: readonly ResultSeries[], { value, interval }: Exemplar): ResultSeries | undefined {
  let best = all[0];
  for (const one of all) {
    const distance = Math.abs(one.values[interval]! - value);
    if (best !== undefined && distance < Math.abs(best.values[interval]! - value)) best = one;
  }
  return best;
}
