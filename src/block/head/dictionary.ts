// Interned byte strings of a head: equal bytes get one id. The bytes lie in the arena where every thread
// can read them, the hash table that finds them is private to the writer.
//
// Strings begin at multiples of 4 and their last word is filled with zeros: hashing a string once turns
// it into words, and comparing and copying then take a quarter of the steps.
import type { Arena } from './arena.ts';
import type { VecWriter } from './vec.ts';

const SLOTS_MIN = 64;
const LOAD_MAX = 0.625;
const PAGE_MIN_BYTES = 512;
const PAGE_MAX_BYTES = 256 * 1024;

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
  private growAt = SLOTS_MIN * LOAD_MAX;
  private page = 0; // next free byte of the current page
  private pageEnd = 0;
  private pageBytes = PAGE_MIN_BYTES;
  /** Bytes of all strings, with what fills their last words. */
  private stringBytes = 0;
  /** The string at hand as words. */
  private words = new Int32Array(16);

  constructor(arena: Arena, offsets: VecWriter, lengths: VecWriter) {
    this.arena = arena;
    this.offsets = offsets;
    this.lengths = lengths;
  }

  /**
   * The id of `length` bytes of `source` from `start` on; they are copied when they are new.
   * Up to 3 bytes after them are read and do not matter. Throws ArenaFullError.
   */
  intern(source: Uint8Array, start: number, length: number): number {
    const hash = this.read(source, start, length);
    const tag = hash >>> 24 || 1;
    const tags = this.tags;
    const mask = this.mask;
    let slot = hash & mask;
    for (;;) {
      const found = tags[slot]!;
      if (found === 0) return this.add(length, slot, tag);
      if (found === tag && this.equals(this.ids[slot]!, length)) return this.ids[slot]!;
      slot = (slot + 1) & mask;
    }
  }

  /** Bytes of memory that the strings and the private tables take (not the offset and length vectors). */
  get sizeBytes(): number {
    return this.stringBytes + this.tags.byteLength + this.ids.byteLength + this.words.byteLength;
  }

  /** Fills `words` and returns their hash. */
  private read(source: Uint8Array, start: number, length: number): number {
    if (length > this.words.length * 4) this.words = new Int32Array((length + 3) >>> 1);
    const words = this.words;
    let h = this.seed ^ length;
    let n = 0;
    let i = start;
    const end = start + length;
    for (const last = end - 4; i <= last; i += 4) {
      const word = source[i]! | (source[i + 1]! << 8) | (source[i + 2]! << 16) | (source[i + 3]! << 24);
      words[n++] = word;
      h = mix(h, word);
    }
    if (i < end) {
      const bytes = source[i]! | (source[i + 1]! << 8) | (source[i + 2]! << 16);
      const word = bytes & (0xff_ffff >>> (8 * (3 - end + i)));
      words[n] = word;
      h = mix(h, word);
    }
    return finish(h);
  }

  /** Whether string `id` is the one in `words`. */
  private equals(id: number, length: number): boolean {
    if (this.lengths.get(id) !== length) return false;
    const stored = this.arena.words;
    const words = this.words;
    const first = this.offsets.get(id) >>> 2;
    const count = (length + 3) >>> 2;
    for (let i = 0; i < count; i++) if (stored[first + i] !== words[i]) return false;
    return true;
  }

  private add(length: number, slot: number, tag: number): number {
    const id = this.offsets.count;
    const count = (length + 3) >>> 2;
    const offset = this.place(count * 4);
    const stored = this.arena.words;
    const words = this.words;
    const first = offset / 4;
    for (let i = 0; i < count; i++) stored[first + i] = words[i]!;
    this.stringBytes += count * 4;
    this.offsets.push(offset | 0);
    this.lengths.push(length);
    this.tags[slot] = tag;
    this.ids[slot] = id;
    if (id >= this.growAt) this.grow();
    return id;
  }

  /** Room for one string: in the current page, or on its own when it is long. */
  private place(sizeBytes: number): number {
    if (sizeBytes > this.pageEnd - this.page) {
      if (sizeBytes * 4 > this.pageBytes) return this.arena.allocate(sizeBytes);
      this.page = this.arena.allocate(this.pageBytes);
      this.pageEnd = this.page + this.pageBytes;
      this.pageBytes = Math.min(this.pageBytes * 2, PAGE_MAX_BYTES);
    }
    const offset = this.page;
    this.page += sizeBytes;
    return offset;
  }

  private grow(): void {
    const slots = this.tags.length * 2;
    const mask = slots - 1;
    const tags = new Uint8Array(slots);
    const ids = new Int32Array(slots);
    const count = this.offsets.count;
    for (let id = 0; id < count; id++) {
      const hash = this.hashOf(id);
      let slot = hash & mask;
      while (tags[slot] !== 0) slot = (slot + 1) & mask;
      tags[slot] = hash >>> 24 || 1;
      ids[slot] = id;
    }
    this.tags = tags;
    this.ids = ids;
    this.mask = mask;
    this.growAt = slots * LOAD_MAX;
  }

  private hashOf(id: number): number {
    const stored = this.arena.words;
    const length = this.lengths.get(id);
    const first = this.offsets.get(id) >>> 2;
    const end = first + ((length + 3) >>> 2);
    let h = this.seed ^ length;
    for (let i = first; i < end; i++) h = mix(h, stored[i]!);
    return finish(h);
  }
}

function mix(h: number, word: number): number {
  const m = Math.imul(h ^ word, 0x9e3779b1);
  return m ^ (m >>> 15);
}

function finish(h: number): number {
  const m = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return m ^ (m >>> 16);
}
