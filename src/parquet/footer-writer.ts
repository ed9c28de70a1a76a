// Serialises what stands behind the pages: column indexes, offset indexes and the footer (FileMetaData).
import type { ByteWriter } from '../lib/byte-writer.ts';
import { type Bounds, compareBounds } from './bounds.ts';
import type { WrittenChunk, WrittenColumn } from './column-writer.ts';
import { ENCODING_NUMBER } from './page-writer.ts';
import { ThriftType, ThriftWriter } from './thrift-writer.ts';
import type { Codec, Encoding, LogicalType, PhysicalType, Repetition, SchemaNode } from './types.ts';

const TYPE_NUMBER: Readonly<Record<PhysicalType, number>> = {
  BOOLEAN: 0,
  INT32: 1,
  INT64: 2,
  DOUBLE: 5,
  BYTE_ARRAY: 6,
};
const REPETITION_NUMBER: Readonly<Record<Repetition, number>> = { REQUIRED: 0, OPTIONAL: 1, REPEATED: 2 };
const CODEC_NUMBER: Readonly<Record<Codec, number>> = { UNCOMPRESSED: 0, SNAPPY: 1, ZSTD: 6 };
const CONVERTED_NUMBER: Readonly<Record<LogicalType, number>> = {
  STRING: 0,
  MAP: 1,
  LIST: 3,
  UINT_32: 13,
  UINT_64: 14,
  INT_32: 17,
  INT_64: 18,
};
/** Field of the LogicalType union; integers are apart. */
const LOGICAL_FIELD = { STRING: 1, MAP: 2, LIST: 3 } as const;
const LOGICAL_INTEGER_FIELD = 10;

const FORMAT_VERSION = 2;
const NO_BYTES = new Uint8Array(0);

/** Where an index went. */
export interface IndexPlace {
  readonly offset: number;
  readonly bytes: number;
}

interface FooterColumn {
  readonly column: WrittenChunk;
  readonly columnIndex: IndexPlace;
  readonly offsetIndex: IndexPlace;
}

export interface FooterRowGroup {
  readonly rowCount: number;
  readonly columns: readonly FooterColumn[];
}

export interface Footer {
  readonly schema: SchemaNode;
  readonly createdBy: string;
  readonly rowGroups: readonly FooterRowGroup[];
}

export function encodeColumnIndex(out: ByteWriter, column: WrittenColumn): void {
  const { pages } = column;
  const thrift = new ThriftWriter(out);
  thrift.beginElement();
  thrift.list(1, ThriftType.false, pages.length);
  for (const page of pages) thrift.boolElement(page.bounds === undefined);
  thrift.list(2, ThriftType.binary, pages.length);
  for (const page of pages) thrift.binaryElement(page.bounds?.min ?? NO_BYTES);
  thrift.list(3, ThriftType.binary, pages.length);
  for (const page of pages) thrift.binaryElement(page.bounds?.max ?? NO_BYTES);
  thrift.i32(4, boundaryOrder(column));
  thrift.list(5, ThriftType.i64, pages.length);
  for (const page of pages) thrift.numberElement(page.nullCount);
  thrift.end();
}

/** 0 unordered, 1 ascending, 2 descending; pages without values do not count. */
function boundaryOrder({ leaf, pages }: WrittenColumn): number {
  let ascending = true;
  let descending = true;
  let last: Bounds | undefined;
  for (const { bounds } of pages) {
    if (bounds === undefined) continue;
    if (last !== undefined) {
      const min = compareBounds(leaf, last.min, bounds.min);
      const max = compareBounds(leaf, last.max, bounds.max);
      if (min > 0 || max > 0) ascending = false;
      if (min < 0 || max < 0) descending = false;
      if (!ascending && !descending) return 0;
    }
    last = bounds;
  }
  return ascending ? 1 : 2;
}

export function encodeOffsetIndex(out: ByteWriter, column: WrittenColumn): void {
  const thrift = new ThriftWriter(out);
  thrift.beginElement();
  thrift.list(1, ThriftType.struct, column.pages.length);
  for (const { location } of column.pages) {
    thrift.beginElement();
    thrift.i64(1, location.offset);
    thrift.i32(2, location.compressedBytes);
    thrift.i64(3, location.firstRow);
    thrift.end();
  }
  thrift.end();
}

export function encodeFooter(out: ByteWriter, footer: Footer): void {
  const thrift = new ThriftWriter(out);
  const nodes: SchemaNode[] = [];
  flatten(footer.schema, nodes);
  let rows = 0;
  for (const group of footer.rowGroups) rows += group.rowCount;
  thrift.beginElement();
  thrift.i32(1, FORMAT_VERSION);
  thrift.list(2, ThriftType.struct, nodes.length);
  for (const node of nodes) schemaElement(thrift, node, node === footer.schema);
  thrift.i64(3, rows);
  thrift.list(4, ThriftType.struct, footer.rowGroups.length);
  footer.rowGroups.forEach((group, i) => rowGroup(thrift, group, i));
  thrift.text(6, footer.createdBy);
  columnOrders(thrift, nodes);
  thrift.end();
}

function flatten(node: SchemaNode, out: SchemaNode[]): void {
  out.push(node);
  for (const child of node.children ?? []) flatten(child, out);
}

function schemaElement(thrift: ThriftWriter, node: SchemaNode, isRoot: boolean): void {
  thrift.beginElement();
  if (node.type !== undefined) thrift.i32(1, TYPE_NUMBER[node.type]);
  if (!isRoot) thrift.i32(3, REPETITION_NUMBER[node.repetition]);
  thrift.text(4, node.name);
  if (node.children !== undefined) thrift.i32(5, node.children.length);
  if (node.logical !== undefined) {
    thrift.i32(6, CONVERTED_NUMBER[node.logical]);
    thrift.begin(10);
    logicalType(thrift, node.logical);
    thrift.end();
  }
  thrift.end();
}

function logicalType(thrift: ThriftWriter, logical: LogicalType): void {
  if (logical === 'STRING' || logical === 'MAP' || logical === 'LIST') {
    thrift.begin(LOGICAL_FIELD[logical]);
  } else {
    thrift.begin(LOGICAL_INTEGER_FIELD);
    thrift.i8(1, logical.endsWith('64') ? 64 : 32);
    thrift.bool(2, logical.startsWith('INT'));
  }
  thrift.end();
}

/** Without it readers ignore the bounds of strings and unsigned numbers. */
function columnOrders(thrift: ThriftWriter, nodes: readonly SchemaNode[]): void {
  const leaves = nodes.filter((node) => node.type !== undefined);
  thrift.list(7, ThriftType.struct, leaves.length);
  for (let i = 0; i < leaves.length; i++) {
    thrift.beginElement();
    thrift.begin(1);
    thrift.end();
    thrift.end();
  }
}

function rowGroup(thrift: ThriftWriter, group: FooterRowGroup, ordinal: number): void {
  const { columns } = group;
  let compressed = 0;
  let uncompressed = 0;
  for (const { column } of columns) {
    compressed += column.compressedBytes;
    uncompressed += column.uncompressedBytes;
  }
  thrift.beginElement();
  thrift.list(1, ThriftType.struct, columns.length);
  for (const column of columns) columnChunk(thrift, column);
  thrift.i64(2, uncompressed);
  thrift.i64(3, group.rowCount);
  thrift.i64(5, firstPageOffset(columns[0].column));
  thrift.i64(6, compressed);
  thrift.i16(7, ordinal);
  thrift.end();
}

function firstPageOffset(column: WrittenChunk): number {
  return column.dictionaryPageOffset ?? column.dataPageOffset;
}

function columnChunk(thrift: ThriftWriter, { column, columnIndex, offsetIndex }: FooterColumn): void {
  thrift.beginElement();
  thrift.i64(2, 0); // file_offset: deprecated, its writers say 0
  thrift.begin(3);
  thrift.i32(1, TYPE_NUMBER[column.leaf.type]);
  thrift.list(2, ThriftType.i32, column.encodings.length);
  for (const encoding of column.encodings) thrift.numberElement(ENCODING_NUMBER[encoding]);
  thrift.list(3, ThriftType.binary, column.leaf.path.length);
  for (const name of column.leaf.path) thrift.textElement(name);
  thrift.i32(4, CODEC_NUMBER[column.codec]);
  thrift.i64(5, column.valueCount);
  thrift.i64(6, column.uncompressedBytes);
  thrift.i64(7, column.compressedBytes);
  thrift.i64(9, column.dataPageOffset);
  if (column.dictionaryPageOffset !== undefined) thrift.i64(11, column.dictionaryPageOffset);
  statistics(thrift, column);
  pageEncodings(thrift, column);
  thrift.end();
  thrift.i64(4, offsetIndex.offset);
  thrift.i32(5, offsetIndex.bytes);
  thrift.i64(6, columnIndex.offset);
  thrift.i32(7, columnIndex.bytes);
  thrift.end();
}

const DATA_PAGE = 0;
const DICTIONARY_PAGE = 2;
const DATA_PAGE_V2 = 3;

/** How many pages have which encoding: a reader learns that every value is in the dictionary. */
function pageEncodings(thrift: ThriftWriter, column: WrittenChunk): void {
  const hasDictionary = column.dictionaryPageOffset !== undefined;
  const pages = (type: number, encoding: Encoding, count: number): void => {
    thrift.beginElement();
    thrift.i32(1, type);
    thrift.i32(2, ENCODING_NUMBER[encoding]);
    thrift.i32(3, count);
    thrift.end();
  };
  thrift.list(13, ThriftType.struct, hasDictionary ? 2 : 1);
  if (hasDictionary) pages(DICTIONARY_PAGE, 'PLAIN', 1);
  const encoding = column.encodings[column.encodings.length - 1];
  pages(column.pageVersion === 1 ? DATA_PAGE : DATA_PAGE_V2, encoding, column.pageCount);
}

function statistics(thrift: ThriftWriter, column: WrittenChunk): void {
  thrift.begin(12);
  thrift.i64(3, column.nullCount);
  if (column.bounds !== undefined) {
    thrift.binary(5, column.bounds.max);
    thrift.binary(6, column.bounds.min);
  }
  thrift.end();
}
