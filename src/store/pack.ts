// Found traces: their order, and how they are packed for the way from a scan thread to the main thread.
import { traceIdText } from '../traceql/engine/json.ts';
import { foundTraceProto } from '../api/search-proto.ts';
import type { AnsweredTrace } from '../contracts/query.ts';
import type { FoundTrace } from '../traceql/engine/search.ts';
import type { PackedTraces } from './scan-job.ts';

/** A found trace that came from a scan thread. */
export interface UnpackedTrace extends AnsweredTrace {
  /** 16 bytes. */
  readonly id: Uint8Array;
}

type Ordered = Pick<FoundTrace, 'traceId' | 'startUnixNano'>;

/** Newest start first; equal starts by id, so that the same query gives the same answer. */
export function newestFirst(a: Ordered, b: Ordered): number {
  if (a.startUnixNano !== b.startUnixNano) return a.startUnixNano > b.startUnixNano ? -1 : 1;
  return a.traceId < b.traceId ? -1 : a.traceId > b.traceId ? 1 : 0;
}

/** The newest `limit`, newest first. */
export function newestFound(found: readonly FoundTrace[], limit: number): FoundTrace[] {
  return [...found].sort(newestFirst).slice(0, limit);
}

export function packFound(found: readonly FoundTrace[], format: 'proto' | 'json'): PackedTraces {
  const ids = new Uint8Array(16 * found.length);
  const starts = new BigInt64Array(found.length);
  const bodyEnds = new Float64Array(found.length);
  const all = found.map(({ json }) => (format === 'json' ? json : foundTraceProto(json)));
  const bodies = new Uint8Array(all.reduce((sum, body) => sum + body.length, 0));
  let end = 0;
  found.forEach((trace, i) => {
    writeId(trace.traceId, ids, 16 * i);
    starts[i] = trace.startUnixNano;
    bodies.set(all[i]!, end);
    end += all[i]!.length;
    bodyEnds[i] = end;
  });
  return { count: found.length, ids, starts, bodies, bodyEnds };
}

export function unpackFound(packed: PackedTraces): UnpackedTrace[] {
  const traces: UnpackedTrace[] = [];
  let begin = 0;
  for (let i = 0; i < packed.count; i++) {
    const end = packed.bodyEnds[i]!;
    const id = packed.ids.subarray(16 * i, 16 * i + 16);
    const body = packed.bodies.subarray(begin, end);
    traces.push({ id, traceId: traceIdText(id), startUnixNano: packed.starts[i]!, body });
    begin = end;
  }
  return traces;
}

/** Writes the bytes of an id whose leading zeros may be missing. */
function writeId(hex: string, ids: Uint8Array, start: number): void {
  for (let i = hex.length - 1, nibble = 31; i >= 0 && nibble >= 0; i--, nibble--) {
    const code = hex.charCodeAt(i);
    const value = code <= 57 ? code - 48 : (code & 7) + 9;
    ids[start + (nibble >> 1)]! |= (nibble & 1) === 1 ? value : value << 4;
  }
}
