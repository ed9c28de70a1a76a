// Writes pages (header, levels, body) to the file, and keeps what the page indexes will need to know about
// them.
import { ByteWriter } from '../lib/byte-writer.ts';
import { ThriftWriter } from './thrift-writer.ts';
import type { Checksum, Compressor, Encoding, PageLocation } from './types.ts';

/** Where the file's bytes go; the position is the file offset of the next byte. */
export class FileOutput {
  position = 0;
  private readonly buffer: Uint8Array;
  private used = 0;
  private readonly write: (bytes: Uint8Array) => void;

  /** @param write gets views that it must consume before it returns. */
  constructor(write: (bytes: Uint8Array) => void, bufferBytes = 1 << 20) {
    this.write = write;
    this.buffer = new Uint8Array(bufferBytes);
  }

  put(bytes: Uint8Array): void {
    this.position += bytes.length;
    if (this.used + bytes.length > this.buffer.length) this.flush();
    if (bytes.length > this.buffer.length) {
      this.write(bytes);
      return;
    }
    this.buffer.set(bytes, this.used);
    this.used += bytes.length;
  }

  flush(): void {
    if (this.used > 0) this.write(this.buffer.subarray(0, this.used));
    this.used = 0;
  }
}

/** Numbers of the format's enumerations. */
export const ENCODING_NUMBER: Readonly<Record<Encoding, number>> = {
  PLAIN: 0,
  PLAIN_DICTIONARY: 2,
  RLE: 3,
  DELTA_BINARY_PACKED: 5,
  DELTA_LENGTH_BYTE_ARRAY: 6,
  DELTA_BYTE_ARRAY: 7,
  RLE_DICTIONARY: 8,
};

const DICTIONARY_PAGE = 2;
const DATA_PAGE = 0;
const DATA_PAGE_V2 = 3;

export interface PageParts {
  readonly repetition: Uint8Array;
  readonly definition: Uint8Array;
  readonly body: Uint8Array;
}

/** A compressed page of version 1, without its header. */
export interface PackedPage {
  readonly stored: Uint8Array;
  readonly uncompressedBytes: number;
}

export interface DataPage extends PageParts {
  /**
   * Levels are compressed with the values (a version 1 page); else they stand before them as they are
   * (version 2).
   */
  readonly packLevels: boolean;
  readonly entryCount: number;
  readonly nullCount: number;
  readonly rowCount: number;
  readonly encoding: Encoding;
}

/** Sizes of what was written, headers included. */
export interface WrittenPage {
  readonly location: PageLocation;
  readonly uncompressedBytes: number;
}

export class PageWriter {
  private readonly out: FileOutput;
  private readonly header = new ByteWriter(64);
  private readonly packed = new ByteWriter(1 << 16);

  private readonly checksum: Checksum | undefined;

  /** @param checksum for the pages to carry one. */
  constructor(out: FileOutput, checksum: Checksum | undefined) {
    this.out = out;
    this.checksum = checksum;
  }

  dictionaryPage(body: Uint8Array, valueCount: number, compressor: Compressor | undefined): WrittenPage {
    const stored = compressor === undefined ? body : compressor.compress(body);
    const thrift = this.begin(DICTIONARY_PAGE, body.length, [stored]);
    thrift.begin(7);
    thrift.i32(1, valueCount);
    thrift.i32(2, ENCODING_NUMBER.PLAIN);
    thrift.end();
    thrift.end();
    return this.finish(0, body.length, [stored]);
  }

  dataPage(page: DataPage, firstRow: number, compressor: Compressor | undefined): WrittenPage {
    if (page.packLevels && compressor !== undefined) {
      return this.packedPage(this.pack(page, compressor), page.entryCount, page.encoding, firstRow);
    }
    const { body, repetition, definition } = page;
    // A page that does not shrink, an empty one above all, is stored as it is and says so.
    let stored = compressor === undefined || body.length === 0 ? body : compressor.compress(body);
    const compressed = stored.length < body.length;
    if (!compressed) stored = body;
    const levelBytes = repetition.length + definition.length;
    const parts = [repetition, definition, stored];
    const thrift = this.begin(DATA_PAGE_V2, levelBytes + body.length, parts);
    thrift.begin(8);
    thrift.i32(1, page.entryCount);
    thrift.i32(2, page.nullCount);
    thrift.i32(3, page.rowCount);
    thrift.i32(4, ENCODING_NUMBER[page.encoding]);
    thrift.i32(5, definition.length);
    thrift.i32(6, repetition.length);
    thrift.bool(7, compressed);
    thrift.end();
    thrift.end();
    return this.finish(firstRow, levelBytes + body.length, parts);
  }

  /**
   * Compresses levels and values as version 1 has them: each kind of level that the column has, preceded
   * by its length.
   */
  pack(page: PageParts, compressor: Compressor): PackedPage {
    const { packed } = this;
    packed.reset();
    for (const levels of [page.repetition, page.definition]) {
      if (levels.length === 0) continue;
      packed.u32(levels.length);
      packed.raw(levels);
    }
    packed.raw(page.body);
    return { stored: compressor.compress(packed.view()), uncompressedBytes: packed.length };
  }

  packedPage(page: PackedPage, entryCount: number, encoding: Encoding, firstRow: number): WrittenPage {
    const thrift = this.begin(DATA_PAGE, page.uncompressedBytes, [page.stored]);
    thrift.begin(5);
    thrift.i32(1, entryCount);
    thrift.i32(2, ENCODING_NUMBER[encoding]);
    thrift.i32(3, ENCODING_NUMBER.RLE);
    thrift.i32(4, ENCODING_NUMBER.RLE);
    thrift.end();
    thrift.end();
    return this.finish(firstRow, page.uncompressedBytes, [page.stored]);
  }

  private begin(type: number, uncompressedBytes: number, parts: readonly Uint8Array[]): ThriftWriter {
    const storedBytes = parts.reduce((sum, part) => sum + part.length, 0);
    this.header.reset();
    const thrift = new ThriftWriter(this.header);
    thrift.beginElement();
    thrift.i32(1, type);
    thrift.i32(2, uncompressedBytes);
    thrift.i32(3, storedBytes);
    if (this.checksum !== undefined) {
      let crc = 0;
      for (const part of parts) crc = this.checksum(part, crc);
      thrift.i32(4, crc | 0);
    }
    return thrift;
  }

  private finish(firstRow: number, uncompressedBytes: number, parts: readonly Uint8Array[]): WrittenPage {
    const offset = this.out.position;
    this.out.put(this.header.view());
    for (const part of parts) this.out.put(part);
    const location = { offset, compressedBytes: this.out.position - offset, firstRow };
    return { location, uncompressedBytes: this.header.length + uncompressedBytes };
  }
}
