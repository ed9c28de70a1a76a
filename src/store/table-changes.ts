// The table of traces of a source that grows, with what is new in it.
import { DIGEST_WORDS } from '../block/stored-spans.ts';
import type { TraceTable } from '../contracts/recent-traces.ts';
import { TRACE_ID_BYTES } from '../model/ids.ts';
import type { TraceTableChanges } from './scan-job.ts';

/** The table with what is new, in shared memory; the one that is known stays what it is. */
export function changedTable(known: TraceTable, { rows, table }: TraceTableChanges): TraceTable {
  const traceCount = Math.max(known.traceCount, rows.length === 0 ? 0 : rows.at(-1)! + 1);
  const change = <Numbers extends Uint8Array | Int32Array | Float64Array>(
    type: new (buffer: SharedArrayBuffer) => Numbers,
    before: Numbers,
    after: Numbers,
    width: number,
  ): Numbers => {
    const all = new type(new SharedArrayBuffer(traceCount * width * before.BYTES_PER_ELEMENT));
    all.set(before);
    rows.forEach((row, i) => {
      for (let k = 0; k < width; k++) all[row * width + k] = after[i * width + k]!;
    });
    return all;
  };
  return {
    traceCount,
    ids: change(Uint8Array, known.ids, table.ids, TRACE_ID_BYTES),
    digests: change(Int32Array, known.digests, table.digests, DIGEST_WORDS),
    startMicros: change(Float64Array, known.startMicros, table.startMicros, 1),
    endMicros: change(Float64Array, known.endMicros, table.endMicros, 1),
    newestStart: Math.max(known.newestStart, table.newestStart),
  };
}
