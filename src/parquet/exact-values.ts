// The values of a column exactly as they are stored, in the shapes that columns are written from: for
// copying them into another file. Queries read through column-reader.ts.
import type { ColumnPages, DataPage } from './column-pages.ts';
import type { WorkMemory } from '../lib/work-memory.ts';
import { dictionaryBody, isDictionaryPage, readDictionary, readStrings } from './column-reader.ts';
import { corrupt } from './corrupt.ts';
import type { ByteTable } from './decode/byte-table.ts';
import { decodeDelta32, decodeDelta64Exact } from './decode/delta.ts';
import { decodeIndices } from './decode/indices.ts';
import { indices, type Numbers, plainExact } from './decode/numbers.ts';
import type { Decompressors } from './types.ts';

/** String i is bytes [starts[i], starts[i + 1]). */
interface PackedStrings {
  readonly bytes: Uint8Array;
  readonly starts: Int32Array;
}

/** String i is bytes [starts[i], ends[i]). */
interface StringPlaces {
  readonly bytes: Uint8Array;
  readonly starts: Int32Array;
  readonly ends: Int32Array;
}

export type ExactValues =
  | { readonly kind: 'int32'; readonly values: Int32Array }
  /** Value i is words 2i (low) and 2i + 1 (high). */
  | { readonly kind: 'int64' | 'double'; readonly words: Int32Array }
  | { readonly kind: 'bool'; readonly values: Uint8Array }
  /** Value i is string `ids[i]`. */
  | { readonly kind: 'strings'; readonly ids: Int32Array; readonly table: StringPlaces }
  | ({ readonly kind: 'packed' } & PackedStrings);

export interface ExactOptions {
  /** With its header; empty = there is none. */
  readonly dictionaryPage: Uint8Array;
  readonly decompressors: Decompressors;
  /** Where most of the values go. */
  readonly memory: WorkMemory;
}

/** Values of all pages at hand. */
export function exactValues(column: ColumnPages, options: ExactOptions): ExactValues {
  const { valueCount } = column;
  const { type } = column.leaf;
  const { memory } = options;
  switch (type) {
    case 'BYTE_ARRAY':
      if (column.pages.every(isPackedPage)) return { kind: 'packed', ...packedStrings(column, memory) };
      return column.pages.every(isIndexedPage)
        ? indexedStrings(column, options)
        : otherStrings(column, options);
    case 'BOOLEAN': {
      const values = memory.bytes(valueCount).fill(0);
      const numbers = numbersOf(column, options);
      for (const page of column.pages) readBools(page, numbers, values);
      return { kind: 'bool', values };
    }
    case 'INT32': {
      const values = memory.words(valueCount);
      const numbers = numbersOf(column, options);
      for (const page of column.pages) readInt32(page, numbers, values);
      return { kind: 'int32', values };
    }
    case 'INT64':
    case 'DOUBLE': {
      const words = memory.words(2 * valueCount);
      const numbers = numbersOf(column, options);
      for (const page of column.pages) readWords(page, numbers, type, words);
      return { kind: type === 'INT64' ? 'int64' : 'double', words };
    }
  }
}

function numbersOf(
  { chunk }: ColumnPages,
  { dictionaryPage, decompressors }: ExactOptions,
): Numbers | undefined {
  if (dictionaryPage.length === 0) return undefined;
  const dictionary = readDictionary(chunk, dictionaryPage, decompressors);
  return 'numbers' in dictionary ? dictionary.numbers : undefined;
}

function isIndexedPage(page: DataPage): boolean {
  return page.valueCount === 0 || isDictionaryPage(page);
}

function indexedStrings(column: ColumnPages, options: ExactOptions): ExactValues {
  const { memory, dictionaryPage, decompressors } = options;
  if (dictionaryPage.length === 0) throw corrupt('a dictionary is missing');
  const { bytes, valueCount } = dictionaryBody(column.chunk, dictionaryPage, decompressors, () => memory);
  const table = plainStrings(bytes, valueCount, memory);
  const ids = memory.words(column.valueCount);
  for (const page of column.pages) readIds(page, valueCount, ids);
  return { kind: 'strings', ids, table };
}

/** Each string stands behind its 4-byte length. */
function plainStrings(bytes: Uint8Array, count: number, memory: WorkMemory): StringPlaces {
  const size = bytes.length;
  if (count > size / 4) throw corrupt('more strings than bytes');
  const starts = memory.words(count);
  const ends = memory.words(count);
  let pos = 4;
  for (let id = 0; id < count; id++) {
    if (pos > size) throw corrupt('strings end too early');
    const length = bytes[pos - 4] | (bytes[pos - 3] << 8) | (bytes[pos - 2] << 16) | (bytes[pos - 1] << 24);
    if (length < 0 || length > size - pos) throw corrupt('a string is too long');
    starts[id] = pos;
    pos += length;
    ends[id] = pos;
    pos += 4;
  }
  return { bytes, starts, ends };
}

function readIds(page: DataPage, size: number, out: Int32Array): void {
  const { valueCount, firstValue } = page;
  if (valueCount === 0) return;
  const { bytes, start, end } = page.values();
  if (start >= end) throw corrupt('a page has no indices');
  decodeIndices(bytes, start + 1, end, bytes[start], valueCount, out, firstValue);
  let isInside = true;
  for (let i = firstValue; i < firstValue + valueCount; i++) if (out[i] >>> 0 >= size) isInside = false;
  if (!isInside) throw corrupt('an index lies outside of its dictionary');
}

/** Pages of several encodings, as other programs write them when a dictionary becomes too large. */
function otherStrings(column: ColumnPages, { dictionaryPage, decompressors }: ExactOptions): ExactValues {
  const dictionary =
    dictionaryPage.length > 0 ? readDictionary(column.chunk, dictionaryPage, decompressors) : undefined;
  const { ids, table } = readStrings(column, dictionary);
  return { kind: 'strings', ids, table: placesOf(table) };
}

function placesOf(table: ByteTable): StringPlaces {
  const starts = new Int32Array(table.size);
  const ends = new Int32Array(table.size);
  let total = 0;
  for (let id = 0; id < table.size; id++) {
    starts[id] = total;
    total += table.length(id);
    ends[id] = total;
  }
  const bytes = new Uint8Array(total);
  for (let id = 0; id < table.size; id++) bytes.set(table.bytes(id), starts[id]);
  return { bytes, starts, ends };
}

function isPackedPage(page: DataPage): boolean {
  return page.valueCount === 0 || page.encoding === 'DELTA_LENGTH_BYTE_ARRAY';
}

function packedStrings(column: ColumnPages, memory: WorkMemory): PackedStrings {
  const bodies: { readonly page: DataPage; readonly from: number }[] = [];
  const lengths = memory.words(column.valueCount);
  let total = 0;
  for (const page of column.pages) {
    if (page.valueCount === 0) continue;
    const { bytes, start, end } = page.values();
    const from = decodeDelta32(bytes, start, end, page.valueCount, lengths, page.firstValue);
    bodies.push({ page, from });
    total += end - from;
  }
  const bytes = memory.bytes(total);
  const starts = memory.words(column.valueCount + 1);
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

/** `out` holds zeros. */
function readBools(page: DataPage, numbers: Numbers | undefined, out: Uint8Array): void {
  const { valueCount, firstValue } = page;
  if (valueCount === 0) return;
  const { bytes, start, end } = page.values();
  if (page.encoding === 'PLAIN') {
    needBytes(page, Math.ceil(valueCount / 8));
    for (let i = 0; i < valueCount; i += 8) {
      const bits = bytes[start + (i >>> 3)];
      if (bits === 0) continue;
      const stop = Math.min(8, valueCount - i);
      for (let k = 0; k < stop; k++) out[firstValue + i + k] = (bits >>> k) & 1;
    }
  } else if (page.encoding === 'RLE') {
    needBytes(page, 4);
    decodeIndices(bytes, start + 4, end, 1, valueCount, out, firstValue);
  } else if (isDictionaryPage(page)) {
    const ids = dictionaryIndices(page, numbers);
    for (let i = 0; i < valueCount; i++) out[firstValue + i] = numbers!.num[ids[i]];
  } else throw corrupt(`bools cannot be encoded as ${page.encoding}`);
}
