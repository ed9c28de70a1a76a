// Decoder of DELTA_BINARY_PACKED: INT32 and lengths into an Int32Array, INT64 into doubles relative to a
// base where that is exact, and into pairs of 32-bit words where it is not.
import { corrupt } from '../corrupt.ts';

const BLOCK_MAX = 65_536;
const MINIBLOCKS_MAX = 512;
const TWO32 = 4294967296;
const EXACT_MAX = 2 ** 53;
/** Beyond this, base + double may leave 64 bits where the stored differences wrap. */
const BASE_MAX = 2n ** 63n - BigInt(EXACT_MAX);

/** Cursor over the varints of a page; a 64-bit number is left in `low` and `high`. */
class DeltaReader {
  pos: number;
  low = 0;
  high = 0;
  readonly perMiniblock: number;
  readonly miniblocks: number;
  readonly total: number;
  private readonly bytes: Uint8Array;
  private readonly end: number;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.bytes = bytes;
    this.pos = start;
    this.end = end;
    const block = this.varint();
    this.miniblocks = this.varint();
    this.total = this.varint();
    this.perMiniblock = block / this.miniblocks;
    if (
      block > BLOCK_MAX ||
      this.miniblocks > MINIBLOCKS_MAX ||
      !(this.perMiniblock % 8 === 0) ||
      block === 0
    ) {
      throw corrupt('delta blocks have an impossible size');
    }
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 5; i++) {
      if (this.pos >= this.end) break;
      const byte = this.bytes[this.pos++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
      scale *= 128;
    }
    throw corrupt('delta blocks are damaged');
  }

  /** A zigzag number of 64 bits into `low` and `high`. */
  zigzag(): void {
    let low = 0;
    let high = 0;
    let shift = 0;
    for (;;) {
      if (this.pos >= this.end || shift > 63) throw corrupt('delta blocks are damaged');
      const byte = this.bytes[this.pos++];
      const part = byte & 127;
      if (shift < 28) low |= part << shift;
      else if (shift === 28) {
        low |= part << 28;
        high |= part >>> 4;
      } else high |= part << (shift - 32);
      if (byte < 128) break;
      shift += 7;
    }
    const sign = -(low & 1);
    this.low = ((low >>> 1) | (high << 31)) ^ sign;
    this.high = (high >>> 1) ^ sign;
  }

  /** The number in `low` and `high` as a double. */
  number(): number {
    return this.high * TWO32 + (this.low >>> 0);
  }

  /** Begins a block: returns where its bit widths are and goes to its first miniblock. */
  widths(): number {
    const at = this.pos;
    this.pos += this.miniblocks;
    if (this.pos > this.end) throw corrupt('delta blocks end too early');
    return at;
  }

  /** Goes over a miniblock of `width` bits and returns where it began; the last one may lack its padding. */
  miniblock(width: number, used: number): number {
    const at = this.pos;
    const needed = Math.ceil((used * width) / 8);
    if (width > 64 || needed > this.end - at) throw corrupt('delta blocks end too early');
    this.pos = Math.min(this.end, at + (this.perMiniblock * width) / 8);
    return at;
  }
}

/** How many values a page states. */
export function deltaCount(bytes: Uint8Array, start: number, end: number): number {
  return new DeltaReader(bytes, start, end).total;
}

/** `width` (up to 53) bits at bit position `bit` counted from byte `start`, as a double. */
function bitsAt(bytes: Uint8Array, start: number, bit: number, width: number): number {
  let p = start + (bit >>> 3);
  const shift = bit & 7;
  let value = (bytes[p++] ?? 0) >>> shift;
  let have = 8 - shift;
  let scale = 2 ** have;
  while (have < width) {
    const left = width - have;
    const byte = bytes[p++] ?? 0;
    value += (left >= 8 ? byte : byte & ((1 << left) - 1)) * scale;
    scale *= 256;
    have += 8;
  }
  return have > width && width < 8 - shift ? value % 2 ** width : value;
}

/**
 * Decodes `count` INT32 values into `out` from `at`; sums wrap at 32 bits. Returns the position behind
 * them.
 */
export function decodeDelta32(
  bytes: Uint8Array,
  start: number,
  end: number,
  count: number,
  out: Int32Array,
  at: number,
): number {
  const reader = new DeltaReader(bytes, start, end);
  if (reader.total !== count) throw corrupt('a page has not the values that it states');
  reader.zigzag();
  if (count === 0) return reader.pos;
  let value = reader.low;
  let o = at;
  const stop = at + count;
  out[o++] = value;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { miniblocks, perMiniblock } = reader;
  while (o < stop) {
    reader.zigzag();
    const min = reader.low;
    const widths = reader.widths();
    for (let k = 0; k < miniblocks && o < stop; k++) {
      const width = bytes[widths + k];
      const n = Math.min(perMiniblock, stop - o);
      const from = reader.miniblock(width, n);
      if (width > 32) throw corrupt('a 32-bit difference has more than 32 bits');
      if (width <= 25 && from + ((n * width) >>> 3) + 4 <= bytes.length) {
        value = narrow32(view, from, width, n, min, value, out, o);
      } else value = wide32(bytes, from, width, n, min, value, out, o);
      o += n;
    }
  }
  return reader.pos;
}

// The loops over miniblocks are functions of their own: compiled once, and not with all that is around.

/** @returns the last value, as all of them do. */
function narrow32(
  view: DataView,
  from: number,
  width: number,
  count: number,
  min: number,
  before: number,
  out: Int32Array,
  at: number,
): number {
  const mask = (1 << width) - 1;
  let value = before;
  for (let i = 0, bit = 0; i < count; i++, bit += width) {
    const packed = (view.getUint32(from + (bit >>> 3), true) >>> (bit & 7)) & mask;
    out[at + i] = value = (value + min + packed) | 0;
  }
  return value;
}

function wide32(
  bytes: Uint8Array,
  from: number,
  width: number,
  count: number,
  min: number,
  before: number,
  out: Int32Array,
  at: number,
): number {
  let value = before;
  for (let i = 0, bit = 0; i < count; i++, bit += width) {
    out[at + i] = value = (value + min + bitsAt(bytes, from, bit, width)) | 0;
  }
  return value;
}

/** The first value of a page of INT64. */
export function deltaFirst(bytes: Uint8Array, start: number, end: number): bigint {
  const reader = new DeltaReader(bytes, start, end);
  reader.zigzag();
  return (BigInt(reader.high) << 32n) | BigInt(reader.low >>> 0);
}

/**
 * Decodes `count` INT64 values as doubles relative to `base` into `out` from `at`. Returns false, with `out`
 * undefined from there on, as soon as a double could be inexact: then `decodeDelta64Exact` is the way.
 */
export function decodeDelta64(
  bytes: Uint8Array,
  start: number,
  end: number,
  count: number,
  base: bigint,
  out: Float64Array,
  at: number,
): boolean {
  const reader = new DeltaReader(bytes, start, end);
  if (reader.total !== count) throw corrupt('a page has not the values that it states');
  reader.zigzag();
  if (count === 0) return true;
  const first = ((BigInt(reader.high) << 32n) | BigInt(reader.low >>> 0)) - base;
  let value = Number(first);
  if (Math.abs(value) >= EXACT_MAX || base > BASE_MAX || base < -BASE_MAX) return false;
  let o = at;
  const stop = at + count;
  out[o++] = value;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { miniblocks, perMiniblock } = reader;
  while (o < stop) {
    reader.zigzag();
    const min = reader.number();
    const widths = reader.widths();
    for (let k = 0; k < miniblocks && o < stop; k++) {
      const width = bytes[widths + k];
      const n = Math.min(perMiniblock, stop - o);
      const from = reader.miniblock(width, n);
      if (Math.abs(value) + n * (Math.abs(min) + 2 ** width) >= EXACT_MAX) return false;
      const inside = from + ((n * width) >>> 3) + 8 <= bytes.length;
      if (width <= 25 && inside) value = narrow64(view, from, width, n, min, value, out, o);
      else if (width <= 49 && inside) value = middle64(view, from, width, n, min, value, out, o);
      else value = wide64(bytes, from, width, n, min, value, out, o);
      o += n;
    }
  }
  return true;
}

function narrow64(
  view: DataView,
  from: number,
  width: number,
  count: number,
  min: number,
  before: number,
  out: Float64Array,
  at: number,
): number {
  const mask = (1 << width) - 1;
  let value = before;
  for (let i = 0, bit = 0; i < count; i++, bit += width) {
    const packed = (view.getUint32(from + (bit >>> 3), true) >>> (bit & 7)) & mask;
    out[at + i] = value += min + packed;
  }
  return value;
}

function middle64(
  view: DataView,
  from: number,
  width: number,
  count: number,
  min: number,
  before: number,
  out: Float64Array,
  at: number,
): number {
  const highMask = (1 << (width - 24)) - 1;
  let value = before;
  for (let i = 0, bit = 0; i < count; i++, bit += width) {
    const p = from + (bit >>> 3);
    const shift = bit & 7;
    const low = (view.getUint32(p, true) >>> shift) & 0xffffff;
    const high = (view.getUint32(p + 3, true) >>> shift) & highMask;
    out[at + i] = value += min + low + high * 0x1000000;
  }
  return value;
}

function wide64(
  bytes: Uint8Array,
  from: number,
  width: number,
  count: number,
  min: number,
  before: number,
  out: Float64Array,
  at: number,
): number {
  let value = before;
  for (let i = 0, bit = 0; i < count; i++, bit += width) {
    out[at + i] = value += min + bitsAt(bytes, from, bit, width);
  }
  return value;
}

/**
 * Decodes `count` INT64 values exactly, wrapping at 64 bits: value i is words 2i (low) and 2i + 1 (high) of
 * `out`.
 */
export function decodeDelta64Exact(
  bytes: Uint8Array,
  start: number,
  end: number,
  count: number,
  out: Int32Array,
  at: number,
): void {
  const reader = new DeltaReader(bytes, start, end);
  if (reader.total !== count) throw corrupt('a page has not the values that it states');
  reader.zigzag();
  if (count === 0) return;
  let low = reader.low;
  let high = reader.high;
  let o = at * 2;
  const stop = (at + count) * 2;
  out[o++] = low;
  out[o++] = high;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { miniblocks, perMiniblock } = reader;
  while (o < stop) {
    reader.zigzag();
    const minLow = reader.low;
    const minHigh = reader.high;
    const widths = reader.widths();
    for (let k = 0; k < miniblocks && o < stop; k++) {
      const width = bytes[widths + k];
      const n = Math.min(perMiniblock, (stop - o) / 2);
      const from = reader.miniblock(width, n);
      const lowWidth = Math.min(32, width);
      const isNarrow = width <= 49 && from + ((n * width) >>> 3) + 8 <= bytes.length;
      const lowMask = (1 << Math.min(24, width)) - 1;
      const highMask = width > 24 ? (1 << (width - 24)) - 1 : 0;
      for (let i = 0, bit = 0; i < n; i++, bit += width) {
        let packedLow: number;
        let packedHigh = 0;
        if (isNarrow) {
          const p = from + (bit >>> 3);
          const shift = bit & 7;
          const above = (view.getUint32(p + 3, true) >>> shift) & highMask;
          packedLow = ((view.getUint32(p, true) >>> shift) & lowMask) | (above << 24);
          packedHigh = above >>> 8;
        } else {
          packedLow = bitsAt(bytes, from, bit, lowWidth) | 0;
          if (width > 32) packedHigh = bitsAt(bytes, from, bit + 32, width - 32) | 0;
        }
        // 32 bits at a time: a sum that is less than what was added to has a carry
        const step = (minLow + packedLow) | 0;
        high = (high + minHigh + packedHigh + (step >>> 0 < packedLow >>> 0 ? 1 : 0)) | 0;
        low = (low + step) | 0;
        if (low >>> 0 < step >>> 0) high = (high + 1) | 0;
        out[o++] = low;
        out[o++] = high;
      }
    }
  }
}
