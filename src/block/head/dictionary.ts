// Interned byte strings of a head: equal bytes get one id. The bytes lie in the arena where every thread
// can read them, the hash table that finds them is private to the writer.
import type { Arena } from './arena.ts';
import type { VecWriter } from './vec.ts';

const SLOTS_MIN = 1024;
const PAGE_MIN_BYTES = 4 * 1024;
const PAGE_MAX_BYTES = 256 * 1024;
/** Below this a loop copies quicker than `set` of a new view. */
const COPY_LOOP_MAX = 64;

/** A seeded 32-bit hash of some bytes. */
export function hashBytes(bytes: Uint8Array, start: number, length: number, seed: number): number {
  let h = seed ^ length;
  let i = start;
  const end = start + length;
  for (const last = end - 4; i <= last; i += 4) {
    const word = bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
    h = Math.imul(h ^ word, 0x9e3779b1);
    h ^= h >>> 15;
  }
  for (; i < end; i++) h = Math.imul(h ^ bytes[i]!, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/**
 * Open addressing with linear probing. A slot is one tag byte (0 = free, else 8 bits of the hash) and one
 * id: probing stays in the small tag array, and the string itself is looked at only when the tag agrees.
 */
export class Dictionary {
  private readonly arena: Arena;
  private readonly offsets: VecWriter;
  private readonly lengths: VecWriter;
  private readonly seed = (Math.random() * 0x1_0000_0000) | 0;
  private tags = new Uint8Array(SLOTS_MIN);
  private ids = new Int32Array(SLOTS_MIN);
  private mask = SLOTS_MIN - 1;
  private growAt = SLOTS_MIN * 0.625;
  private page = 0; // next free byte of the current page
  private pageEnd = 0;
  private pageBytes = PAGE_MIN_BYTES;
  /** Bytes of all strings. */
  private stringBytes = 0;

  constructor(arena: Arena, offsets: VecWriter, lengths: VecWriter) {
    this.arena = arena;
    this.offsets = offsets;
    this.lengths = lengths;
  }

  /**
   * The id of `length` bytes of `source` from `start` on; they are copied when they are new. Throws
   * ArenaFullError.
   */
  intern(source: Uint8Array, start: number, length: number): number {
    const hash = hashBytes(source, start, length, this.seed);
    const tag = hash >>> 24 || 1;
    const tags = this.tags;
    const mask = this.mask;
    let slot = hash & mask;
    for (;;) {
      const found = tags[slot]!;
      if (found === 0) return this.add(source, start, length, slot, tag);
      if (found === tag && this.equals(this.ids[slot]!, source, start, length)) return this.ids[slot]!;
      slot = (slot + 1) & mask;
    }
  }

  /** Bytes of memory that the strings and the private table take (not the offset and length vectors). */
  get sizeBytes(): number {
    return this.stringBytes + this.tags.byteLength + this.ids.byteLength;
  }

  private equals(id: number, source: Uint8Array, start: number, length: number): boolean {
    if (this.lengths.get(id) !== length) return false;
    const bytes = this.arena.bytes;
    const offset = this.offsets.get(id) >>> 0;
    for (let i = 0; i < length; i++) if (bytes[offset + i] !== source[start + i]) return false;
    return true;
  }

  private add(source: Uint8Array, start: number, length: number, slot: number, tag: number): number {
    const id = this.offsets.count;
    const offset = this.place(length);
    const bytes = this.arena.bytes;
    if (length <= COPY_LOOP_MAX) {
      for (let i = 0; i < length; i++) bytes[offset + i] = source[start + i]!;
    } else {
      bytes.set(source.subarray(start, start + length), offset);
    }
    this.stringBytes += length;
    this.offsets.push(offset | 0);
    this.lengths.push(length);
    this.tags[slot] = tag;
    this.ids[slot] = id;
    if (id >= this.growAt) this.grow();
    return id;
  }

  /** Room for one string: in the current page, or on its own when it is long. */
  private place(length: number): number {
    if (length > this.pageEnd - this.page) {
      if (length * 4 > this.pageBytes) return this.arena.allocate(length);
      this.page = this.arena.allocate(this.pageBytes);
      this.pageEnd = this.page + this.pageBytes;
      this.pageBytes = Math.min(this.pageBytes * 2, PAGE_MAX_BYTES);
    }
    const offset = this.page;
    this.page += length;
    return offset;
  }

  private grow(): void {
    const slots = this.tags.length * 2;
    const mask = slots - 1;
    const tags = new Uint8Array(slots);
    const ids = new Int32Array(slots);
    const bytes = this.arena.bytes;
    const count = this.offsets.count;
    for (let id = 0; id < count; id++) {
      const hash = hashBytes(bytes, this.offsets.get(id) >>> 0, this.lengths.get(id), this.seed);
      let slot = hash & mask;
      while (tags[slot] !== 0) slot = (slot + 1) & mask;
      tags[slot] = hash >>> 24 || 1;
      ids[slot] = id;
    }
    this.tags = tags;
    this.ids = ids;
    this.mask = mask;
    this.growAt = slots * 0.625;
  }
}
