// The partial result of one job as plain arrays, made to be moved between threads.
import type { Exemplar } from './exemplars.ts';

export interface MetricsPart {
  /** Values of labels as in the pool, one behind the other; value i ends at valueEnds[i]. */
  readonly values: Uint8Array;
  readonly valueEnds: Uint32Array;
  /** For each series its values (number in `values` + 1, 0 = absent), as many as the query groups by. */
  readonly labels: Int32Array;
  /** For each series the exponent of its bucket, where the function has buckets. */
  readonly buckets: Uint8Array;
  /** For each cell its series and interval, and what Cells has of it. */
  readonly rows: Int32Array;
  readonly intervals: Int32Array;
  readonly cells: Float64Array;
  readonly rests: Float64Array;
  readonly weights: Float64Array;
  /** Of all series that there are, about this share is here: those with the lowest hashes. */
  readonly share: number;
  readonly exemplars: readonly Exemplar[];
}

/** What of a part is worth being moved rather than copied. */
export function partArrays(part: MetricsPart): readonly ArrayBufferView[] {
  const { values, labels, rows, intervals, cells, rests, weights } = part;
  return [values, labels, rows, intervals, cells, rests, weights];
}
