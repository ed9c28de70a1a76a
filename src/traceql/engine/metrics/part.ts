// The partial result of one job as plain arrays, made to go from thread to thread.
import type { Exemplar } from './exemplars.ts';

export interface MetricsPart {
  /** Values of labels as in the pool, one behind the other; value i ends at valueEnds[i]. */
  readonly values: Uint8Array;
  readonly valueEnds: Uint32Array;
  /** For each series its values (number in `values` + 1, 0 = absent), as many as the query groups by. */
  readonly labels: Int32Array;
  /** For each series the exponent of its bucket, 0 where the function has no buckets. */
  readonly buckets: Uint8Array;
  /** How many groups its series are of: each may have several buckets. undefined = of an older ingester. */
  readonly groups?: number | undefined;
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

/** Roughly, of an exemplar with its labels. */
const EXEMPLAR_BYTES = 500;

/** Memory that a part takes. */
export function partBytes(part: MetricsPart): number {
  const { values, valueEnds, labels, buckets, rows, intervals, cells, rests, weights, exemplars } = part;
  const arrays = [values, valueEnds, labels, buckets, rows, intervals, cells, rests, weights];
  return arrays.reduce((sum, { byteLength }) => sum + byteLength, exemplars.length * EXEMPLAR_BYTES);
}

/** The same in shared memory: no thread that it passes has to copy it, whatever its size. */
export function sharedPart(part: MetricsPart): MetricsPart {
  return {
    ...part,
    values: copied(part.values, new Uint8Array(room(part.values))),
    valueEnds: copied(part.valueEnds, new Uint32Array(room(part.valueEnds))),
    labels: copied(part.labels, new Int32Array(room(part.labels))),
    buckets: copied(part.buckets, new Uint8Array(room(part.buckets))),
    rows: copied(part.rows, new Int32Array(room(part.rows))),
    intervals: copied(part.intervals, new Int32Array(room(part.intervals))),
    cells: copied(part.cells, new Float64Array(room(part.cells))),
    rests: copied(part.rests, new Float64Array(room(part.rests))),
    weights: copied(part.weights, new Float64Array(room(part.weights))),
  };
}

function room({ byteLength }: ArrayBufferView): SharedArrayBuffer {
  return new SharedArrayBuffer(byteLength);
}

function copied<To extends Uint8Array | Uint32Array | Int32Array | Float64Array>(
  from: ArrayLike<number>,
  to: To,
): To {
  to.set(from);
  return to;
}
