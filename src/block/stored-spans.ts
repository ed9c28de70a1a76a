// What spans at rest (a head, a row group) offer beside the engine's view of them: whole traces as bytes, and
// digests that tell whether two copies of a trace hold the same spans.
import type { SpanSource } from '../traceql/source.ts';

export interface StoredSpans extends SpanSource {
  /**
   * Some traces (any order) as one serialised OTLP TracesData; duplicate spans may be inside.
   * @param traces ordinals.
   */
  traces(traces: Int32Array, signal?: AbortSignal): Promise<Uint8Array>;

  /** A microsecond since 1970 that no trace starts after; Infinity = unknown. */
  newestStart(signal?: AbortSignal): Promise<number>;

  /** False when no trace id begins with 32 bits (as a number) in [from, to). */
  mayHaveIds(from: number, to: number): boolean;

  /** DIGEST_WORDS for each of the traces: equal words = the same spans (by span id and kind). */
  spanDigests(traces: Int32Array, signal?: AbortSignal): Promise<Int32Array>;
}

export interface TraceDigest {
  /** DIGEST_WORDS: copies with equal words hold the same spans. */
  readonly words: Int32Array;
  /** Two spans of this copy have the same id: one of them may be there twice. */
  readonly hasRepeats: boolean;
}

/** A trace that a block is known to have. */
export interface LocatedTrace {
  /** Reads two columns of some eighty. */
  digest(): Promise<TraceDigest>;

  /** Serialised OTLP TracesData, spans in the order of the block; duplicates may be inside. */
  read(): Promise<Uint8Array>;
}

/** The number of spans, and two sums of hashes: the order of spans does not matter. */
export const DIGEST_WORDS = 3;

/** Those of some traces, out of those of all. */
export function digestsAt(all: Int32Array, traces: Int32Array): Int32Array {
  const some = new Int32Array(traces.length * DIGEST_WORDS);
  for (let i = 0; i < traces.length; i++) {
    const from = traces[i]! * DIGEST_WORDS;
    for (let word = 0; word < DIGEST_WORDS; word++) some[i * DIGEST_WORDS + word] = all[from + word]!;
  }
  return some;
}

/** Counts one span in the digest at `at`. @param low and high: its id, read little-endian. */
export function addToDigest(digests: Int32Array, at: number, low: number, high: number, kind: number): void {
  let a = Math.imul(low ^ kind, 0x85ebca6b);
  a = Math.imul(a ^ (a >>> 15) ^ high, 0xc2b2ae35);
  a = Math.imul(a ^ (a >>> 13), 0x9e3779b1);
  let b = Math.imul(high ^ (kind << 8), 0x27d4eb2f);
  b = Math.imul(b ^ (b >>> 15) ^ low, 0x165667b1);
  b = Math.imul(b ^ (b >>> 13), 0x85ebca77);
  digests[at]!++;
  digests[at + 1]! += a ^ (a >>> 16);
  digests[at + 2]! += b ^ (b >>> 16);
}
