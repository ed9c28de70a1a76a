// A snapshot of a head, taken in any thread without a lock: the vectors up to what the writer had published.
import {
  CONTROL_BIRTH,
  CONTROL_TRACES,
  CONTROL_VERSION,
  COUNTS_OFFSET_WORDS,
  FIRST,
  HEAD_VECS,
  HEAD_VEC_NAMES,
  type HeadVecName,
} from './layout.ts';
import { VecReader } from './vec.ts';
import { word32 } from './wire.ts';

const SPANS_AT = HEAD_VEC_NAMES.indexOf('spanTrace');
const TRACES_AT = HEAD_VEC_NAMES.indexOf('traceId');

export type HeadVecs = { readonly [name in HeadVecName]: VecReader };

/**
 * The columns of traces that change (traceLastSpan, traceSpans, traceStart, traceEnd, traceBytes) may be
 * ahead of the snapshot while the head still grows, never behind: read them within `readTraces` and
 * expect spans past `spanCount`.
 */
export class HeadReader {
  readonly vecs: HeadVecs;
  /** All bytes of the head, for the strings. */
  readonly bytes: Uint8Array;
  readonly spanCount: number;
  readonly traceCount: number;
  /** Equal ones = the same head. */
  readonly birth: string;

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
    this.birth = this.control.subarray(CONTROL_BIRTH, CONTROL_BIRTH + 2).join();
  }

  /** Bytes of dictionary string `id` (a view, valid as long as the head). */
  str(id: number): Uint8Array {
    const offset = this.vecs.strOffset.get(id) >>> 0;
    return this.bytes.subarray(offset, offset + this.vecs.strLength.get(id));
  }

  /**
   * Runs `read` again until the writer has not changed the columns of traces meanwhile: it sees whole
   * frames.
   */
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

  /** Id of an attribute key, -1 = no attribute has it. */
  findKey(name: Uint8Array): number {
    const { keyLength, keyOffset } = this.vecs;
    for (let id = 0; id < keyLength.count; id++) {
      if (keyLength.get(id) === name.length && this.hasBytes(keyOffset.get(id) >>> 0, name)) return id;
    }
    return -1;
  }

  /** Id of a dictionary string that is not below `from`, -1 = there is no such string. */
  findString(text: Uint8Array, from = 0): number {
    const { strLength, strOffset } = this.vecs;
    const { length } = text;
    let found = -1;
    for (let k = 0; k < strLength.chunks.length && found < 0; k++) {
      const lengths = strLength.chunks[k] as Int32Array;
      const offsets = strOffset.chunks[k] as Int32Array;
      const first = (FIRST << k) - FIRST;
      const count = Math.min(lengths.length, strLength.count - first);
      for (let i = Math.max(0, from - first); i < count; i++) {
        if (lengths[i] === length && this.hasBytes(offsets[i]! >>> 0, text)) {
          found = first + i;
          break;
        }
      }
    }
    return found;
  }

  /** The 16 bytes of a trace's id. */
  traceId(trace: number): Uint8Array {
    const words = new Int32Array(4);
    for (let i = 0; i < 4; i++) words[i] = this.vecs.traceId.get(trace, i);
    return new Uint8Array(words.buffer);
  }

  /** Ordinal of the trace with these 16 bytes of id, -1 = not in this head. */
  findTrace(id: Uint8Array): number {
    const w0 = word32(id, 0);
    const w1 = word32(id, 4);
    const w2 = word32(id, 8);
    const w3 = word32(id, 12);
    const { traceId } = this.vecs;
    for (let k = 0; k < traceId.chunks.length; k++) {
      const words = traceId.chunks[k]!;
      const first = (FIRST << k) - FIRST;
      const end = Math.min(words.length, (traceId.count - first) * 4);
      for (let i = 0; i < end; i += 4) {
        if (words[i] === w0 && words[i + 1] === w1 && words[i + 2] === w2 && words[i + 3] === w3)
          return first + i / 4;
      }
    }
    return -1;
  }

  private hasBytes(offset: number, wanted: Uint8Array): boolean {
    const { bytes } = this;
    for (let i = wanted.length - 1; i >= 0; i--) if (bytes[offset + i] !== wanted[i]) return false;
    return true;
  }
}

/**
 * The writer fills the other slot and then raises the version: equal versions before and after mean an
 * untorn copy.
 */
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

/** Changes whenever a head has got more: equal versions = the same content. */
export function headVersion(sab: SharedArrayBuffer): number {
  return Atomics.load(new Int32Array(sab, 0, COUNTS_OFFSET_WORDS), CONTROL_VERSION);
}

/** Of what a head holds by now. */
export function headCounts(sab: SharedArrayBuffer): { readonly spans: number; readonly traces: number } {
  const counts = readCounts(sab);
  return { spans: counts[SPANS_AT]!, traces: counts[TRACES_AT]! };
}
