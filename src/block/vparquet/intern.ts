// Equal strings of a table under one small number, by a hash table over their bytes: for columns that repeat few strings
// without having a dictionary.
import type { ByteTable } from '../../parquet/decode/byte-table.ts';

export interface Interned {
  /** By value: the number of its string. */
  readonly codes: Int32Array;
  /** By number: an id of the string in the table. */
  readonly firsts: Int32Array;
}

const SLOTS_MIN = 64;

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
  private readonly ids: number[] = [];
  /** code + 1, 0 = free; a power of two of them, at most half full. */
  private slots = new Int32Array(SLOTS_MIN);

  constructor(table: ByteTable) {
    this.table = table;
  }

  firsts(): Int32Array {
    return Int32Array.from(this.ids);
  }

  codeOf(id: number): number {
    if (this.ids.length * 2 >= this.slots.length) this.grow();
    const at = this.find(id);
    if (this.slots[at] === 0) {
      this.ids.push(id);
      this.slots[at] = this.ids.length;
    }
    return this.slots[at] - 1;
  }

  /** The slot of an equal string, or the free one where it belongs. */
  private find(id: number): number {
    const mask = this.slots.length - 1;
    let at = this.hash(id) & mask;
    while (this.slots[at] !== 0 && !this.isEqual(this.ids[this.slots[at] - 1], id)) at = (at + 1) & mask;
    return at;
  }

  private grow(): void {
    this.slots = new Int32Array(this.slots.length * 2);
    for (let code = 0; code < this.ids.length; code++) this.slots[this.find(this.ids[code])] = code + 1;
  }

  private hash(id: number): number {
    const bytes = this.table.bufferOf(id);
    const start = this.table.offset(id);
    const end = start + this.table.length(id);
    let hash = 0x811c9dc5;
    for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i], 0x01000193);
    return hash ^ (hash >>> 15);
  }

  private isEqual(a: number, b: number): boolean {
    const { table } = this;
    const length = table.length(a);
    if (length !== table.length(b)) return false;
    const bytes = table.bufferOf(a);
    const others = table.bufferOf(b);
    const start = table.offset(a);
    const other = table.offset(b);
    for (let i = 0; i < length; i++) if (bytes[start + i] !== others[other + i]) return false;
    return true;
  }
}
