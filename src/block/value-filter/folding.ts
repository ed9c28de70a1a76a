// Filters as large as is worth their bytes: two neighbouring lines become one while few bits are set.
import { bitsOf, type ValueBloom, valueBloom } from './bloom.ts';
import { FILL_MAX, LINE_BITS, WORDS_PER_LINE } from './filter-lines.ts';

/** The same bits as words. */
export function wordsOf(filter: ValueBloom): Int32Array {
  const bits = bitsOf(filter);
  return new Int32Array(bits.buffer, bits.byteOffset, bits.length / 4);
}

export function asBits(words: Int32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}

/** Bits are counted in so many lines of a large filter: they lie the same everywhere. */
const SAMPLE_LINES = 4096;

/** Neighbouring lines become one while few bits are set then. */
export function folded(filter: Int32Array): Int32Array {
  let lines = 1;
  while (2 * lines * WORDS_PER_LINE <= filter.length && fillFolded(filter, 2 * lines) <= FILL_MAX) lines *= 2;
  return lines === 1 ? filter : fold(filter, lines);
}

/** Each `lines` of them become one. */
function fold(words: Int32Array, lines: number): Int32Array {
  const out = wordsOf(valueBloom(words.length / WORDS_PER_LINE / lines));
  for (let to = 0; to < out.length; to++) {
    const line = (to & -WORDS_PER_LINE) * lines + (to & (WORDS_PER_LINE - 1));
    for (let other = 0; other < lines; other++) out[to] |= words[line + other * WORDS_PER_LINE];
  }
  return out;
}

/** Share of bits that are set. */
export function fillOf(words: Int32Array): number {
  return fillFolded(words, 1);
}

/** The same once each `lines` are one. */
function fillFolded(words: Int32Array, lines: number): number {
  const step = lines * WORDS_PER_LINE * Math.max(1, words.length / (WORDS_PER_LINE * SAMPLE_LINES));
  let count = 0;
  let counted = 0;
  for (let line = 0; line < words.length; line += step, counted++) {
    for (let i = line; i < line + WORDS_PER_LINE; i++) {
      let bits = 0;
      for (let other = 0; other < lines; other++) bits |= words[i + other * WORDS_PER_LINE];
      bits -= (bits >>> 1) & 0x55555555;
      bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333);
      count += Math.imul((bits + (bits >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
    }
  }
  return count / (counted * LINE_BITS);
}
