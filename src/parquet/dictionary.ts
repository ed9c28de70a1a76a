// The dictionary of one column chunk: distinct strings in order of first use, and each value's index among
// them.
import { ByteWriter } from '../lib/byte-writer.ts';
import { StringBounds, type Bounds } from './bounds.ts';
import { copyBytes } from './encode/plain.ts';
import type { ByteStrings, OrderedStrings } from './values.ts';

const NO_BYTES = new Uint8Array(0);

/** Reused over chunks: its scratch arrays are as large as the largest string table seen. */
export class DictionaryBuilder {
  /** Index of each value. */
  indices: Int32Array = new Int32Array(1024);
  /** Distinct strings. */
  size = 0;
  private table: ByteStrings | OrderedStrings | undefined;
  /** By string id + 1: index + 1, 0 = not in the dictionary. All 0 between chunks. */
  private slots: Int32Array = new Int32Array(0);
  /** String id by index. */
  private ids: Int32Array = new Int32Array(1024);
  private ownIndices: Int32Array = new Int32Array(1024);
  /** By index: where the string ends in `bytes`. */
  private ends: Int32Array = new Int32Array(0);
  private ownEnds: Int32Array = new Int32Array(0);
  /** The page's body, once it is made. */
  private bytes: Uint8Array = NO_BYTES;
  private readonly body = new ByteWriter(1 << 16);
  /** By index: page + 1 that it was last seen in. */
  private seen: Int32Array = new Int32Array(0);
  private readonly bounds = new StringBounds();

  /** Assigns indices to all values of a chunk. `release` must follow. */
  build(values: Int32Array, count: number, table: ByteStrings | OrderedStrings): void {
    this.table = table;
    if ('body' in table) {
      this.indices = values;
      this.size = table.size;
    } else this.number(values, count, table);
    const { size } = this;
    if (this.seen.length < size) this.seen = new Int32Array(size * 2);
    else this.seen.fill(0, 0, size);
  }

  private number(values: Int32Array, count: number, table: ByteStrings): void {
    if (this.slots.length <= table.size) this.slots = new Int32Array(table.size + 1);
    if (this.ownIndices.length < count) this.ownIndices = new Int32Array(count);
    if (this.ids.length < count) this.ids = new Int32Array(count);
    const { slots, ids, ownIndices: indices } = this;
    this.indices = indices;
    let size = 0;
    for (let i = 0; i < count; i++) {
      const id = values[i];
      let slot = slots[id + 1];
      if (slot === 0) {
        ids[size++] = id;
        slot = slots[id + 1] = size;
      }
      indices[i] = slot - 1;
    }
    this.size = size;
  }

  release(): void {
    const { table } = this;
    if (table !== undefined && !('body' in table)) {
      for (let i = 0; i < this.size; i++) this.slots[this.ids[i] + 1] = 0;
    }
    this.size = 0;
    this.table = undefined;
    this.indices = this.ownIndices;
  }

  /**
   * The body of the dictionary page, PLAIN; valid until the next chunk. `pageBounds` needs it to have
   * been made.
   */
  encode(): Uint8Array {
    const { ids, body } = this;
    const table = this.table!;
    if ('body' in table) {
      this.ends = table.ends;
      return (this.bytes = table.body());
    }
    if (this.ownEnds.length < this.size) this.ownEnds = new Int32Array(this.size * 2);
    const ends = (this.ends = this.ownEnds);
    body.reset();
    for (let i = 0; i < this.size; i++) {
      const id = ids[i];
      const length = id < 0 ? 0 : table.length(id);
      body.u32(length);
      if (length > 0) copyBytes(body, table.bytes, table.offset(id), length);
      ends[i] = body.length;
    }
    return (this.bytes = body.view());
  }

  /**
   * Highest index of values [from, to): pages at the front are narrower than the dictionary's size asks
   * for.
   */
  maxIndex(from: number, to: number): number {
    const { indices } = this;
    let max = 0;
    for (let i = from; i < to; i++) if (indices[i] > max) max = indices[i];
    return max;
  }

  /** Bounds of values [from, to), which are those of page `page` (pages are asked for in order). */
  pageBounds(from: number, to: number, page: number): Bounds | undefined {
    const { indices, seen, ends, bounds, bytes } = this;
    const mark = page + 1;
    bounds.reset();
    for (let i = from; i < to; i++) {
      const index = indices[i];
      if (seen[index] === mark) continue;
      seen[index] = mark;
      // in the page's body, where neighbours in use are neighbours in memory, unlike in the table
      const start = (index === 0 ? 0 : ends[index - 1]) + 4;
      bounds.add(bytes, start, ends[index] - start);
    }
    return bounds.bounds();
  }
}
