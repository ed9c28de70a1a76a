// Series of a metrics query: their labels, and the cells of each. Jobs fill one from spans, and one brings
// the parts of all jobs together.
import { type CellKind, Cells } from './cells.ts';
import { LabelPool } from './label-pool.ts';
import { PairTable } from './pair-table.ts';
import type { MetricsPart } from './part.ts';

/** What a series is made of. */
export interface SeriesShape {
  readonly kind: CellKind;
  /** Labels that a series may have. */
  readonly width: number;
  readonly hasBuckets: boolean;
  readonly intervals: number;
}

export class SeriesSet {
  readonly shape: SeriesShape;
  readonly pool = new LabelPool();
  readonly cells: Cells;
  /** Values of labels joined one by one: of label 0 and 1, of that and label 2, and so on. */
  private readonly joins: readonly PairTable[];
  /** Group and bucket. */
  private readonly bucketed: PairTable | undefined;

  constructor(shape: SeriesShape) {
    this.shape = shape;
    this.cells = new Cells(shape.kind, shape.intervals);
    this.joins = Array.from({ length: Math.max(0, shape.width - 1) }, () => new PairTable());
    this.bucketed = shape.hasBuckets ? new PairTable() : undefined;
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
      const joined = new Int32Array(count);
      for (let k = 0; k < count; k++) joined[k] = table.idOf(rows[k]!, other[k]!);
      rows = joined;
    });
    const { bucketed } = this;
    if (bucketed === undefined || buckets === undefined) return rows;
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

  /** Rows are below it; not all need to be in use. */
  get rowCount(): number {
    const { bucketed, joins, shape, pool } = this;
    if (bucketed !== undefined) return bucketed.count;
    if (joins.length > 0) return joins.at(-1)!.count;
    return shape.width === 0 ? 1 : pool.values.length;
  }

  /** Without buckets the row itself. */
  groupOf(row: number): number {
    return this.bucketed === undefined ? row : this.bucketed.first[row]!;
  }

  /** The exponent of a row's bucket. */
  bucketOf(row: number): number {
    return this.bucketed === undefined ? 0 : this.bucketed.second[row]!;
  }

  /** Numbers of the values of a group's labels. */
  labelsOf(group: number): number[] {
    if (this.shape.width === 0) return [];
    const labels: number[] = [];
    let rest = group;
    for (let i = this.joins.length - 1; i >= 0; i--) {
      labels.push(this.joins[i]!.second[rest]!);
      rest = this.joins[i]!.first[rest]!;
    }
    labels.push(rest);
    return labels.reverse();
  }

  addPart(part: MetricsPart): void {
    const { width } = this.shape;
    const ids = this.valueIds(part);
    const partRows = part.buckets.length;
    const labels = Array.from({ length: width }, (_, i) =>
      Int32Array.from({ length: partRows }, (_, row) => ids[part.labels[row * width + i]!]!),
    );
    const rowOf = this.rowsOf(labels, this.shape.hasBuckets ? part.buckets : undefined, partRows);
    const rows = part.rows.map((row) => rowOf[row]!);
    const slots = this.cells.slots(rows, part.intervals, this.rowCount);
    this.cells.merge(slots, { values: part.cells, rests: part.rests, weights: part.weights });
  }

  private valueIds({ values, valueEnds }: MetricsPart): Int32Array {
    const ids = new Int32Array(valueEnds.length + 1);
    let begin = 0;
    valueEnds.forEach((end, i) => {
      ids[i + 1] = this.pool.idOf(values.slice(begin, end));
      begin = end;
    });
    return ids;
  }

  toPart(): MetricsPart {
    const { cells } = this;
    let count = 0;
    cells.forEach(() => count++);
    const rowOf = new Int32Array(this.rowCount).fill(-1);
    const used: number[] = [];
    const part = {
      rows: new Int32Array(count),
      intervals: new Int32Array(count),
      cells: new Float64Array(count),
      rests: new Float64Array(cells.kind === 'sum' || cells.kind === 'avg' ? count : 0),
      weights: new Float64Array(cells.kind === 'avg' ? count : 0),
    };
    let n = 0;
    cells.forEach((row, interval, slot) => {
      if (rowOf[row]! < 0) rowOf[row] = used.push(row) - 1;
      part.rows[n] = rowOf[row]!;
      part.intervals[n] = interval;
      part.cells[n] = cells.valueAt(slot);
      if (part.rests.length > 0) part.rests[n] = cells.restAt(slot);
      if (part.weights.length > 0) part.weights[n] = cells.weightAt(slot);
      n++;
    });
    return { ...part, ...this.packLabels(used) };
  }

  private packLabels(
    rows: readonly number[],
  ): Pick<MetricsPart, 'values' | 'valueEnds' | 'labels' | 'buckets'> {
    const { width } = this.shape;
    const numberOf = new Map<number, number>([[0, 0]]);
    const values: Uint8Array[] = [];
    const labels = new Int32Array(rows.length * width);
    rows.forEach((row, i) => {
      this.labelsOf(this.groupOf(row)).forEach((id, k) => {
        let number = numberOf.get(id);
        if (number === undefined) numberOf.set(id, (number = values.push(this.pool.values[id]!)));
        labels[i * width + k] = number;
      });
    });
    const valueEnds = new Uint32Array(values.length);
    const all = new Uint8Array(values.reduce((sum, value) => sum + value.length, 0));
    let end = 0;
    values.forEach((value, i) => {
      all.set(value, end);
      valueEnds[i] = end += value.length;
    });
    return { values: all, valueEnds, labels, buckets: Uint8Array.from(rows, (row) => this.bucketOf(row)) };
  }
}
