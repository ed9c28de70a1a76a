// Columns of one part: a run of rows of one row group of an input. Levels are decoded once for all columns
// that share them; of a column that is all null nothing is read.
import type { BitRank } from '../../lib/bit-rank.ts';
import type { WorkMemory } from '../../lib/work-memory.ts';
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

/** What is read into memory that is used again, and for how long it is there. */
export interface ColumnMemory {
  /** For one column of the result. */
  readonly column: WorkMemory;
  /** For one row group of it. */
  readonly group: WorkMemory;
}

export class PartColumns {
  readonly part: PartRows;
  private readonly memory: ColumnMemory;
  private readonly group: GroupColumns;
  private readonly signal: AbortSignal | undefined;
  private readonly listsOf: (structure: Structure) => Structure;
  private readonly entries = new Map<Structure, PartEntries>();
  /** Definition levels of the anchors. */
  private readonly anchorLevels = new Map<Structure, Uint8Array | number>();
  /** Of a column without values. */
  private readonly noValues: Int32Array;

  /** @param listsOf the structure whose entries a structure shares. */
  constructor(
    part: PartRows,
    memory: ColumnMemory,
    listsOf: (structure: Structure) => Structure,
    signal: AbortSignal | undefined,
  ) {
    this.part = part;
    this.memory = memory;
    this.listsOf = listsOf;
    this.group = part.source.group;
    this.signal = signal;
    this.noValues = memory.group.words(part.to - part.from + 1).fill(0);
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
    const { memory } = this;
    const { pages, start, dictionaryPage } = await this.open(name);
    if (pages.leaf.maxDefinition !== leaf.maxDefinition || pages.leaf.maxRepetition !== leaf.maxRepetition) {
      throw this.group.damaged(name, 'has other levels than columns of its name');
    }
    const entries = this.entriesOf(structure, pages, start);
    const end = start + entries.count;
    if (end > pages.entryCount) throw this.group.damaged(name, 'lacks entries');
    const { maxDefinition } = leaf;
    const isAnchor = name === structure.anchor;
    const levels = definitionOf(pages, isAnchor ? memory.group : memory.column);
    const definition = levels?.subarray(start, end) ?? maxDefinition;
    if (isAnchor) this.anchorLevels.set(structure, definition);
    const present = levels === undefined ? undefined : pages.valueBits();
    const { decompressors } = this.group.file;
    return {
      entries,
      definition,
      valueStarts: valueStarts(entries, start, present, memory.column),
      values: exactValues(pages, { dictionaryPage, decompressors, memory: memory.column }),
    };
  }

  /** The pages with the rows of the part, and the entry of them that the rows begin with. */
  private async open(name: string): Promise<{
    readonly pages: ColumnPages;
    readonly start: number;
    readonly dictionaryPage: Uint8Array;
  }> {
    const { column } = this.memory;
    const range = await this.group.rowRange(name, this.part, column, this.signal);
    const { pages, firstRow, dictionaryPage } = range;
    return { pages, start: firstEntry(pages, this.part.from - firstRow, column), dictionaryPage };
  }

  /** Nulls stand where the innermost list around them that has anything has its elements. */
  private async nulls(column: PlannedColumn): Promise<PartColumn> {
    let structure: Structure | undefined = column.structure;
    while (structure !== undefined && !this.group.hasValues(structure.anchor)) structure = structure.parent;
    if (structure === undefined) throw this.group.damaged(column.name, 'has no values');
    if (!this.anchorLevels.has(structure)) await this.readAnchor(structure);
    const entries = this.entries.get(this.listsOf(structure))!;
    const definition = this.anchorLevels.get(structure)!;
    return { entries, definition, valueStarts: this.noValues, values: undefined };
  }

  private async readAnchor(structure: Structure): Promise<void> {
    const { pages, start } = await this.open(structure.anchor);
    const { count } = this.entriesOf(structure, pages, start);
    const levels = definitionOf(pages, this.memory.group);
    this.anchorLevels.set(structure, levels?.subarray(start, start + count) ?? pages.leaf.maxDefinition);
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
    const all = pages.repetitionLevels(this.memory.group.bytes(pages.entryCount));
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

/** undefined: no entry is null. */
function definitionOf(pages: ColumnPages, memory: WorkMemory): Uint8Array | undefined {
  if (pages.valueCount === pages.entryCount) return undefined;
  return pages.definitionLevels(memory.bytes(pages.entryCount));
}

/** The entry, among those of the pages, that their row `wanted` begins with. */
function firstEntry(pages: ColumnPages, wanted: number, memory: WorkMemory): number {
  const { maxRepetition } = pages.leaf;
  if (maxRepetition === 0 || wanted === 0) return wanted;
  let rows = -1;
  for (const { repetition, entryCount, firstEntry: first } of pages.pages) {
    const levels = memory.bytes(entryCount);
    const { bytes, start, end } = repetition;
    decodeIndices(bytes, start, end, levelWidth(maxRepetition), entryCount, levels, 0);
    for (let i = 0; i < entryCount; i++) if (levels[i] === 0 && ++rows === wanted) return first + i;
  }
  return pages.entryCount;
}

/** @param present entries of the pages that have a value; undefined = all. */
function valueStarts(
  { rowStarts }: PartEntries,
  start: number,
  present: BitRank | undefined,
  memory: WorkMemory,
): Int32Array {
  const starts = memory.words(rowStarts.length);
  for (let row = 0; row < starts.length; row++) {
    const entry = start + rowStarts[row];
    starts[row] = present === undefined ? entry : present.rank(entry);
  }
  return starts;
}
