// Single rows of a column: their levels, and where their values are. For the few rows that are shown or returned
// whole; searches never come here.
import { corrupt } from './corrupt.ts';
import { type ByteRange, type ColumnPages, levelWidth } from './column-pages.ts';
import { IndexCursor } from './decode/indices.ts';
import { IntList } from '../lib/int-list.ts';

export interface RowSlice {
  /** Entries of the k-th wanted row are [rowStarts[k], rowStarts[k + 1]). */
  readonly rowStarts: Int32Array;
  readonly rep: Uint8Array;
  readonly def: Uint8Array;
  /** Positions of the values among those of the pages: one for each entry whose `def` is the column's maximum. */
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

/** @param rows ascending; each must lie in one of the pages. */
export function sliceRows(column: ColumnPages, rows: Int32Array): RowSlice {
  const { pages, leaf } = column;
  const { maxRepetition, maxDefinition } = leaf;
  const starts = maxRepetition === 0 ? undefined : column.repetitionBits(0, 0);
  const values = maxDefinition === 0 ? undefined : column.valueBits();
  const rowStarts = new Int32Array(rows.length + 1);
  const rep = new IntList();
  const def = new IntList();
  const positions = new IntList();
  const repetition = new LevelCursor(maxRepetition);
  const definition = new LevelCursor(maxDefinition);
  let current = -1;
  for (let k = 0; k < rows.length; k++) {
    const row = rows[k];
    let next = Math.max(0, current);
    while (next < pages.length && pages[next].firstRow + pages[next].rowCount <= row) next++;
    const page = pages[next];
    if (page === undefined || page.firstRow > row) throw corrupt(`column ${column.name} has no row ${row}`);
    let entry = page.firstEntry + row - page.firstRow;
    let end = entry + 1;
    if (starts !== undefined) {
      const ordinal = starts.rank(page.firstEntry) + row - page.firstRow;
      entry = starts.select(ordinal);
      end = starts.select(ordinal + 1);
      if (entry >= column.entryCount) throw corrupt(`column ${column.name} has no row ${row}`);
    }
    let position = values === undefined ? entry : values.rank(entry);
    for (; entry < end; entry++) {
      if (current < 0 || entry >= pages[current].firstEntry + pages[current].entryCount || current < next) {
        current = pageOf(column, Math.max(next, current), entry);
        repetition.begin(pages[current].repetition);
        definition.begin(pages[current].definition);
      }
      const level = definition.at(entry - pages[current].firstEntry);
      rep.push(repetition.at(entry - pages[current].firstEntry));
      def.push(level);
      if (level === maxDefinition) positions.push(position++);
    }
    rowStarts[k + 1] = rep.length;
  }
  return { rowStarts, rep: Uint8Array.from(rep.view()), def: Uint8Array.from(def.view()), positions: positions.view() };
}

function pageOf(column: ColumnPages, from: number, entry: number): number {
  const { pages } = column;
  let k = from;
  while (k < pages.length && pages[k].firstEntry + pages[k].entryCount <= entry) k++;
  if (k >= pages.length) throw corrupt(`column ${column.name} has no entry ${entry}`);
  return k;
}
