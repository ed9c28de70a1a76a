// What is counted or measured for each series and interval. Few cells stand in a plain array, many in a table
// of those that have something.
import { CELLS_A_LOOK, type Check } from './check.ts';
import { PairTable } from './pair-table.ts';

/** Room for so many series is made at first, if these are not many cells. */
const FIRST_ROWS = 16;
const FIRST_MAX = 1 << 17;

/** How values of one cell come together. */
export type CellKind = 'count' | 'min' | 'max' | 'sum' | 'avg';

/** Up to so many cells have a place whether they are used or not: 8 MiB. */
const DENSE_MAX = 1 << 20;

export class Cells {
  readonly kind: CellKind;
  readonly intervals: number;
  /** Counts, extremes or sums. */
  private value: Float64Array;
  /** What a sum has lost by rounding. */
  private rest: Float64Array | undefined;
  /** Values of a mean. */
  private weight: Float64Array | undefined;
  /** undefined = dense: cell (row, interval) is at row * intervals + interval. */
  private table: PairTable | undefined;
  private readonly check: Check;

  constructor(kind: CellKind, intervals: number, check: Check) {
    this.check = check;
    this.kind = kind;
    this.intervals = intervals;
    this.value = this.fresh(0);
    if (kind === 'sum' || kind === 'avg') this.rest = new Float64Array(0);
    if (kind === 'avg') this.weight = new Float64Array(0);
  }

  /** Cells that have a place. */
  private get size(): number {
    return this.table === undefined ? this.value.length : this.table.count;
  }

  /** Are more in use than this? */
  isAbove(limit: number): boolean {
    if (this.size <= limit) return false;
    let used = 0;
    this.forEach(() => used++);
    return used > limit;
  }

  /**
   * A place for each pair of row and interval. A row of -1 has none: -1.
   * @param rows undefined = all are row 0.
   */
  slots(rows: Int32Array | undefined, intervals: Int32Array, rowCount: number): Int32Array {
    if (rows === undefined) {
      if (this.table !== undefined) return this.slots(new Int32Array(intervals.length), intervals, rowCount);
      this.reserve(this.intervals);
      return intervals;
    }
    const slots = new Int32Array(rows.length);
    if (this.table === undefined && rowCount * this.intervals > DENSE_MAX) this.becomeSparse();
    const { table, intervals: width, check } = this;
    if (table === undefined) {
      this.reserve(rowCount * width);
      for (let k = 0; k < rows.length; k++) slots[k] = rows[k]! < 0 ? -1 : rows[k]! * width + intervals[k]!;
      return slots;
    }
    for (let k = 0; k < rows.length; k++) {
      if (k % CELLS_A_LOOK === 0) check(CELLS_A_LOOK);
      slots[k] = rows[k]! < 0 ? -1 : table.idOf(rows[k]!, intervals[k]!);
    }
    this.reserve(table.count);
    return slots;
  }

  count(slots: Int32Array): void {
    const { value } = this;
    for (let k = 0; k < slots.length; k++) if (slots[k]! >= 0) value[slots[k]!]!++;
  }

  /** Values that are NaN are none. */
  observe(slots: Int32Array, values: Float64Array): void {
    const { value, weight } = this;
    switch (this.kind) {
      case 'count':
        for (let k = 0; k < slots.length; k++) if (slots[k]! >= 0) value[slots[k]!]! += values[k]!;
        return;
      case 'min':
        for (let k = 0; k < slots.length; k++) {
          if (slots[k]! >= 0 && !(values[k]! >= value[slots[k]!]!) && values[k] === values[k])
            value[slots[k]!] = values[k]!;
        }
        return;
      case 'max':
        for (let k = 0; k < slots.length; k++) {
          if (slots[k]! >= 0 && !(values[k]! <= value[slots[k]!]!) && values[k] === values[k])
            value[slots[k]!] = values[k]!;
        }
        return;
      default:
        for (let k = 0; k < slots.length; k++) {
          if (slots[k]! < 0 || values[k] !== values[k]) continue;
          this.addTo(slots[k]!, values[k]!);
          if (weight !== undefined) weight[slots[k]!]!++;
        }
    }
  }

  /** Brings in what other cells have. */
  merge(slots: Int32Array, { values, rests, weights }: CellValues): void {
    const { weight } = this;
    if (this.rest === undefined) return this.observe(slots, values);
    for (let k = 0; k < slots.length; k++) {
      if (k % CELLS_A_LOOK === 0) this.check(CELLS_A_LOOK);
      if (slots[k]! < 0) continue;
      this.addTo(slots[k]!, values[k]!);
      this.addTo(slots[k]!, rests[k]!);
      if (weight !== undefined) weight[slots[k]!]! += weights[k]!;
    }
  }

  /** Sums by Neumaier: what rounding loses is kept apart. */
  private addTo(slot: number, more: number): void {
    const value = this.value;
    const rest = this.rest!;
    const before = value[slot]!;
    if (before !== before) {
      value[slot] = more;
      return;
    }
    const sum = before + more;
    rest[slot]! += Math.abs(before) >= Math.abs(more) ? before - sum + more : more - sum + before;
    value[slot] = sum;
  }

  /** Calls for every cell that has something, of a row in order of its intervals only when dense. */
  forEach(visit: (row: number, interval: number, slot: number) => void): void {
    const { table, intervals, check } = this;
    const size = this.size;
    for (let slot = 0; slot < size; slot++) {
      if (slot % CELLS_A_LOOK === 0) check(CELLS_A_LOOK);
      if (!this.isUsed(slot)) continue;
      if (table === undefined) visit(Math.floor(slot / intervals), slot % intervals, slot);
      else visit(table.first[slot]!, table.second[slot]!, slot);
    }
  }

  private isUsed(slot: number): boolean {
    const value = this.value[slot]!;
    return this.kind === 'count' ? value !== 0 : value === value;
  }

  valueAt(slot: number): number {
    return this.value[slot]!;
  }

  restAt(slot: number): number {
    return this.rest === undefined ? 0 : this.rest[slot]!;
  }

  weightAt(slot: number): number {
    return this.weight === undefined ? 0 : this.weight[slot]!;
  }

  /** What a cell means. */
  resultAt(slot: number): number {
    const value = this.value[slot]!;
    const sum = Number.isFinite(value) ? value + this.restAt(slot) : value;
    return this.weight === undefined ? sum : sum / this.weight[slot]!;
  }

  private reserve(size: number): void {
    if (size <= this.value.length) return;
    const first = Math.min(this.intervals * FIRST_ROWS, FIRST_MAX);
    const capacity = Math.max(size, this.value.length * 2, first);
    const value = this.fresh(capacity);
    value.set(this.value);
    this.value = value;
    this.rest &&= larger(this.rest, capacity);
    this.weight &&= larger(this.weight, capacity);
  }

  private fresh(size: number): Float64Array {
    const value = new Float64Array(size);
    return this.kind === 'count' ? value : value.fill(Number.NaN);
  }

  private becomeSparse(): void {
    const table = new PairTable();
    const { value, rest, weight } = this;
    const used: number[] = [];
    this.forEach((row, interval, slot) => {
      table.idOf(row, interval);
      used.push(slot);
    });
    const capacity = Math.max(used.length, DENSE_MAX >> 4);
    this.value = this.fresh(capacity);
    this.rest &&= new Float64Array(capacity);
    this.weight &&= new Float64Array(capacity);
    used.forEach((from, to) => {
      this.value[to] = value[from]!;
      if (this.rest && rest) this.rest[to] = rest[from]!;
      if (this.weight && weight) this.weight[to] = weight[from]!;
    });
    this.table = table;
  }
}

export interface CellValues {
  readonly values: Float64Array;
  readonly rests: Float64Array;
  readonly weights: Float64Array;
}

function larger(from: Float64Array, capacity: number): Float64Array {
  const to = new Float64Array(capacity);
  to.set(from);
  return to;
}
