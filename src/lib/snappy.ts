// The raw Snappy block format (github.com/google/snappy, format_description.txt): blocks, rings and
// remote-write payloads of other systems arrive in it. What we write in it is not compressed: where size
// counts we write zstd.
import { ByteWriter } from './byte-writer.ts';

/** Tag of a literal whose length has four bytes of its own. */
const LITERAL_OF_4 = 63 << 2;

/** Also for what is larger than allowed, then with `isTooLarge`. */
export class SnappyError extends Error {
  override readonly name = 'SnappyError';
  readonly isTooLarge: boolean;

  constructor(message: string, isTooLarge = false) {
    super(message);
    this.isTooLarge = isTooLarge;
  }
}

/**
 * Decompresses one Snappy block. Throws SnappyError when it is damaged or larger than `maxBytes`.
 * @param target is used when it has the right length.
 */
export function snappyDecompress(input: Uint8Array, maxBytes: number, target?: Uint8Array): Uint8Array {
  let pos = 0;
  let size = 0;
  for (let shift = 0; ; shift += 7) {
    if (pos >= input.length || shift > 28) throw new SnappyError('bad length');
    const byte = input[pos++];
    size += (byte & 127) * 2 ** shift;
    if (byte < 128) break;
  }
  if (size > maxBytes) throw new SnappyError('block is larger than allowed', true);
  const out = target?.length === size ? target : new Uint8Array(size);
  decodeElements(input, pos, out);
  return out;
}

function decodeElements(input: Uint8Array, start: number, out: Uint8Array): void {
  const end = input.length;
  const size = out.length;
  let pos = start;
  let at = 0;
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
      if (pos + length > end || at + length > size) throw new SnappyError('literal outside of the block');
      if (length < 32) for (let i = 0; i < length; i++) out[at + i] = input[pos + i];
      else out.set(input.subarray(pos, pos + length), at);
      pos += length;
      at += length;
      continue;
    }
    const extra = kind === 3 ? 4 : kind;
    const length = kind === 1 ? ((tag >>> 2) & 7) + 4 : (tag >>> 2) + 1;
    const offset = littleEndian(input, pos, extra) + (kind === 1 ? (tag >>> 5) << 8 : 0);
    pos += extra;
    if (offset === 0 || offset > at || at + length > size) throw new SnappyError('copy outside of the block');
    if (offset >= length && length >= 32) out.copyWithin(at, at - offset, at - offset + length);
    else for (let i = 0; i < length; i++) out[at + i] = out[at + i - offset];
    at += length;
  }
  if (at !== size) throw new SnappyError('block is shorter than stated');
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
