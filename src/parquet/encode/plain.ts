// Encoders of PLAIN values, and of DELTA_LENGTH_BYTE_ARRAY (lengths by delta, then all bytes).
import type { ByteWriter } from '../../lib/byte-writer.ts';
import type { ByteStrings } from '../values.ts';
import { encodeDelta32 } from './delta.ts';

/** Below this many bytes a loop copies faster than a view and `set`. */
const LOOP_COPY_MAX = 128;

/** Appends `length` bytes of `source` from `start`. */
export function copyBytes(out: ByteWriter, source: Uint8Array, start: number, length: number): void {
  out.reserve(length);
  if (length < LOOP_COPY_MAX) {
    const target = out.bytes;
    const at = out.length;
    for (let i = 0; i < length; i++) target[at + i] = source[start + i];
  } else {
    out.bytes.set(source.subarray(start, start + length), out.length);
  }
  out.length += length;
}

export function encodeBools(out: ByteWriter, values: Uint8Array, start: number, end: number): void {
  const bytes = (end - start + 7) >> 3;
  out.reserve(bytes);
  out.bytes.fill(0, out.length, out.length + bytes);
  for (let i = start; i < end; i++) {
    if (values[i] !== 0) out.bytes[out.length + ((i - start) >> 3)] |= 1 << ((i - start) & 7);
  }
  out.length += bytes;
}

/** @param wide as INT64. */
export function encodePlain32(
  out: ByteWriter,
  values: Int32Array,
  start: number,
  end: number,
  wide: boolean,
): void {
  for (let i = start; i < end; i++) {
    out.u32(values[i]);
    if (wide) out.u32(values[i] >> 31);
  }
}

/** INT64 or DOUBLE values as word pairs. */
export function encodePlain64(out: ByteWriter, words: Int32Array, start: number, end: number): void {
  for (let i = 2 * start; i < 2 * end; i++) out.u32(words[i]);
}

const scratch = { lengths: new Int32Array(1024) };

function lengthsOf(count: number): Int32Array {
  if (scratch.lengths.length < count) scratch.lengths = new Int32Array(count * 2);
  return scratch.lengths;
}

export function encodeDeltaLengthStrings(
  out: ByteWriter,
  ids: Int32Array,
  table: ByteStrings,
  start: number,
  end: number,
): void {
  const lengths = lengthsOf(end - start);
  for (let i = start; i < end; i++) lengths[i - start] = ids[i] < 0 ? 0 : table.length(ids[i]);
  encodeDelta32(out, lengths, 0, end - start);
  for (let i = start; i < end; i++) {
    const length = lengths[i - start];
    if (length > 0) copyBytes(out, table.bytes, table.offset(ids[i]), length);
  }
}

export function encodeDeltaLengthPacked(
  out: ByteWriter,
  bytes: Uint8Array,
  starts: Int32Array,
  start: number,
  end: number,
): void {
  const lengths = lengthsOf(end - start);
  for (let i = start; i < end; i++) lengths[i - start] = starts[i + 1] - starts[i];
  encodeDelta32(out, lengths, 0, end - start);
  out.raw(bytes.subarray(starts[start], starts[end]));
}
