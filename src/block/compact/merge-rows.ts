// The order in which the rows of several blocks become rows of one: ascending by trace id, cut into row
// groups. Holds the ids of one row group of each block at a time.
import { TempoError } from '../../lib/errors.ts';
import { IntList } from '../../lib/int-list.ts';
import { TRACE_ID_BYTES } from '../../model/ids.ts';
import type { Block } from '../vparquet/open.ts';
import type { RowGroupSource } from '../vparquet/row-group.ts';
import { loadSpanTree } from '../vparquet/span-tree.ts';
import { blaming } from './blamed.ts';

export interface MergeLimits {
  /** A row group ends before the row that would take it over this. */
  readonly rowGroupSpans: number;
  /** As rowGroupSpans, in bytes of the inputs before compression. */
  readonly rowGroupBytes: number;
}

/** Rows [from, to) of a row group of an input: those that take part in one row group of the result. */
export interface PartRows {
  readonly source: RowGroupSource;
  readonly from: number;
  to: number;
}

/** A row group to be. */
export interface MergedRows {
  readonly parts: PartRows[];
  /** 16 bytes a row. */
  readonly ids: Uint8Array;
  /** By row: the part and, in its row group, the row that it comes from. */
  readonly part: Int32Array;
  readonly row: Int32Array;
  readonly spans: Int32Array;
  /** Rows that have more copies than the one that they come from. */
  readonly shared: SharedRows;
}

/** Copies of shared row k: elements [ends[k - 1], ends[k]) of `part`, `row` and `spans`. */
interface SharedRows {
  /** Among the rows of the result. */
  readonly at: Int32Array;
  readonly ends: Int32Array;
  readonly part: Int32Array;
  readonly row: Int32Array;
  readonly spans: Int32Array;
}

/** The rows of one input, one after the other. */
class RowCursor {
  row = 0;
  rowCount = 0;
  ids: Uint8Array = new Uint8Array(0);
  /** Of the row group at hand in the row group to be; -1 = it has no part yet. */
  part = -1;
  bytesPerSpan = 0;
  source: RowGroupSource;
  private readonly block: Block;
  private readonly signal: AbortSignal | undefined;
  private group = -1;
  private rowSpan: Int32Array = new Int32Array(0);
  private lastId: Uint8Array | undefined;

  constructor(block: Block, signal: AbortSignal | undefined) {
    this.block = block;
    this.source = block.rowGroups[0];
    this.signal = signal;
  }

  get spans(): number {
    return this.rowSpan[this.row + 1] - this.rowSpan[this.row];
  }

  /** Goes to a row group with rows; false at the end. */
  nextGroup(): Promise<boolean> {
    return blaming(this.block.meta.blockId, () => this.openNext());
  }

  private async openNext(): Promise<boolean> {
    const { block, signal } = this;
    this.row = 0;
    this.part = -1;
    for (;;) {
      this.group++;
      const source = block.rowGroups[this.group];
      if (source === undefined) return false;
      this.rowCount = source.traceCount;
      if (this.rowCount === 0) continue;
      this.source = source;
      const { ids, sorted } = await source.traceIds(signal);
      const before = this.lastId;
      if (!sorted || (before !== undefined && compareIds(before, 0, ids, 0) >= 0)) {
        throw new TempoError('block_corrupt', `block ${block.meta.blockId}: rows are not in order`);
      }
      this.ids = ids;
      this.lastId = ids.subarray(ids.length - TRACE_ID_BYTES);
      this.rowSpan = (await loadSpanTree(source.group, signal)).rowSpan;
      const spans = this.rowSpan[this.rowCount];
      this.bytesPerSpan = source.group.group.totalBytes / Math.max(1, spans);
      return true;
    }
  }
}

function compareIds(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number): number {
  for (let k = 0; k < TRACE_ID_BYTES; k++) {
    const difference = a[aAt + k] - b[bAt + k];
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Goes over all rows of the blocks. A row group to be must be done with before the next one is asked for. */
export async function* mergeRows(
  blocks: readonly Block[],
  limits: MergeLimits,
  signal?: AbortSignal,
): AsyncGenerator<MergedRows> {
  const cursors: RowCursor[] = [];
  for (const block of blocks) {
    const cursor = new RowCursor(block, signal);
    if (await cursor.nextGroup()) cursors.push(cursor);
  }
  let group = new GroupBuilder();
  while (cursors.length > 0) {
    if (!takeRows(cursors, group, limits)) {
      yield group.finish();
      group = new GroupBuilder();
      for (const cursor of cursors) cursor.part = -1;
    }
    for (const cursor of cursors.filter(({ row, rowCount }) => row === rowCount)) {
      if (!(await cursor.nextGroup())) cursors.splice(cursors.indexOf(cursor), 1);
    }
  }
  if (group.rows > 0) yield group.finish();
}

/**
 * Adds rows until an input is at the end of its row group.
 * @returns false when the group is full before.
 */
function takeRows(cursors: readonly RowCursor[], group: GroupBuilder, limits: MergeLimits): boolean {
  const equal: RowCursor[] = [];
  for (let isAtEnd = false; !isAtEnd; ) {
    leastRows(cursors, equal);
    let spans = 0;
    let bytes = 0;
    for (const cursor of equal) {
      spans += cursor.spans;
      bytes += cursor.spans * cursor.bytesPerSpan;
    }
    const tooLarge = group.spans + spans > limits.rowGroupSpans || group.bytes + bytes > limits.rowGroupBytes;
    if (group.rows > 0 && tooLarge) return false;
    group.add(equal);
    group.spans += spans;
    group.bytes += bytes;
    for (const cursor of equal) if (++cursor.row === cursor.rowCount) isAtEnd = true;
  }
  return true;
}

/** Leaves those at the lowest id in `equal`, in the order of the inputs. */
function leastRows(cursors: readonly RowCursor[], equal: RowCursor[]): void {
  equal.length = 0;
  for (const cursor of cursors) {
    const least = equal[0];
    const order =
      least === undefined
        ? -1
        : compareIds(cursor.ids, cursor.row * TRACE_ID_BYTES, least.ids, least.row * TRACE_ID_BYTES);
    if (order > 0) continue;
    if (order < 0) equal.length = 0;
    equal.push(cursor);
  }
}

class GroupBuilder {
  /** Copies counted each. */
  spans = 0;
  bytes = 0;
  rows = 0;
  private readonly parts: PartRows[] = [];
  private ids = new Uint8Array(TRACE_ID_BYTES * 1024);
  private readonly part = new IntList();
  private readonly row = new IntList();
  private readonly rowSpans = new IntList();
  private readonly sharedAt = new IntList();
  private readonly sharedEnds = new IntList();
  private readonly sharedPart = new IntList();
  private readonly sharedRow = new IntList();
  private readonly sharedSpans = new IntList();

  /** A row with its copies. */
  add(equal: readonly RowCursor[]): void {
    const first = equal[0];
    if ((this.rows + 1) * TRACE_ID_BYTES > this.ids.length) {
      const larger = new Uint8Array(this.ids.length * 2);
      larger.set(this.ids);
      this.ids = larger;
    }
    const at = first.row * TRACE_ID_BYTES;
    for (let k = 0; k < TRACE_ID_BYTES; k++) this.ids[this.rows * TRACE_ID_BYTES + k] = first.ids[at + k];
    for (const cursor of equal) this.use(cursor);
    this.part.push(first.part);
    this.row.push(first.row);
    this.rowSpans.push(first.spans);
    if (equal.length > 1) {
      this.sharedAt.push(this.rows);
      for (const cursor of equal) {
        this.sharedPart.push(cursor.part);
        this.sharedRow.push(cursor.row);
        this.sharedSpans.push(cursor.spans);
      }
      this.sharedEnds.push(this.sharedPart.length);
    }
    this.rows++;
  }

  private use(cursor: RowCursor): void {
    if (cursor.part < 0) {
      cursor.part = this.parts.length;
      this.parts.push({ source: cursor.source, from: cursor.row, to: cursor.row });
    }
    this.parts[cursor.part].to = cursor.row + 1;
  }

  finish(): MergedRows {
    return {
      parts: this.parts,
      ids: this.ids.subarray(0, this.rows * TRACE_ID_BYTES),
      part: this.part.view(),
      row: this.row.view(),
      spans: this.rowSpans.view(),
      shared: {
        at: this.sharedAt.view(),
        ends: this.sharedEnds.view(),
        part: this.sharedPart.view(),
        row: this.sharedRow.view(),
        spans: this.sharedSpans.view(),
      },
    };
  }
}
