// The raw Snappy block format (github.com/google/snappy, format_description.txt): blocks, rings and
// remote-write payloads of other systems arrive in it. Where nobody insists on it we write zstd, which is
// smaller and costs less, as it is not JavaScript.
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

/** What a block says of its length once it is decompressed. Throws SnappyError when it says nothing. */
export function snappyLength(input: Uint8Array): number {
  return lengthAt(input).size;
}

/**
 * Decompresses one Snappy block. Throws SnappyError when it is damaged or larger than `maxBytes`.
 * @param target is used when it has the right length.
 */
export function snappyDecompress(input: Uint8Array, maxBytes: number, target?: Uint8Array): Uint8Array {
  const { size, pos } = lengthAt(input);
  if (size > maxBytes) throw new SnappyError('block is larger than allowed', true);
  const out = target?.length === size ? target : new Uint8Array(size);
  decodeElements(input, pos, out);
  return out;
}

function lengthAt(input: Uint8Array): { readonly size: number; readonly pos: number } {
  let pos = 0;
  let size = 0;
  for (let shift = 0; ; shift += 7) {
    if (pos >= input.length || shift > 28) throw new SnappyError('bad length');
    const byte = input[pos++];
    size += (byte & 127) * 2 ** shift;
    if (byte < 128) return { size, pos };
  }
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

/** Copies reach back so far at most, and matches are looked for within as much. */
const FRAGMENT_BYTES = 1 << 16;
const HASH_BITS = 14;
const MATCH_BYTES_MIN = 4;
const COPY_BYTES_MAX = 64;
/** So many places without a match are looked at before one is left out between them. */
const LOOKS_BEFORE_SKIP = 32;

/** Compresses one block after another. */
export class SnappyCompressor {
  private out: Uint8Array = new Uint8Array(FRAGMENT_BYTES);
  private at = 0;
  /** Place in the fragment by hash of the four bytes there. */
  private readonly places = new Uint16Array(1 << HASH_BITS);

  /** What it returns is valid until the next call. */
  compress(input: Uint8Array): Uint8Array {
    const bound = 32 + input.length + Math.ceil(input.length / 6);
    if (bound > this.out.length) this.out = new Uint8Array(bound * 2);
    this.at = 0;
    let rest = input.length;
    for (; rest >= 128; rest = Math.floor(rest / 128)) this.out[this.at++] = (rest % 128) | 128;
    this.out[this.at++] = rest;
    for (let start = 0; start < input.length; start += FRAGMENT_BYTES) {
      this.fragment(input, start, Math.min(input.length, start + FRAGMENT_BYTES));
    }
    return this.out.subarray(0, this.at);
  }

  private fragment(input: Uint8Array, start: number, end: number): void {
    const { places } = this;
    places.fill(0);
    const last = end - MATCH_BYTES_MIN;
    let literal = start;
    let looks = LOOKS_BEFORE_SKIP;
    // a place that was never noted is the first one, so that is none to look for
    for (let pos = start + 1; pos <= last; ) {
      const word = wordAt(input, pos);
      const hash = Math.imul(word, 0x1e35a7bd) >>> (32 - HASH_BITS);
      const candidate = start + places[hash];
      places[hash] = pos - start;
      if (candidate >= pos || wordAt(input, candidate) !== word) {
        pos += Math.floor(looks++ / LOOKS_BEFORE_SKIP);
        continue;
      }
      let match = pos + MATCH_BYTES_MIN;
      for (let k = candidate + MATCH_BYTES_MIN; match < end && input[k] === input[match]; k++) match++;
      this.literal(input, literal, pos);
      this.copy(pos - candidate, match - pos);
      pos = match;
      literal = match;
      looks = LOOKS_BEFORE_SKIP;
    }
    this.literal(input, literal, end);
  }

  private literal(input: Uint8Array, start: number, end: number): void {
    const length = end - start;
    if (length === 0) return;
    const { out } = this;
    if (length <= 60) out[this.at++] = (length - 1) << 2;
    else {
      const isShort = length <= 256;
      out[this.at++] = (isShort ? 60 : 61) << 2;
      out[this.at++] = length - 1;
      if (!isShort) out[this.at++] = (length - 1) >>> 8;
    }
    out.set(input.subarray(start, end), this.at);
    this.at += length;
  }

  private copy(offset: number, length: number): void {
    const { out } = this;
    for (let left = length; left > 0; left -= COPY_BYTES_MAX) {
      out[this.at++] = ((Math.min(left, COPY_BYTES_MAX) - 1) << 2) | 2;
      out[this.at++] = offset;
      out[this.at++] = offset >>> 8;
    }
  }
}

function wordAt(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
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
