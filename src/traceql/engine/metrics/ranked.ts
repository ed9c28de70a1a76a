// topk and bottomk: for each interval the samples of the series that are first.
import type { SecondStage } from '../../ast.ts';
import { CELLS_A_LOOK, type Check } from './check.ts';
import type { LabelPool } from './label-pool.ts';
import { compareTies, type ResultSeries } from './result-series.ts';

/** Intervals that are looked at together: what comes into a cache with one sample of a series. */
const INTERVALS_AT_A_TIME = 8;

export function ranked(
  series: readonly ResultSeries[],
  { name, limit }: Extract<SecondStage, { kind: 'rank' }>,
  pool: LabelPool,
  check: Check,
): ResultSeries[] {
  const count = series.length;
  if (count <= limit) return [...series];
  const sign = name === 'topk' ? -1 : 1;
  const intervals = series[0]?.values.length ?? 0;
  const kept = series.map((one) => {
    check(intervals);
    return { ...one, values: new Float64Array(intervals) };
  });
  const first = new FirstOnes(limit, () => tieOrder(series, sign, pool, check), check);
  const columns = new Float64Array(count * Math.min(intervals, INTERVALS_AT_A_TIME));
  for (let from = 0; from < intervals; from += INTERVALS_AT_A_TIME) {
    const width = Math.min(INTERVALS_AT_A_TIME, intervals - from);
    for (let i = 0; i < count; i++) {
      check(width);
      const { values } = series[i]!;
      for (let k = 0; k < width; k++) columns[k * count + i] = sign * values[from + k]!;
    }
    for (let k = 0; k < width; k++) first.keep(columns.subarray(k * count, (k + 1) * count));
    for (let i = 0; i < count; i++) {
      check(width);
      const { values } = kept[i]!;
      for (let k = 0; k < width; k++) values[from + k] = sign * columns[k * count + i]!;
    }
  }
  return kept;
}

/** Of equal samples those of the series that come first in it are first. */
function tieOrder(
  series: readonly ResultSeries[],
  sign: number,
  pool: LabelPool,
  check: Check,
): readonly number[] {
  return Array.from(series.keys()).sort((a, b) => {
    check();
    return sign * compareTies(series[a]!, series[b]!, pool);
  });
}

/** Finds the lowest of many numbers. */
class FirstOnes {
  /** The lowest until now as a heap, the highest of them at its top. */
  private readonly heap: Float64Array;
  private readonly check: Check;
  private readonly makeOrder: () => readonly number[];
  private order: readonly number[] | undefined;

  /** @param makeOrder tells where to begin among equal ones, when that is first asked for. */
  constructor(limit: number, makeOrder: () => readonly number[], check: Check) {
    this.heap = new Float64Array(limit);
    this.makeOrder = makeOrder;
    this.check = check;
  }

  /** Makes all others NaN. */
  keep(column: Float64Array): void {
    const { heap, check } = this;
    if (this.fill(column) < heap.length) return;
    const last = heap[0]!;
    let room = 0;
    for (let i = 0; i < heap.length; i++) if (heap[i] === last) room++;
    let equal = 0;
    for (let i = 0; i < column.length; i++) {
      if (i % CELLS_A_LOOK === 0) check(CELLS_A_LOOK);
      if (column[i] === last) equal++;
      else if (column[i]! > last) column[i] = Number.NaN;
    }
    if (equal <= room) return;
    this.order ??= this.makeOrder();
    for (const i of this.order) {
      if (column[i] !== last) continue;
      if (room > 0) room--;
      else column[i] = Number.NaN;
    }
  }

  /** How many it has found, up to the limit. */
  private fill(column: Float64Array): number {
    const { heap, check } = this;
    const limit = heap.length;
    let size = 0;
    for (let i = 0; i < column.length; i++) {
      if (i % CELLS_A_LOOK === 0) check(CELLS_A_LOOK);
      const value = column[i]!;
      if (value !== value) continue;
      if (size < limit) this.rise(value, size++);
      else if (value < heap[0]!) this.sink(value);
    }
    return size;
  }

  private rise(value: number, size: number): void {
    const { heap } = this;
    let at = size;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (heap[parent]! >= value) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = value;
  }

  /** In place of the highest one. */
  private sink(value: number): void {
    const { heap } = this;
    const { length } = heap;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= length) break;
      if (child + 1 < length && heap[child + 1]! > heap[child]!) child++;
      if (heap[child]! <= value) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = value;
  }
}
