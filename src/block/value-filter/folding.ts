// Filters as large as is worth their bytes: two neighbouring lines become one while few bits are set.
import { bitsOf, type ValueBloom, valueBloom } from './bloom.ts';
import { FILL_MAX, WORDS_PER_LINE } from './filter-lines.ts';

/** The same bits as words. */
export function wordsOf(filter: ValueBloom): Int32Array {
  const bits = bitsOf(filter);
  return new Int32Array(bits.buffer, bits.byteOffset, bits.length / 4);
}

export function asBits(words: Int32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}

export function folded(filter: Int32Array): Int32Array {
  let words = filter;
  while (words.length > WORDS_PER_LINE) {
    const half = halved(words);
    if (fillOf(half) > FILL_MAX) break;
    words = half;
  }
  return words;
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

/** Share of bits that are set. */
export function fillOf(words: Int32Array): number {
  let count = 0;
  for (let i = 0; i < words.length; i++) {
    let bits = words[i];
    bits -= (bits >>> 1) & 0x55555555;
    bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333);
    count += Math.imul((bits + (bits >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
  }
  return count / (words.length * 32);
}
