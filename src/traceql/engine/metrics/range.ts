// The time of a metrics query: a range cut into intervals of equal length, open to the left and closed to
// the right, and the spans that begin in it.
import type { Bitset } from '../../../lib/bitset.ts';
import type { Rows, Scan } from '../scan.ts';
import type { Vector } from '../../source.ts';

export interface MetricsRange {
  /** Unix ns. The end is a whole number of steps behind the start. */
  readonly startUnixNano: bigint;
  readonly endUnixNano: bigint;
  readonly stepNanos: bigint;
}

export function intervalCount({ startUnixNano, endUnixNano, stepNanos }: MetricsRange): number {
  return Number((endUnixNano - startUnixNano) / stepNanos);
}

/** Spans that count, ascending, and the interval of each. */
export interface TimedSpans {
  readonly spans: Int32Array;
  readonly intervals: Int32Array;
  /** ns behind the start of the range. */
  readonly offsets: Float64Array;
}

/** Those of `matched` that begin in the range. */
export async function timedSpans(
  scan: Scan,
  matched: Bitset,
  rows: Rows | undefined,
  range: MetricsRange,
): Promise<TimedSpans> {
  const start = await scan.vector({ kind: 'intrinsic', name: 'span:start' }, rows);
  const size = matched.count();
  const spans = new Int32Array(size);
  const intervals = new Int32Array(size);
  const offsets = new Float64Array(size);
  const offsetAt = offsetReader(start, range.startUnixNano);
  const step = Number(range.stepNanos);
  const end = Number(range.endUnixNano - range.startUnixNano);
  const { owners, count } = start;
  let n = 0;
  for (let entry = 0; entry < count; entry++) {
    const span = owners === undefined ? entry : owners[entry]!;
    if (!matched.has(span)) continue;
    const offset = offsetAt(entry);
    if (!(offset > 0 && offset <= end)) continue;
    spans[n] = span;
    intervals[n] = Math.ceil(offset / step) - 1;
    offsets[n++] = offset;
  }
  return {
    spans: spans.subarray(0, n),
    intervals: intervals.subarray(0, n),
    offsets: offsets.subarray(0, n),
  };
}

/** Differences are exact where they matter: below 2^53 ns. */
function offsetReader({ base, num, exact }: Vector, start: bigint): (entry: number) => number {
  if (exact !== undefined) return (entry) => Number(BigInt.asUintN(64, base + exact[entry]!) - start);
  const shift = Number(base - start);
  return num === undefined ? () => shift : (entry) => shift + num[entry]!;
}
