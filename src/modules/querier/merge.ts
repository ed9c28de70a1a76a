// Brings the answers of several scan jobs together: newest first, each trace once, at most the limit.
import type { FoundTrace } from '../../contracts/query.ts';
import type { PackedTraces } from '../../store/scan-job.ts';

export interface MergedTrace extends FoundTrace {
  /** 16 bytes. */
  readonly id: Uint8Array;
}

/** Newest start first; equal starts by id, so that the same query gives the same answer. */
export function newestFirst(a: MergedTrace, b: MergedTrace): number {
  if (a.startUnixNano !== b.startUnixNano) return a.startUnixNano > b.startUnixNano ? -1 : 1;
  return a.traceId < b.traceId ? -1 : a.traceId > b.traceId ? 1 : 0;
}

export function unpack(packed: PackedTraces): MergedTrace[] {
  const traces: MergedTrace[] = [];
  let begin = 0;
  for (let i = 0; i < packed.count; i++) {
    const end = packed.jsonEnds[i]!;
    const id = packed.ids.subarray(16 * i, 16 * i + 16);
    const json = packed.json.subarray(begin, end);
    traces.push({ id, traceId: shortHex(id), startUnixNano: packed.starts[i]!, json });
    begin = end;
  }
  return traces;
}

/**
 * The newest `limit` of all, each trace id once (of several parts, the newest stands in until they are
 * combined).
 */
export function mergeNewest(parts: readonly (readonly MergedTrace[])[], limit: number): MergedTrace[] {
  if (parts.length === 1) return parts[0]!.slice(0, limit);
  const all = parts.flat().sort(newestFirst);
  const seen = new Set<string>();
  const merged: MergedTrace[] = [];
  for (const trace of all) {
    if (merged.length === limit) break;
    if (seen.has(trace.traceId)) continue;
    seen.add(trace.traceId);
    merged.push(trace);
  }
  return merged;
}

export function packIds(traces: readonly MergedTrace[]): Uint8Array {
  const ids = new Uint8Array(16 * traces.length);
  traces.forEach((trace, i) => ids.set(trace.id, 16 * i));
  return ids;
}

/** Hex without leading zeros, as search answers print trace ids. */
export function shortHex(id: Uint8Array): string {
  const hex = Buffer.from(id.buffer, id.byteOffset, id.byteLength).toString('hex');
  let zeros = 0;
  while (zeros < hex.length - 1 && hex.charCodeAt(zeros) === 48) zeros++;
  return hex.slice(zeros);
}
