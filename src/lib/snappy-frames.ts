// The Snappy framing format (github.com/google/snappy, framing_format.txt), which gRPC and OpenTelemetry
// Collectors send: chunks with checksums. These are verified, and what is decompressed is bounded.
import { crc32c } from './crc32c.ts';
import { elementsBound, FRAGMENT_BYTES, SnappyElementWriter } from './snappy-compressor.ts';
import { decodeElements, SnappyError, snappyHead } from './snappy.ts';

/** What every stream begins with: the stream identifier chunk. */
const STREAM_IDENTIFIER = Uint8Array.of(0xff, 6, 0, 0, 0x73, 0x4e, 0x61, 0x50, 0x70, 0x59);
const CHUNK_HEADER_BYTES = 4;
const CHECKSUM_BYTES = 4;
const CHUNK_CONTENT_MAX = 65_536;
const COMPRESSED = 0;
const UNCOMPRESSED = 1;
const SKIPPABLE_FROM = 0x80;
const IDENTIFIER = 0xff;
const MASK_DELTA = 0xa282ead8;

export function isFramedSnappy(input: Uint8Array): boolean {
  return isIdentifierAt(input, 0);
}

function isIdentifierAt(input: Uint8Array, at: number): boolean {
  for (let i = 0; i < STREAM_IDENTIFIER.length; i++) if (input[at + i] !== STREAM_IDENTIFIER[i]) return false;
  return true;
}

/** Goes through the chunks of a stream that hold something. */
class ChunkCursor {
  type = UNCOMPRESSED;
  /** Of what is behind the checksum. */
  start = 0;
  end = 0;
  /** Once it is decompressed. */
  contentBytes = 0;
  private readonly input: Uint8Array;

  constructor(input: Uint8Array) {
    this.input = input;
  }

  /** Throws SnappyError for what is no chunk. */
  next(): boolean {
    const { input } = this;
    while (this.end < input.length) {
      const head = this.end;
      if (input.length - head < CHUNK_HEADER_BYTES) throw new SnappyError('truncated');
      this.type = input[head];
      this.end = head + CHUNK_HEADER_BYTES + (int32At(input, head) >>> 8);
      if (this.end > input.length) throw new SnappyError('truncated');
      if (this.type === COMPRESSED || this.type === UNCOMPRESSED) {
        this.measure(head + CHUNK_HEADER_BYTES + CHECKSUM_BYTES);
        return true;
      }
      if (this.type < SKIPPABLE_FROM) throw new SnappyError(`chunk of unknown type ${this.type}`);
      if (this.type === IDENTIFIER && !isIdentifierAt(input, head)) {
        throw new SnappyError('bad stream identifier');
      }
    }
    return false;
  }

  private measure(start: number): void {
    const { input, type, end } = this;
    if (start > end) throw new SnappyError('truncated');
    this.start = start;
    this.contentBytes = type === COMPRESSED ? snappyHead(input, start, end).size : end - start;
    if (this.contentBytes > CHUNK_CONTENT_MAX) throw new SnappyError('chunk is larger than allowed');
  }
}

/** Undoes a whole stream. Throws SnappyError when it is damaged or holds more than `sizeMax` bytes. */
export function snappyUnframe(input: Uint8Array, sizeMax: number): Uint8Array {
  const length = contentLength(input, sizeMax);
  const out = new Uint8Array(length);
  const outView = new DataView(out.buffer);
  const chunk = new ChunkCursor(input);
  for (let at = 0; chunk.next(); ) {
    const { type, start, end } = chunk;
    const stop = at + chunk.contentBytes;
    if (type === UNCOMPRESSED) out.set(input.subarray(start, end), at);
    else {
      const { pos } = snappyHead(input, start, end);
      decodeElements({ bytes: input, pos, end }, { bytes: out, start: at, stop });
    }
    if (maskedSum(out, outView, at, stop) !== int32At(input, start - CHECKSUM_BYTES)) {
      throw new SnappyError('checksum is wrong');
    }
    at = stop;
  }
  return out;
}

/** Of all chunks; nothing is decompressed for it. */
function contentLength(input: Uint8Array, sizeMax: number): number {
  if (!isFramedSnappy(input)) throw new SnappyError('stream identifier is missing');
  const chunk = new ChunkCursor(input);
  let length = 0;
  while (chunk.next()) {
    length += chunk.contentBytes;
    if (length > sizeMax) throw new SnappyError('stream is larger than allowed', true);
  }
  return length;
}

/** Writes one stream after another. */
export class SnappyFramer {
  private readonly writer = new SnappyElementWriter();

  /** A stream with all of the input. What it returns is valid until the next call. */
  frame(input: Uint8Array): Uint8Array {
    const { writer } = this;
    const source = new DataView(input.buffer, input.byteOffset, input.length);
    const chunks = Math.ceil(input.length / CHUNK_CONTENT_MAX);
    writer.reset(elementsBound(input.length) + STREAM_IDENTIFIER.length + chunks * 16);
    writer.bytes.set(STREAM_IDENTIFIER);
    writer.at = STREAM_IDENTIFIER.length;
    for (let start = 0; start < input.length; start += FRAGMENT_BYTES) {
      this.chunk(input, source, start, Math.min(input.length, start + FRAGMENT_BYTES));
    }
    return writer.bytes.subarray(0, writer.at);
  }

  private chunk(input: Uint8Array, source: DataView, start: number, end: number): void {
    const { writer } = this;
    const head = writer.at;
    const content = head + CHUNK_HEADER_BYTES + CHECKSUM_BYTES;
    const length = end - start;
    writer.at = content;
    writer.varint(length);
    writer.fragment(input, source, start, end);
    const { bytes } = writer;
    const isSmaller = writer.at - content < length;
    if (!isSmaller) {
      bytes.set(input.subarray(start, end), content);
      writer.at = content + length;
    }
    const size = writer.at - head - CHUNK_HEADER_BYTES;
    putInt32(bytes, head, (isSmaller ? COMPRESSED : UNCOMPRESSED) | (size << 8));
    putInt32(bytes, head + CHUNK_HEADER_BYTES, maskedSum(input, source, start, end));
  }
}

function maskedSum(bytes: Uint8Array, view: DataView, start: number, end: number): number {
  const crc = crc32c(bytes, view, start, end);
  return (((crc >>> 15) | (crc << 17)) + MASK_DELTA) | 0;
}

function int32At(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
}

function putInt32(bytes: Uint8Array, at: number, value: number): void {
  for (let i = 0; i < 4; i++) bytes[at + i] = value >>> (i * 8);
}
