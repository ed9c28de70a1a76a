// Series of a metrics query: their labels, and the cells of each. Jobs fill one from spans, and one brings
// the parts of all jobs together.
import { Bitset } from '../../../lib/bitset.ts';
import { ByteWriter } from '../../../lib/byte-writer.ts';
import { type CellKind, Cells } from './cells.ts';
import { type Check, noCheck } from './check.ts';
import { LabelPool, NO_VALUE } from './label-pool.ts';
import { PairTable } from './pair-table.ts';
import type { MetricsPart } from './part.ts';

/** What a series is made of. */
export interface SeriesShape {
  readonly kind: CellKind;
  /** Labels that a series may have. */
  readonly width: number;
  readonly hasBuckets: boolean;
  /**
   * Of compare(), where the last label is the value: the most frequent values that are wanted. 0 = all series
   * are.
   */
  readonly frequentMax: number;
  readonly intervals: number;
  /** Of quantiles: so many series are made of each group. 0 = those that are found are the answer. */
  readonly madeOfGroup: number;
}

const NOTHING = new Uint8Array(0);
const UNSEEN = -1;
const LEFT_OUT = -2;

/** A series costs as much as so many cells. */
const CELLS_PER_ROW = 16;
/** One that is made in the end, as much as so many. */
const CELLS_PER_MADE = 4;
/** Rather fewer series of each group than fewer groups. */
const GROUPS_MIN = 4;
/** In the answer each series has a sample in every interval: so many at most for a cell that may be. */
const SAMPLES_PER_CELL = 6;
/** More values of an attribute are kept than compare() asks for: others may turn out to be more frequent. */
const FREQUENT_MIN = 1000;

/** Below it nothing is left out any more. */
const SHARE_MIN = 2 ** -24;

/** How many series a set has at most. */
export function rowsMaxOf(cellsMax: number, intervals: number): number {
  return Math.max(1, Math.min(cellsMax / CELLS_PER_ROW, (SAMPLES_PER_CELL * cellsMax) / intervals));
}

/** How many series are made at most, where those of a set are not the answer. */
export function madeMaxOf(cellsMax: number, intervals: number): number {
  return Math.max(1, Math.min(cellsMax / CELLS_PER_MADE, (SAMPLES_PER_CELL * cellsMax) / intervals));
}

export class SeriesSet {
  readonly shape: SeriesShape;
  pool = new LabelPool();
  cells: Cells;
  /** Of all series about this share is kept: those with the lowest hashes, which are the same in all jobs. */
  share = 1;
  private readonly cellsMax: number;
  private readonly check: Check;
  private readonly rowsMax: number;
  private readonly groupsMax: number;
  /** Of those that are made of a group, so many are. */
  readonly madeOfGroup: number;
  private readonly frequentMax: number;
  /** Values of labels joined one by one: of label 0 and 1, of that and label 2, and so on. */
  private joins: readonly PairTable[] = [];
  private readonly labels: Int32Array;
  /** Group and bucket. */
  private bucketed: PairTable | undefined;

  /** @param cellsMax above it series are left out. */
  constructor(shape: SeriesShape, cellsMax: number, check: Check = noCheck) {
    this.check = check;
    this.shape = shape;
    this.labels = new Int32Array(shape.width);
    this.cellsMax = cellsMax;
    this.rowsMax = rowsMaxOf(cellsMax, shape.intervals);
    const madeMax = madeMaxOf(cellsMax, shape.intervals);
    this.madeOfGroup = Math.min(shape.madeOfGroup, Math.ceil(madeMax / GROUPS_MIN));
    this.groupsMax = this.madeOfGroup === 0 ? Infinity : madeMax / this.madeOfGroup;
    this.frequentMax = Math.max(shape.frequentMax, FREQUENT_MIN);
    this.cells = new Cells(shape.kind, shape.intervals, check);
    this.clear();
  }

  private clear(): void {
    const { width, hasBuckets, kind, intervals } = this.shape;
    this.pool = new LabelPool();
    this.cells = new Cells(kind, intervals, this.check);
    this.joins = Array.from({ length: Math.max(0, width - 1) }, () => new PairTable());
    this.bucketed = hasBuckets ? new PairTable() : undefined;
  }

  /** Leaves series out as long as there are too many cells. To be called after what adds some. */
  limit(): void {
    if (this.share === 1 && !this.isAbove()) return;
    if (this.shape.frequentMax > 0) this.rebuild(this.rareRows());
    if (this.share === 1 && !this.isAbove()) return;
    do {
      if (this.isAbove()) this.share /= 2;
      this.rebuild(undefined);
    } while (this.isAbove() && this.share > SHARE_MIN);
  }

  private isAbove(): boolean {
    const areMany = this.rowCount > this.rowsMax || this.groupCount > this.groupsMax;
    return areMany || this.cells.isAbove(this.cellsMax);
  }

  /** @param without rows that are left out. */
  private rebuild(without: Uint8Array | undefined): void {
    const part = this.toPart(without);
    this.clear();
    this.add(part);
  }

  /** Of each attribute and side the values that are not among the most frequent ones. */
  private rareRows(): Uint8Array {
    const { cells, rowCount } = this;
    const totals = new Float64Array(rowCount);
    cells.forEach((row, _, slot) => (totals[row]! += cells.valueAt(slot)));
    const byAttribute = new Map<number, number[]>();
    for (let row = 0; row < rowCount; row++) {
      const attribute = this.joins.at(-1)!.first[row]!;
      const others = byAttribute.get(attribute);
      if (others === undefined) byAttribute.set(attribute, [row]);
      else others.push(row);
    }
    const rare = new Uint8Array(rowCount);
    for (const rows of byAttribute.values()) {
      if (rows.length <= this.frequentMax) continue;
      rows.sort((a, b) => totals[b]! - totals[a]! || a - b);
      for (const row of rows.slice(this.frequentMax)) rare[row] = 1;
    }
    return rare;
  }

  private isKept(row: number): boolean {
    return this.share === 1 || this.hashOf(this.groupOf(row)) < this.share;
  }

  /** From 0 to below 1, of the texts of the labels; totals of compare() are 0 and always kept. */
  private hashOf(group: number): number {
    const labels = this.labelsOf(group);
    if (this.shape.frequentMax > 0 && labels.at(-1) === NO_VALUE) return 0;
    let hash = 0x811c9dc5;
    for (const label of labels) {
      const bytes = label === NO_VALUE ? NOTHING : this.pool.bytes(label);
      for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
      hash = Math.imul(hash ^ 0xff, 0x01000193);
    }
    hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b);
    return ((hash ^ (hash >>> 13)) >>> 0) / 2 ** 32;
  }

  /**
   * The series of each of `count` spans.
   * @param labels for each label the numbers of the spans' values in the pool.
   * @param buckets exponents; 0 = the span does not count.
   */
  rowsOf(labels: readonly Int32Array[], buckets: Uint8Array | undefined, count: number): Int32Array {
    let rows = labels[0] ?? new Int32Array(count);
    this.joins.forEach((table, i) => {
      const other = labels[i + 1]!;
      this.check(count);
      const joined = new Int32Array(count);
      for (let k = 0; k < count; k++) joined[k] = table.idOf(rows[k]!, other[k]!);
      rows = joined;
    });
    const { bucketed } = this;
    if (bucketed === undefined || buckets === undefined) return rows;
    this.check(count);
    const all = new Int32Array(count);
    for (let k = 0; k < count; k++) all[k] = buckets[k] === 0 ? -1 : bucketed.idOf(rows[k]!, buckets[k]!);
    return all;
  }

  /** The series of one combination of values, where there are no buckets. */
  rowOf(labels: readonly number[]): number {
    let row = labels[0] ?? 0;
    this.joins.forEach((table, i) => (row = table.idOf(row, labels[i + 1]!)));
    return row;
  }

  /** The group of some values, given as bytes; empty ones are absent. */
  groupOfValues(values: readonly Uint8Array[]): number {
    return this.rowOf(values.map((bytes) => (bytes.length === 0 ? NO_VALUE : this.pool.idOf(bytes))));
  }

  /** The row of a group and bucket. */
  rowIn(group: number, bucket: number): number {
    return this.bucketed === undefined ? group : this.bucketed.idOf(group, bucket);
  }

  /** The values of the labels of a group as bytes; absent ones are empty. */
  valuesOf(group: number): Uint8Array[] {
    return Array.from(this.labelsOf(group), (id) =>
      id === NO_VALUE ? NOTHING : this.pool.bytes(id).slice(),
    );
  }

  /** Rows are below it; not all need to be in use. */
  get rowCount(): number {
    return this.bucketed?.count ?? this.groupCount;
  }

  /** Groups are below it. */
  private get groupCount(): number {
    const { joins, shape, pool } = this;
    if (joins.length > 0) return joins.at(-1)!.count;
    return shape.width === 0 ? 1 : pool.count;
  }

  /** Without buckets the row itself. */
  groupOf(row: number): number {
    return this.bucketed === undefined ? row : this.bucketed.first[row]!;
  }

  /** The exponent of a row's bucket. */
  bucketOf(row: number): number {
    return this.bucketed === undefined ? 0 : this.bucketed.second[row]!;
  }

  /** Numbers of the values of a group's labels: a view, valid until the next one. */
  labelsOf(group: number): Int32Array {
    const { joins, labels } = this;
    let rest = group;
    for (let i = joins.length - 1; i >= 0; i--) {
      const table = joins[i]!;
      labels[i + 1] = table.second[rest]!;
      rest = table.first[rest]!;
    }
    if (labels.length > 0) labels[0] = rest;
    return labels;
  }

  addPart(part: MetricsPart): void {
    this.share = Math.min(this.share, part.share);
    this.add(part);
    this.limit();
  }

  private add(part: MetricsPart): void {
    const { width } = this.shape;
    const ids = this.valueIds(part);
    const partRows = part.buckets.length;
    const labels = Array.from({ length: width }, (_, i) => {
      this.check(partRows);
      return Int32Array.from({ length: partRows }, (_, row) => ids[part.labels[row * width + i]!]!);
    });
    const rowOf = this.rowsOf(labels, this.shape.hasBuckets ? part.buckets : undefined, partRows);
    const rows = part.rows.map((row) => rowOf[row]!);
    const slots = this.cells.slots(rows, part.intervals, this.rowCount);
    this.cells.merge(slots, { values: part.cells, rests: part.rests, weights: part.weights });
  }

  private valueIds({ values, valueEnds }: MetricsPart): Int32Array {
    const ids = new Int32Array(valueEnds.length + 1);
    let begin = 0;
    valueEnds.forEach((end, i) => {
      this.check();
      ids[i + 1] = this.pool.idOf(values.subarray(begin, end));
      begin = end;
    });
    return ids;
  }

  /** @param without rows that are left out. */
  toPart(without?: Uint8Array): MetricsPart {
    const { cells } = this;
    const rowOf = new Int32Array(this.rowCount).fill(UNSEEN);
    const used: number[] = [];
    let count = 0;
    cells.forEach((row) => {
      if (rowOf[row] === UNSEEN)
        rowOf[row] = without?.[row] !== 1 && this.isKept(row) ? used.push(row) - 1 : LEFT_OUT;
      if (rowOf[row]! >= 0) count++;
    });
    const part = {
      rows: new Int32Array(count),
      intervals: new Int32Array(count),
      cells: new Float64Array(count),
      rests: new Float64Array(cells.kind === 'sum' || cells.kind === 'avg' ? count : 0),
      weights: new Float64Array(cells.kind === 'avg' ? count : 0),
    };
    let n = 0;
    cells.forEach((row, interval, slot) => {
      if (rowOf[row]! < 0) return;
      part.rows[n] = rowOf[row]!;
      part.intervals[n] = interval;
      part.cells[n] = cells.valueAt(slot);
      if (part.rests.length > 0) part.rests[n] = cells.restAt(slot);
      if (part.weights.length > 0) part.weights[n] = cells.weightAt(slot);
      n++;
    });
    return { ...part, ...this.packLabels(used), share: this.share, exemplars: [] };
  }

  private packLabels(
    rows: readonly number[],
  ): Pick<MetricsPart, 'values' | 'valueEnds' | 'labels' | 'buckets' | 'groups'> {
    const { width } = this.shape;
    const numberOf = new Int32Array(this.pool.count).fill(-1);
    numberOf[NO_VALUE] = 0;
    const ids: number[] = [];
    const labels = new Int32Array(rows.length * width);
    const groups = new Bitset(this.groupCount);
    rows.forEach((row, i) => {
      this.check();
      groups.add(this.groupOf(row));
      this.labelsOf(this.groupOf(row)).forEach((id, k) => {
        if (numberOf[id]! < 0) numberOf[id] = ids.push(id);
        labels[i * width + k] = numberOf[id]!;
      });
    });
    const valueEnds = new Uint32Array(ids.length);
    const all = new ByteWriter(this.pool.sizeBytes);
    ids.forEach((id, i) => {
      all.raw(this.pool.bytes(id));
      valueEnds[i] = all.length;
    });
    return {
      values: all.copy(),
      valueEnds,
      labels,
      buckets: Uint8Array.from(rows, (row) => this.bucketOf(row)),
      groups: groups.count(),
    };
  }
}
