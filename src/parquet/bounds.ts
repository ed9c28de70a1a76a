// Smallest and largest value of a page in the stored form of Parquet's statistics, and how such forms
// compare. Strings are cut to a prefix: the lower bound simply, the upper one with its last byte raised.
import type { Leaf } from './types.ts';
import type { ByteStrings } from './values.ts';

export interface Bounds {
  readonly min: Uint8Array;
  readonly max: Uint8Array;
}

/** Longest string bound that is stored whole. */
const BOUND_BYTES_MAX = 16;

function isUnsigned(leaf: Leaf): boolean {
  return leaf.logical === 'UINT_32' || leaf.logical === 'UINT_64';
}

function words(low: number, high: number | undefined): Uint8Array {
  const out = new Uint8Array(high === undefined ? 4 : 8);
  for (let i = 0; i < 4; i++) {
    out[i] = low >>> (8 * i);
    if (high !== undefined) out[i + 4] = high >>> (8 * i);
  }
  return out;
}

export function boundsOf32(values: Int32Array, from: number, to: number, leaf: Leaf): Bounds {
  const flip = isUnsigned(leaf) ? 0x80000000 | 0 : 0;
  let min = 0x7fffffff;
  let max = -0x80000000;
  for (let i = from; i < to; i++) {
    const value = values[i] ^ flip;
    if (value < min) min = value;
    if (value > max) max = value;
  }
  const wide = leaf.type === 'INT64';
  const stored = (value: number): Uint8Array => words(value ^ flip, wide ? (value ^ flip) >> 31 : undefined);
  return { min: stored(min), max: stored(max) };
}

export function boundsOf64(pairs: Int32Array, from: number, to: number, leaf: Leaf): Bounds {
  const flip = isUnsigned(leaf) ? 0x80000000 | 0 : 0;
  let min = from;
  let max = from;
  let minHigh = pairs[2 * from + 1] ^ flip;
  let maxHigh = minHigh;
  for (let i = from + 1; i < to; i++) {
    const high = pairs[2 * i + 1] ^ flip;
    if (high < minHigh || (high === minHigh && pairs[2 * i] >>> 0 < pairs[2 * min] >>> 0)) {
      min = i;
      minHigh = high;
    }
    if (high > maxHigh || (high === maxHigh && pairs[2 * i] >>> 0 > pairs[2 * max] >>> 0)) {
      max = i;
      maxHigh = high;
    }
  }
  return { min: words(pairs[2 * min], minHigh ^ flip), max: words(pairs[2 * max], maxHigh ^ flip) };
}

/** Zeroes are widened to -0 and +0; a page of nothing but NaN gets bounds that exclude nothing. */
export function boundsOfDoubles(pairs: Int32Array, from: number, to: number): Bounds {
  const view = new DataView(pairs.buffer, pairs.byteOffset);
  let min = Infinity;
  let max = -Infinity;
  for (let i = from; i < to; i++) {
    const value = view.getFloat64(i * 8, true);
    if (value < min) min = value;
    if (value > max) max = value;
  }
  if (min > max) [min, max] = [-Infinity, Infinity];
  const bytes = new Uint8Array(16);
  const out = new DataView(bytes.buffer);
  out.setFloat64(0, min === 0 ? -0 : min, true);
  out.setFloat64(8, max === 0 ? 0 : max, true);
  return { min: bytes.subarray(0, 8), max: bytes.subarray(8) };
}

export function boundsOfBools(values: Uint8Array, from: number, to: number): Bounds {
  let all = 1;
  let any = 0;
  for (let i = from; i < to; i++) {
    all &= values[i];
    any |= values[i];
  }
  return { min: Uint8Array.of(all), max: Uint8Array.of(any) };
}

const NO_BYTES = new Uint8Array(0);

/** Smallest and largest of byte strings that are shown to it one by one. */
export class StringBounds {
  private min: Uint8Array = NO_BYTES;
  private max: Uint8Array = NO_BYTES;
  private minStart = -1;
  private minLength = 0;
  private maxStart = 0;
  private maxLength = 0;

  reset(): void {
    this.minStart = -1;
  }

  add(bytes: Uint8Array, start: number, length: number): void {
    if (this.minStart < 0) {
      this.min = this.max = bytes;
      this.minStart = this.maxStart = start;
      this.minLength = this.maxLength = length;
      return;
    }
    if (compareAt(bytes, start, length, this.min, this.minStart, this.minLength) < 0) {
      this.min = bytes;
      this.minStart = start;
      this.minLength = length;
    } else if (compareAt(bytes, start, length, this.max, this.maxStart, this.maxLength) > 0) {
      this.max = bytes;
      this.maxStart = start;
      this.maxLength = length;
    }
  }

  addString(table: ByteStrings, id: number): void {
    if (id < 0) this.add(NO_BYTES, 0, 0);
    else this.add(table.bytes, table.offset(id), table.length(id));
  }

  /** undefined when none was added. */
  bounds(): Bounds | undefined {
    if (this.minStart < 0) return undefined;
    return {
      min: this.min.slice(this.minStart, this.minStart + Math.min(this.minLength, BOUND_BYTES_MAX)),
      max: upperBound(this.max, this.maxStart, this.maxLength),
    };
  }
}

function compareAt(
  a: Uint8Array,
  aStart: number,
  aLength: number,
  b: Uint8Array,
  bStart: number,
  bLength: number,
): number {
  const common = Math.min(aLength, bLength);
  for (let i = 0; i < common; i++) {
    const difference = a[aStart + i] - b[bStart + i];
    if (difference !== 0) return difference;
  }
  return aLength - bLength;
}

function upperBound(bytes: Uint8Array, start: number, length: number): Uint8Array {
  if (length <= BOUND_BYTES_MAX) return bytes.slice(start, start + length);
  const cut = bytes.slice(start, start + BOUND_BYTES_MAX);
  for (let i = cut.length - 1; i >= 0; i--) {
    if (cut[i] === 255) continue;
    cut[i]++;
    return cut.subarray(0, i + 1);
  }
  return bytes.slice(start, start + length);
}

/** Order of two stored bounds of a leaf. */
export function compareBounds(leaf: Leaf, a: Uint8Array, b: Uint8Array): number {
  if (leaf.type === 'BYTE_ARRAY' || leaf.type === 'BOOLEAN') return compareAt(a, 0, a.length, b, 0, b.length);
  const x = new DataView(a.buffer, a.byteOffset, a.byteLength);
  const y = new DataView(b.buffer, b.byteOffset, b.byteLength);
  if (leaf.type === 'DOUBLE') return x.getFloat64(0, true) - y.getFloat64(0, true);
  if (leaf.type === 'INT32') {
    return isUnsigned(leaf)
      ? x.getUint32(0, true) - y.getUint32(0, true)
      : x.getInt32(0, true) - y.getInt32(0, true);
  }
  const p = isUnsigned(leaf) ? x.getBigUint64(0, true) : x.getBigInt64(0, true);
  const q = isUnsigned(leaf) ? y.getBigUint64(0, true) : y.getBigInt64(0, true);
  return p < q ? -1 : p > q ? 1 : 0;
}
