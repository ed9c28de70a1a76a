// What another process asks of a source before and while it plans a query over several processes: which
// traces there are, and some of them as bytes.
import { DIGEST_WORDS } from '../block/stored-spans.ts';
import { lowerBound } from '../lib/lower-bound.ts';
import { HeadSource } from '../block/head/source.ts';
import type { TraceTable } from '../contracts/recent-traces.ts';
import { TRACE_ID_BYTES } from '../model/ids.ts';
import type { BlockOpener } from './block-opener.ts';
import type {
  ScanFailure,
  TracePartsJob,
  TracePartsJobResult,
  TraceTableJob,
  TraceTableJobResult,
} from './scan-job.ts';
import { guarded, type OpenSource, openSource } from './source-walk.ts';

export async function readTraceTable(
  blocks: BlockOpener,
  { sources: [ref], sinceSpan }: TraceTableJob,
  signal: AbortSignal,
): Promise<TraceTableJobResult> {
  const failures: ScanFailure[] = [];
  const tables: TraceTable[] = [];
  let rows: Int32Array | undefined;
  await guarded(ref, failures, async () => {
    for (const { spans, release } of await openSource(blocks, ref, signal)) {
      const count = Math.min(spans.traceCount, ref.traceCount ?? Infinity);
      if (sinceSpan !== undefined && spans instanceof HeadSource) rows = spans.tracesSince(sinceSpan, count);
      tables.push(await tableOf(spans, rows ?? allRows(count), signal).finally(release));
    }
  });
  return { kind: 'traceTable', table: joinedTable(tables), rows, failures };
}

function allRows(count: number): Int32Array {
  return Int32Array.from({ length: count }, (_, i) => i);
}

async function tableOf(
  spans: OpenSource['spans'],
  rows: Int32Array,
  signal: AbortSignal,
): Promise<TraceTable> {
  const times = await spans.traceTimes(signal);
  const { ids: all } = await spans.traceIds(signal);
  const ids = new Uint8Array(rows.length * TRACE_ID_BYTES);
  rows.forEach((row, i) =>
    ids.set(all.subarray(row * TRACE_ID_BYTES, (row + 1) * TRACE_ID_BYTES), i * TRACE_ID_BYTES),
  );
  return {
    traceCount: rows.length,
    ids,
    digests: await spans.spanDigests(rows, signal),
    startMicros: Float64Array.from(rows, (row) => times.startMicros[row]!),
    endMicros: Float64Array.from(rows, (row) => times.endMicros[row]!),
    newestStart: await spans.newestStart(signal),
  };
}

/** One after the other. */
function joinedTable(tables: readonly TraceTable[]): TraceTable {
  const traceCount = tables.reduce((sum, table) => sum + table.traceCount, 0);
  const of = <Name extends 'ids' | 'digests' | 'startMicros' | 'endMicros'>(name: Name) =>
    tables.map((table) => table[name]);
  return {
    traceCount,
    ids: joined(new Uint8Array(traceCount * TRACE_ID_BYTES), of('ids')),
    digests: joined(new Int32Array(traceCount * DIGEST_WORDS), of('digests')),
    startMicros: joined(new Float64Array(traceCount), of('startMicros')),
    endMicros: joined(new Float64Array(traceCount), of('endMicros')),
    newestStart: tables.reduce((newest, table) => Math.max(newest, table.newestStart), -Infinity),
  };
}

export async function readTraceParts(
  blocks: BlockOpener,
  { sources: [ref], rows }: TracePartsJob,
  signal: AbortSignal,
): Promise<TracePartsJobResult> {
  const failures: ScanFailure[] = [];
  const pieces: Uint8Array[] = [];
  const ends = new Float64Array(rows.length);
  let length = 0;
  await guarded(ref, failures, async () => {
    for (const { spans, firstRow, release } of await openSource(blocks, ref, signal)) {
      const to = lowerBound(rows, firstRow + spans.traceCount);
      try {
        for (let i = lowerBound(rows, firstRow); i < to; i++) {
          const piece = await spans.traces(Int32Array.of(rows[i]! - firstRow), signal);
          pieces.push(piece);
          length += piece.length;
          ends[i] = length;
        }
      } finally {
        release();
      }
    }
  });
  return { kind: 'traceParts', parts: { rows, ends, bytes: Buffer.concat(pieces, length) }, failures };
}

function joined<Numbers extends Uint8Array | Int32Array | Float64Array>(
  all: Numbers,
  parts: readonly Numbers[],
): Numbers {
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
