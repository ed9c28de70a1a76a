// Collects the values of a block that is being written, in memory that does not depend on how many there
// are: a filter as large as it may become, which is halved at the end until it is as full as is worth its
// bytes.
import {
  BIT_BITS,
  BIT_MASK,
  BITS_PER_VALUE,
  bitsOf,
  LINE_BYTES,
  thirdWord,
  type ValueBloom,
  valueBloom,
} from './bloom.ts';
import { firstWord, secondWord } from './value-hash.ts';

export interface ValueFilterLimits {
  /** Of the finished filter, and while it is made; less than a line counts as one. */
  readonly bytesMax: number;
  /** How many values there are at most, repeated ones too: few need less memory. */
  readonly valuesMax: number;
}

/** Share of bits that are set: a filter that stays below when it is halved is halved. */
const FILL_MAX = 0.5;
/** Above it a filter rules out too little. */
const FILL_USEFUL = 0.75;
const WORDS_PER_LINE = LINE_BYTES / 4;
const LINES_MAX = 2 ** 16;

/** About how many values a filter of that size takes before it rules out too little. */
export function valuesFitting(bytesMax: number): number {
  const bits = 8 * LINE_BYTES * 2 ** Math.floor(Math.log2(Math.max(1, bytesMax / LINE_BYTES)));
  return Math.floor((-Math.log(1 - FILL_USEFUL) * bits) / BITS_PER_VALUE);
}

export class ValueFilterBuilder {
  private readonly lines: number;
  private readonly shift: number;
  private readonly words: Int32Array;

  constructor({ bytesMax, valuesMax }: ValueFilterLimits) {
    const needed = Math.max(1, (valuesMax * BITS_PER_VALUE) / FILL_MAX / (LINE_BYTES * 8));
    const allowed = Math.min(LINES_MAX, bytesMax / LINE_BYTES);
    this.lines = 2 ** Math.min(Math.ceil(Math.log2(needed)), Math.floor(Math.log2(Math.max(1, allowed))));
    this.shift = Math.clz32(this.lines) + 1;
    this.words = wordsOf(valueBloom(this.lines));
  }

  /** Of a field and a value the hashes: one of each is known for many. */
  add(fieldA: number, fieldB: number, valueA: number, valueB: number): void {
    const { words } = this;
    const a = firstWord(fieldA, valueA);
    const b = secondWord(fieldB, valueB);
    const c = thirdWord(a, b);
    const line = (this.lines === 1 ? 0 : a >>> this.shift) * WORDS_PER_LINE;
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

  /** The bits of the filter; undefined = it would rule out too little. */
  finish(): Uint8Array | undefined {
    let words = this.words;
    if (fillOf(words) > FILL_USEFUL) return undefined;
    for (;;) {
      if (words.length === WORDS_PER_LINE) break;
      const half = halved(words);
      if (fillOf(half) > FILL_MAX) break;
      words = half;
    }
    return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  }
}

function wordsOf(filter: ValueBloom): Int32Array {
  const bits = bitsOf(filter);
  return new Int32Array(bits.buffer, bits.byteOffset, bits.length / 4);
}

/** Neighbouring lines become one. */
function halved(words: Int32Array): Int32Array {
  const half = wordsOf(valueBloom(words.length / WORDS_PER_LINE / 2));
  for (let i = 0; i < half.length; i++) {
    const at = (i >>> 4) * 2 * WORDS_PER_LINE + (i & (WORDS_PER_LINE - 1));
    half[i] = words[at] | words[at + WORDS_PER_LINE];
  }
  return half;
}

function fillOf(words: Int32Array): number {
  let count = 0;
  for (let i = 0; i < words.length; i++) {
    let bits = words[i];
    bits -= (bits >>> 1) & 0x55555555;
    bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333);
    count += Math.imul((bits + (bits >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
  }
  return count / (words.length * 32);
}
