// The values of a column exactly as they are stored, in the shapes that columns are written from: for
// copying them into another file. Queries read through column-reader.ts.
import type { ColumnPages, DataPage } from './column-pages.ts';
import { type Dictionary, isDictionaryPage, readStrings, type StringValues } from './column-reader.ts';
import { corrupt } from './corrupt.ts';
import { decodeDelta32, decodeDelta64Exact } from './decode/delta.ts';
import { decodeIndices } from './decode/indices.ts';
import { indices, type Numbers, plainExact } from './decode/numbers.ts';

/** String i is bytes [starts[i], starts[i + 1]). */
interface PackedStrings {
  readonly bytes: Uint8Array;
  readonly starts: Int32Array;
}

export type ExactValues =
  | { readonly kind: 'int32'; readonly values: Int32Array }
  /** Value i is words 2i (low) and 2i + 1 (high). */
  | { readonly kind: 'int64' | 'double'; readonly words: Int32Array }
  | { readonly kind: 'bool'; readonly values: Uint8Array }
  | ({ readonly kind: 'strings' } & StringValues)
  | ({ readonly kind: 'packed' } & PackedStrings);

/** Values of all pages at hand. */
export function exactValues(column: ColumnPages, dictionary: Dictionary | undefined): ExactValues {
  const { valueCount } = column;
  const { type } = column.leaf;
  const numbers = dictionary !== undefined && 'numbers' in dictionary ? dictionary.numbers : undefined;
  switch (type) {
    case 'BYTE_ARRAY':
      if (column.pages.every(isPackedPage)) return { kind: 'packed', ...packedStrings(column) };
      return { kind: 'strings', ...readStrings(column, dictionary) };
    case 'BOOLEAN': {
      const values = new Uint8Array(valueCount);
      for (const page of column.pages) readBools(page, numbers, values);
      return { kind: 'bool', values };
    }
    case 'INT32': {
      const values = new Int32Array(valueCount);
      for (const page of column.pages) readInt32(page, numbers, values);
      return { kind: 'int32', values };
    }
    case 'INT64':
    case 'DOUBLE': {
      const words = new Int32Array(2 * valueCount);
      for (const page of column.pages) readWords(page, numbers, type, words);
      return { kind: type === 'INT64' ? 'int64' : 'double', words };
    }
  }
}

function isPackedPage(page: DataPage): boolean {
  return page.valueCount === 0 || page.encoding === 'DELTA_LENGTH_BYTE_ARRAY';
}

function packedStrings(column: ColumnPages): PackedStrings {
  const bodies: { readonly page: DataPage; readonly from: number }[] = [];
  const lengths = new Int32Array(column.valueCount);
  let total = 0;
  for (const page of column.pages) {
    if (page.valueCount === 0) continue;
    const { bytes, start, end } = page.values();
    const from = decodeDelta32(bytes, start, end, page.valueCount, lengths, page.firstValue);
    bodies.push({ page, from });
    total += end - from;
  }
  const bytes = new Uint8Array(total);
  const starts = new Int32Array(column.valueCount + 1);
  let at = 0;
  for (const { page, from } of bodies) {
    const body = page.values();
    bytes.set(body.bytes.subarray(from, body.end), at);
    const limit = at + body.end - from;
    for (let i = page.firstValue; i < page.firstValue + page.valueCount; i++) {
      starts[i] = at;
      if (lengths[i] < 0 || lengths[i] > limit - at) throw corrupt('a string is too long');
      at += lengths[i];
    }
  }
  starts[column.valueCount] = at;
  return { bytes, starts };
}

function dictionaryIndices(page: DataPage, numbers: Numbers | undefined): Int32Array {
  if (numbers === undefined) throw corrupt('a dictionary is missing');
  return indices(page.values(), page.valueCount, numbers.num.length);
}

function needBytes(page: DataPage, needed: number): void {
  const { start, end } = page.values();
  if (needed > end - start) throw corrupt('a page has fewer values than it states');
}

function readInt32(page: DataPage, numbers: Numbers | undefined, out: Int32Array): void {
  const { valueCount, firstValue } = page;
  if (valueCount === 0) return;
  const { bytes, start, end } = page.values();
  if (page.encoding === 'DELTA_BINARY_PACKED') {
    decodeDelta32(bytes, start, end, valueCount, out, firstValue);
  } else if (page.encoding === 'PLAIN') {
    needBytes(page, 4 * valueCount);
    const view = new DataView(bytes.buffer, bytes.byteOffset + start);
    for (let i = 0; i < valueCount; i++) out[firstValue + i] = view.getInt32(4 * i, true);
  } else if (isDictionaryPage(page)) {
    const ids = dictionaryIndices(page, numbers);
    for (let i = 0; i < valueCount; i++) out[firstValue + i] = numbers!.num[ids[i]];
  } else throw corrupt(`32-bit numbers cannot be encoded as ${page.encoding}`);
}

function readWords(
  page: DataPage,
  numbers: Numbers | undefined,
  type: 'INT64' | 'DOUBLE',
  out: Int32Array,
): void {
  const { valueCount, firstValue } = page;
  if (valueCount === 0) return;
  const range = page.values();
  if (page.encoding === 'PLAIN') plainExact(range, valueCount, out, firstValue);
  else if (page.encoding === 'DELTA_BINARY_PACKED' && type === 'INT64') {
    decodeDelta64Exact(range.bytes, range.start, range.end, valueCount, out, firstValue);
  } else if (isDictionaryPage(page)) {
    const ids = dictionaryIndices(page, numbers);
    const wide = type === 'DOUBLE' ? numbers!.num : wholeNumbers(numbers!);
    const words = new Int32Array(wide.buffer, wide.byteOffset, 2 * wide.length);
    for (let i = 0; i < valueCount; i++) {
      out[2 * (firstValue + i)] = words[2 * ids[i]];
      out[2 * (firstValue + i) + 1] = words[2 * ids[i] + 1];
    }
  } else throw corrupt(`64-bit numbers cannot be encoded as ${page.encoding}`);
}

function wholeNumbers({ num, exact }: Numbers): BigInt64Array {
  return exact ?? BigInt64Array.from(num, (value) => BigInt(value));
}

function readBools(page: DataPage, numbers: Numbers | undefined, out: Uint8Array): void {
  const { valueCount, firstValue } = page;
  if (valueCount === 0) return;
  const { bytes, start, end } = page.values();
  if (page.encoding === 'PLAIN') {
    needBytes(page, Math.ceil(valueCount / 8));
    for (let i = 0; i < valueCount; i++) out[firstValue + i] = (bytes[start + (i >>> 3)] >>> (i & 7)) & 1;
  } else if (page.encoding === 'RLE') {
    needBytes(page, 4);
    decodeIndices(bytes, start + 4, end, 1, valueCount, out, firstValue);
  } else if (isDictionaryPage(page)) {
    const ids = dictionaryIndices(page, numbers);
    for (let i = 0; i < valueCount; i++) out[firstValue + i] = numbers!.num[ids[i]];
  } else throw corrupt(`bools cannot be encoded as ${page.encoding}`);
}
