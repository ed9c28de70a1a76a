// Parser of a file's footer (FileMetaData of parquet.thrift). What it returns has been checked: levels
// worked out, every column chunk inside the file and matching its leaf.
import { corrupt } from './corrupt.ts';
import { type KnownSchema, PHYSICAL_TYPES, readSchema } from './footer-schema.ts';
import { ThriftReader } from './thrift-reader.ts';
import type { Codec, ColumnChunk, Encoding, FileMetadata, Leaf, RowGroup, Statistics } from './types.ts';

/** Length and magic bytes behind the footer. */
export const FOOTER_TAIL_BYTES = 8;
const MAGIC = 0x31524150; // PAR1, little-endian
/** Entries of one column in one row group: bounds what a damaged file can make us allocate. */
const ENTRIES_MAX = 2 ** 27;

const CODECS: readonly (Codec | undefined)[] = [
  'UNCOMPRESSED',
  'SNAPPY',
  undefined,
  undefined,
  undefined,
  undefined,
  'ZSTD',
  undefined,
];
const ENCODINGS: readonly (Encoding | undefined)[] = [
  'PLAIN',
  undefined,
  'PLAIN_DICTIONARY',
  'RLE',
  undefined,
  'DELTA_BINARY_PACKED',
  'DELTA_LENGTH_BYTE_ARRAY',
  'DELTA_BYTE_ARRAY',
  'RLE_DICTIONARY',
  undefined,
];
const text = new TextDecoder();

/** The encoding with this number, if it is one we read. */
export function encodingOf(id: number): Encoding | undefined {
  return ENCODINGS[id];
}

/** Length of the footer as the last 8 bytes of the file state it. */
export function footerLength(tail: Uint8Array): number {
  if (tail.length < FOOTER_TAIL_BYTES) throw corrupt('the file is too short');
  const view = new DataView(
    tail.buffer,
    tail.byteOffset + tail.length - FOOTER_TAIL_BYTES,
    FOOTER_TAIL_BYTES,
  );
  if (view.getUint32(4, true) !== MAGIC) throw corrupt('the file does not end in PAR1');
  return view.getUint32(0, true);
}

/** @param bytes the footer without its tail. @param fileBytes size of the whole file. */
export function parseFooter(bytes: Uint8Array, fileBytes: number): FileMetadata {
  // What is found refers to it, and the caller's memory may be used again.
  const reader = new ThriftReader(new Uint8Array(bytes));
  let schema: KnownSchema | undefined;
  let rowCount = 0;
  let rowGroups: readonly RowGroup[] | undefined;
  let createdBy: string | undefined;
  const outer = reader.enter();
  while (reader.next()) {
    switch (reader.field) {
      case 2:
        schema = readSchema(reader);
        break;
      case 3:
        rowCount = reader.count();
        break;
      case 4:
        rowGroups = readRowGroups(reader, schema, fileBytes);
        break;
      case 6:
        createdBy = text.decode(reader.binary());
        break;
      default:
        reader.skip();
    }
  }
  reader.leave(outer);
  if (schema === undefined || rowGroups === undefined) throw corrupt('the footer lacks schema or row groups');
  if (rowGroups.reduce((sum, group) => sum + group.rowCount, 0) !== rowCount) {
    throw corrupt('the footer counts rows in two ways');
  }
  return { schema: schema.root, leaves: schema.leaves, rowCount, rowGroups, createdBy };
}

function readRowGroups(reader: ThriftReader, schema: KnownSchema | undefined, fileBytes: number): RowGroup[] {
  if (schema === undefined) throw corrupt('the footer has row groups before its schema');
  const count = reader.list();
  const groups: RowGroup[] = [];
  for (let i = 0; i < count; i++) {
    let columns: readonly ColumnChunk[] = [];
    let rowCount = 0;
    let totalBytes = 0;
    const outer = reader.enter();
    while (reader.next()) {
      switch (reader.field) {
        case 1:
          columns = readColumns(reader, schema, fileBytes);
          break;
        case 2:
          totalBytes = reader.count();
          break;
        case 3:
          rowCount = reader.count();
          break;
        default:
          reader.skip();
      }
    }
    reader.leave(outer);
    if (columns.length !== schema.leaves.length) throw corrupt('a row group lacks columns');
    if (rowCount > ENTRIES_MAX) throw corrupt('a row group has too many rows');
    for (const { leaf, valueCount } of columns) {
      if (leaf.maxRepetition === 0 ? valueCount !== rowCount : valueCount < rowCount) {
        throw corrupt(`column ${leaf.path.join('.')} has ${valueCount} values for ${rowCount} rows`);
      }
    }
    groups.push({ rowCount, totalBytes, columns });
  }
  return groups;
}

function readColumns(reader: ThriftReader, { leaves, paths }: KnownSchema, fileBytes: number): ColumnChunk[] {
  const count = reader.list();
  if (count !== leaves.length) throw corrupt('a row group has not the columns of the schema');
  const columns: ColumnChunk[] = [];
  for (let i = 0; i < count; i++) columns.push(readColumnChunk(reader, leaves[i]!, paths[i]!, fileBytes));
  return columns;
}

type Mutable<T> = { -readonly [key in keyof T]: T[key] };

function readColumnChunk(reader: ThriftReader, leaf: Leaf, path: Uint8Array, fileBytes: number): ColumnChunk {
  const chunk: Mutable<ColumnChunk> = {
    leaf,
    codec: 'UNCOMPRESSED',
    encodings: [],
    pageEncodings: undefined,
    valueCount: 0,
    compressedBytes: 0,
    uncompressedBytes: 0,
    dataPageOffset: -1,
    dictionaryPageOffset: undefined,
    columnIndexOffset: undefined,
    columnIndexBytes: undefined,
    offsetIndexOffset: undefined,
    offsetIndexBytes: undefined,
    statistics: undefined,
  };
  const outer = reader.enter();
  while (reader.next()) {
    switch (reader.field) {
      case 3:
        readColumnMetadata(reader, chunk, path);
        break;
      case 4:
        chunk.offsetIndexOffset = reader.count();
        break;
      case 5:
        chunk.offsetIndexBytes = reader.count();
        break;
      case 6:
        chunk.columnIndexOffset = reader.count();
        break;
      case 7:
        chunk.columnIndexBytes = reader.count();
        break;
      default:
        reader.skip();
    }
  }
  reader.leave(outer);
  checkChunk(chunk, fileBytes);
  return chunk;
}

function readColumnMetadata(reader: ThriftReader, chunk: Mutable<ColumnChunk>, path: Uint8Array): void {
  const { leaf } = chunk;
  const outer = reader.enter();
  while (reader.next()) {
    switch (reader.field) {
      case 1:
        if (PHYSICAL_TYPES[reader.int()] !== leaf.type)
          throw corrupt(`column ${leaf.path.join('.')} has another type`);
        break;
      case 2:
        chunk.encodings = readEncodings(reader);
        break;
      case 3:
        checkPath(reader, leaf, path);
        break;
      case 4:
        chunk.codec = codecOf(reader.int(), leaf);
        break;
      case 5:
        chunk.valueCount = reader.count();
        break;
      case 6:
        chunk.uncompressedBytes = reader.count();
        break;
      case 7:
        chunk.compressedBytes = reader.count();
        break;
      case 9:
        chunk.dataPageOffset = reader.count();
        break;
      case 11:
        chunk.dictionaryPageOffset = reader.count();
        break;
      case 12:
        chunk.statistics = readStatistics(reader);
        break;
      case 13:
        chunk.pageEncodings = readPageEncodings(reader);
        break;
      default:
        reader.skip();
    }
  }
  reader.leave(outer);
}

function readEncodings(reader: ThriftReader): readonly Encoding[] {
  const count = reader.list();
  const encodings: Encoding[] = [];
  for (let i = 0; i < count; i++) {
    const encoding = encodingOf(reader.int());
    if (encoding !== undefined) encodings.push(encoding);
  }
  return interned(encodings);
}

/** There are few different ones, and a hundred columns in each footer. */
const knownEncodings = new Map<string, readonly Encoding[]>();
const KNOWN_ENCODINGS_MAX = 256;

function interned(encodings: readonly Encoding[]): readonly Encoding[] {
  const key = encodings.join();
  const known = knownEncodings.get(key);
  if (known !== undefined) return known;
  if (knownEncodings.size < KNOWN_ENCODINGS_MAX) knownEncodings.set(key, encodings);
  return encodings;
}

const DICTIONARY_PAGE = 2;

/** Undefined when a page has an encoding that is not known here. */
function readPageEncodings(reader: ThriftReader): readonly Encoding[] | undefined {
  const found = new Set<Encoding | undefined>();
  for (let left = reader.list(); left > 0; left--) {
    let pageType = 0;
    let encoding: Encoding | undefined;
    const outer = reader.enter();
    while (reader.next()) {
      if (reader.field === 1) pageType = reader.int();
      else if (reader.field === 2) encoding = encodingOf(reader.int());
      else reader.skip();
    }
    reader.leave(outer);
    if (pageType !== DICTIONARY_PAGE) found.add(encoding);
  }
  const known = [...found].filter((encoding) => encoding !== undefined);
  return known.length === found.size ? interned(known) : undefined;
}

/** @param stored the path as it is written in footers. */
function checkPath(reader: ThriftReader, leaf: Leaf, stored: Uint8Array): void {
  if (reader.passIfEqual(stored)) return;
  const count = reader.list();
  let path = '';
  for (let i = 0; i < count; i++) path += `${i === 0 ? '' : '.'}${text.decode(reader.binary())}`;
  if (path !== leaf.path.join('.'))
    throw corrupt(`column ${path} stands where ${leaf.path.join('.')} should`);
}

function codecOf(id: number, leaf: Leaf): Codec {
  const codec = CODECS[id];
  if (codec === undefined) throw corrupt(`column ${leaf.path.join('.')} has a codec that is not supported`);
  return codec;
}

function readStatistics(reader: ThriftReader): Statistics {
  let min: Uint8Array | undefined;
  let max: Uint8Array | undefined;
  let nullCount: number | undefined;
  const outer = reader.enter();
  while (reader.next()) {
    switch (reader.field) {
      case 3:
        nullCount = reader.count();
        break;
      case 5:
        max = reader.binary();
        break;
      case 6:
        min = reader.binary();
        break;
      default:
        reader.skip();
    }
  }
  reader.leave(outer);
  return { min, max, nullCount };
}

function checkChunk(chunk: ColumnChunk, fileBytes: number): void {
  const { leaf, dataPageOffset, dictionaryPageOffset, compressedBytes, valueCount, statistics } = chunk;
  const start = Math.min(dataPageOffset, dictionaryPageOffset ?? dataPageOffset);
  const inside = (offset: number | undefined, bytes: number | undefined): boolean =>
    offset === undefined || bytes === undefined || offset + bytes <= fileBytes;
  const ok =
    start >= 0 &&
    inside(start, compressedBytes) &&
    dataPageOffset - start <= compressedBytes &&
    inside(chunk.offsetIndexOffset, chunk.offsetIndexBytes) &&
    inside(chunk.columnIndexOffset, chunk.columnIndexBytes) &&
    valueCount <= ENTRIES_MAX &&
    (statistics?.nullCount ?? 0) <= valueCount;
  if (!ok) throw corrupt(`column ${leaf.path.join('.')} lies outside of the file`);
}

/** First byte of a chunk: its dictionary page, or else its first data page. */
export function chunkStart(chunk: ColumnChunk): number {
  const { dictionaryPageOffset, dataPageOffset } = chunk;
  return Math.min(dataPageOffset, dictionaryPageOffset ?? dataPageOffset);
}
