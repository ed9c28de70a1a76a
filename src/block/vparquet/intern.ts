// Equal strings of a table under one small number, by a hash table over their bytes: for columns that
// repeat few strings without having a dictionary.
import { fnv1aOf32 } from '../../lib/hash.ts';
import type { ByteTable } from '../../parquet/decode/byte-table.ts';

export interface Interned {
  /** By value: the number of its string. */
  readonly codes: Int32Array;
  /** By number: an id of the string in the table. */
  readonly firsts: Int32Array;
}

const SLOTS_MIN = 64;
const COPIES_BYTES = 1024;

export function internStrings(ids: Int32Array, table: ByteTable): Interned {
  const byId = new Int32Array(table.size).fill(-1);
  const codes = new Int32Array(ids.length);
  const strings = new Slots(table);
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i];
    if (byId[id] < 0) byId[id] = strings.codeOf(id);
    codes[i] = byId[id];
  }
  return { codes, firsts: strings.firsts() };
}

class Slots {
  private readonly table: ByteTable;
  /** By code: an id of the string in the table. */
  private readonly ids: number[] = [];
  /**
   * By code: where a copy of the string ends in `copies`, so that comparing does not go to and fro between
   * pages.
   */
  private readonly ends: number[] = [];
  private copies = new Uint8Array(COPIES_BYTES);
  private readonly hashes: number[] = [];
  /** code + 1, 0 = free; a power of two of them, at most half full. */
  private slots = new Int32Array(SLOTS_MIN);

  constructor(table: ByteTable) {
    this.table = table;
  }

  firsts(): Int32Array {
    return Int32Array.from(this.ids);
  }

  codeOf(id: number): number {
    const { table, slots } = this;
    const bytes = table.bufferOf(id);
    const start = table.offset(id);
    const end = start + table.length(id);
    const hash = hashOf(bytes, start, end);
    const mask = slots.length - 1;
    let at = hash & mask;
    while (slots[at] !== 0) {
      if (this.hashes[slots[at] - 1] === hash && this.isEqual(slots[at] - 1, bytes, start, end))
        return slots[at] - 1;
      at = (at + 1) & mask;
    }
    this.add(id, bytes.subarray(start, end), hash);
    slots[at] = this.ids.length;
    if (this.ids.length * 2 > slots.length) this.grow();
    return this.ids.length - 1;
  }

  private add(id: number, text: Uint8Array, hash: number): void {
    const from = this.ends.at(-1) ?? 0;
    const end = from + text.length;
    if (end > this.copies.length) {
      const larger = new Uint8Array(end * 2);
      larger.set(this.copies);
      this.copies = larger;
    }
    this.copies.set(text, from);
    this.ids.push(id);
    this.ends.push(end);
    this.hashes.push(hash);
  }

  private grow(): void {
    const slots = new Int32Array(this.slots.length * 2);
    const mask = slots.length - 1;
    for (let code = 0; code < this.ids.length; code++) {
      let at = this.hashes[code] & mask;
      while (slots[at] !== 0) at = (at + 1) & mask;
      slots[at] = code + 1;
    }
    this.slots = slots;
  }

  private isEqual(code: number, bytes: Uint8Array, start: number, end: number): boolean {
    const { copies } = this;
    const from = code === 0 ? 0 : this.ends[code - 1];
    if (this.ends[code] - from !== end - start) return false;
    for (let i = start, k = from; i < end; i++, k++) if (bytes[i] !== copies[k]) return false;
    return true;
  }
}

function hashOf(bytes: Uint8Array, start: number, end: number): number {
  const hash = fnv1aOf32(bytes, start, end);
  return hash ^ (hash >>> 15);
}
