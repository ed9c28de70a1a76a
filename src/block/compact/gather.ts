// Puts the columns of several parts together in the order of the result's rows: entries with their levels
// once for each structure, then values, column by column.
import type { Leaf } from '../../parquet/types.ts';
import { type ColumnValues, Entries } from '../../parquet/values.ts';
import { MergedStrings, TableIds } from './merged-strings.ts';
import type { PartColumn } from './part-columns.ts';

/** The rows of the result as runs of neighbouring rows of one part. */
export interface RowRuns {
  readonly part: Int32Array;
  /** Row that each run begins with, counted within its part. */
  readonly row: Int32Array;
  readonly length: Int32Array;
  /** Row of the result that each page begins with; the last element is their number. */
  readonly pageRows: Int32Array;
}

/** Below this many elements a loop copies faster than a view and `set`. */
const LOOP_COPY_MAX = 32;

function copy8(out: Uint8Array, at: number, from: Uint8Array, start: number, end: number): void {
  if (end - start > LOOP_COPY_MAX) out.set(from.subarray(start, end), at);
  else for (let i = start, k = at; i < end; i++, k++) out[k] = from[i];
}

function copy32(out: Int32Array, at: number, from: Int32Array, start: number, end: number): void {
  if (end - start > LOOP_COPY_MAX) out.set(from.subarray(start, end), at);
  else for (let i = start, k = at; i < end; i++, k++) out[k] = from[i];
}

/** @param columns one a part, as everywhere here. */
export function gatherEntries(columns: readonly PartColumn[], runs: RowRuns): Entries {
  const { part, row, length, pageRows } = runs;
  let total = 0;
  for (let run = 0; run < part.length; run++) {
    const { rowStarts } = columns[part[run]].entries;
    total += rowStarts[row[run] + length[run]] - rowStarts[row[run]];
  }
  const isRepeated = columns.some(({ entries }) => entries.repetition !== undefined);
  const repetition = isRepeated ? new Uint8Array(total) : undefined;
  const pageStarts = new Int32Array(pageRows.length);
  let at = 0;
  let page = 0;
  let out = 0;
  for (let run = 0; run < part.length; run++) {
    const { rowStarts, repetition: levels } = columns[part[run]].entries;
    const first = row[run];
    const end = first + length[run];
    for (; page < pageRows.length && pageRows[page] < out + length[run]; page++) {
      pageStarts[page] = at + rowStarts[first + pageRows[page] - out] - rowStarts[first];
    }
    if (repetition !== undefined && levels !== undefined) {
      copy8(repetition, at, levels, rowStarts[first], rowStarts[end]);
    }
    at += rowStarts[end] - rowStarts[first];
    out += length[run];
  }
  while (page < pageRows.length) pageStarts[page++] = at;
  return new Entries(total, repetition, pageStarts);
}

export function gatherDefinition(
  columns: readonly PartColumn[],
  runs: RowRuns,
  count: number,
): Uint8Array | number {
  const [first] = columns;
  const { definition: level } = first;
  if (typeof level === 'number' && columns.every(({ definition }) => definition === level)) return level;
  const { part, row, length } = runs;
  const out = new Uint8Array(count);
  let at = 0;
  for (let run = 0; run < part.length; run++) {
    const { definition, entries } = columns[part[run]];
    const start = entries.rowStarts[row[run]];
    const end = entries.rowStarts[row[run] + length[run]];
    if (typeof definition === 'number') out.fill(definition, at, at + end - start);
    else copy8(out, at, definition, start, end);
    at += end - start;
  }
  return out;
}

/** @param areRepeated strings are likely to repeat, and are to get one number each. */
export function gatherValues(
  columns: readonly PartColumn[],
  runs: RowRuns,
  leaf: Leaf,
  areRepeated: boolean,
): ColumnValues {
  const total = valueCount(columns, runs);
  const kinds = new Set(columns.flatMap(({ values }) => (values === undefined ? [] : [values.kind])));
  switch (leaf.type) {
    case 'BYTE_ARRAY':
      if (kinds.has('strings') || (areRepeated && !areDistinct(columns, runs, total))) {
        return gatherStrings(columns, runs, total);
      }
      return gatherPacked(columns, runs, total);
    case 'INT32':
      return { kind: 'int32', values: gather32(columns, runs, total) };
    case 'INT64':
      return { kind: 'int64', words: gather64(columns, runs, total) };
    case 'DOUBLE':
      return { kind: 'double', words: gather64(columns, runs, total) };
    case 'BOOLEAN':
      return { kind: 'bool', values: gatherBools(columns, runs, total) };
  }
}

function valueCount(columns: readonly PartColumn[], { part, row, length }: RowRuns): number {
  let total = 0;
  for (let run = 0; run < part.length; run++) {
    const { valueStarts } = columns[part[run]];
    total += valueStarts[row[run] + length[run]] - valueStarts[row[run]];
  }
  return total;
}

function gather32(columns: readonly PartColumn[], { part, row, length }: RowRuns, total: number): Int32Array {
  const out = new Int32Array(total);
  let at = 0;
  for (let run = 0; run < part.length; run++) {
    const { values, valueStarts } = columns[part[run]];
    if (values?.kind !== 'int32') continue;
    const start = valueStarts[row[run]];
    const end = valueStarts[row[run] + length[run]];
    copy32(out, at, values.values, start, end);
    at += end - start;
  }
  return out;
}

/** Two words a value. */
function gather64(columns: readonly PartColumn[], { part, row, length }: RowRuns, total: number): Int32Array {
  const out = new Int32Array(total * 2);
  let at = 0;
  for (let run = 0; run < part.length; run++) {
    const { values, valueStarts } = columns[part[run]];
    if (values?.kind !== 'int64' && values?.kind !== 'double') continue;
    const start = 2 * valueStarts[row[run]];
    const end = 2 * valueStarts[row[run] + length[run]];
    copy32(out, at, values.words, start, end);
    at += end - start;
  }
  return out;
}

function gatherBools(
  columns: readonly PartColumn[],
  { part, row, length }: RowRuns,
  total: number,
): Uint8Array {
  const out = new Uint8Array(total);
  let at = 0;
  for (let run = 0; run < part.length; run++) {
    const { values, valueStarts } = columns[part[run]];
    if (values?.kind !== 'bool') continue;
    const start = valueStarts[row[run]];
    const end = valueStarts[row[run] + length[run]];
    copy8(out, at, values.values, start, end);
    at += end - start;
  }
  return out;
}

/** Bytes of neighbouring strings are neighbours, so that a run is one copy. */
function gatherPacked(
  columns: readonly PartColumn[],
  { part, row, length }: RowRuns,
  total: number,
): ColumnValues {
  const starts = new Int32Array(total + 1);
  let at = 0;
  let bytesAt = 0;
  for (let run = 0; run < part.length; run++) {
    const { values, valueStarts } = columns[part[run]];
    if (values?.kind !== 'packed') continue;
    const start = valueStarts[row[run]];
    const end = valueStarts[row[run] + length[run]];
    const shift = bytesAt - values.starts[start];
    for (let i = start; i < end; i++) starts[at++] = values.starts[i] + shift;
    bytesAt += values.starts[end] - values.starts[start];
  }
  starts[total] = bytesAt;
  const bytes = new Uint8Array(bytesAt);
  bytesAt = 0;
  for (let run = 0; run < part.length; run++) {
    const { values, valueStarts } = columns[part[run]];
    if (values?.kind !== 'packed') continue;
    const start = values.starts[valueStarts[row[run]]];
    const end = values.starts[valueStarts[row[run] + length[run]]];
    copy8(bytes, bytesAt, values.bytes, start, end);
    bytesAt += end - start;
  }
  return { kind: 'packed', bytes, starts };
}

/** So many of the strings are looked at, of columns that have several times as many. */
const SAMPLE = 16_384;
const SAMPLE_OF_MIN = 65_536;
const DISTINCT_SHARE_MIN = 0.9;

/**
 * True of many strings that hardly repeat, as far as the first ones tell: their inputs found so too, as they
 * made no dictionary of them.
 */
function areDistinct(columns: readonly PartColumn[], runs: RowRuns, total: number): boolean {
  if (total < SAMPLE_OF_MIN) return false;
  const { part, row, length } = runs;
  const table = new MergedStrings();
  let seen = 0;
  for (let run = 0; run < part.length && seen < SAMPLE; run++) {
    const { values, valueStarts } = columns[part[run]];
    if (values?.kind !== 'packed') continue;
    const end = valueStarts[row[run] + length[run]];
    for (let i = valueStarts[row[run]]; i < end; i++, seen++) {
      table.idOf(values.bytes, values.starts[i], values.starts[i + 1]);
    }
  }
  return table.size > seen * DISTINCT_SHARE_MIN;
}

/** Strings of all parts under the numbers of one table. */
function gatherStrings(
  columns: readonly PartColumn[],
  { part, row, length }: RowRuns,
  total: number,
): ColumnValues {
  const table = new MergedStrings();
  const tables = columns.map(({ values }) =>
    values?.kind === 'strings' ? new TableIds(table, values.table) : undefined,
  );
  const ids = new Int32Array(total);
  let at = 0;
  for (let run = 0; run < part.length; run++) {
    const { values, valueStarts } = columns[part[run]];
    const start = valueStarts[row[run]];
    const end = valueStarts[row[run] + length[run]];
    if (values?.kind === 'strings') {
      const own = tables[part[run]];
      if (own === undefined) continue;
      for (let i = start; i < end; i++) ids[at++] = own.idOf(values.ids[i]);
    } else if (values?.kind === 'packed') {
      const { bytes, starts } = values;
      for (let i = start; i < end; i++) ids[at++] = table.idOf(bytes, starts[i], starts[i + 1]);
    }
  }
  return { kind: 'strings', ids, table };
}
