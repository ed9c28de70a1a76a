// Parser of a file's footer (FileMetaData of parquet.thrift). What it returns has been checked: levels
// worked out, every column chunk inside the file and matching its leaf.
import { corrupt } from './corrupt.ts';
import { schemaLeaves } from './schema-levels.ts';
import { ThriftReader } from './thrift-reader.ts';
import type {
  Codec,
  ColumnChunk,
  Encoding,
  FileMetadata,
  Leaf,
  LogicalType,
  PhysicalType,
  Repetition,
  RowGroup,
  SchemaNode,
  Statistics,
} from './types.ts';

/** Length and magic bytes behind the footer. */
export const FOOTER_TAIL_BYTES = 8;
const MAGIC = 0x31524150; // PAR1, little-endian
const SCHEMA_DEPTH_MAX = 32;
/** Levels are kept in 3 bits. */
const LEVEL_MAX = 7;
/** Entries of one column in one row group: bounds what a damaged file can make us allocate. */
const ENTRIES_MAX = 2 ** 27;

const TYPES: readonly (PhysicalType | undefined)[] = [
  'BOOLEAN',
  'INT32',
  'INT64',
  undefined,
  undefined,
  'DOUBLE',
  'BYTE_ARRAY',
  undefined,
];
const REPETITIONS: readonly Repetition[] = ['REQUIRED', 'OPTIONAL', 'REPEATED'];
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
const CONVERTED: Readonly<Record<number, LogicalType>> = {
  0: 'STRING',
  1: 'MAP',
  2: 'MAP',
  3: 'LIST',
  13: 'UINT_32',
  14: 'UINT_64',
  17: 'INT_32',
  18: 'INT_64',
};

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
  const reader = new ThriftReader(bytes);
  let schema: SchemaNode | undefined;
  let leaves: readonly Leaf[] = [];
  let rowCount = 0;
  let rowGroups: readonly RowGroup[] | undefined;
  let createdBy: string | undefined;
  const outer = reader.enter();
  while (reader.next()) {
    switch (reader.field) {
      case 2:
        schema = readSchema(reader);
        leaves = schemaLeaves(schema);
        break;
      case 3:
        rowCount = reader.count();
        break;
      case 4:
        rowGroups = readRowGroups(reader, leaves, fileBytes);
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
  return { schema, leaves, rowCount, rowGroups, createdBy };
}

interface SchemaElement {
  readonly name: string;
  readonly repetition: Repetition;
  readonly type: PhysicalType | undefined;
  readonly logical: LogicalType | undefined;
  readonly childCount: number;
  readonly isLeaf: boolean;
}

function readSchema(reader: ThriftReader): SchemaNode {
  const count = reader.list();
  const elements: SchemaElement[] = [];
  for (let i = 0; i < count; i++) elements.push(readSchemaElement(reader));
  const state = { next: 0 };
  const root = buildNode(elements, state, 0);
  if (state.next !== elements.length) throw corrupt('the schema is no tree');
  for (const leaf of schemaLeaves(root)) {
    if (leaf.maxDefinition > LEVEL_MAX) throw corrupt(`column ${leaf.path.join('.')} is nested too deeply`);
  }
  return root;
}

function readSchemaElement(reader: ThriftReader): SchemaElement {
  let type: PhysicalType | undefined;
  let isLeaf = false;
  let repetition: Repetition = 'REQUIRED';
  let name = '';
  let childCount = 0;
  let converted: LogicalType | undefined;
  const outer = reader.enter();
  while (reader.next()) {
    switch (reader.field) {
      case 1:
        type = TYPES[reader.int()];
        isLeaf = true;
        break;
      case 3:
        repetition = REPETITIONS[reader.int()];
        break;
      case 4:
        name = text.decode(reader.binary());
        break;
      case 5:
        childCount = reader.count();
        break;
      case 6:
        converted = CONVERTED[reader.int()];
        break;
      default:
        reader.skip();
    }
  }
  reader.leave(outer);
  if (repetition === undefined) throw corrupt(`column ${name} has no known repetition`);
  return { name, repetition, type, logical: converted, childCount, isLeaf };
}

function buildNode(elements: readonly SchemaElement[], state: { next: number }, depth: number): SchemaNode {
  const element = elements[state.next++];
  if (element === undefined || depth > SCHEMA_DEPTH_MAX) throw corrupt('the schema is no tree');
  const { name, repetition, type, logical, childCount } = element;
  const described = { name, repetition, ...(logical === undefined ? {} : { logical }) };
  if (element.isLeaf) {
    if (type === undefined) throw corrupt(`column ${name} has a type that is not supported`);
    return { ...described, type };
  }
  const children: SchemaNode[] = [];
  for (let i = 0; i < childCount; i++) children.push(buildNode(elements, state, depth + 1));
  return { ...described, children };
}

function readRowGroups(reader: ThriftReader, leaves: readonly Leaf[], fileBytes: number): RowGroup[] {
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
          columns = readColumns(reader, leaves, fileBytes);
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
    if (columns.length !== leaves.length) throw corrupt('a row group lacks columns');
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

function readColumns(reader: ThriftReader, leaves: readonly Leaf[], fileBytes: number): ColumnChunk[] {
  const count = reader.list();
  if (count !== leaves.length) throw corrupt('a row group has not the columns of the schema');
  const columns: ColumnChunk[] = [];
  for (let i = 0; i < count; i++) columns.push(readColumnChunk(reader, leaves[i], fileBytes));
  return columns;
}

type Mutable<T> = { -readonly [key in keyof T]: T[key] };

function readColumnChunk(reader: ThriftReader, leaf: Leaf, fileBytes: number): ColumnChunk {
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
        readColumnMetadata(reader, chunk);
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

function readColumnMetadata(reader: ThriftReader, chunk: Mutable<ColumnChunk>): void {
  const { leaf } = chunk;
  const outer = reader.enter();
  while (reader.next()) {
    switch (reader.field) {
      case 1:
        if (TYPES[reader.int()] !== leaf.type)
          throw corrupt(`column ${leaf.path.join('.')} has another type`);
        break;
      case 2:
        chunk.encodings = readEncodings(reader);
        break;
      case 3:
        checkPath(reader, leaf);
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

function readEncodings(reader: ThriftReader): Encoding[] {
  const count = reader.list();
  const encodings: Encoding[] = [];
  for (let i = 0; i < count; i++) {
    const encoding = encodingOf(reader.int());
    if (encoding !== undefined) encodings.push(encoding);
  }
  return encodings;
}

const DICTIONARY_PAGE = 2;

/** Undefined when a page has an encoding that is not known here. */
function readPageEncodings(reader: ThriftReader): Encoding[] | undefined {
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
  return known.length === found.size ? known : undefined;
}

function checkPath(reader: ThriftReader, leaf: Leaf): void {
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
        max = reader.binary().slice();
        break;
      case 6:
        min = reader.binary().slice();
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
