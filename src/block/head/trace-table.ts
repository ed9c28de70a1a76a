// The traces of a head as its writer knows them: found by id, with what changes while spans arrive. The
// shared columns follow at the end of each frame, so that readers never see half a frame.
import { word32 } from './wire.ts';

const SLOTS_MIN = 32;

/** Words of a trace in `words`. */
export const TraceWord = {
  id: 0, // four of them
  lastSpan: 4,
  spans: 5,
  startLow: 6,
  startHigh: 7,
  endLow: 8,
  endHigh: 9,
  bytes: 10,
  touched: 11, // 1 = changed since the last frame
  seenAt: 12, // as LiveTraces has it
} as const;
export const TRACE_WORDS = 13;

export class TraceTable {
  count = 0;
  /** TRACE_WORDS a trace. */
  words = new Int32Array((SLOTS_MIN / 2) * TRACE_WORDS);
  /** Ordinals of the traces with a `touched` mark. */
  touched = new Int32Array(64);
  touchedCount = 0;
  private slots = new Int32Array(SLOTS_MIN); // ordinal + 1
  private readonly seed = (Math.random() * 0x1_0000_0000) | 0;
  private last = -1;

  /** The ordinal of the trace whose 16 bytes of id are at `p`; a new one equals the former `count`. */
  ordinal(b: Uint8Array, p: number): number {
    const w0 = word32(b, p);
    const w1 = word32(b, p + 4);
    const w2 = word32(b, p + 8);
    const w3 = word32(b, p + 12);
    if (this.last >= 0 && this.is(this.last, w0, w1, w2, w3)) return this.last;
    const mask = this.slots.length - 1;
    let slot = this.hash(w0, w1, w2, w3) & mask;
    for (;;) {
      const found = this.slots[slot]! - 1;
      if (found < 0) break;
      if (this.is(found, w0, w1, w2, w3)) {
        this.last = found;
        return found;
      }
      slot = (slot + 1) & mask;
    }
    return this.add(slot, w0, w1, w2, w3);
  }

  /** Marks a trace as changed in this frame. */
  touch(ordinal: number): void {
    const at = ordinal * TRACE_WORDS + TraceWord.touched;
    if (this.words[at] === 1) return;
    this.words[at] = 1;
    if (this.touchedCount === this.touched.length) {
      const grown = new Int32Array(this.touched.length * 2);
      grown.set(this.touched);
      this.touched = grown;
    }
    this.touched[this.touchedCount++] = ordinal;
  }

  get sizeBytes(): number {
    return this.words.byteLength + this.slots.byteLength + this.touched.byteLength;
  }

  private is(ordinal: number, w0: number, w1: number, w2: number, w3: number): boolean {
    const words = this.words;
    const at = ordinal * TRACE_WORDS;
    return words[at] === w0 && words[at + 1] === w1 && words[at + 2] === w2 && words[at + 3] === w3;
  }

  private hash(w0: number, w1: number, w2: number, w3: number): number {
    let h = Math.imul(w0 ^ this.seed, 0x9e3779b1);
    h = Math.imul((h ^ (h >>> 15)) + w1, 0x85ebca6b);
    h = Math.imul((h ^ (h >>> 13)) + w2, 0xc2b2ae35);
    h = Math.imul((h ^ (h >>> 15)) + w3, 0x27d4eb2f);
    return h ^ (h >>> 16);
  }

  private add(slot: number, w0: number, w1: number, w2: number, w3: number): number {
    const ordinal = this.count++;
    const at = ordinal * TRACE_WORDS;
    if (at === this.words.length) {
      const grown = new Int32Array(this.words.length * 2);
      grown.set(this.words);
      this.words = grown;
    }
    const words = this.words;
    words[at] = w0;
    words[at + 1] = w1;
    words[at + 2] = w2;
    words[at + 3] = w3;
    words[at + TraceWord.lastSpan] = -1;
    this.slots[slot] = ordinal + 1;
    if (this.count * 2 > this.slots.length) this.grow();
    this.last = ordinal;
    return ordinal;
  }

  private grow(): void {
    const slots = new Int32Array(this.slots.length * 2);
    const mask = slots.length - 1;
    const words = this.words;
    for (let ordinal = 0; ordinal < this.count; ordinal++) {
      const at = ordinal * TRACE_WORDS;
      let slot = this.hash(words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!) & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = ordinal + 1;
    }
    this.slots = slots;
  }
}
