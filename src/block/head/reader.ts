// A snapshot of a head, taken in any thread without a lock: the vectors up to what the writer had published.
import {
  CONTROL_TRACES,
  CONTROL_VERSION,
  COUNTS_OFFSET_WORDS,
  HEAD_VECS,
  HEAD_VEC_NAMES,
  type HeadVecName,
} from './layout.ts';
import { VecReader } from './vec.ts';

export type HeadVecs = { readonly [name in HeadVecName]: VecReader };

/**
 * The columns of traces that change (traceLastSpan, traceSpans, traceStart, traceEnd, traceBytes) may be ahead of the
 * snapshot while the head still grows, never behind: read them within `readTraces` and expect spans past `spanCount`.
 */
export class HeadReader {
  readonly vecs: HeadVecs;
  /** All bytes of the head, for the strings. */
  readonly bytes: Uint8Array;
  readonly spanCount: number;
  readonly traceCount: number;

  private readonly control: Int32Array;

  constructor(sab: SharedArrayBuffer) {
    this.control = new Int32Array(sab, 0, COUNTS_OFFSET_WORDS);
    const counts = readCounts(sab);
    const vecs = {} as Record<HeadVecName, VecReader>;
    HEAD_VEC_NAMES.forEach((name, i) => {
      vecs[name] = new VecReader(sab, HEAD_VECS[name], i, counts[i]!);
    });
    this.vecs = vecs;
    this.bytes = new Uint8Array(sab, 0, sab.byteLength);
    this.spanCount = vecs.spanTrace.count;
    this.traceCount = vecs.traceId.count;
  }

  /** Bytes of dictionary string `id` (a view, valid as long as the head). */
  str(id: number): Uint8Array {
    const offset = this.vecs.strOffset.get(id) >>> 0;
    return this.bytes.subarray(offset, offset + this.vecs.strLength.get(id));
  }

  /** Runs `read` again until the writer has not changed the columns of traces meanwhile: it sees whole frames. */
  readTraces(read: () => void): void {
    for (;;) {
      const before = Atomics.load(this.control, CONTROL_TRACES);
      if ((before & 1) === 1) continue; // microseconds: one frame's traces are being copied
      read();
      // A read-modify-write that changes nothing: unlike a load, it stays behind the reads above.
      if (Atomics.or(this.control, CONTROL_TRACES, 0) === before) return;
    }
  }

  /** Bytes of attribute key `id`. */
  key(id: number): Uint8Array {
    const offset = this.vecs.keyOffset.get(id) >>> 0;
    return this.bytes.subarray(offset, offset + this.vecs.keyLength.get(id));
  }
}

/** The writer fills the other slot and then raises the version: equal versions before and after mean an untorn copy. */
function readCounts(sab: SharedArrayBuffer): Int32Array {
  const words = HEAD_VEC_NAMES.length;
  const control = new Int32Array(sab, 0, COUNTS_OFFSET_WORDS + 2 * words);
  const counts = new Int32Array(words);
  for (;;) {
    const version = Atomics.load(control, CONTROL_VERSION);
    const start = COUNTS_OFFSET_WORDS + (version & 1) * words;
    for (let i = 0; i < words; i++) counts[i] = Atomics.load(control, start + i);
    if (Atomics.load(control, CONTROL_VERSION) === version) return counts;
  }
}
