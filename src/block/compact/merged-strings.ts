// Strings of several dictionaries as one table: equal ones under one number, their bytes side by side.
import type { ByteTable } from '../../parquet/decode/byte-table.ts';
import type { ByteStrings } from '../../parquet/values.ts';

const STRINGS_MIN = 64;
const BYTES_MIN = 1024;

export class MergedStrings implements ByteStrings {
  size = 0;
  bytes: Uint8Array = new Uint8Array(BYTES_MIN);
  /** Where string `id` ends; it begins where the one before it ends. */
  private ends: Int32Array = new Int32Array(STRINGS_MIN);
  private hashes: Int32Array = new Int32Array(STRINGS_MIN);
  /** id + 1 by hash, 0 = free; a power of two of them, at most half full. */
  private slots: Int32Array = new Int32Array(2 * STRINGS_MIN);

  offset(id: number): number {
    return id === 0 ? 0 : this.ends[id - 1];
  }

  length(id: number): number {
    return this.ends[id] - this.offset(id);
  }

  /** The number of the string at [start, end). */
  idOf(bytes: Uint8Array, start: number, end: number): number {
    const hash = hashOf(bytes, start, end);
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
    const from = this.size === 0 ? 0 : this.ends[this.size - 1];
    const to = from + end - start;
    if (to > this.bytes.length) {
      const larger = new Uint8Array(to * 2);
      larger.set(this.bytes);
      this.bytes = larger;
    }
    if (this.size === this.ends.length) {
      this.ends = grown(this.ends);
      this.hashes = grown(this.hashes);
    }
    const own = this.bytes;
    for (let i = start, k = from; i < end; i++, k++) own[k] = bytes[i];
    this.ends[this.size] = to;
    this.hashes[this.size] = hash;
    this.size++;
  }

  private grow(): void {
    const slots = new Int32Array(this.slots.length * 2);
    const mask = slots.length - 1;
    for (let id = 0; id < this.size; id++) {
      let at = this.hashes[id] & mask;
      while (slots[at] !== 0) at = (at + 1) & mask;
      slots[at] = id + 1;
    }
    this.slots = slots;
  }
}

/** Numbers of the strings of one table, looked up once each. */
export class TableIds {
  private readonly merged: MergedStrings;
  private readonly table: ByteTable;
  private readonly ids: Int32Array;

  constructor(merged: MergedStrings, table: ByteTable) {
    this.merged = merged;
    this.table = table;
    this.ids = new Int32Array(table.size).fill(-1);
  }

  idOf(id: number): number {
    const known = this.ids[id];
    if (known >= 0) return known;
    const { table } = this;
    const bytes = table.bufferOf(id);
    const start = table.offset(id);
    return (this.ids[id] = this.merged.idOf(bytes, start, start + table.length(id)));
  }
}

function grown(items: Int32Array): Int32Array {
  const larger = new Int32Array(items.length * 2);
  larger.set(items);
  return larger;
}

function hashOf(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i], 0x01000193);
  return hash ^ (hash >>> 15);
}
