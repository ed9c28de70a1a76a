// How the bits of value filters lie, and how full filters are. Without the package of filters, which takes
// memory where it is loaded.
import { mixed } from './value-hash.ts';

export const LINE_BITS = 512;
export const LINE_BYTES = LINE_BITS / 8;
export const WORDS_PER_LINE = LINE_BITS / 32;
export const BITS_PER_VALUE = 5;
export const BIT_MASK = LINE_BITS - 1;
export const BIT_BITS = 9;

/** The line of an element in a filter of so many lines, by the first bits of its hash. */
export function lineOf(a: number, lines: number): number {
  return lines === 1 ? 0 : a >>> (Math.clz32(lines) + 1);
}

/** Two of an element's bits are from this, three from the second word of its hash. */
export function thirdWord(a: number, b: number): number {
  return mixed(a ^ Math.imul(b, 0x27d4eb2f));
}

/** Share of bits that are set: a filter that stays below when it is folded is folded. Two may be joined. */
export const FILL_MAX = 0.3;
/** Above it a filter rules out too little. */
export const FILL_USEFUL = 0.75;

/** About how many values a filter of that size takes before it rules out too little. */
export function valuesFitting(bytesMax: number): number {
  const bits = 8 * LINE_BYTES * 2 ** Math.floor(Math.log2(Math.max(1, bytesMax / LINE_BYTES)));
  return Math.floor((-Math.log(1 - FILL_USEFUL) * bits) / BITS_PER_VALUE);
}
