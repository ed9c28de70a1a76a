// Writes a Parquet file front to back: row groups column by column, then the page indexes, then the footer.
// Nothing of the file is held in memory except its page indexes, encoded, and what the footer needs.
import { ByteWriter } from '../lib/byte-writer.ts';
import { type ColumnInput, ColumnWriter, type WrittenChunk } from './column-writer.ts';
import {
  encodeColumnIndex,
  encodeFooter,
  encodeOffsetIndex,
  type FooterRowGroup,
  type IndexPlace,
} from './footer-writer.ts';
import { FileOutput } from './page-writer.ts';
import type { Checksum, SchemaNode } from './types.ts';

const MAGIC = Uint8Array.of(0x50, 0x41, 0x52, 0x31); // PAR1

export interface FinishedFile {
  readonly sizeBytes: number;
  /** Without the length and magic behind it. */
  readonly footerBytes: number;
}

/** One index of each column of a row group, one behind the other. */
interface EncodedIndexes {
  readonly bytes: Uint8Array;
  /** By column. */
  readonly lengths: readonly number[];
}

interface RowGroup {
  readonly rowCount: number;
  readonly columns: readonly WrittenChunk[];
  readonly columnIndexes: EncodedIndexes;
  readonly offsetIndexes: EncodedIndexes;
}

/** Indexes of the row group at hand: as objects those of a large file would be most of what it takes. */
class IndexWriter {
  private readonly out = new ByteWriter(1 << 14);
  private lengths: number[] = [];

  add(encode: (out: ByteWriter) => void): void {
    const before = this.out.length;
    encode(this.out);
    this.lengths.push(this.out.length - before);
  }

  take(): EncodedIndexes {
    const taken = { bytes: this.out.view().slice(), lengths: this.lengths };
    this.out.reset();
    this.lengths = [];
    return taken;
  }
}

export class ParquetFileWriter {
  private readonly schema: SchemaNode;
  private readonly createdBy: string;
  private readonly out: FileOutput;
  private readonly columns: ColumnWriter;
  private readonly groups: RowGroup[] = [];
  private readonly columnIndexes = new IndexWriter();
  private readonly offsetIndexes = new IndexWriter();
  /** Of the row group at hand. */
  private pageRows: Int32Array | undefined;
  private chunks: WrittenChunk[] = [];

  /**
   * @param write gets views that it must consume before it returns.
   * @param checksum for the pages to carry one.
   */
  constructor(
    schema: SchemaNode,
    createdBy: string,
    write: (bytes: Uint8Array) => void,
    checksum?: Checksum,
  ) {
    this.schema = schema;
    this.createdBy = createdBy;
    this.out = new FileOutput(write);
    this.columns = new ColumnWriter(this.out, checksum);
    this.out.put(MAGIC);
  }

  /** Bytes so far. */
  get sizeBytes(): number {
    return this.out.position;
  }

  /** @param pageRows row that each page begins with, of all columns; the last element is the row count. */
  beginRowGroup(pageRows: Int32Array): void {
    this.endRowGroup();
    this.pageRows = pageRows;
  }

  /** Columns come in the order of the schema's leaves. */
  column(input: ColumnInput): WrittenChunk {
    const written = this.columns.write(input, this.pageRows!);
    this.columnIndexes.add((out) => encodeColumnIndex(out, written));
    this.offsetIndexes.add((out) => encodeOffsetIndex(out, written));
    this.chunks.push(written.chunk);
    return written.chunk;
  }

  private endRowGroup(): void {
    if (this.pageRows === undefined) return;
    this.groups.push({
      rowCount: this.pageRows[this.pageRows.length - 1],
      columns: this.chunks,
      columnIndexes: this.columnIndexes.take(),
      offsetIndexes: this.offsetIndexes.take(),
    });
    this.pageRows = undefined;
    this.chunks = [];
  }

  private place({ bytes, lengths }: EncodedIndexes): IndexPlace[] {
    let offset = this.out.position;
    this.out.put(bytes);
    return lengths.map((length) => {
      offset += length;
      return { offset: offset - length, bytes: length };
    });
  }

  finish(): FinishedFile {
    this.endRowGroup();
    const columnIndexes = this.groups.map((group) => this.place(group.columnIndexes));
    const offsetIndexes = this.groups.map((group) => this.place(group.offsetIndexes));
    const rowGroups = this.groups.map(
      (group, g): FooterRowGroup => ({
        rowCount: group.rowCount,
        columns: group.columns.map((column, c) => ({
          column,
          columnIndex: columnIndexes[g][c],
          offsetIndex: offsetIndexes[g][c],
        })),
      }),
    );
    const scratch = new ByteWriter(1 << 16);
    encodeFooter(scratch, { schema: this.schema, createdBy: this.createdBy, rowGroups });
    const footerBytes = scratch.length;
    scratch.u32(footerBytes);
    scratch.raw(MAGIC);
    this.out.put(scratch.view());
    this.out.flush();
    return { sizeBytes: this.out.position, footerBytes };
  }
}
