// Which spans of a spanset are shown, and in which order: the earliest, so that the same spans are shown
// wherever they are stored.
import type { Vector } from '../source.ts';
import { compareBytes } from './bytes-tests.ts';
import { bytesAt, firstEntry } from './value-reader.ts';

/** Up to this many are kept in order while passing over the spans; sorting pays above. */
const INSERTED_MAX = 128;

/** The `limit` earliest of `spans`, earliest first; of equal start that with the smaller id. */
export function earliestSpans(spans: Int32Array, limit: number, start: Vector, id: Vector): Int32Array {
  const shown = Math.min(limit, spans.length);
  if (shown > INSERTED_MAX) {
    return spans
      .slice()
      .sort((a, b) => compareSpans(a, b, start, id))
      .subarray(0, shown);
  }
  return insertedSpans(spans, shown, (a, b) => compareSpans(a, b, start, id) < 0);
}

function insertedSpans(
  spans: Int32Array,
  shown: number,
  before: (a: number, b: number) => boolean,
): Int32Array {
  const kept = new Int32Array(shown);
  let count = 0;
  for (const span of spans) {
    if (count === kept.length) {
      if (!before(span, kept[count - 1]!)) continue;
      count--;
    }
    let low = 0;
    let high = count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (before(span, kept[middle]!)) high = middle;
      else low = middle + 1;
    }
    kept.copyWithin(low + 1, low, count);
    kept[low] = span;
    count++;
  }
  return kept;
}

/** By start, then by id. */
export function compareSpans(a: number, b: number, start: Vector, id: Vector): number {
  return compareStarts(start, firstEntry(start, a), firstEntry(start, b)) || compareIds(id, a, b);
}

/** `num` is exact where there is no `exact`. */
function compareStarts({ num, exact }: Vector, a: number, b: number): number {
  if (exact !== undefined) return exact[a]! < exact[b]! ? -1 : exact[a]! > exact[b]! ? 1 : 0;
  return num === undefined ? 0 : num[a]! - num[b]!;
}

function compareIds(id: Vector, a: number, b: number): number {
  return compareBytes(bytesAt(id, firstEntry(id, a)), bytesAt(id, firstEntry(id, b)));
}
