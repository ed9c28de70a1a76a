// Strings of several dictionaries as one table: equal ones under one number, in the order of their first use.
// Their bytes stand as in a dictionary page, each string behind its length. Used for column after column.
import type { OrderedStrings } from '../../parquet/values.ts';

const STRINGS_MIN = 64;
const BYTES_MIN = 1024;
const LENGTH_BYTES = 4;

export class MergedStrings implements OrderedStrings {
  size = 0;
  bytes: Uint8Array = new Uint8Array(BYTES_MIN);
  ends: Int32Array = new Int32Array(STRINGS_MIN);
  private hashes: Int32Array = new Int32Array(STRINGS_MIN);
  /** id + 1 by hash, 0 = free; a power of two of them, at most half full. */
  private slots: Int32Array = new Int32Array(2 * STRINGS_MIN);

  /** Forgets all strings. */
  reset(): void {
    this.size = 0;
    this.slots = this.emptySlots(2 * STRINGS_MIN);
  }

  offset(id: number): number {
    return (id === 0 ? 0 : this.ends[id - 1]) + LENGTH_BYTES;
  }

  length(id: number): number {
    return this.ends[id] - this.offset(id);
  }

  /** All of them, as the body of a dictionary page. */
  body(): Uint8Array {
    return this.bytes.subarray(0, this.size === 0 ? 0 : this.ends[this.size - 1]);
  }

  /** The number of the string at [start, end), of which the hash is known. */
  idOf(bytes: Uint8Array, start: number, end: number, hash: number): number {
    const mask = this.slots.length - 1;
    let at = hash & mask;
    for (let id = this.slots[at] - 1; id >= 0; id = this.slots[at] - 1) {
      if (this.hashes[id] === hash && this.isEqual(id, bytes, start, end)) return id;
      at = (at + 1) & mask;
    }
    const id = this.size;
    this.add(bytes, start, end, hash);
    if (this.size * 2 > this.slots.length) this.grow();
    else this.slots[at] = id + 1;
    return id;
  }

  private isEqual(id: number, bytes: Uint8Array, start: number, end: number): boolean {
    const from = this.offset(id);
    if (this.ends[id] - from !== end - start) return false;
    const own = this.bytes;
    for (let i = start, k = from; i < end; i++, k++) if (bytes[i] !== own[k]) return false;
    return true;
  }

  private add(bytes: Uint8Array, start: number, end: number, hash: number): void {
    const length = end - start;
    const from = this.size === 0 ? 0 : this.ends[this.size - 1];
    const to = from + LENGTH_BYTES + length;
    if (to > this.bytes.length) {
      const larger = new Uint8Array(to * 2);
      larger.set(this.bytes.subarray(0, from));
      this.bytes = larger;
    }
    if (this.size === this.ends.length) {
      this.ends = grown(this.ends);
      this.hashes = grown(this.hashes);
    }
    const own = this.bytes;
    own[from] = length;
    own[from + 1] = length >>> 8;
    own[from + 2] = length >>> 16;
    own[from + 3] = length >>> 24;
    for (let i = start, k = from + LENGTH_BYTES; i < end; i++, k++) own[k] = bytes[i];
    this.ends[this.size] = to;
    this.hashes[this.size] = hash;
    this.size++;
  }

  private grow(): void {
    const slots = this.emptySlots(this.slots.length * 2);
    const mask = slots.length - 1;
    for (let id = 0; id < this.size; id++) {
      let at = this.hashes[id] & mask;
      while (slots[at] !== 0) at = (at + 1) & mask;
      slots[at] = id + 1;
    }
    this.slots = slots;
  }

  /** Part of the most that there ever were, where these suffice. */
  private emptySlots(count: number): Int32Array {
    const { buffer } = this.slots;
    if (buffer.byteLength < count * 4) return new Int32Array(count);
    return new Int32Array(buffer, 0, count).fill(0);
  }
}

function grown(items: Int32Array): Int32Array {
  const larger = new Int32Array(items.length * 2);
  larger.set(items);
  return larger;
}
