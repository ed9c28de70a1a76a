// Repetition and definition levels as bits: one bit an entry that says whether its level is one of some
// set. Eight levels are decided at once, so a column of millions of entries is read without making an array
// of its levels.
import { popcount } from '../../lib/bit-rank.ts';
import { corrupt } from '../corrupt.ts';
import { readRunHeader, type RunReader } from './run-reader.ts';

const tables = new Map<number, Uint8Array>();

/**
 * For width 1: 8 levels a byte; width 2: 4 levels a byte; width 3: 4 levels of 12 bits. One result bit a
 * level.
 */
function tableOf(width: number, accept: number): Uint8Array {
  const key = (width << 8) | accept;
  let table = tables.get(key);
  if (table === undefined) {
    const levels = width === 1 ? 8 : 4;
    table = new Uint8Array(1 << (levels * width));
    const mask = (1 << width) - 1;
    for (let packed = 0; packed < table.length; packed++) {
      for (let i = 0; i < levels; i++) {
        const level = (packed >>> (i * width)) & mask;
        table[packed] |= ((accept >>> level) & 1) << i;
      }
    }
    tables.set(key, table);
  }
  return table;
}

/** The set of levels from..to (inclusive) as a mask for `levelBits`. */
export function levelMask(from: number, to: number): number {
  return ((2 << to) - 1) & ~((1 << from) - 1);
}

/**
 * Decodes `count` levels of `width` (1 to 3) bits in bytes [start, end) and sets bit `at + i` of `out` when
 * level i is in `accept`. Bits of `out` from `at` on must be 0, and it must have room for 2 bytes more.
 */
export function levelBits(
  bytes: Uint8Array,
  start: number,
  end: number,
  width: number,
  count: number,
  accept: number,
  out: Uint8Array,
  at: number,
): void {
  const table = tableOf(width, accept);
  const run: RunReader = { pos: start, count: 0, value: 0, packed: false };
  const last = at + count;
  let bit = at;
  while (bit < last) {
    readRunHeader(bytes, end, width, run);
    const n = Math.min(run.count, last - bit);
    if (run.packed) {
      packedBits(bytes, run.pos, width, n, table, out, bit);
      run.pos += (run.count >>> 3) * width;
    } else if (((accept >>> run.value) & 1) === 1) {
      fillBits(out, bit, bit + n);
    }
    bit += n;
  }
}

function packedBits(
  bytes: Uint8Array,
  start: number,
  width: number,
  count: number,
  table: Uint8Array,
  out: Uint8Array,
  at: number,
): void {
  const shift = at & 7;
  let o = at >>> 3;
  let p = start;
  const whole = count >>> 3;
  for (let i = 0; i < whole; i++) {
    let value: number;
    if (width === 3) {
      const word = bytes[p] | (bytes[p + 1] << 8) | (bytes[p + 2] << 16);
      value = table[word & 0xfff] | (table[word >>> 12] << 4);
    } else if (width === 2) value = table[bytes[p]] | (table[bytes[p + 1]] << 4);
    else value = table[bytes[p]];
    p += width;
    if (shift === 0) out[o] = value;
    else {
      out[o] |= value << shift;
      out[o + 1] |= value >>> (8 - shift);
    }
    o++;
  }
  const rest = count & 7;
  if (rest === 0) return;
  let word = 0;
  for (let k = 0; k < width; k++) word |= bytes[p + k] << (8 * k);
  const value =
    width === 3
      ? table[word & 0xfff] | (table[word >>> 12] << 4)
      : width === 2
        ? table[word & 0xff] | (table[word >>> 8] << 4)
        : table[word];
  const kept = value & ((1 << rest) - 1);
  out[o] |= kept << shift;
  out[o + 1] |= kept >>> (8 - shift);
}

/** Sets bits [from, to). */
function fillBits(out: Uint8Array, from: number, to: number): void {
  const first = from >>> 3;
  const last = to >>> 3;
  if (first === last) {
    out[first] |= ((1 << (to - from)) - 1) << (from & 7);
    return;
  }
  out[first] |= 0xff << (from & 7);
  out.fill(0xff, first + 1, last);
  out[last] |= (1 << (to & 7)) - 1;
}

/** Ones among bits [from, to) of a 4-aligned array with whole words. */
export function countBits(bits: Uint8Array, from: number, to: number): number {
  if (from >= to) return 0;
  const words = new Int32Array(bits.buffer, bits.byteOffset, bits.length >>> 2);
  const first = from >>> 5;
  const last = (to - 1) >>> 5;
  const low = -1 << (from & 31);
  const high = -1 >>> (31 - ((to - 1) & 31));
  if (first === last) return popcount(words[first] & low & high);
  let count = popcount(words[first] & low) + popcount(words[last] & high);
  for (let i = first + 1; i < last; i++) count += popcount(words[i]);
  return count;
}

/** Bytes that hold `count` bits for `levelBits`. */
export function bitBytes(count: number): number {
  if (count < 0) throw corrupt('a negative number of entries');
  return ((count + 31) >>> 5) * 4 + 8;
}
