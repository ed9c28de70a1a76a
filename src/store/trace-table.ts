// What another process asks of a source before and while it plans a query over several processes: which
// traces there are, and some of them as bytes.
import { DIGEST_WORDS } from '../block/stored-spans.ts';
import { lowerBound } from '../lib/lower-bound.ts';
import type { BlockOpener } from './block-opener.ts';
import type {
  ScanFailure,
  TracePartsJob,
  TracePartsJobResult,
  TraceTableJob,
  TraceTableJobResult,
} from './scan-job.ts';
import { guarded, openSource } from './source-walk.ts';

const ID_BYTES = 16;

export async function readTraceTable(
  blocks: BlockOpener,
  { sources: [ref] }: TraceTableJob,
  signal: AbortSignal,
): Promise<TraceTableJobResult> {
  const failures: ScanFailure[] = [];
  const ids: Uint8Array[] = [];
  const digests: Int32Array[] = [];
  const starts: Float64Array[] = [];
  const ends: Float64Array[] = [];
  let newestStart = -Infinity;
  let traceCount = 0;
  await guarded(ref, failures, async () => {
    for (const { spans } of await openSource(blocks, ref, signal)) {
      const count = Math.min(spans.traceCount, ref.traceCount ?? Infinity);
      const times = await spans.traceTimes(signal);
      newestStart = Math.max(newestStart, await spans.newestStart(signal));
      ids.push((await spans.traceIds(signal)).ids.subarray(0, count * ID_BYTES));
      digests.push(
        await spans.spanDigests(
          Int32Array.from({ length: count }, (_, i) => i),
          signal,
        ),
      );
      starts.push(times.startMicros.subarray(0, count));
      ends.push(times.endMicros.subarray(0, count));
      traceCount += count;
    }
  });
  const table = {
    traceCount,
    ids: joined(new Uint8Array(traceCount * ID_BYTES), ids),
    digests: joined(new Int32Array(traceCount * DIGEST_WORDS), digests),
    startMicros: joined(new Float64Array(traceCount), starts),
    endMicros: joined(new Float64Array(traceCount), ends),
    newestStart,
  };
  return { kind: 'traceTable', table, failures };
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
    for (const { spans, firstRow } of await openSource(blocks, ref, signal)) {
      const to = lowerBound(rows, firstRow + spans.traceCount);
      for (let i = lowerBound(rows, firstRow); i < to; i++) {
        const piece = await spans.traces(Int32Array.of(rows[i]! - firstRow), signal);
        pieces.push(piece);
        length += piece.length;
        ends[i] = length;
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
