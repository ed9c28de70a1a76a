// Encoder of DELTA_BINARY_PACKED: blocks of 128 values in 4 miniblocks. 64-bit values come as (low, high)
// pairs of 32-bit words and are exact for every input, unsigned wrap-around included.
import type { ByteWriter } from '../../lib/byte-writer.ts';

const BLOCK = 128;
const MINIBLOCKS = 4;
const MINIBLOCK = BLOCK / MINIBLOCKS;
const TWO32 = 4294967296;
/** High words that differ by less than this give differences that a double holds exactly. */
const HIGH_DIFFERENCE_MAX = 2 ** 20;

const deltas = new Float64Array(BLOCK);
const wideDeltas = new BigInt64Array(BLOCK);

function zigzag(out: ByteWriter, value: number): void {
  if (value >= -(2 ** 51) && value < 2 ** 51) out.varint(value < 0 ? -2 * value - 1 : 2 * value);
  else zigzagWide(out, BigInt(value));
}

function zigzagWide(out: ByteWriter, value: bigint): void {
  let rest = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n));
  while (rest > 127n) {
    out.u8(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  out.u8(Number(rest));
}

function header(out: ByteWriter, count: number): void {
  out.varint(BLOCK);
  out.varint(MINIBLOCKS);
  out.varint(count);
}

/** Values [start, end) of an INT32 column, whose differences wrap, or of a wide one (INT64), whose do not. */
export function encodeDelta32(
  out: ByteWriter,
  values: Int32Array,
  start: number,
  end: number,
  isWide = false,
): void {
  header(out, end - start);
  zigzag(out, end > start ? values[start] : 0);
  for (let i = start + 1; i < end; i += BLOCK) {
    const count = Math.min(BLOCK, end - i);
    let min = Infinity;
    for (let k = 0; k < count; k++) {
      const difference = values[i + k] - values[i + k - 1];
      const delta = isWide ? difference : difference | 0;
      deltas[k] = delta;
      if (delta < min) min = delta;
    }
    packBlock(out, count, min);
  }
}

/** Values [start, end) of an INT64 column; value i is words 2i (low) and 2i + 1 (high). */
export function encodeDelta64(out: ByteWriter, words: Int32Array, start: number, end: number): void {
  header(out, end - start);
  if (end === start) {
    zigzag(out, 0);
    return;
  }
  zigzagWide(out, wide(words, start));
  for (let i = start + 1; i < end; i += BLOCK) {
    const count = Math.min(BLOCK, end - i);
    let min = Infinity;
    let exact = true;
    let low = words[2 * i - 2] >>> 0;
    let high = words[2 * i - 1];
    for (let k = 0; k < count; k++) {
      const nextLow = words[2 * (i + k)] >>> 0;
      const nextHigh = words[2 * (i + k) + 1];
      const step = nextHigh - high;
      if (step >= HIGH_DIFFERENCE_MAX || step <= -HIGH_DIFFERENCE_MAX) exact = false;
      const delta = step * TWO32 + (nextLow - low);
      deltas[k] = delta;
      if (delta < min) min = delta;
      low = nextLow;
      high = nextHigh;
    }
    if (exact) packBlock(out, count, min);
    else packWideBlock(out, words, i, count);
  }
}

function wide(words: Int32Array, i: number): bigint {
  return (BigInt(words[2 * i + 1]) << 32n) | BigInt(words[2 * i] >>> 0);
}

/** Writes the block whose differences stand in `deltas`. */
function packBlock(out: ByteWriter, count: number, min: number): void {
  zigzag(out, min);
  out.reserve(MINIBLOCKS + BLOCK * 8 + 8);
  const widthsAt = out.length;
  out.length += MINIBLOCKS;
  for (let m = 0; m < MINIBLOCKS; m++) {
    const from = m * MINIBLOCK;
    const to = Math.min(count, from + MINIBLOCK);
    let max = 0;
    for (let k = from; k < to; k++) {
      const value = deltas[k] - min;
      deltas[k] = value;
      if (value > max) max = value;
    }
    const width = max < TWO32 ? 32 - Math.clz32(max) : 64 - Math.clz32(Math.floor(max / TWO32));
    out.bytes[widthsAt + m] = width;
    if (width > 0) packMiniblock(out, from, to, width);
  }
}

function packMiniblock(out: ByteWriter, from: number, to: number, width: number): void {
  const bytes = out.bytes;
  const final = out.length + (MINIBLOCK * width) / 8;
  let p = out.length;
  let word = 0;
  let bits = 0;
  if (width <= 24) {
    for (let k = from; k < to; k++) {
      word |= deltas[k] << bits;
      bits += width;
      while (bits >= 8) {
        bytes[p++] = word;
        word >>>= 8;
        bits -= 8;
      }
    }
  } else {
    for (let k = from; k < to; k++) {
      // in pieces of at most 16 bits, so that the word never overflows
      let value = deltas[k];
      for (let left = width; left > 0; left -= 16) {
        word |= (value & 0xffff) << bits;
        value = Math.floor(value / 65536);
        bits += Math.min(16, left);
        while (bits >= 8) {
          bytes[p++] = word;
          word >>>= 8;
          bits -= 8;
        }
      }
    }
  }
  if (bits > 0) bytes[p++] = word;
  while (p < final) bytes[p++] = 0;
  out.length = final;
}

/** The exact and slow way for a block with differences that no double holds. */
function packWideBlock(out: ByteWriter, words: Int32Array, start: number, count: number): void {
  let min = 0n;
  for (let k = 0; k < count; k++) {
    const delta = BigInt.asIntN(64, wide(words, start + k) - wide(words, start + k - 1));
    wideDeltas[k] = delta;
    if (k === 0 || delta < min) min = delta;
  }
  zigzagWide(out, min);
  out.reserve(MINIBLOCKS + BLOCK * 8 + 8);
  const widthsAt = out.length;
  out.length += MINIBLOCKS;
  for (let m = 0; m < MINIBLOCKS; m++) {
    const from = m * MINIBLOCK;
    const to = Math.min(count, from + MINIBLOCK);
    let all = 0n;
    for (let k = from; k < to; k++) all |= BigInt.asUintN(64, wideDeltas[k] - min);
    const width = all === 0n ? 0 : all.toString(2).length;
    out.bytes[widthsAt + m] = width;
    let packed = 0n;
    for (let k = to - 1; k >= from; k--)
      packed = (packed << BigInt(width)) | BigInt.asUintN(64, wideDeltas[k] - min);
    for (let byte = 0; byte < (MINIBLOCK * width) / 8; byte++) {
      out.bytes[out.length++] = Number(packed & 255n);
      packed >>= 8n;
    }
  }
}
