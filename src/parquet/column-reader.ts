// Decodes the values of a column into typed arrays: all of them, or those at given positions among the
// values.
import { corrupt } from './corrupt.ts';
import {
  asBytes,
  checkPage,
  type ColumnPages,
  type DataPage,
  inflate,
  type PageMemory,
} from './column-pages.ts';
import { ByteTable, EMPTY_TABLE } from './decode/byte-table.ts';
import { decodeIndices, findIndices, IndexCursor } from './decode/indices.ts';
import { decodeNumbers, type Numbers, plainNumbers } from './decode/numbers.ts';
import { pickedNumbers } from './decode/picked-numbers.ts';
import { IntList } from '../lib/int-list.ts';
import { readPageHeader } from './page-header.ts';
import type { ColumnChunk, Decompressors } from './types.ts';

/** The dictionary of a column chunk: strings, or numbers. */
export type Dictionary = { readonly strings: ByteTable } | { readonly numbers: Numbers };

/** Says where strings stand in a dictionary. */
export interface StringFinder {
  /** Strings in the dictionary. */
  readonly size: number;
  /** Ids of the strings that equal `wanted`. */
  find(wanted: Uint8Array): readonly number[];
}

/** None when it is of numbers, or not there. */
export function stringsOf(dictionary: Dictionary | undefined): ByteTable {
  return dictionary !== undefined && 'strings' in dictionary ? dictionary.strings : EMPTY_TABLE;
}

/** Values of a byte array column: value i is string `ids[i]` of the table. */
export interface StringValues {
  readonly ids: Int32Array;
  readonly table: ByteTable;
}

/**
 * Decodes a dictionary page with its header.
 *
 * @param memoryFor where its content is to go, by its length; undefined = memory of its own.
 */
export function readDictionary(
  chunk: ColumnChunk,
  page: Uint8Array,
  decompressors: Decompressors,
  memoryFor?: (lengthBytes: number) => PageMemory | undefined,
): Dictionary {
  const { bytes, valueCount, isBorrowed } = dictionaryBody(chunk, page, decompressors, memoryFor);
  if (chunk.leaf.type !== 'BYTE_ARRAY') {
    return { numbers: plainNumbers(chunk.leaf.type, { bytes, start: 0, end: bytes.length }, valueCount) };
  }
  return { strings: ByteTable.dictionary(bytes, valueCount, isBorrowed) };
}

/** The values of a dictionary page, PLAIN, and their number. */
export function dictionaryBody(
  chunk: ColumnChunk,
  page: Uint8Array,
  decompressors: Decompressors,
  memoryFor?: (lengthBytes: number) => PageMemory | undefined,
): { readonly bytes: Uint8Array; readonly valueCount: number; readonly isBorrowed: boolean } {
  const header = readPageHeader(page, 0);
  if (header.kind !== 'dictionary') throw corrupt(`column ${chunk.leaf.path.join('.')} has no dictionary`);
  const stored = asBytes(page.subarray(header.headerBytes, header.headerBytes + header.compressedBytes));
  checkPage(chunk, header, stored, decompressors);
  const memory = memoryFor?.(header.uncompressedBytes);
  const bytes = inflate(decompressors, chunk.codec, stored, header.uncompressedBytes, memory);
  return { bytes, valueCount: header.valueCount, isBorrowed: memory !== undefined };
}

export function isDictionaryPage(page: DataPage): boolean {
  return page.encoding === 'RLE_DICTIONARY' || page.encoding === 'PLAIN_DICTIONARY';
}

/** All values of a number or bool column. */
export function readNumbers(column: ColumnPages, dictionary: Dictionary | undefined): Numbers {
  const numbers = dictionary !== undefined && 'numbers' in dictionary ? dictionary.numbers : undefined;
  return decodeNumbers(column.leaf.type, column.pages, column.valueCount, numbers);
}

/** All values of a byte array column. */
export function readStrings(column: ColumnPages, dictionary: Dictionary | undefined): StringValues {
  const strings = dictionary !== undefined && 'strings' in dictionary ? dictionary.strings : undefined;
  const ids = new Int32Array(column.valueCount);
  if (column.pages.every((page) => page.valueCount === 0 || isDictionaryPage(page))) {
    const table = strings ?? new ByteTable(0);
    for (const page of column.pages) decodePageIndices(page, table.size, ids, page.firstValue);
    return { ids, table };
  }
  // strings of the dictionary first, so that its indices stay ids
  const table = new ByteTable((strings?.size ?? 0) + column.valueCount);
  table.isBorrowed = column.isBorrowed || strings?.isBorrowed === true;
  if (strings !== undefined) {
    for (let id = 0; id < strings.size; id++) {
      const start = strings.offset(id);
      table.addOne(strings.bufferOf(id), start, strings.length(id));
    }
  }
  for (const page of column.pages) {
    if (isDictionaryPage(page)) decodePageIndices(page, strings?.size ?? 0, ids, page.firstValue);
    else {
      const first = table.size;
      addStrings(page, table);
      for (let i = 0; i < page.valueCount; i++) ids[page.firstValue + i] = first + i;
    }
  }
  return { ids, table };
}

function addStrings(page: DataPage, table: ByteTable): void {
  const { bytes, start, end } = page.values();
  const { valueCount } = page;
  switch (page.encoding) {
    case 'PLAIN':
      table.addPlain(bytes, start, end, valueCount);
      break;
    case 'DELTA_LENGTH_BYTE_ARRAY':
      if (valueCount > 0) table.addDeltaLength(bytes, start, end, valueCount);
      break;
    case 'DELTA_BYTE_ARRAY':
      if (valueCount > 0) table.addDelta(bytes, start, end, valueCount);
      break;
    default:
      throw corrupt(`strings cannot be encoded as ${page.encoding}`);
  }
}

function decodePageIndices(page: DataPage, size: number, out: Int32Array, at: number): void {
  const { valueCount } = page;
  if (valueCount === 0) return;
  const { bytes, start, end } = page.values();
  if (start >= end) throw corrupt('a page has no indices');
  decodeIndices(bytes, start + 1, end, bytes[start], valueCount, out, at);
  for (let i = at; i < at + valueCount; i++) {
    if (out[i] >>> 0 >= size) throw corrupt('an index lies outside of its dictionary');
  }
}

/** Positions, among the values of a dictionary column, of those that are one of `wanted` (ids, not empty). */
export function findValues(
  column: ColumnPages,
  wanted: readonly number[],
  dictionarySize: number,
): Int32Array {
  const hits = new IntList();
  const finder = new IndexFinder(wanted, dictionarySize);
  for (const page of column.pages) finder.find(page, hits);
  return hits.view();
}

class IndexFinder {
  private readonly wanted: readonly number[];
  private readonly flags: Uint8Array | undefined;

  constructor(wanted: readonly number[], dictionarySize: number) {
    this.wanted = wanted;
    if (wanted.length <= 1) return;
    this.flags = new Uint8Array(dictionarySize);
    for (const id of wanted) this.flags[id] = 1;
  }

  find(page: DataPage, hits: IntList): void {
    if (page.valueCount === 0 || this.wanted.length === 0) return;
    const { bytes, start, end } = page.values();
    if (start >= end) throw corrupt('a page has no indices');
    findIndices(
      bytes,
      start + 1,
      end,
      bytes[start],
      page.valueCount,
      this.wanted[0],
      this.flags,
      page.firstValue,
      hits,
    );
  }
}

/** Positions (ascending), among the values of a string column, of those that are one of `wanted`. */
export function findStrings(
  column: ColumnPages,
  strings: StringFinder,
  wanted: readonly Uint8Array[],
): Int32Array {
  const ids = new Set(wanted.flatMap((value) => strings.find(value)));
  const finder = new IndexFinder([...ids], strings.size);
  const hits = new IntList();
  const table = new ByteTable(0);
  for (const page of column.pages) {
    if (isDictionaryPage(page)) finder.find(page, hits);
    else {
      table.clear();
      addStrings(page, table);
      const found = [...new Set(wanted.flatMap((value) => table.find(value)))].sort((x, y) => x - y);
      for (const i of found) hits.push(page.firstValue + i);
    }
  }
  return hits.view();
}

/**
 * Reads ids of single values of a dictionary column, at ascending positions: pages without any stay
 * compressed.
 */
export class ValueCursor {
  private readonly column: ColumnPages;
  private readonly size: number;
  private page = -1;
  private firstValue = 0;
  private endValue = 0;
  private cursor: IndexCursor | undefined;

  constructor(column: ColumnPages, dictionarySize: number) {
    this.column = column;
    this.size = dictionarySize;
  }

  idAt(value: number): number {
    if (value >= this.endValue) this.seek(value);
    const id = this.cursor!.at(value - this.firstValue);
    if (id >>> 0 >= this.size) throw corrupt('an index lies outside of its dictionary');
    return id;
  }

  private seek(value: number): void {
    const { pages } = this.column;
    let k = this.page + 1;
    while (k < pages.length && pages[k].firstValue + pages[k].valueCount <= value) k++;
    if (k >= pages.length) throw corrupt(`column ${this.column.name} has fewer values than levels say`);
    const page = pages[k];
    const { bytes, start, end } = page.values();
    if (start >= end) throw corrupt('a page has no indices');
    this.cursor = new IndexCursor(bytes, start + 1, end, bytes[start]);
    this.page = k;
    this.firstValue = page.firstValue;
    this.endValue = page.firstValue + page.valueCount;
  }
}

/**
 * The strings at the given positions (ascending) among the values, of which each is one of a few: `known`.
 */
export function pickKnown(
  column: ColumnPages,
  strings: StringFinder,
  positions: Int32Array,
  known: readonly Uint8Array[],
): StringValues {
  const table = new ByteTable(known.length);
  for (const value of known) table.addOne(value, 0, value.length);
  const ids = new Int32Array(positions.length);
  if (known.length < 2) return { ids, table };
  if (column.pages.every(isDictionaryPage)) {
    const order = new Map<number, number>();
    known.forEach((value, k) => strings.find(value).forEach((id) => order.set(id, k)));
    const picked = pickIds(column, strings.size, positions);
    for (let i = 0; i < ids.length; i++) ids[i] = order.get(picked[i]) ?? 0;
  } else {
    const order = new Map<number, number>();
    known.forEach((value, k) => findStrings(column, strings, [value]).forEach((at) => order.set(at, k)));
    for (let i = 0; i < ids.length; i++) ids[i] = order.get(positions[i]) ?? 0;
  }
  return { ids, table };
}

/** Ids of the values at the given positions (ascending), all of which are in the dictionary. */
function pickIds(column: ColumnPages, dictionarySize: number, positions: Int32Array): Int32Array {
  const cursor = new ValueCursor(column, dictionarySize);
  const ids = new Int32Array(positions.length);
  for (let i = 0; i < ids.length; i++) ids[i] = cursor.idAt(positions[i]);
  return ids;
}

/** The strings at the given positions (ascending) among the values. */
export function pickStrings(
  column: ColumnPages,
  dictionary: Dictionary | undefined,
  positions: Int32Array,
): StringValues {
  if (positions.length === 0) return { ids: positions, table: EMPTY_TABLE };
  if (dictionary !== undefined && 'strings' in dictionary && column.pages.every(isDictionaryPage)) {
    const table = dictionary.strings;
    const ids = pickIds(column, table.size, positions);
    return pickFew(ids, table) ?? { ids, table };
  }
  const all = readStrings(column, dictionary);
  const ids = new Int32Array(positions.length);
  for (let i = 0; i < positions.length; i++) ids[i] = all.ids[checked(positions[i], all.ids.length)];
  return { ids, table: all.table };
}

/**
 * Strings of a dictionary whose places are not known yet, when there are few of them: the rest is passed
 * over.
 */
function pickFew(ids: Int32Array, table: ByteTable): StringValues | undefined {
  if (!table.areFew(ids.length)) return undefined;
  const distinct = Int32Array.from(new Set(ids)).sort();
  const few = table.few(distinct);
  const numbers = new Map<number, number>();
  distinct.forEach((id, k) => numbers.set(id, k));
  const fewIds = new Int32Array(ids.length);
  for (let i = 0; i < ids.length; i++) fewIds[i] = numbers.get(ids[i]) ?? 0;
  return { ids: fewIds, table: few };
}

/** The numbers at the given positions (ascending) among the values. */
export function pickNumbers(
  column: ColumnPages,
  dictionary: Dictionary | undefined,
  positions: Int32Array,
): Numbers {
  const numbers = dictionary !== undefined && 'numbers' in dictionary ? dictionary.numbers : undefined;
  return pickedNumbers(column.leaf.type, column.pages, positions, numbers);
}

function checked(position: number, count: number): number {
  if (position >= count) throw corrupt('a column has fewer values than its levels say');
  return position;
}

/** Tables of up to this many bytes are small enough to be referred to. */
const SHARED_BYTES_MAX = 64 * 1024;

/** The same values, which refer to no memory that is used again. */
export function ownStrings(values: StringValues): StringValues {
  return values.table.isBorrowed ? copied(values) : values;
}

/** As `ownStrings`, and over a table of their own when theirs holds much, most of which is others' values. */
export function compactStrings(values: StringValues): StringValues {
  const { table } = values;
  return table.isBorrowed || table.sizeBytes > SHARED_BYTES_MAX ? copied(values) : values;
}

function copied({ ids, table }: StringValues): StringValues {
  const codes = new Int32Array(table.size).fill(-1);
  const own = new Int32Array(ids.length);
  const used = new IntList();
  let bytes = 0;
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i];
    if (codes[id] < 0) {
      codes[id] = used.length;
      used.push(id);
      bytes += table.length(id);
    }
    own[i] = codes[id];
  }
  const copy = new Uint8Array(bytes);
  const strings = new ByteTable(used.length);
  let end = 0;
  for (let i = 0; i < used.length; i++) {
    const id = used.items[i];
    const from = table.bufferOf(id);
    const start = table.offset(id);
    const length = table.length(id);
    for (let k = 0; k < length; k++) copy[end + k] = from[start + k];
    strings.addOne(copy, end, length);
    end += length;
  }
  return { ids: own, table: strings };
}
