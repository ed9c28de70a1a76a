// Single rows of a column: their levels, and where their values are. For the few rows that are shown or
// returned whole; searches never come here.
import { corrupt } from './corrupt.ts';
import { type ByteRange, type ColumnPages, levelWidth } from './column-pages.ts';
import { IndexCursor } from './decode/indices.ts';

export interface RowSlice {
  /** Entries of the k-th wanted row are [rowStarts[k], rowStarts[k + 1]). */
  readonly rowStarts: Int32Array;
  readonly rep: Uint8Array;
  readonly def: Uint8Array;
  /**
   * Positions of the values among those of the pages: one for each entry whose `def` is the column's
   * maximum.
   */
  readonly positions: Int32Array;
}

/** Levels of one page at ascending entries. */
class LevelCursor {
  private readonly max: number;
  private cursor: IndexCursor | undefined;

  constructor(max: number) {
    this.max = max;
  }

  begin({ bytes, start, end }: ByteRange): void {
    if (this.max > 0) this.cursor = new IndexCursor(bytes, start, end, levelWidth(this.max));
  }

  at(entry: number): number {
    return this.cursor === undefined ? 0 : this.cursor.at(entry);
  }
}

/** Where the entries of the wanted rows are. */
interface RowSpans {
  readonly starts: Int32Array;
  readonly ends: Int32Array;
}

/** Above this many rows of a page decoding its levels as a whole is cheaper than going to each row. */
const SINGLE_ROWS_MAX = 2;

/** @param rows ascending; each must lie in one of the pages. */
export function sliceRows(column: ColumnPages, rows: Int32Array): RowSlice {
  const spans = entriesOf(column, rows);
  const rowStarts = new Int32Array(rows.length + 1);
  for (let k = 0; k < rows.length; k++) rowStarts[k + 1] = rowStarts[k] + spans.ends[k] - spans.starts[k];
  const count = rowStarts[rows.length];
  const rep = new Uint8Array(count);
  const def = new Uint8Array(count);
  if (rows.length > column.pages.length * SINGLE_ROWS_MAX) copyLevels(column, spans, rep, def);
  else walkLevels(column, spans, rep, def);
  return { rowStarts, rep, def, positions: valuePositions(column, spans, rowStarts, def) };
}

function entriesOf(column: ColumnPages, rows: Int32Array): RowSpans {
  const { pages } = column;
  const bits = column.leaf.maxRepetition === 0 ? undefined : column.repetitionBits(0, 0);
  const starts = new Int32Array(rows.length);
  const ends = new Int32Array(rows.length);
  let next = 0;
  for (let k = 0; k < rows.length; k++) {
    const row = rows[k];
    while (next < pages.length && pages[next].firstRow + pages[next].rowCount <= row) next++;
    const page = pages[next];
    if (page === undefined || page.firstRow > row) throw corrupt(`column ${column.name} has no row ${row}`);
    if (bits === undefined) {
      starts[k] = page.firstEntry + row - page.firstRow;
      ends[k] = starts[k] + 1;
      continue;
    }
    const ordinal = bits.rank(page.firstEntry) + row - page.firstRow;
    starts[k] = bits.select(ordinal);
    ends[k] = bits.select(ordinal + 1);
    if (starts[k] >= column.entryCount) throw corrupt(`column ${column.name} has no row ${row}`);
  }
  return { starts, ends };
}

function copyLevels(column: ColumnPages, { starts, ends }: RowSpans, rep: Uint8Array, def: Uint8Array): void {
  const { maxRepetition, maxDefinition } = column.leaf;
  const allRep = maxRepetition === 0 ? undefined : column.repetitionLevels();
  const allDef = maxDefinition === 0 ? undefined : column.definitionLevels();
  let at = 0;
  for (let k = 0; k < starts.length; k++) {
    for (let e = starts[k]; e < ends[k]; e++, at++) {
      if (allRep !== undefined) rep[at] = allRep[e];
      if (allDef !== undefined) def[at] = allDef[e];
    }
  }
}

function walkLevels(column: ColumnPages, { starts, ends }: RowSpans, rep: Uint8Array, def: Uint8Array): void {
  const { pages, leaf } = column;
  const repetition = new LevelCursor(leaf.maxRepetition);
  const definition = new LevelCursor(leaf.maxDefinition);
  let current = -1;
  let at = 0;
  for (let k = 0; k < starts.length; k++) {
    for (let e = starts[k]; e < ends[k]; e++, at++) {
      if (current < 0 || e >= pages[current].firstEntry + pages[current].entryCount) {
        current = pageOf(column, Math.max(0, current), e);
        repetition.begin(pages[current].repetition);
        definition.begin(pages[current].definition);
      }
      rep[at] = repetition.at(e - pages[current].firstEntry);
      def[at] = definition.at(e - pages[current].firstEntry);
    }
  }
}

function valuePositions(
  column: ColumnPages,
  { starts }: RowSpans,
  rowStarts: Int32Array,
  def: Uint8Array,
): Int32Array {
  const { maxDefinition } = column.leaf;
  const bits = column.valueCount === column.entryCount ? undefined : column.valueBits();
  const positions = new Int32Array(def.length);
  let count = 0;
  for (let k = 0; k < starts.length; k++) {
    let position = bits === undefined ? starts[k] : bits.rank(starts[k]);
    for (let at = rowStarts[k]; at < rowStarts[k + 1]; at++) {
      if (def[at] === maxDefinition) positions[count++] = position++;
    }
  }
  return positions.subarray(0, count);
}

function pageOf(column: ColumnPages, from: number, entry: number): number {
  const { pages } = column;
  let k = from;
  while (k < pages.length && pages[k].firstEntry + pages[k].entryCount <= entry) k++;
  if (k >= pages.length) throw corrupt(`column ${column.name} has no entry ${entry}`);
  return k;
}
