// Lets go of buffers of which little is of use still: what is of use is copied, a bounded amount at a time.
import type { AnsweredTrace } from '../../contracts/query.ts';

/** Copied at a time, but one body at least: a millisecond or two. */
const STEP_BYTES = 4 << 20;
/** Of a buffer what has to be of use for it to be kept. */
const OF_USE_SHARE_MIN = 1 / 2;

export interface Held {
  readonly traces: readonly AnsweredTrace[];
  /** Memory of the buffers in which their bodies lie. */
  readonly heldBytes: number;
  /** Where the bodies are that were copied. */
  readonly copies?: ArrayBuffer;
}

/** Those with the least that is of use come first; what a step leaves is for the next one. */
export function letGo(traces: readonly AnsweredTrace[]): Held {
  const usedBytes = new Map<ArrayBufferLike, number>();
  for (const { body } of traces) {
    usedBytes.set(body.buffer, (usedBytes.get(body.buffer) ?? 0) + body.length);
  }
  let heldBytes = 0;
  for (const buffer of usedBytes.keys()) heldBytes += buffer.byteLength;
  const wasteful = [...usedBytes].filter(([buffer, used]) => used < buffer.byteLength * OF_USE_SHARE_MIN);
  wasteful.sort(([a, usedOfA], [b, usedOfB]) => usedOfA / a.byteLength - usedOfB / b.byteLength);
  const left = new Set<ArrayBufferLike>();
  let bytes = 0;
  for (const [buffer, used] of wasteful) {
    if (bytes > 0 && bytes + used > STEP_BYTES) break;
    left.add(buffer);
    bytes += used;
    heldBytes -= buffer.byteLength;
  }
  if (left.size === 0) return { traces, heldBytes };
  const copies = new Uint8Array(bytes);
  return { traces: moved(traces, left, copies), heldBytes: heldBytes + bytes, copies: copies.buffer };
}

/** @param copies as large as the bodies that lie in these buffers. */
function moved(
  traces: readonly AnsweredTrace[],
  left: ReadonlySet<ArrayBufferLike>,
  copies: Uint8Array,
): readonly AnsweredTrace[] {
  let at = 0;
  return traces.map((trace) => {
    if (!left.has(trace.body.buffer)) return trace;
    const body = copies.subarray(at, (at += trace.body.length));
    body.set(trace.body);
    return { ...trace, body };
  });
}
