// Parser of page headers (PageHeader of parquet.thrift): data pages v1 and v2, dictionary pages.
import { corrupt } from './corrupt.ts';
import { encodingOf } from './footer.ts';
import { ThriftReader } from './thrift-reader.ts';
import type { Encoding } from './types.ts';

type PageKind = 'data' | 'data_v2' | 'dictionary' | 'other';

export interface PageHeader {
  kind: PageKind;
  /** Bytes of the header itself. */
  headerBytes: number;
  uncompressedBytes: number;
  compressedBytes: number;
  /** CRC-32 of the page as it is stored, without this header. */
  crc: number | undefined;
  /** Entries, or strings of a dictionary. */
  valueCount: number;
  encoding: Encoding | undefined;
  // the rest in v2 only
  nullCount: number;
  rowCount: number;
  definitionBytes: number;
  repetitionBytes: number;
  compressed: boolean;
}

const KINDS: readonly PageKind[] = ['data', 'other', 'dictionary', 'data_v2'];

/** Reads the header at `pos`. */
export function readPageHeader(bytes: Uint8Array, pos: number): PageHeader {
  const reader = new ThriftReader(bytes, pos);
  const header: PageHeader = {
    kind: 'other',
    headerBytes: 0,
    uncompressedBytes: -1,
    compressedBytes: -1,
    crc: undefined,
    valueCount: 0,
    encoding: undefined,
    nullCount: 0,
    rowCount: 0,
    definitionBytes: 0,
    repetitionBytes: 0,
    compressed: true,
  };
  const outer = reader.enter();
  while (reader.next()) {
    switch (reader.field) {
      case 1:
        header.kind = KINDS[reader.count()] ?? 'other';
        break;
      case 2:
        header.uncompressedBytes = reader.count();
        break;
      case 3:
        header.compressedBytes = reader.count();
        break;
      case 4:
        header.crc = reader.int() >>> 0;
        break;
      case 5:
      case 7:
        readCountAndEncoding(reader, header);
        break;
      case 8:
        readVersion2(reader, header);
        break;
      default:
        reader.skip();
    }
  }
  reader.leave(outer);
  header.headerBytes = reader.pos - pos;
  check(header, bytes.length - reader.pos);
  return header;
}

function readCountAndEncoding(reader: ThriftReader, header: PageHeader): void {
  const outer = reader.enter();
  while (reader.next()) {
    if (reader.field === 1) header.valueCount = reader.count();
    else if (reader.field === 2) header.encoding = encodingOf(reader.count());
    else reader.skip();
  }
  reader.leave(outer);
}

function readVersion2(reader: ThriftReader, header: PageHeader): void {
  const outer = reader.enter();
  while (reader.next()) {
    switch (reader.field) {
      case 1:
        header.valueCount = reader.count();
        break;
      case 2:
        header.nullCount = reader.count();
        break;
      case 3:
        header.rowCount = reader.count();
        break;
      case 4:
        header.encoding = encodingOf(reader.count());
        break;
      case 5:
        header.definitionBytes = reader.count();
        break;
      case 6:
        header.repetitionBytes = reader.count();
        break;
      case 7:
        header.compressed = reader.bool();
        break;
      default:
        reader.skip();
    }
  }
  reader.leave(outer);
}

/** Largest page, uncompressed, that is believed: bounds what damage can make us allocate. */
const PAGE_BYTES_MAX = 2 ** 29;
/** And relative to what is stored: zstd turns 128 KiB of zeros into 4 bytes, nothing does better. */
const RATIO_MAX = 50_000;

function check(header: PageHeader, bytesLeft: number): void {
  const { compressedBytes, uncompressedBytes, definitionBytes, repetitionBytes, nullCount, valueCount } =
    header;
  const levels = definitionBytes + repetitionBytes;
  const ok =
    compressedBytes >= 0 &&
    compressedBytes <= bytesLeft &&
    uncompressedBytes >= 0 &&
    uncompressedBytes <= PAGE_BYTES_MAX &&
    uncompressedBytes <= (compressedBytes + 64) * RATIO_MAX &&
    levels <= compressedBytes &&
    levels <= uncompressedBytes &&
    nullCount <= valueCount;
  if (!ok) throw corrupt('a page header has impossible sizes');
}
