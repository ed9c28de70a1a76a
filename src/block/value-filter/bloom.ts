// The container of value filters: `BloomFilter` of the package bloom-filters with hashes that are known
// already in place of its own (19 µs an element). The bits of an element lie together in a line of 512, so
// that most elements cost one access to memory. Sizes are powers of two: or-ing neighbouring lines folds
// a filter.
import bloomFilter from 'bloom-filters/dist/bloom/bloom-filter.js';
import {
  BIT_BITS,
  BIT_MASK,
  BITS_PER_VALUE,
  LINE_BITS,
  LINE_BYTES,
  lineOf,
  thirdWord,
} from './filter-lines.ts';

export type ValueBloom = InstanceType<typeof bloomFilter.default>;

/**
 * A filter, or a shard of one: neighbouring lines.
 * @param lines of the whole filter.
 * @param bits undefined = none are set.
 */
export function valueBloom(lines: number, bits?: Uint8Array): ValueBloom {
  const own = bits === undefined ? lines : bits.length / LINE_BYTES;
  const filter = new bloomFilter.default(own * LINE_BITS, BITS_PER_VALUE);
  if (bits !== undefined) filter._filter.array.set(bits);
  filter._hashing.getIndexes = (element) => {
    const [a = 0, b = 0] = new Int32Array(element as ArrayBuffer);
    const c = thirdWord(a, b);
    const first = (lineOf(a, lines) & (own - 1)) * LINE_BITS;
    const bitsOf = [b, b >>> BIT_BITS, b >>> (2 * BIT_BITS), c, c >>> BIT_BITS];
    return bitsOf.map((word) => first + (word & BIT_MASK));
  };
  return filter;
}

/** What a filter is asked for. */
export function elementOf(a: number, b: number): ArrayBuffer {
  return Int32Array.of(a, b).buffer;
}

export function bitsOf(filter: ValueBloom): Uint8Array {
  return filter._filter.array;
}
