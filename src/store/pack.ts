// Found traces: the first of them, and how they are packed for the way from a scan thread to the main thread.
import { foundTraceProto } from '../api/search-proto.ts';
import type { AnsweredTrace } from '../contracts/query.ts';
import { comparing, NEWEST_FIRST, type TraceOrder } from '../traceql/engine/order.ts';
import type { FoundTrace } from '../traceql/engine/search.ts';
import type { PackedTraces } from './scan-job.ts';

/** Of the buffers that bodies are copied to. */
const CHUNK_BYTES = 1 << 20;
/** What a buffer has of bodies to go as it is. */
const KEPT_BYTES_MIN = 64 << 10;
const KEPT_SHARE_MIN = 3 / 4;

/** The first `limit` in order. */
export function firstFound(
  found: readonly FoundTrace[],
  limit: number,
  order: TraceOrder = NEWEST_FIRST,
): FoundTrace[] {
  return [...found].sort(comparing(order)).slice(0, limit);
}

/**
 * Packs found traces. What the engine wrote is not copied where most of a buffer is of use: a large answer
 * would be in memory twice.
 */
export function packFound(found: readonly FoundTrace[], format: 'proto' | 'json'): PackedTraces {
  const ids = new Uint8Array(16 * found.length);
  const starts = new BigInt64Array(found.length);
  const durations = new BigInt64Array(found.length);
  const bodies = new BodyPacker(found.map(({ json }) => (format === 'json' ? json : foundTraceProto(json))));
  found.forEach((trace, i) => {
    writeId(trace.traceId, ids, 16 * i);
    starts[i] = trace.startUnixNano;
    durations[i] = trace.durationNanos;
  });
  return { count: found.length, ids, starts, durations, ...bodies.packed() };
}

/** Memory of the bodies. */
export function packedBytes({ chunks }: PackedTraces): number {
  return chunks.reduce((sum, { byteLength }) => sum + byteLength, 0);
}

/** Puts bodies into few buffers. */
class BodyPacker {
  private readonly bodies: readonly Uint8Array[];
  private readonly chunks: Uint8Array[] = [];
  /** By buffer the number of the chunk that it is. */
  private readonly kept = new Map<ArrayBufferLike, number>();
  /** Of those that are copied: what is left to do, and the chunk that is filled. */
  private leftBytes = 0;
  private filled = -1;
  private filledBytes = 0;

  constructor(bodies: readonly Uint8Array[]) {
    this.bodies = bodies;
    const used = new Map<ArrayBufferLike, number>();
    for (const { buffer, length } of bodies) used.set(buffer, (used.get(buffer) ?? 0) + length);
    for (const [buffer, bytes] of used) {
      const isOfUse = bytes >= KEPT_BYTES_MIN && bytes >= buffer.byteLength * KEPT_SHARE_MIN;
      if (isOfUse) this.kept.set(buffer, this.chunks.push(new Uint8Array(buffer)) - 1);
      else this.leftBytes += bytes;
    }
  }

  packed(): Pick<PackedTraces, 'chunks' | 'bodyChunks' | 'bodyStarts' | 'bodyEnds'> {
    const { bodies, chunks } = this;
    const bodyChunks = new Int32Array(bodies.length);
    const bodyStarts = new Float64Array(bodies.length);
    const bodyEnds = new Float64Array(bodies.length);
    bodies.forEach((body, i) => {
      const kept = this.kept.get(body.buffer);
      const start = kept === undefined ? this.copy(body) : body.byteOffset;
      bodyChunks[i] = kept ?? this.filled;
      bodyStarts[i] = start;
      bodyEnds[i] = start + body.length;
    });
    return { chunks, bodyChunks, bodyStarts, bodyEnds };
  }

  /** @returns where it is in the chunk that is filled. */
  private copy(body: Uint8Array): number {
    let chunk = this.chunks[this.filled];
    if (chunk === undefined || this.filledBytes + body.length > chunk.length) {
      chunk = new Uint8Array(Math.max(body.length, Math.min(this.leftBytes, CHUNK_BYTES)));
      this.filled = this.chunks.push(chunk) - 1;
      this.filledBytes = 0;
    }
    const start = this.filledBytes;
    chunk.set(body, start);
    this.filledBytes += body.length;
    this.leftBytes -= body.length;
    return start;
  }
}

export function unpackFound(packed: PackedTraces): AnsweredTrace[] {
  const { count, ids, starts, durations, chunks, bodyChunks, bodyStarts, bodyEnds } = packed;
  // All at once, as there may be a hundred thousand.
  const hex = Buffer.from(ids.buffer, ids.byteOffset, ids.length).toString('hex');
  const traces: AnsweredTrace[] = [];
  for (let i = 0; i < count; i++) {
    const traceId = withoutZeros(hex.slice(32 * i, 32 * i + 32));
    const body = chunks[bodyChunks[i]!]!.subarray(bodyStarts[i], bodyEnds[i]);
    traces.push({ traceId, startUnixNano: starts[i]!, durationNanos: durations[i]!, body });
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
