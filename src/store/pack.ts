// Found traces packed for the way from a scan thread to the main thread.
import type { FoundTrace } from '../contracts/query.ts';
import type { PackedTraces } from './scan-job.ts';

/** The newest `limit`, newest first; equal starts by id. */
export function newestFound(found: readonly FoundTrace[], limit: number): FoundTrace[] {
  return [...found]
    .sort((a, b) => {
      if (a.startUnixNano !== b.startUnixNano) return a.startUnixNano > b.startUnixNano ? -1 : 1;
      return a.traceId < b.traceId ? -1 : a.traceId > b.traceId ? 1 : 0;
    })
    .slice(0, limit);
}

export function packFound(found: readonly FoundTrace[]): PackedTraces {
  const ids = new Uint8Array(16 * found.length);
  const starts = new BigInt64Array(found.length);
  const jsonEnds = new Float64Array(found.length);
  const json = new Uint8Array(found.reduce((sum, trace) => sum + trace.json.length, 0));
  let end = 0;
  found.forEach((trace, i) => {
    ids.set(Buffer.from(trace.traceId.padStart(32, '0'), 'hex'), 16 * i);
    starts[i] = trace.startUnixNano;
    json.set(trace.json, end);
    end += trace.json.length;
    jsonEnds[i] = end;
  });
  return { count: found.length, ids, starts, json, jsonEnds };
}
