// Dictionary indices (and levels, where single ones are wanted): decoded as a whole, searched without
// decoding, or read at ascending positions.
import { corrupt } from '../corrupt.ts';
import type { IntList } from '../../lib/int-list.ts';
import { readRunHeader, type RunReader } from './run-reader.ts';

/** Levels of more bits are read one by one. */
const LEVEL_WIDTH_MAX = 3;
/** Widest value that is read; no dictionary has more than 2^28 entries. */
const WIDTH_MAX = 28;

function checkWidth(width: number): void {
  if (width > WIDTH_MAX) throw corrupt(`indices are ${width} bits wide`);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A little-endian word at `p`, with zeros beyond the end. */
function wordAt(bytes: Uint8Array, p: number): number {
  return (
    (bytes[p] ?? 0) | ((bytes[p + 1] ?? 0) << 8) | ((bytes[p + 2] ?? 0) << 16) | ((bytes[p + 3] ?? 0) << 24)
  );
}

/** Value `i` of a packed run that begins at `start`; width up to 28. */
function packedAt(bytes: Uint8Array, start: number, width: number, i: number): number {
  const bit = i * width;
  const p = start + Math.floor(bit / 8);
  const shift = bit % 8;
  let value = wordAt(bytes, p) >>> shift;
  if (shift + width > 32) value |= (bytes[p + 4] ?? 0) << (32 - shift);
  return value & ((1 << width) - 1);
}

/** How many values a 4-byte read inside the buffer covers, at bit positions below 2^31. */
function fastCount(bytes: Uint8Array, start: number, width: number, count: number): number {
  if (width > 25) return 0;
  const bits = Math.min((bytes.length - start - 4) * 8, 2 ** 31 - 32);
  return Math.max(0, Math.min(count, Math.floor(bits / width))) | 0;
}

/** Decodes `count` values in bytes [start, end) into `out` from `at`. */
export function decodeIndices(
  bytes: Uint8Array,
  start: number,
  end: number,
  width: number,
  count: number,
  out: Int32Array | Uint8Array,
  at: number,
): void {
  checkWidth(width);
  const last = at + count;
  if (width === 0) {
    out.fill(0, at, last);
    return;
  }
  const view = viewOf(bytes);
  const run: RunReader = { pos: start, count: 0, value: 0, packed: false };
  let o = at;
  while (o < last) {
    readRunHeader(bytes, end, width, run);
    const n = Math.min(run.count, last - o);
    if (run.packed) {
      if (out instanceof Uint8Array) unpackLevels(bytes, run.pos, width, n, out, o);
      else unpack(bytes, view, run.pos, width, n, out, o);
      run.pos += (run.count >>> 3) * width;
    } else out.fill(run.value, o, o + n);
    o += n;
  }
}

/** As `unpack`, of levels: most have up to 3 bits, so that 8 of them are one word. */
function unpackLevels(
  bytes: Uint8Array,
  start: number,
  width: number,
  count: number,
  out: Uint8Array,
  at: number,
): void {
  const whole =
    width > LEVEL_WIDTH_MAX ? 0 : Math.min(count >>> 3, Math.floor((bytes.length - start) / width));
  const mask = (1 << width) - 1;
  for (let i = whole * 8; i < count; i++) out[at + i] = packedAt(bytes, start, width, i);
  let p = start;
  let o = at;
  for (let group = 0; group < whole; group++) {
    let word = bytes[p];
    if (width > 1) word |= bytes[p + 1] << 8;
    if (width > 2) word |= bytes[p + 2] << 16;
    p += width;
    out[o] = word & mask;
    out[o + 1] = (word >>> width) & mask;
    out[o + 2] = (word >>> (2 * width)) & mask;
    out[o + 3] = (word >>> (3 * width)) & mask;
    out[o + 4] = (word >>> (4 * width)) & mask;
    out[o + 5] = (word >>> (5 * width)) & mask;
    out[o + 6] = (word >>> (6 * width)) & mask;
    out[o + 7] = (word >>> (7 * width)) & mask;
    o += 8;
  }
}

function unpack(
  bytes: Uint8Array,
  view: DataView,
  start: number,
  width: number,
  count: number,
  out: Int32Array,
  at: number,
): void {
  const mask = (1 << width) - 1;
  const fast = fastCount(bytes, start, width, count);
  // The rest comes first: V8 drops what it compiled while a long loop ran when other code follows the loop.
  for (let i = fast; i < count; i++) out[at + i] = packedAt(bytes, start, width, i);
  let bit = 0;
  for (let i = 0; i < fast; i++) {
    out[at + i] = (view.getInt32(start + (bit >>> 3), true) >>> (bit & 7)) & mask;
    bit = (bit + width) | 0;
  }
}

/**
 * Finds the values that equal `wanted`, or that `flags` marks when it is given, among `count` values, and
 * appends their positions, counted from `base`.
 */
export function findIndices(
  bytes: Uint8Array,
  start: number,
  end: number,
  width: number,
  count: number,
  wanted: number,
  flags: Uint8Array | undefined,
  base: number,
  hits: IntList,
): void {
  checkWidth(width);
  const isWanted = (value: number): boolean => (flags === undefined ? value === wanted : flags[value] === 1);
  if (width === 0) {
    if (isWanted(0)) for (let i = 0; i < count; i++) hits.push(base + i);
    return;
  }
  const view = viewOf(bytes);
  const run: RunReader = { pos: start, count: 0, value: 0, packed: false };
  let i = 0;
  while (i < count) {
    readRunHeader(bytes, end, width, run);
    const n = Math.min(run.count, count - i);
    if (!run.packed) {
      if (isWanted(run.value)) for (let k = 0; k < n; k++) hits.push(base + i + k);
    } else {
      if (flags === undefined) findPacked(bytes, view, run.pos, width, n, wanted, base + i, hits);
      else findFlagged(bytes, view, run.pos, width, n, flags, base + i, hits);
      run.pos += (run.count >>> 3) * width;
    }
    i += n;
  }
}

function findPacked(
  bytes: Uint8Array,
  view: DataView,
  start: number,
  width: number,
  count: number,
  wanted: number,
  base: number,
  hits: IntList,
): void {
  const mask = (1 << width) - 1;
  // pages are as wide as their own largest index: one that is wider would spill over into its neighbours
  if (wanted > mask) return;
  const fast = fastCount(bytes, start, width, count);
  let i = width <= NARROW_MAX ? findNarrow(view, start, width, fast, wanted, base, hits) : 0;
  let bit = i * width;
  for (; i < fast; i++) {
    if (((view.getInt32(start + (bit >>> 3), true) >>> (bit & 7)) & mask) === wanted) hits.push(base + i);
    bit = (bit + width) | 0;
  }
  for (; i < count; i++) if (packedAt(bytes, start, width, i) === wanted) hits.push(base + i);
}

/** Four values of up to so many bits are one word. */
const NARROW_MAX = 8;

/**
 * Looks at four values at once: fields of a word that equal the wanted one are zero in its difference.
 * @returns how many values it has gone over, a multiple of 8.
 */
function findNarrow(
  view: DataView,
  start: number,
  width: number,
  count: number,
  wanted: number,
  base: number,
  hits: IntList,
): number {
  const mask = (1 << width) - 1;
  const ones = 1 | (1 << width) | (1 << (2 * width)) | (1 << (3 * width));
  const highs = ones << (width - 1);
  const pattern = Math.imul(ones, wanted);
  const second = width >>> 1; // the other four begin in this byte of the eight
  const shift = (width & 1) * 4;
  const end = count - (count & 7);
  let p = start;
  for (let i = 0; i < end; i += 8, p += width) {
    const a = view.getInt32(p, true) ^ pattern;
    if ((((a - ones) | 0) & ~a & highs) !== 0) pushZeros(a, width, mask, base + i, hits);
    const b = (view.getInt32(p + second, true) >>> shift) ^ pattern;
    if ((((b - ones) | 0) & ~b & highs) !== 0) pushZeros(b, width, mask, base + i + 4, hits);
  }
  return end;
}

function pushZeros(word: number, width: number, mask: number, at: number, hits: IntList): void {
  for (let k = 0, rest = word; k < 4; k++, rest >>>= width) if ((rest & mask) === 0) hits.push(at + k);
}

function findFlagged(
  bytes: Uint8Array,
  view: DataView,
  start: number,
  width: number,
  count: number,
  flags: Uint8Array,
  base: number,
  hits: IntList,
): void {
  const mask = (1 << width) - 1;
  const fast = fastCount(bytes, start, width, count);
  let bit = 0;
  let i = 0;
  for (; i < fast; i++) {
    if (flags[(view.getInt32(start + (bit >>> 3), true) >>> (bit & 7)) & mask] === 1) hits.push(base + i);
    bit = (bit + width) | 0;
  }
  for (; i < count; i++) if (flags[packedAt(bytes, start, width, i)] === 1) hits.push(base + i);
}

/** Reads single values of a hybrid stream at ascending positions; runs in between are passed over. */
export class IndexCursor {
  private readonly bytes: Uint8Array;
  private readonly end: number;
  private readonly width: number;
  private readonly run: RunReader;
  private runStart = 0;
  private runEnd = 0;
  private packedStart = 0;

  constructor(bytes: Uint8Array, start: number, end: number, width: number) {
    checkWidth(width);
    this.bytes = bytes;
    this.end = end;
    this.width = width;
    this.run = { pos: start, count: 0, value: 0, packed: false };
  }

  /** The value at position `i`, which is not before the one asked last. */
  at(i: number): number {
    if (this.width === 0) return 0;
    const { run } = this;
    while (i >= this.runEnd) {
      readRunHeader(this.bytes, this.end, this.width, run);
      this.runStart = this.runEnd;
      this.runEnd += run.count;
      this.packedStart = run.pos;
      if (run.packed) run.pos += (run.count >>> 3) * this.width;
    }
    return run.packed ? packedAt(this.bytes, this.packedStart, this.width, i - this.runStart) : run.value;
  }
}
