// The page index of a column chunk: where its pages are (OffsetIndex) and what they hold (ColumnIndex).
import { corrupt } from './corrupt.ts';
import { ThriftReader } from './thrift-reader.ts';
import type { ColumnChunk, PageLocation } from './types.ts';

/** Locations of the data pages, in order. */
export function parseOffsetIndex(bytes: Uint8Array, chunk: ColumnChunk, rowCount: number): PageLocation[] {
  const reader = new ThriftReader(bytes);
  let locations: PageLocation[] = [];
  const outer = reader.enter();
  while (reader.next()) {
    if (reader.field === 1) locations = readLocations(reader);
    else reader.skip();
  }
  reader.leave(outer);
  checkLocations(locations, chunk, rowCount);
  return locations;
}

function readLocations(reader: ThriftReader): PageLocation[] {
  const count = reader.list();
  const locations: PageLocation[] = [];
  for (let i = 0; i < count; i++) {
    let offset = 0;
    let compressedBytes = 0;
    let firstRow = 0;
    const outer = reader.enter();
    while (reader.next()) {
      switch (reader.field) {
        case 1:
          offset = reader.count();
          break;
        case 2:
          compressedBytes = reader.count();
          break;
        case 3:
          firstRow = reader.count();
          break;
        default:
          reader.skip();
      }
    }
    reader.leave(outer);
    locations.push({ offset, compressedBytes, firstRow });
  }
  return locations;
}

function checkLocations(locations: readonly PageLocation[], chunk: ColumnChunk, rowCount: number): void {
  const start = chunk.dataPageOffset;
  const end = Math.min(start, chunk.dictionaryPageOffset ?? start) + chunk.compressedBytes;
  let row = 0;
  for (let i = 0; i < locations.length; i++) {
    const { offset, compressedBytes, firstRow } = locations[i];
    const rowOk = i === 0 ? firstRow === 0 : firstRow >= row;
    if (!rowOk || firstRow > rowCount || offset < start || offset + compressedBytes > end) {
      throw corrupt(`page ${i} of column ${chunk.leaf.path.join('.')} lies outside of it`);
    }
    row = firstRow;
  }
}

export interface ColumnIndex {
  readonly nullPages: readonly boolean[];
  /** Bounds of each page, possibly shortened; empty for a page of nulls. */
  readonly min: readonly Uint8Array[];
  readonly max: readonly Uint8Array[];
}

export function parseColumnIndex(bytes: Uint8Array): ColumnIndex {
  const reader = new ThriftReader(bytes);
  const nullPages: boolean[] = [];
  const min: Uint8Array[] = [];
  const max: Uint8Array[] = [];
  const outer = reader.enter();
  while (reader.next()) {
    switch (reader.field) {
      case 1:
        for (let left = reader.list(); left > 0; left--) nullPages.push(reader.listBool());
        break;
      case 2:
        for (let left = reader.list(); left > 0; left--) min.push(reader.binary());
        break;
      case 3:
        for (let left = reader.list(); left > 0; left--) max.push(reader.binary());
        break;
      default:
        reader.skip();
    }
  }
  reader.leave(outer);
  if (min.length !== nullPages.length || max.length !== nullPages.length)
    throw corrupt('a column index is uneven');
  return { nullPages, min, max };
}
