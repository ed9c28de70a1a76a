// A snapshot of a head, taken in any thread without a lock: the vectors up to what the writer had published.
import {
  CONTROL_VERSION,
  COUNTS_OFFSET_WORDS,
  HEAD_VECS,
  HEAD_VEC_NAMES,
  type HeadVecName,
} from './layout.ts';
import { VecReader } from './vec.ts';

export type HeadVecs = { readonly [name in HeadVecName]: VecReader };

export class HeadReader {
  readonly vecs: HeadVecs;
  /** All bytes of the head, for the strings. */
  readonly bytes: Uint8Array;
  readonly spanCount: number;
  readonly traceCount: number;

  constructor(sab: SharedArrayBuffer) {
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
  for (;;) {
    const version = Atomics.load(control, CONTROL_VERSION);
    const start = COUNTS_OFFSET_WORDS + (version & 1) * words;
    const counts = control.slice(start, start + words);
    if (Atomics.load(control, CONTROL_VERSION) === version) return counts;
  }
}
