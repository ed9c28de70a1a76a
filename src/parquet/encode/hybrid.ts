// Encoder of the RLE / bit-packed hybrid: definition and repetition levels, and dictionary indices. Two
// copies of one idea, since each is hot and must see one array type only.
import type { ByteWriter } from '../../lib/byte-writer.ts';

/** Bits that hold every number up to `max`. */
export function bitWidth(max: number): number {
  return max === 0 ? 0 : 32 - Math.clz32(max);
}

/** Widest index that can be written. */
export const INDEX_WIDTH_MAX = 24;

/**
 * A run this long is written as a run when it begins a group of 8; inside bit-packed groups only a
 * longer one ends them.
 */
const RUN_MIN = 8;
const RUN_BREAK = 16;

/** `count` times the same level. */
export function encodeLevelRun(out: ByteWriter, level: number, count: number): void {
  if (count === 0) return;
  out.varint(count * 2);
  out.u8(level);
}

/** Levels [start, end), each below 2^width, width 1 to 8. */
export function encodeLevels(
  out: ByteWriter,
  levels: Uint8Array,
  start: number,
  end: number,
  width: number,
): void {
  out.reserve((end - start) * 2 + 64);
  let i = start;
  while (i < end) {
    const runEnd = endOfLevelRun(levels, i, end);
    if (runEnd - i >= RUN_MIN || runEnd === end) {
      encodeLevelRun(out, levels[i], runEnd - i);
      i = runEnd;
      continue;
    }
    const packedEnd = endOfPackedLevels(levels, i, end);
    out.varint(((packedEnd - i + 7) >> 3) * 2 + 1);
    packLevels(out, levels, i, packedEnd, width);
    i = packedEnd;
  }
}

/** A function of its own, so that a long run does not have the loop around it compiled again and again. */
function endOfLevelRun(levels: Uint8Array, start: number, end: number): number {
  const level = levels[start];
  let i = start + 1;
  while (i < end && levels[i] === level) i++;
  return i;
}

function endOfPackedLevels(levels: Uint8Array, start: number, end: number): number {
  for (let i = start + 8; i < end; i += 8) {
    const level = levels[i];
    const stop = Math.min(end, i + RUN_BREAK);
    let k = i + 1;
    while (k < stop && levels[k] === level) k++;
    if (k - i === RUN_BREAK) return i;
  }
  return end;
}

function packLevels(out: ByteWriter, levels: Uint8Array, start: number, end: number, width: number): void {
  out.reserve((((end - start + 7) >> 3) + 1) * width);
  const bytes = out.bytes;
  let p = out.length;
  const whole = start + ((end - start) & ~7);
  let i = start;
  if (width === 1) {
    for (; i < whole; i += 8) {
      bytes[p++] =
        levels[i] |
        (levels[i + 1] << 1) |
        (levels[i + 2] << 2) |
        (levels[i + 3] << 3) |
        (levels[i + 4] << 4) |
        (levels[i + 5] << 5) |
        (levels[i + 6] << 6) |
        (levels[i + 7] << 7);
    }
  } else if (width === 2) {
    for (; i < whole; i += 4) {
      bytes[p++] = levels[i] | (levels[i + 1] << 2) | (levels[i + 2] << 4) | (levels[i + 3] << 6);
    }
  } else if (width === 3) {
    for (; i < whole; i += 8) {
      const word =
        levels[i] |
        (levels[i + 1] << 3) |
        (levels[i + 2] << 6) |
        (levels[i + 3] << 9) |
        (levels[i + 4] << 12) |
        (levels[i + 5] << 15) |
        (levels[i + 6] << 18) |
        (levels[i + 7] << 21);
      bytes[p] = word;
      bytes[p + 1] = word >>> 8;
      bytes[p + 2] = word >>> 16;
      p += 3;
    }
  }
  let word = 0;
  let bits = 0;
  const padded = start + ((end - start + 7) & ~7);
  for (; i < padded; i++) {
    if (i < end) word |= levels[i] << bits;
    bits += width;
    while (bits >= 8) {
      bytes[p++] = word;
      word >>>= 8;
      bits -= 8;
    }
  }
  out.length = p;
}

/** Indices [start, end), each below 2^width, width 1 to INDEX_WIDTH_MAX. */
export function encodeIndices(
  out: ByteWriter,
  indices: Int32Array,
  start: number,
  end: number,
  width: number,
): void {
  out.reserve((end - start) * 4 + 64);
  const valueBytes = (width + 7) >> 3;
  let i = start;
  while (i < end) {
    const index = indices[i];
    let runEnd = i + 1;
    while (runEnd < end && indices[runEnd] === index) runEnd++;
    if (runEnd - i >= RUN_MIN || runEnd === end) {
      out.varint((runEnd - i) * 2);
      for (let k = 0; k < valueBytes; k++) out.u8(index >>> (8 * k));
      i = runEnd;
      continue;
    }
    const packedEnd = endOfPackedIndices(indices, i, end);
    out.varint(((packedEnd - i + 7) >> 3) * 2 + 1);
    packIndices(out, indices, i, packedEnd, width);
    i = packedEnd;
  }
}

function endOfPackedIndices(indices: Int32Array, start: number, end: number): number {
  for (let i = start + 8; i < end; i += 8) {
    const index = indices[i];
    const stop = Math.min(end, i + RUN_BREAK);
    let k = i + 1;
    while (k < stop && indices[k] === index) k++;
    if (k - i === RUN_BREAK) return i;
  }
  return end;
}

function packIndices(out: ByteWriter, indices: Int32Array, start: number, end: number, width: number): void {
  out.reserve((((end - start + 7) >> 3) + 1) * width);
  const bytes = out.bytes;
  let p = out.length;
  let word = 0;
  let bits = 0;
  for (let i = start; i < end; i++) {
    word |= indices[i] << bits;
    bits += width;
    while (bits >= 8) {
      bytes[p++] = word;
      word >>>= 8;
      bits -= 8;
    }
  }
  const final = out.length + ((end - start + 7) >> 3) * width;
  if (bits > 0) bytes[p++] = word;
  while (p < final) bytes[p++] = 0;
  out.length = final;
}
