// The time of a metrics query: a range cut into intervals of equal length, open to the left and closed to
// the right, and the spans that begin in it.
import type { Bitset } from '../../../lib/bitset.ts';
import type { Rows, Scan } from '../scan.ts';
import type { NumberArray } from '../../../lib/narrow-numbers.ts';
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
  const timed = {
    spans: new Int32Array(size),
    intervals: new Int32Array(size),
    offsets: new Float64Array(size),
  };
  const { num, owners, exact, count } = start;
  const isPlain = num !== undefined && owners === undefined && exact === undefined && count >= matched.size;
  const shift = Number(start.base - range.startUnixNano);
  const n = isPlain
    ? takeMembers(num, shift, matched, range, timed)
    : takeEntries(start, matched, range, timed);
  return {
    spans: timed.spans.subarray(0, n),
    intervals: timed.intervals.subarray(0, n),
    offsets: timed.offsets.subarray(0, n),
  };
}

function takeEntries(start: Vector, matched: Bitset, range: MetricsRange, timed: TimedSpans): number {
  const { spans, intervals, offsets } = timed;
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
  return n;
}

/** The same where the entry of a span has its number: only those that match are looked at. */
function takeMembers(
  starts: NumberArray,
  shift: number,
  matched: Bitset,
  range: MetricsRange,
  timed: TimedSpans,
): number {
  const { spans, intervals, offsets } = timed;
  const step = Number(range.stepNanos);
  const end = Number(range.endUnixNano - range.startUnixNano);
  const { words } = matched;
  let n = 0;
  for (let w = 0; w < words.length; w++) {
    for (let rest = words[w]!; rest !== 0; rest &= rest - 1) {
      const span = (w << 5) + 31 - Math.clz32(rest & -rest);
      const offset = shift + starts[span]!;
      if (!(offset > 0 && offset <= end)) continue;
      spans[n] = span;
      intervals[n] = Math.ceil(offset / step) - 1;
      offsets[n++] = offset;
    }
  }
  return n;
}

/** Differences are exact where they matter: below 2^53 ns. */
function offsetReader({ base, num, exact }: Vector, start: bigint): (entry: number) => number {
  if (exact !== undefined) return (entry) => Number(BigInt.asUintN(64, base + exact[entry]!) - start);
  const shift = Number(base - start);
  return num === undefined ? () => shift : (entry) => shift + num[entry]!;
}
