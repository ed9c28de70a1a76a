// Puts the levels of several parts together in the order of the result's rows, once for each structure.
import type { WorkMemory } from '../../lib/work-memory.ts';
import { Entries } from '../../parquet/values.ts';
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
const LOOP_COPY_MAX = 256;

export function copy8(out: Uint8Array, at: number, from: Uint8Array, start: number, end: number): void {
  if (end - start > LOOP_COPY_MAX) out.set(from.subarray(start, end), at);
  else for (let i = start, k = at; i < end; i++, k++) out[k] = from[i];
}

/** @param columns one a part, as everywhere here. */
export function gatherEntries(columns: readonly PartColumn[], runs: RowRuns, memory: WorkMemory): Entries {
  const { part, row, length, pageRows } = runs;
  let total = 0;
  for (let run = 0; run < part.length; run++) {
    const { rowStarts } = columns[part[run]].entries;
    total += rowStarts[row[run] + length[run]] - rowStarts[row[run]];
  }
  const isRepeated = columns.some(({ entries }) => entries.repetition !== undefined);
  const repetition = isRepeated ? memory.bytes(total) : undefined;
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
    if (repetition !== undefined) {
      if (levels === undefined) repetition.fill(0, at, at + rowStarts[end] - rowStarts[first]);
      else copy8(repetition, at, levels, rowStarts[first], rowStarts[end]);
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
  memory: WorkMemory,
): Uint8Array | number {
  const [first] = columns;
  const { definition: level } = first;
  if (typeof level === 'number' && columns.every(({ definition }) => definition === level)) return level;
  const { part, row, length } = runs;
  const out = memory.bytes(count);
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
