// Columns of one part: a run of rows of one row group of an input. Levels are decoded once for all columns
// that share them; of a column that is all null nothing is read.
import { type ColumnPages, levelWidth } from '../../parquet/column-pages.ts';
import { decodeIndices } from '../../parquet/decode/indices.ts';
import { type ExactValues, exactValues } from '../../parquet/exact-values.ts';
import type { GroupColumns } from '../vparquet/group-columns.ts';
import { blaming } from './blamed.ts';
import type { PartRows } from './merge-rows.ts';
import type { PlannedColumn, Structure } from './structure.ts';

/** Entries of the columns of one structure. */
export interface PartEntries {
  readonly count: number;
  /** undefined: not repeated. */
  readonly repetition: Uint8Array | undefined;
  /** First entry of each row of the part, and one element more. */
  readonly rowStarts: Int32Array;
}

export interface PartColumn {
  readonly entries: PartEntries;
  /** By entry, or of all entries. */
  readonly definition: Uint8Array | number;
  /** First value of each row among `values`, and one element more. */
  readonly valueStarts: Int32Array;
  /** undefined: there are none. */
  readonly values: ExactValues | undefined;
}

export class PartColumns {
  readonly part: PartRows;
  private readonly group: GroupColumns;
  private readonly signal: AbortSignal | undefined;
  private readonly listsOf: (structure: Structure) => Structure;
  private readonly entries = new Map<Structure, PartEntries>();
  /** Definition levels of the anchors. */
  private readonly anchorLevels = new Map<Structure, Uint8Array | number>();

  /** @param listsOf the structure whose entries a structure shares. */
  constructor(part: PartRows, listsOf: (structure: Structure) => Structure, signal: AbortSignal | undefined) {
    this.part = part;
    this.listsOf = listsOf;
    this.group = part.source.group;
    this.signal = signal;
  }

  /** False when the part of the column surely holds nothing but nulls, or the block does not have it. */
  hasValues(column: string): boolean {
    return this.group.hasValues(column);
  }

  /** Entries of the column in the whole row group; undefined = the block does not have it. */
  entryCount(column: string): number | undefined {
    return this.group.chunk(column)?.valueCount;
  }

  column(column: PlannedColumn): Promise<PartColumn> {
    return blaming(this.group.file.blockId, () => this.read(column));
  }

  private async read(column: PlannedColumn): Promise<PartColumn> {
    if (!this.hasValues(column.name)) return this.nulls(column);
    const { name, structure, leaf } = column;
    const { from, to } = this.part;
    const { pages, dictionary } = await this.group.rowRange(name, from, to, this.signal);
    if (pages.leaf.maxDefinition !== leaf.maxDefinition || pages.leaf.maxRepetition !== leaf.maxRepetition) {
      throw this.group.damaged(name, 'has other levels than columns of its name');
    }
    const start = firstEntry(pages, from);
    const entries = this.entriesOf(structure, pages, start);
    const end = start + entries.count;
    if (end > pages.entryCount) throw this.group.damaged(name, 'lacks entries');
    const { maxDefinition } = leaf;
    const isFull = pages.valueCount === pages.entryCount;
    const levels = isFull ? undefined : pages.definitionLevels();
    const definition = levels?.subarray(start, end) ?? maxDefinition;
    if (name === structure.anchor) this.anchorLevels.set(structure, definition);
    const before = levels === undefined ? start : countOf(levels, maxDefinition, 0, start);
    return {
      entries,
      definition,
      valueStarts: valueStarts(entries, definition, maxDefinition, before),
      values: exactValues(pages, dictionary),
    };
  }

  /** Nulls stand where the innermost list around them that has anything has its elements. */
  private async nulls(column: PlannedColumn): Promise<PartColumn> {
    let structure: Structure | undefined = column.structure;
    while (structure !== undefined && !this.group.hasValues(structure.anchor)) structure = structure.parent;
    if (structure === undefined) throw this.group.damaged(column.name, 'has no values');
    if (!this.anchorLevels.has(structure)) await this.readAnchor(structure);
    const entries = this.entries.get(this.listsOf(structure))!;
    const definition = this.anchorLevels.get(structure)!;
    return { entries, definition, valueStarts: new Int32Array(entries.rowStarts.length), values: undefined };
  }

  private async readAnchor(structure: Structure): Promise<void> {
    const { from, to } = this.part;
    const { pages } = await this.group.rowRange(structure.anchor, from, to, this.signal);
    const start = firstEntry(pages, from);
    const { count } = this.entriesOf(structure, pages, start);
    const isFull = pages.valueCount === pages.entryCount;
    const { maxDefinition } = pages.leaf;
    this.anchorLevels.set(
      structure,
      isFull ? maxDefinition : pages.definitionLevels().subarray(start, start + count),
    );
  }

  private entriesOf(structure: Structure, pages: ColumnPages, start: number): PartEntries {
    const lists = this.listsOf(structure);
    let entries = this.entries.get(lists);
    if (entries === undefined) this.entries.set(lists, (entries = this.readEntries(pages, start)));
    return entries;
  }

  private readEntries(pages: ColumnPages, start: number): PartEntries {
    const rows = this.part.to - this.part.from;
    const rowStarts = new Int32Array(rows + 1);
    if (pages.leaf.maxRepetition === 0) {
      for (let row = 0; row <= rows; row++) rowStarts[row] = row;
      return { count: rows, repetition: undefined, rowStarts };
    }
    const all = pages.repetitionLevels();
    let row = 0;
    let at = start;
    for (; at < all.length; at++) {
      if (all[at] !== 0) continue;
      if (row === rows) break;
      rowStarts[row++] = at - start;
    }
    if (row < rows) throw this.group.damaged(pages.name, 'lacks rows');
    rowStarts[rows] = at - start;
    return { count: at - start, repetition: all.subarray(start, at), rowStarts };
  }
}

/** The entry, among those of the pages, that the row begins with. */
function firstEntry(pages: ColumnPages, row: number): number {
  const page = pages.pages.find(({ firstRow, rowCount }) => row < firstRow + rowCount);
  if (page === undefined) return 0;
  const wanted = row - page.firstRow;
  const { maxRepetition } = pages.leaf;
  if (maxRepetition === 0 || wanted === 0) return page.firstEntry + wanted;
  const levels = new Uint8Array(page.entryCount);
  const { bytes, start, end } = page.repetition;
  decodeIndices(bytes, start, end, levelWidth(maxRepetition), page.entryCount, levels, 0);
  let rows = -1;
  for (let i = 0; i < levels.length; i++) {
    if (levels[i] === 0 && ++rows === wanted) return page.firstEntry + i;
  }
  return page.firstEntry + levels.length;
}

function countOf(levels: Uint8Array, level: number, from: number, to: number): number {
  let count = 0;
  for (let i = from; i < to; i++) if (levels[i] === level) count++;
  return count;
}

function valueStarts(
  { rowStarts }: PartEntries,
  definition: Uint8Array | number,
  max: number,
  before: number,
): Int32Array {
  const starts = new Int32Array(rowStarts.length);
  if (typeof definition === 'number') {
    for (let row = 0; row < starts.length; row++) starts[row] = rowStarts[row] + before;
    return starts;
  }
  let value = before;
  starts[0] = value;
  for (let row = 0; row + 1 < starts.length; row++) {
    for (let at = rowStarts[row]; at < rowStarts[row + 1]; at++) if (definition[at] === max) value++;
    starts[row + 1] = value;
  }
  return starts;
}
