// Found traces: the first of them, and how they are packed for the way from a scan thread to the main thread.
import { foundTraceProto } from '../api/search-proto.ts';
import type { AnsweredTrace } from '../contracts/query.ts';
import { comparing, NEWEST_FIRST, type TraceOrder } from '../traceql/engine/order.ts';
import type { FoundTrace } from '../traceql/engine/search.ts';
import type { PackedTraces } from './scan-job.ts';

/** A found trace that came from a scan thread. */
export interface UnpackedTrace extends AnsweredTrace {
  /** 16 bytes. */
  readonly id: Uint8Array;
}

/** The first `limit` in order. */
export function firstFound(
  found: readonly FoundTrace[],
  limit: number,
  order: TraceOrder = NEWEST_FIRST,
): FoundTrace[] {
  return [...found].sort(comparing(order)).slice(0, limit);
}

export function packFound(found: readonly FoundTrace[], format: 'proto' | 'json'): PackedTraces {
  const ids = new Uint8Array(16 * found.length);
  const starts = new BigInt64Array(found.length);
  const durations = new BigInt64Array(found.length);
  const bodyEnds = new Float64Array(found.length);
  const all = found.map(({ json }) => (format === 'json' ? json : foundTraceProto(json)));
  const bodies = new Uint8Array(all.reduce((sum, body) => sum + body.length, 0));
  let end = 0;
  found.forEach((trace, i) => {
    writeId(trace.traceId, ids, 16 * i);
    starts[i] = trace.startUnixNano;
    durations[i] = trace.durationNanos;
    bodies.set(all[i]!, end);
    end += all[i]!.length;
    bodyEnds[i] = end;
  });
  return { count: found.length, ids, starts, durations, bodies, bodyEnds };
}

export function unpackFound(packed: PackedTraces): UnpackedTrace[] {
  const { count, ids, starts, durations, bodies, bodyEnds } = packed;
  // All at once, as there may be a hundred thousand.
  const hex = Buffer.from(ids.buffer, ids.byteOffset, ids.length).toString('hex');
  const traces: UnpackedTrace[] = [];
  let begin = 0;
  for (let i = 0; i < count; i++) {
    const end = bodyEnds[i]!;
    const id = ids.subarray(16 * i, 16 * i + 16);
    const traceId = withoutZeros(hex.slice(32 * i, 32 * i + 32));
    const body = bodies.subarray(begin, end);
    traces.push({ id, traceId, startUnixNano: starts[i]!, durationNanos: durations[i]!, body });
    begin = end;
  }
  return traces;
}

function withoutZeros(hex: string): string {
  return hex.startsWith('0') ? hex.replace(/^0+(?=.)/, '') : hex;
}

/** Writes the bytes of an id whose leading zeros may be missing. */
function writeId(hex: string, ids: Uint8Array, start: number): void {
  for (let i = hex.length - 1, nibble = 31; i >= 0 && nibble >= 0; i--, nibble--) {
    const code = hex.charCodeAt(i);
    const value = code <= 57 ? code - 48 : (code & 7) + 9;
    ids[start + (nibble >> 1)]! |= (nibble & 1) === 1 ? value : value << 4;
  }
}
