// The raw Snappy block format (github.com/google/snappy, format_description.txt): blocks, rings and
// remote-write payloads of other systems arrive in it. Here is what reads it, and what writes bytes as they
// are; snappy-compressor.ts compresses.
import { ByteWriter } from './byte-writer.ts';

/** Tag of a literal whose length has four bytes of its own. */
const LITERAL_OF_4 = 63 << 2;
/**
 * Elements up to this size are copied by strides, of which the last one may reach beyond the element. The
 * loop stands where it is needed: as one function reading costs 2 % more in the bundle, 5 % from the sources.
 */
export const SHORT_BYTES = 64;
export const STRIDE_BYTES = 16;
/** What a stride is made of: a copy from nearer repeats bytes within a word. */
const WORD_BYTES = 4;

/** Also for what is larger than allowed, then with `isTooLarge`. */
export class SnappyError extends Error {
  override readonly name = 'SnappyError';
  readonly isTooLarge: boolean;

  constructor(message: string, isTooLarge = false) {
    super(message);
    this.isTooLarge = isTooLarge;
  }
}

/** What a block says of its length once it is decompressed. Throws SnappyError when it says nothing. */
export function snappyLength(input: Uint8Array): number {
  return snappyHead(input, 0, input.length).size;
}

/**
 * Decompresses one Snappy block. Throws SnappyError when it is damaged or larger than `maxBytes`.
 * @param target is used when it has the right length.
 */
export function snappyDecompress(input: Uint8Array, maxBytes: number, target?: Uint8Array): Uint8Array {
  const { size, pos } = snappyHead(input, 0, input.length);
  if (size > maxBytes) throw new SnappyError('block is larger than allowed', true);
  const out = target?.length === size ? target : new Uint8Array(size);
  decodeElements({ bytes: input, pos, end: input.length }, { bytes: out, start: 0, stop: size });
  return out;
}

/** The length that a block between `start` and `end` states, and where its elements begin. */
export function snappyHead(
  input: Uint8Array,
  start: number,
  end: number,
): { readonly size: number; readonly pos: number } {
  let pos = start;
  let size = 0;
  for (let shift = 0; ; shift += 7) {
    if (pos >= end || shift > 28) throw new SnappyError('bad length');
    const byte = input[pos++];
    size += (byte & 127) * 2 ** shift;
    if (byte < 128) return { size, pos };
  }
}

export interface SnappyElements {
  readonly bytes: Uint8Array;
  readonly pos: number;
  readonly end: number;
}

/** Where elements are decompressed to; what is behind `stop` may be overwritten too. */
export interface SnappyTarget {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly stop: number;
}

/** Throws SnappyError unless the elements fill the target. */
export function decodeElements(elements: SnappyElements, target: SnappyTarget): void {
  const { bytes: input, end } = elements;
  const { bytes: out, start, stop } = target;
  const inputView = new DataView(input.buffer, input.byteOffset, input.length);
  const outView = new DataView(out.buffer, out.byteOffset, out.length);
  const inputShort = input.length - SHORT_BYTES;
  const outShort = out.length - SHORT_BYTES;
  let { pos } = elements;
  let at = start;
  while (pos < end) {
    const tag = input[pos++];
    const kind = tag & 3;
    if (kind === 0) {
      let length = (tag >>> 2) + 1;
      if (length > 60) {
        const extra = length - 60;
        length = littleEndian(input, pos, extra) + 1;
        pos += extra;
      }
      if (pos + length > end || at + length > stop) throw new SnappyError('literal outside of the block');
      if (length <= SHORT_BYTES && pos <= inputShort && at <= outShort) {
        let i = 0;
        do {
          outView.setInt32(at + i, inputView.getInt32(pos + i, true), true);
          outView.setInt32(at + i + 4, inputView.getInt32(pos + i + 4, true), true);
          outView.setInt32(at + i + 8, inputView.getInt32(pos + i + 8, true), true);
          outView.setInt32(at + i + 12, inputView.getInt32(pos + i + 12, true), true);
          i += STRIDE_BYTES;
        } while (i < length);
      } else out.set(input.subarray(pos, pos + length), at);
      pos += length;
      at += length;
      continue;
    }
    const extra = kind === 3 ? 4 : kind;
    if (pos + extra > end) throw new SnappyError('truncated');
    const length = kind === 1 ? ((tag >>> 2) & 7) + 4 : (tag >>> 2) + 1;
    let offset = input[pos];
    if (kind === 1) offset |= (tag >>> 5) << 8;
    else if (kind === 2) offset |= input[pos + 1] << 8;
    else offset = inputView.getUint32(pos, true);
    pos += extra;
    const from = at - offset;
    if (offset === 0 || from < start || at + length > stop)
      throw new SnappyError('copy outside of the block');
    if (offset >= WORD_BYTES && at <= outShort) {
      let i = 0;
      do {
        outView.setInt32(at + i, outView.getInt32(from + i, true), true);
        outView.setInt32(at + i + 4, outView.getInt32(from + i + 4, true), true);
        outView.setInt32(at + i + 8, outView.getInt32(from + i + 8, true), true);
        outView.setInt32(at + i + 12, outView.getInt32(from + i + 12, true), true);
        i += STRIDE_BYTES;
      } while (i < length);
    } else for (let i = 0; i < length; i++) out[at + i] = out[from + i];
    at += length;
  }
  if (at !== stop) throw new SnappyError('block is shorter than stated');
}

function littleEndian(input: Uint8Array, pos: number, bytes: number): number {
  if (pos + bytes > input.length) throw new SnappyError('truncated');
  let value = 0;
  for (let i = bytes - 1; i >= 0; i--) value = value * 256 + input[pos + i];
  return value;
}

/** A block that holds the input as it is, for readers who insist on the format. */
export function snappyStore(input: Uint8Array): Uint8Array {
  const out = new ByteWriter(input.length + 16);
  out.varint(input.length);
  if (input.length > 0) {
    const last = input.length - 1;
    if (last < 60) {
      out.u8(last << 2);
    } else {
      out.u8(LITERAL_OF_4);
      out.u32(last);
    }
    out.raw(input);
  }
  return out.copy();
}
