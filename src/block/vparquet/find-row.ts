// The row of a trace id: bounds of the row group and of its pages first, then the ids of the pages that are
// left.
import { readStrings } from '../../parquet/column-reader.ts';
import { ColumnPages } from '../../parquet/column-pages.ts';
import { parseColumnIndex, parseOffsetIndex } from '../../parquet/page-index.ts';
import type { ColumnChunk, PageLocation } from '../../parquet/types.ts';
import type { GroupColumns } from './group-columns.ts';

const NAME = 'TraceID';

/** Row of the id (16 bytes) in the row group; -1 when it is not there. */
export async function findRow(group: GroupColumns, id: Uint8Array, signal?: AbortSignal): Promise<number> {
  const cached = group.file.cache.get<{ ids: Uint8Array; sorted: boolean }>(group.cacheKey('ids'));
  if (cached?.sorted === true) return searchIds(cached.ids, id);
  const chunk = group.chunk(NAME);
  if (chunk === undefined) throw group.damaged(NAME, 'is missing');
  if (!mayHold(id, chunk.statistics?.min, chunk.statistics?.max)) return -1;
  for (const { offset, compressedBytes, firstRow } of await candidatePages(group, chunk, id, signal)) {
    const bytes = await group.read(offset, compressedBytes, signal);
    const pages = new ColumnPages(chunk, [{ bytes, firstRow }], group.file.decompressors, true);
    const { ids, table } = readStrings(pages, await group.dictionary(NAME, signal));
    const at = searchStrings(ids.length, (i) => table.bytes(ids[i]), id);
    if (at >= 0) return firstRow + at;
  }
  return -1;
}

async function candidatePages(
  group: GroupColumns,
  chunk: ColumnChunk,
  id: Uint8Array,
  signal?: AbortSignal,
): Promise<readonly PageLocation[]> {
  const { offsetIndexOffset, offsetIndexBytes, columnIndexOffset, columnIndexBytes } = chunk;
  const skipped =
    chunk.dataPageOffset - Math.min(chunk.dataPageOffset, chunk.dictionaryPageOffset ?? Infinity);
  const whole: PageLocation = {
    offset: chunk.dataPageOffset,
    compressedBytes: chunk.compressedBytes - skipped,
    firstRow: 0,
  };
  if (
    offsetIndexOffset === undefined ||
    offsetIndexBytes === undefined ||
    columnIndexOffset === undefined ||
    columnIndexBytes === undefined
  )
    return [whole];
  const [offsets, bounds] = await Promise.all([
    group.read(offsetIndexOffset, offsetIndexBytes, signal),
    group.read(columnIndexOffset, columnIndexBytes, signal),
  ]);
  const locations = parseOffsetIndex(offsets, chunk, group.rowCount);
  const { min, max } = parseColumnIndex(bounds);
  if (min.length !== locations.length) throw group.damaged(NAME, 'has indexes of different length');
  return locations.filter((_, i) => mayHold(id, min[i], max[i]));
}

/**
 * Bounds may be shortened: a prefix is below all that it begins, and an upper one is compared as far as it
 * goes.
 */
function mayHold(id: Uint8Array, min: Uint8Array | undefined, max: Uint8Array | undefined): boolean {
  if (min === undefined || max === undefined) return true;
  return compare(min, id, false) <= 0 && compare(max, id, true) >= 0;
}

function compare(bound: Uint8Array, id: Uint8Array, prefixIsEqual: boolean): number {
  for (let i = 0; i < Math.min(bound.length, id.length); i++) {
    if (bound[i] !== id[i]) return bound[i] - id[i];
  }
  return prefixIsEqual ? 0 : bound.length - id.length;
}

function searchIds(ids: Uint8Array, id: Uint8Array): number {
  return searchStrings(ids.length / 16, (i) => ids.subarray(16 * i, 16 * i + 16), id);
}

/** Rows ascend by id. */
function searchStrings(count: number, at: (i: number) => Uint8Array, id: Uint8Array): number {
  let low = 0;
  let high = count - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    const order = compare(paddedId(at(middle)), id, false);
    if (order === 0) return middle;
    if (order < 0) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}

/** The id as 16 bytes. */
function paddedId(id: Uint8Array): Uint8Array {
  const padded = new Uint8Array(16);
  const kept = id.subarray(Math.max(0, id.length - 16));
  padded.set(kept, 16 - kept.length);
  return padded;
}
