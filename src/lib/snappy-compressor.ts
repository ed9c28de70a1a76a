// Writes Snappy: elements of one fragment after another (format_description.txt), and whole blocks of them.
// Where nobody insists on it we write zstd, which is smaller and costs less, as it is not JavaScript.
import { SHORT_BYTES, STRIDE_BYTES } from './snappy.ts';

/** Copies reach back so far at most, and matches are looked for within as much. */
export const FRAGMENT_BYTES = 1 << 16;
const HASH_BITS = 14;
const HASH_FACTOR = 0x1e35a7bd;
const MATCH_BYTES_MIN = 4;
const COPY_BYTES_MAX = 64;
/** A copy this short and near takes two bytes and not three. */
const NEAR_COPY_BYTES_MAX = 11;
const NEAR_OFFSET_MAX = 2047;
/** Words are read from so far before the end at most. */
const READ_AHEAD_BYTES = 16;
/** So many places without a match are looked at before one is left out between them, as a power of two. */
const LOOKS_BEFORE_SKIP = 32;
const SKIP_SHIFT = 5;
/** Of the preamble, and of what strides reach beyond the last element. */
const SLACK_BYTES = 64;
/** Larger memory is for one input. */
const KEPT_BYTES_MAX = 8 << 20;

/** Most that the elements of so many bytes take, and what may be written behind them. */
export function elementsBound(lengthBytes: number): number {
  return SLACK_BYTES + lengthBytes + Math.ceil(lengthBytes / 6);
}

/** Elements one after another in memory that is used again. */
export class SnappyElementWriter {
  bytes: Uint8Array = new Uint8Array(FRAGMENT_BYTES);
  /** What is written ends here. */
  at = 0;
  private view = new DataView(this.bytes.buffer);
  /** Place in the fragment by hash of the four bytes there. */
  private readonly places = new Uint16Array(1 << HASH_BITS);

  /** Begins anew, with room for so many bytes. */
  reset(lengthBytes: number): void {
    this.at = 0;
    const isKept = this.bytes.length <= KEPT_BYTES_MAX;
    if (isKept && lengthBytes <= this.bytes.length) return;
    const wanted = Math.max(lengthBytes, Math.min(KEPT_BYTES_MAX, Math.ceil(lengthBytes * 1.5)));
    this.bytes = new Uint8Array(Math.max(wanted, FRAGMENT_BYTES));
    this.view = new DataView(this.bytes.buffer);
  }

  varint(value: number): void {
    let rest = value;
    for (; rest >= 128; rest = Math.floor(rest / 128)) this.bytes[this.at++] = (rest % 128) | 128;
    this.bytes[this.at++] = rest;
  }

  /** The elements of at most FRAGMENT_BYTES bytes. @param source view of all of `input`. */
  fragment(input: Uint8Array, source: DataView, start: number, end: number): void {
    const { places } = this;
    places.fill(0);
    const last = end - READ_AHEAD_BYTES;
    let literal = start;
    let looks = LOOKS_BEFORE_SKIP;
    // a place that was never noted is the first one, so that is none to look for
    for (let pos = start + 1; pos <= last; ) {
      const word = source.getInt32(pos, true);
      const hash = Math.imul(word, HASH_FACTOR) >>> (32 - HASH_BITS);
      const candidate = start + places[hash];
      places[hash] = pos - start;
      if (candidate >= pos || source.getInt32(candidate, true) !== word) {
        pos += looks++ >>> SKIP_SHIFT;
        continue;
      }
      const match = matchEnd(input, source, candidate + MATCH_BYTES_MIN, pos + MATCH_BYTES_MIN, end);
      if (literal < pos) this.literal(input, source, literal, pos);
      this.copy(pos - candidate, match - pos);
      pos = match;
      literal = match;
      looks = LOOKS_BEFORE_SKIP;
      if (pos > last) break;
      const before = Math.imul(source.getInt32(pos - 1, true), HASH_FACTOR) >>> (32 - HASH_BITS);
      places[before] = pos - 1 - start;
    }
    if (literal < end) this.literal(input, source, literal, end);
  }

  private literal(input: Uint8Array, source: DataView, start: number, end: number): void {
    const { bytes, view } = this;
    const length = end - start;
    let { at } = this;
    if (length <= 60) bytes[at++] = (length - 1) << 2;
    else {
      const isShort = length <= 256;
      bytes[at++] = (isShort ? 60 : 61) << 2;
      bytes[at++] = length - 1;
      if (!isShort) bytes[at++] = (length - 1) >>> 8;
    }
    if (length <= SHORT_BYTES && start <= input.length - SHORT_BYTES) {
      let i = 0;
      do {
        view.setInt32(at + i, source.getInt32(start + i, true), true);
        view.setInt32(at + i + 4, source.getInt32(start + i + 4, true), true);
        view.setInt32(at + i + 8, source.getInt32(start + i + 8, true), true);
        view.setInt32(at + i + 12, source.getInt32(start + i + 12, true), true);
        i += STRIDE_BYTES;
      } while (i < length);
    } else bytes.set(input.subarray(start, end), at);
    this.at = at + length;
  }

  private copy(offset: number, lengthBytes: number): void {
    const { bytes, view } = this;
    let { at } = this;
    let length = lengthBytes;
    while (length > COPY_BYTES_MAX) {
      // what is left must not be less than a copy can be
      const part =
        length < COPY_BYTES_MAX + MATCH_BYTES_MIN ? COPY_BYTES_MAX - MATCH_BYTES_MIN : COPY_BYTES_MAX;
      view.setInt32(at, ((part - 1) << 2) | 2 | (offset << 8), true);
      at += 3;
      length -= part;
    }
    if (length <= NEAR_COPY_BYTES_MAX && offset <= NEAR_OFFSET_MAX) {
      bytes[at++] = ((offset >>> 8) << 5) | ((length - MATCH_BYTES_MIN) << 2) | 1;
      bytes[at++] = offset;
    } else {
      view.setInt32(at, ((length - 1) << 2) | 2 | (offset << 8), true);
      at += 3;
    }
    this.at = at;
  }
}

/** Where what begins alike at `earlier` and `later` ceases to be so, for the later one. */
function matchEnd(input: Uint8Array, source: DataView, earlier: number, later: number, end: number): number {
  const distance = later - earlier;
  let at = later;
  for (; at <= end - 4; at += 4) {
    const differing = source.getInt32(at - distance, true) ^ source.getInt32(at, true);
    if (differing !== 0) return at + ((31 - Math.clz32(differing & -differing)) >>> 3);
  }
  while (at < end && input[at - distance] === input[at]) at++;
  return at;
}

/** Compresses one block after another. */
export class SnappyCompressor {
  private readonly writer = new SnappyElementWriter();

  /** What it returns is valid until the next call. */
  compress(input: Uint8Array): Uint8Array {
    const { writer } = this;
    const source = new DataView(input.buffer, input.byteOffset, input.length);
    writer.reset(elementsBound(input.length));
    writer.varint(input.length);
    for (let start = 0; start < input.length; start += FRAGMENT_BYTES) {
      writer.fragment(input, source, start, Math.min(input.length, start + FRAGMENT_BYTES));
    }
    return writer.bytes.subarray(0, writer.at);
  }
}
