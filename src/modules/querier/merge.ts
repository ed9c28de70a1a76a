// Brings the answers of several scan jobs together: in order, each trace once, at most the limit.
import { type UnpackedTrace, unpackFound } from '../../store/pack.ts';
import type { SearchJobResult } from '../../store/scan-job.ts';
import { traceIdText } from '../../traceql/engine/json.ts';
import { comparing, NEWEST_FIRST, type TraceOrder } from '../../traceql/engine/order.ts';

/**
 * The first `limit` of all, each trace id once (of several parts, the first stands in until they are
 * combined).
 */
export function mergeFirst(
  parts: readonly (readonly UnpackedTrace[])[],
  limit: number,
  order: TraceOrder = NEWEST_FIRST,
): UnpackedTrace[] {
  if (parts.length === 1) return parts[0]!.slice(0, limit);
  const all = parts.flat().sort(comparing(order));
  const seen = new Set<string>();
  const merged: UnpackedTrace[] = [];
  for (const trace of all) {
    if (merged.length === limit) break;
    if (seen.has(trace.traceId)) continue;
    seen.add(trace.traceId);
    merged.push(trace);
  }
  return merged;
}

/** The ids of the traces, 16 bytes each. */
export function packIds(traces: readonly UnpackedTrace[]): Uint8Array {
  const ids = new Uint8Array(16 * traces.length);
  traces.forEach((trace, i) => ids.set(trace.id, 16 * i));
  return ids;
}

/** Puts traces that were searched as a whole in the place of their parts; a whole may match no more. */
export function withCombined(
  traces: readonly UnpackedTrace[],
  { combined, found }: SearchJobResult,
  limit: number,
  order: TraceOrder = NEWEST_FIRST,
): UnpackedTrace[] {
  if (combined.length === 0) return [...traces];
  const ids = new Set<string>();
  for (let i = 0; i < combined.length; i += 16) ids.add(traceIdText(combined.subarray(i, i + 16)));
  const others = traces.filter((trace) => !ids.has(trace.traceId));
  return [...others, ...unpackFound(found)].sort(comparing(order)).slice(0, limit);
}
