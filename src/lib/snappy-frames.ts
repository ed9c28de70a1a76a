// Decoder of the Snappy framing format (github.com/google/snappy, framing_format.txt), which gRPC and
// OpenTelemetry Collectors send. Checksums are verified, the output is bounded.
import { SnappyError, snappyDecompress } from './snappy.ts';

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
const CRC32C_POLYNOMIAL = 0x82f63b78;

let crcTable: Int32Array | undefined;

export function isFramedSnappy(input: Uint8Array): boolean {
  return STREAM_IDENTIFIER.every((byte, i) => input[i] === byte);
}

/** Undoes a whole stream. Throws SnappyError when it is damaged or holds more than `sizeMax` bytes. */
export function snappyUnframe(input: Uint8Array, sizeMax: number): Uint8Array {
  if (!isFramedSnappy(input)) throw new SnappyError('stream identifier is missing');
  const chunks: Uint8Array[] = [];
  let length = 0;
  for (let pos = 0; pos < input.length; ) {
    if (input.length - pos < CHUNK_HEADER_BYTES) throw new SnappyError('truncated');
    const type = input[pos];
    const size = input[pos + 1] | (input[pos + 2] << 8) | (input[pos + 3] << 16);
    pos += CHUNK_HEADER_BYTES;
    if (size > input.length - pos) throw new SnappyError('truncated');
    const chunk = input.subarray(pos, pos + size);
    pos += size;
    if (type === COMPRESSED || type === UNCOMPRESSED) {
      const content = contentOf(type, chunk);
      length += content.length;
      if (length > sizeMax) throw new SnappyError('stream is larger than allowed', true);
      chunks.push(content);
    } else if (type < SKIPPABLE_FROM) {
      throw new SnappyError(`chunk of unknown type ${type}`);
    } else if (type === IDENTIFIER && !isFramedSnappy(input.subarray(pos - size - CHUNK_HEADER_BYTES))) {
      throw new SnappyError('bad stream identifier');
    }
  }
  return joined(chunks, length);
}

function contentOf(type: number, chunk: Uint8Array): Uint8Array {
  if (chunk.length < CHECKSUM_BYTES) throw new SnappyError('truncated');
  const data = chunk.subarray(CHECKSUM_BYTES);
  const content = type === COMPRESSED ? snappyDecompress(data, CHUNK_CONTENT_MAX) : data;
  if (content.length > CHUNK_CONTENT_MAX) throw new SnappyError('chunk is larger than allowed');
  const crc = crc32c(content);
  const masked = (((crc >>> 15) | (crc << 17)) + MASK_DELTA) | 0;
  const stated = chunk[0] | (chunk[1] << 8) | (chunk[2] << 16) | (chunk[3] << 24);
  if (masked !== stated) throw new SnappyError('checksum is wrong');
  return content;
}

function joined(chunks: readonly Uint8Array[], length: number): Uint8Array {
  if (chunks.length === 1) return chunks[0];
  const out = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    out.set(chunk, at);
    at += chunk.length;
  }
  return out;
}

function crc32c(bytes: Uint8Array): number {
  const table = (crcTable ??= createTable());
  let crc = -1;
  for (let i = 0; i < bytes.length; i++) crc = table[(crc ^ bytes[i]) & 0xff] ^ (crc >>> 8);
  return ~crc;
}

function createTable(): Int32Array {
  return Int32Array.from({ length: 256 }, (_, byte) => {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ CRC32C_POLYNOMIAL : crc >>> 1;
    return crc;
  });
}
