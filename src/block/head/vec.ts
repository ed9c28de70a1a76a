// Vectors of a head: append-only, in chunks that double, so nothing is ever copied when they grow.
// VecWriter is the builder's end, VecReader the end of every other thread (a fixed count, taken at a
// snapshot).
import { lowerBound } from '../../lib/lower-bound.ts';
import { type Arena, ARENA_UNIT } from './arena.ts';
import { directoryWord, FIRST, FIRST_ZEROS, HEADER_BYTES, type VecKind, vecWidth } from './layout.ts';

export type Words = Int32Array | Uint8Array;

function chunkView(sab: SharedArrayBuffer, kind: VecKind, unit: number, k: number): Words {
  const words = (FIRST << k) * vecWidth(kind);
  const offset = (unit >>> 0) * ARENA_UNIT;
  return kind === 'u8' ? new Uint8Array(sab, offset, words) : new Int32Array(sab, offset, words);
}

/** What a vector without elements has: of the fifty of a head most are empty where it is small. */
const NOTHING = new Int32Array(0);
const NO_CHUNKS: Words[] = [];

/** The writing end. `count` is in elements; words of wide kinds are pushed one after another. */
export class VecWriter {
  /** Elements appended so far (not yet published). */
  count = 0;
  private view: Words = NOTHING;
  private chunk = -1; // the one that `view` shows
  private chunks: Words[] = NO_CHUNKS; // replaced by the first one
  private next = 0; // word index in `view`
  private readonly width: number;
  private readonly arena: Arena;
  private readonly kind: VecKind;
  private readonly index: number;

  constructor(arena: Arena, kind: VecKind, index: number) {
    this.arena = arena;
    this.kind = kind;
    this.width = vecWidth(kind);
    this.index = index;
  }

  push(value: number): void {
    if (this.next === this.view.length) this.addChunk();
    this.view[this.next++] = value;
    this.count++;
  }

  push2(low: number, high: number): void {
    if (this.next === this.view.length) this.addChunk();
    const view = this.view;
    view[this.next] = low;
    view[this.next + 1] = high;
    this.next += 2;
    this.count++;
  }

  push4(a: number, b: number, c: number, d: number): void {
    if (this.next === this.view.length) this.addChunk();
    const view = this.view;
    view[this.next] = a;
    view[this.next + 1] = b;
    view[this.next + 2] = c;
    view[this.next + 3] = d;
    this.next += 4;
    this.count++;
  }

  /** Word `word` of element `i`. */
  get(i: number, word = 0): number {
    const k = FIRST_ZEROS - Math.clz32(i + FIRST);
    return this.chunks[k]![(i + FIRST - (FIRST << k)) * this.width + word]!;
  }

  /** Changes word `word` of element `i` in place (only for the columns that say so). */
  set(i: number, value: number, word = 0): void {
    const k = FIRST_ZEROS - Math.clz32(i + FIRST);
    this.chunks[k]![(i + FIRST - (FIRST << k)) * this.width + word] = value;
  }

  /** Takes back the elements from `count` on; they must not have been published. */
  truncate(count: number): void {
    if (count === this.count) return;
    this.count = count;
    this.chunk = FIRST_ZEROS - Math.clz32(count + FIRST);
    this.view = this.chunks[this.chunk]!; // there, as element `count` was
    this.next = (count + FIRST - (FIRST << this.chunk)) * this.width;
  }

  /** Bytes of the elements so far. */
  get sizeBytes(): number {
    return this.count * this.width * (this.kind === 'u8' ? 1 : 4);
  }

  private addChunk(): void {
    const k = this.chunk + 1;
    if (k === this.chunks.length) {
      const bytes = (FIRST << k) * (this.kind === 'u8' ? 1 : 4 * this.width);
      const unit = this.arena.allocate(bytes) / ARENA_UNIT;
      const view = chunkView(this.arena.sab, this.kind, unit, k);
      if (k === 0) this.chunks = [view];
      else this.chunks.push(view);
      this.arena.words[directoryWord(this.index, k)] = unit;
    }
    this.chunk = k;
    this.view = this.chunks[k]!;
    this.next = 0;
  }
}

/** The reading end over the first `count` elements. */
export class VecReader {
  readonly count: number;
  /** Chunk k holds elements [(FIRST << k) - FIRST, (FIRST << (k+1)) - FIRST), `width` words each. */
  readonly chunks: readonly Words[];
  readonly width: number;

  constructor(sab: SharedArrayBuffer, kind: VecKind, index: number, count: number) {
    this.count = count;
    this.width = vecWidth(kind);
    const directory = new Int32Array(sab, 0, HEADER_BYTES / 4);
    const chunks: Words[] = [];
    for (let k = 0; (FIRST << k) - FIRST < count; k++) {
      chunks.push(chunkView(sab, kind, directory[directoryWord(index, k)]!, k));
    }
    this.chunks = chunks;
  }

  get(i: number, word = 0): number {
    const k = FIRST_ZEROS - Math.clz32(i + FIRST);
    return this.chunks[k]![(i + FIRST - (FIRST << k)) * this.width + word]!;
  }

  /** Calls `visit` with each chunk, the ordinal of its first element and how many of its elements count. */
  forEachChunk(visit: (words: Words, first: number, elements: number) => void): void {
    for (let k = 0; k < this.chunks.length; k++) {
      const first = (FIRST << k) - FIRST;
      visit(this.chunks[k]!, first, Math.min(FIRST << k, this.count - first));
    }
  }

  /** Copies the elements from `from` on (`width` words each), the first one to place `to`. */
  copyTo(out: Int32Array | Uint8Array, from: number, to: number): void {
    const { count, width } = this;
    if (from >= count) return;
    for (let k = FIRST_ZEROS - Math.clz32(from + FIRST); k < this.chunks.length; k++) {
      const first = (FIRST << k) - FIRST;
      const begin = Math.max(0, from - first);
      const end = Math.min(FIRST << k, count - first);
      out.set(this.chunks[k]!.subarray(begin * width, end * width), (first + begin - from + to) * width);
    }
  }

  /** The elements with these ordinals (ascending) copied into one array (`width` words each). */
  pick(ordinals: Int32Array): Int32Array {
    const { width } = this;
    const out = new Int32Array(ordinals.length * width);
    for (let k = 0, from = 0; from < ordinals.length; k++) {
      const first = (FIRST << k) - FIRST;
      const to = lowerBound(ordinals, first + (FIRST << k), from);
      const words = this.chunks[k]!;
      if (width === 1) pickSingle(words, first, ordinals, from, to, out);
      else pickSeveral(words, width, first, ordinals, from, to, out);
      from = to;
    }
    return out;
  }

  /** The elements from `from` on copied into one array (`width` words each). */
  slice(from: number): Int32Array {
    const out = new Int32Array(Math.max(0, this.count - from) * this.width);
    this.copyTo(out, from, 0);
    return out;
  }

  /** All elements copied into one array (`width` words each). */
  toArray(): Int32Array {
    return this.slice(0);
  }
}

// Loops of their own: within the loop over chunks V8 leaves their optimised code once for each element.

function pickSingle(
  words: Words,
  first: number,
  ordinals: Int32Array,
  from: number,
  to: number,
  out: Int32Array,
): void {
  for (let i = from; i < to; i++) out[i] = words[ordinals[i]! - first]!;
}

function pickSeveral(
  words: Words,
  width: number,
  first: number,
  ordinals: Int32Array,
  from: number,
  to: number,
  out: Int32Array,
): void {
  const end = to * width;
  for (let o = from * width, i = from, word = 0; o < end; o++) {
    out[o] = words[(ordinals[i]! - first) * width + word]!;
    if (++word < width) continue;
    word = 0;
    i++;
  }
}
