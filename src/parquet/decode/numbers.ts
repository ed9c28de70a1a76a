// Numbers and bools of a column as doubles: exact where they can be, with the exact 64-bit values beside
// them where some are not.
import { corrupt } from '../corrupt.ts';
import type { ByteRange, DataPage } from '../column-pages.ts';
import type { PhysicalType } from '../types.ts';
import { decodeDelta32, decodeDelta64, decodeDelta64Exact, deltaFirst } from './delta.ts';
import { decodeIndices } from './indices.ts';
import { PageBuffer } from './page-buffer.ts';

/** Value i is `base + num[i]`; when `exact` is there, `base` is 0 and it holds the values as they are. */
export interface Numbers {
  readonly num: Float64Array;
  readonly base: bigint;
  readonly exact: BigInt64Array | undefined;
}

const TWO32 = 4294967296;
const EXACT_HIGH = 0x200000; // high words below this give doubles that are exact
const EXACT_BASE = 2n ** 52n;

const copies = new PageBuffer();
const ints = new PageBuffer();

/** Numbers of a PLAIN dictionary page. */
export function plainNumbers(type: PhysicalType, range: ByteRange, count: number): Numbers {
  const bits = type === 'BOOLEAN' ? 1 : type === 'INT32' ? 32 : 64;
  if (count > ((range.end - range.start) * 8) / bits) throw corrupt('more numbers than bytes');
  const num = new Float64Array(count);
  if (plain(type, range, count, num, 0)) return { num, base: 0n, exact: undefined };
  const exact = new BigInt64Array(count);
  plainExact(range, count, new Int32Array(exact.buffer), 0);
  return inexact(exact);
}

export function decodeNumbers(
  type: PhysicalType,
  pages: readonly DataPage[],
  count: number,
  dictionary: Numbers | undefined,
): Numbers {
  const base = type === 'INT64' ? baseOf(pages) : 0n;
  const num = new Float64Array(count);
  if (decodeFast(type, pages, base, dictionary, num)) return { num, base, exact: undefined };
  const exact = new BigInt64Array(count);
  decodeExact(pages, dictionary, exact);
  return inexact(exact);
}

/** Exact values with the doubles that are nearest. */
export function inexact(exact: BigInt64Array): Numbers {
  const words = new Int32Array(exact.buffer);
  const num = new Float64Array(exact.length);
  for (let i = 0; i < num.length; i++) num[i] = words[2 * i + 1] * TWO32 + (words[2 * i] >>> 0);
  return { num, base: 0n, exact };
}

/** Large numbers, as times in nanoseconds are, are kept relative to the first one. */
function baseOf(pages: readonly DataPage[]): bigint {
  return pageBase(pages.find(({ valueCount }) => valueCount > 0));
}

/** What numbers of INT64 are kept relative to when this page is their first one. */
export function pageBase(page: DataPage | undefined): bigint {
  if (page === undefined || page.encoding !== 'DELTA_BINARY_PACKED') return 0n;
  const { bytes, start, end } = page.values();
  const first = BigInt.asIntN(64, deltaFirst(bytes, start, end));
  return first > EXACT_BASE || first < -EXACT_BASE ? first : 0n;
}

function decodeFast(
  type: PhysicalType,
  pages: readonly DataPage[],
  base: bigint,
  dictionary: Numbers | undefined,
  out: Float64Array,
): boolean {
  for (const page of pages) {
    if (page.valueCount > 0 && !decodePage(type, page, base, dictionary, out, page.firstValue)) return false;
  }
  return true;
}

/** Decodes the values of a page into `out` from `at`. False when not all of them are exact as doubles. */
export function decodePage(
  type: PhysicalType,
  page: DataPage,
  base: bigint,
  dictionary: Numbers | undefined,
  out: Float64Array,
  at: number,
): boolean {
  const { encoding, valueCount } = page;
  const range = page.values();
  switch (encoding) {
    case 'PLAIN':
      return base === 0n && plain(type, range, valueCount, out, at);
    case 'DELTA_BINARY_PACKED':
      return delta(type, range, valueCount, base, out, at);
    case 'RLE':
      runs(type, range, valueCount, out, at);
      return true;
    case 'RLE_DICTIONARY':
    case 'PLAIN_DICTIONARY': {
      if (dictionary === undefined) throw corrupt('a dictionary is missing');
      if (base !== 0n || dictionary.exact !== undefined) return false;
      const { num } = dictionary;
      const ids = ints.ints(valueCount);
      indicesInto(range, valueCount, num.length, ids);
      for (let i = 0; i < valueCount; i++) out[at + i] = num[ids[i]];
      return true;
    }
    default:
      throw corrupt(`numbers cannot be encoded as ${encoding}`);
  }
}

/** Indices of a page into a dictionary of `size`. */
export function indices(range: ByteRange, count: number, size: number): Int32Array {
  const ids = new Int32Array(count);
  indicesInto(range, count, size, ids);
  return ids;
}

function indicesInto({ bytes, start, end }: ByteRange, count: number, size: number, ids: Int32Array): void {
  if (start >= end) throw corrupt('a page has no indices');
  decodeIndices(bytes, start + 1, end, bytes[start], count, ids, 0);
  for (let i = 0; i < count; i++)
    if (ids[i] >>> 0 >= size) throw corrupt('an index lies outside of its dictionary');
}

function runs(
  type: PhysicalType,
  { bytes, start, end }: ByteRange,
  count: number,
  out: Float64Array,
  at: number,
): void {
  if (type !== 'BOOLEAN' || start + 4 > end) throw corrupt('only bools can be encoded as RLE');
  const bools = ints.bytes(count);
  decodeIndices(bytes, start + 4, end, 1, count, bools, 0);
  out.set(bools, at);
}

/** The values in an aligned copy, which is valid until the next one is made. */
function aligned({ bytes, start, end }: ByteRange, length: number): ArrayBuffer {
  if (length > end - start) throw corrupt('a page has fewer numbers than it states');
  const copy = copies.bytes(length);
  copy.set(bytes.subarray(start, start + length));
  return copy.buffer;
}

/** False when a number is not exact as a double. */
function plain(type: PhysicalType, range: ByteRange, count: number, out: Float64Array, at: number): boolean {
  switch (type) {
    case 'DOUBLE':
      out.set(new Float64Array(aligned(range, count * 8), 0, count), at);
      return true;
    case 'INT32':
      out.set(new Int32Array(aligned(range, count * 4), 0, count), at);
      return true;
    case 'INT64':
      return plain64(new Int32Array(aligned(range, count * 8), 0, 2 * count), count, out, at);
    case 'BOOLEAN': {
      const { bytes, start, end } = range;
      if (count > (end - start) * 8) throw corrupt('a page has fewer bools than it states');
      for (let i = 0; i < count; i++) out[at + i] = (bytes[start + (i >>> 3)] >>> (i & 7)) & 1;
      return true;
    }
    case 'BYTE_ARRAY':
      throw corrupt('strings stand where numbers should');
  }
}

function plain64(words: Int32Array, count: number, out: Float64Array, at: number): boolean {
  return copyWords(words, count, out, at) < EXACT_HIGH;
}

/** @returns the bits that high words have beside their sign. */
function copyWords(words: Int32Array, count: number, out: Float64Array, at: number): number {
  let widest = 0;
  for (let i = 0; i < count; i++) {
    const high = words[2 * i + 1];
    widest |= high ^ (high >> 31);
    out[at + i] = high * TWO32 + (words[2 * i] >>> 0);
  }
  return widest;
}

/** 8-byte values as word pairs. */
export function plainExact(range: ByteRange, count: number, out: Int32Array, at: number): void {
  out.set(new Int32Array(aligned(range, count * 8), 0, 2 * count), at * 2);
}

function delta(
  type: PhysicalType,
  { bytes, start, end }: ByteRange,
  count: number,
  base: bigint,
  out: Float64Array,
  at: number,
): boolean {
  if (type === 'INT64') return decodeDelta64(bytes, start, end, count, base, out, at);
  if (type !== 'INT32') throw corrupt(`${type} cannot be encoded as DELTA_BINARY_PACKED`);
  const values = ints.ints(count);
  decodeDelta32(bytes, start, end, count, values, 0);
  out.set(values, at);
  return true;
}

/** Only INT64 comes here. */
function decodeExact(
  pages: readonly DataPage[],
  dictionary: Numbers | undefined,
  exact: BigInt64Array,
): void {
  for (const page of pages) {
    if (page.valueCount > 0) decodePageExact(page, dictionary, exact, page.firstValue);
  }
}

/** Decodes the values of a page of INT64 into `exact` from `at`. */
export function decodePageExact(
  page: DataPage,
  dictionary: Numbers | undefined,
  exact: BigInt64Array,
  at: number,
): void {
  const { encoding, valueCount } = page;
  const words = new Int32Array(exact.buffer, exact.byteOffset, exact.length * 2);
  const range = page.values();
  if (encoding === 'PLAIN') plainExact(range, valueCount, words, at);
  else if (encoding === 'DELTA_BINARY_PACKED') {
    decodeDelta64Exact(range.bytes, range.start, range.end, valueCount, words, at);
  } else if (dictionary !== undefined) {
    const ids = ints.ints(valueCount);
    indicesInto(range, valueCount, dictionary.num.length, ids);
    for (let i = 0; i < valueCount; i++) {
      exact[at + i] = dictionary.exact?.[ids[i]] ?? BigInt(dictionary.num[ids[i]]);
    }
  } else throw corrupt(`64-bit numbers cannot be encoded as ${encoding}`);
}
