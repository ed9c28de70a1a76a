// Writes a Parquet file front to back: row groups column by column, then the page indexes, then the footer.
// Nothing of the file is held in memory except what the indexes and the footer need.
import { ByteWriter } from '../lib/byte-writer.ts';
import { type ColumnInput, ColumnWriter, type WrittenColumn } from './column-writer.ts';
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

interface OpenRowGroup {
  readonly rowCount: number;
  readonly pageRows: Int32Array;
  readonly columns: WrittenColumn[];
}

export class ParquetFileWriter {
  private readonly schema: SchemaNode;
  private readonly createdBy: string;
  private readonly out: FileOutput;
  private readonly columns: ColumnWriter;
  private readonly groups: OpenRowGroup[] = [];

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
    this.groups.push({ rowCount: pageRows[pageRows.length - 1], pageRows, columns: [] });
  }

  /** Columns come in the order of the schema's leaves. */
  column(input: ColumnInput): WrittenColumn {
    const group = this.groups[this.groups.length - 1];
    const written = this.columns.write(input, group.pageRows);
    group.columns.push(written);
    return written;
  }

  finish(): FinishedFile {
    const scratch = new ByteWriter(1 << 16);
    const place = (
      encode: (out: ByteWriter, column: WrittenColumn) => void,
      column: WrittenColumn,
    ): IndexPlace => {
      scratch.reset();
      encode(scratch, column);
      const offset = this.out.position;
      this.out.put(scratch.view());
      return { offset, bytes: scratch.length };
    };
    const columnIndexes = this.groups.map((g) => g.columns.map((column) => place(encodeColumnIndex, column)));
    const offsetIndexes = this.groups.map((g) => g.columns.map((column) => place(encodeOffsetIndex, column)));
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
    scratch.reset();
    encodeFooter(scratch, { schema: this.schema, createdBy: this.createdBy, rowGroups });
    const footerBytes = scratch.length;
    scratch.u32(footerBytes);
    scratch.raw(MAGIC);
    this.out.put(scratch.view());
    this.out.flush();
    return { sizeBytes: this.out.position, footerBytes };
  }
}
