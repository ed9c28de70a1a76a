// Collects the values of a block that is being written, in memory that does not depend on how many there
// are: a filter as large as it may become, which is folded at the end until it is as full as is worth its
// bytes.
import { valueBloom } from './bloom.ts';
import {
  BIT_BITS,
  BIT_MASK,
  BITS_PER_VALUE,
  FILL_MAX,
  FILL_USEFUL,
  LINE_BYTES,
  thirdWord,
  WORDS_PER_LINE,
} from './filter-lines.ts';
import { asBits, fillOf, folded, wordsOf } from './folding.ts';
import { firstWord, secondWord } from './value-hash.ts';

export interface ValueFilterLimits {
  /** Of the finished filter, and while it is made; less than a line counts as one. */
  readonly bytesMax: number;
  /** How many values there are at most, repeated ones too: few need less memory. */
  readonly valuesMax: number;
}

const LINES_MAX = 2 ** 16;
/** Elements wait until so many for neighbouring lines, 32 KiB, have come: then these are at hand. */
const WAITING_MAX = 2048;
const PART_LINES = 512;

export class ValueFilterBuilder {
  private readonly lines: number;
  private readonly shift: number;
  private readonly words: Int32Array;
  /** Of neighbouring lines, by the first bits of an element. */
  private readonly partShift: number;
  private readonly waiting: Int32Array;
  /** Of one part, at most. */
  private readonly waitingMax: number;
  private readonly waitingCounts: Int32Array;

  constructor({ bytesMax, valuesMax }: ValueFilterLimits) {
    const needed = Math.max(1, (valuesMax * BITS_PER_VALUE) / FILL_MAX / (LINE_BYTES * 8));
    const allowed = Math.min(LINES_MAX, bytesMax / LINE_BYTES);
    this.lines = 2 ** Math.min(Math.ceil(Math.log2(needed)), Math.floor(Math.log2(Math.max(1, allowed))));
    this.shift = Math.clz32(this.lines) + 1;
    this.words = wordsOf(valueBloom(this.lines));
    const parts = Math.max(1, this.lines / PART_LINES);
    this.partShift = Math.clz32(parts) + 1;
    this.waitingMax = Math.min(WAITING_MAX, Math.max(1, valuesMax));
    this.waiting = new Int32Array(2 * this.waitingMax * parts);
    this.waitingCounts = new Int32Array(parts);
  }

  /** Of a field and a value the hashes: one of each is known for many. */
  add(fieldA: number, fieldB: number, valueA: number, valueB: number): void {
    const { waiting, waitingCounts, waitingMax } = this;
    const a = firstWord(fieldA, valueA);
    const part = waitingCounts.length === 1 ? 0 : a >>> this.partShift;
    const count = waitingCounts[part];
    const at = 2 * (part * waitingMax + count);
    waiting[at] = a;
    waiting[at + 1] = secondWord(fieldB, valueB);
    if (count + 1 === waitingMax) this.setBits(part, waitingMax);
    else waitingCounts[part] = count + 1;
  }

  /** Of the first elements that wait for a part. */
  private setBits(part: number, count: number): void {
    const { words, waiting, waitingMax, lines, shift } = this;
    this.waitingCounts[part] = 0;
    const from = 2 * part * waitingMax;
    for (let at = from; at < from + 2 * count; at += 2) {
      const a = waiting[at];
      const b = waiting[at + 1];
      const c = thirdWord(a, b);
      const line = (lines === 1 ? 0 : a >>> shift) * WORDS_PER_LINE;
      let bit = b & BIT_MASK;
      words[line + (bit >>> 5)] |= 1 << (bit & 31);
      bit = (b >>> BIT_BITS) & BIT_MASK;
      words[line + (bit >>> 5)] |= 1 << (bit & 31);
      bit = (b >>> (2 * BIT_BITS)) & BIT_MASK;
      words[line + (bit >>> 5)] |= 1 << (bit & 31);
      bit = c & BIT_MASK;
      words[line + (bit >>> 5)] |= 1 << (bit & 31);
      bit = (c >>> BIT_BITS) & BIT_MASK;
      words[line + (bit >>> 5)] |= 1 << (bit & 31);
    }
  }

  /** The bits of the filter; undefined = it would rule out too little. */
  finish(): Uint8Array | undefined {
    for (const [part, count] of this.waitingCounts.entries()) this.setBits(part, count);
    if (fillOf(this.words) > FILL_USEFUL) return undefined;
    return asBits(folded(this.words));
  }
}
