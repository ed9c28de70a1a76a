// One filter of several: what any of them knows. A line of a smaller filter stands for neighbouring lines of
// a larger one.
import { valueBloom } from './bloom.ts';
import { FILL_USEFUL, LINE_BYTES, WORDS_PER_LINE } from './filter-lines.ts';
import { asBits, fillOf, wordsOf } from './folding.ts';

/** Fuller filters are made anew: one in twenty values that are not there would pass. */
const FILL_JOINED_MAX = 0.55;

/**
 * @param filters their bits, aligned as words.
 * @returns undefined = made anew, in `bytesMax`, it would rule out more.
 */
export function joinedBits(filters: readonly Uint8Array[], bytesMax: number): Uint8Array | undefined {
  const length = Math.max(...filters.map((bits) => bits.length));
  const words = wordsOf(valueBloom(length / LINE_BYTES));
  for (const bits of filters) orInto(words, bits, length / bits.length);
  const areLargest = filters.every((bits) => 2 * bits.length > bytesMax);
  if (fillOf(words) > (areLargest ? FILL_USEFUL : FILL_JOINED_MAX)) return undefined;
  return asBits(words);
}

/** @param times how many lines one becomes. */
function orInto(words: Int32Array, bits: Uint8Array, times: number): void {
  const more = new Int32Array(bits.buffer, bits.byteOffset, bits.length / 4);
  let at = 0;
  for (let line = 0; line < more.length; line += WORDS_PER_LINE) {
    for (let n = 0; n < times; n++) {
      for (let i = 0; i < WORDS_PER_LINE; i++) words[at++] |= more[line + i];
    }
  }
}
