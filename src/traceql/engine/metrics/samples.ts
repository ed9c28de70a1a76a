// The samples of all series of a set in one array, a row for each series that has any.
import type { SeriesSet } from './series-set.ts';

export class Samples {
  /** The series that have samples. */
  readonly rows: readonly number[];
  private readonly all: Float64Array;
  private readonly width: number;

  /**
   * @param absent what stands where there is nothing.
   * @param alwaysRow a series that is there without samples too.
   */
  constructor(set: SeriesSet, absent: number, valueAt: (slot: number) => number, alwaysRow?: number) {
    const { cells, shape, rowCount } = set;
    const placeOf = new Int32Array(rowCount).fill(-1);
    const rows: number[] = [];
    if (alwaysRow !== undefined) placeOf[alwaysRow] = rows.push(alwaysRow) - 1;
    cells.forEach((row) => {
      if (placeOf[row]! < 0) placeOf[row] = rows.push(row) - 1;
    });
    this.rows = rows;
    this.width = shape.intervals;
    this.all = new Float64Array(rows.length * this.width);
    if (absent !== 0) this.all.fill(absent);
    cells.forEach((row, interval, slot) => {
      this.all[placeOf[row]! * this.width + interval] = valueAt(slot);
    });
  }

  /** Of the series that is at this place in `rows`. */
  at(place: number): Float64Array {
    return this.all.subarray(place * this.width, (place + 1) * this.width);
  }
}
