// Undoes a body's compression within a size limit, so that a small message cannot become a huge one.
import zlib from 'node:zlib';
import { TempoError } from '../lib/errors.ts';

/**
 * Compressed bodies up to this size are inflated at once; larger ones on zlib's threads, so that sockets
 * stay served.
 */
const INFLATE_SYNC_BYTES_MAX = 4 << 10;
const CHUNK_BYTES_MIN = 16 << 10;
const CHUNK_BYTES_MAX = 512 << 10;

interface Codec {
  inflate(bytes: Uint8Array, options: zlib.ZlibOptions, done: (err: Error | null, out: Buffer) => void): void;
  inflateSync(bytes: Uint8Array, options: zlib.ZlibOptions): Buffer;
}

/**
 * By the name that Content-Encoding and grpc-encoding use. `deflate` is the zlib format (RFC 9110 section
 * 8.4.1.2).
 */
const CODECS: Readonly<Record<string, Codec>> = {
  gzip: { inflate: zlib.gunzip, inflateSync: zlib.gunzipSync },
  deflate: { inflate: zlib.inflate, inflateSync: zlib.inflateSync },
  zstd: {
    inflate: (bytes, options, done) => zlib.zstdDecompress(bytes, options as zlib.ZstdOptions, done),
    inflateSync: (bytes, options) => zlib.zstdDecompressSync(bytes, options as zlib.ZstdOptions),
  },
};

export function canInflate(encoding: string): boolean {
  return Object.hasOwn(CODECS, encoding);
}

/**
 * Inflates a whole body.
 * @param encoding one that `canInflate`.
 * @throws TempoError `too_large` when the result exceeds `sizeMax` bytes, `invalid_argument` when it is no
 * such stream.
 */
export async function inflate(encoding: string, bytes: Uint8Array, sizeMax: number): Promise<Uint8Array> {
  const codec = CODECS[encoding];
  if (codec === undefined) throw new TempoError('unimplemented', `compression ${encoding} is not supported`);
  // Traces shrink to about a tenth: one output chunk then mostly holds the result.
  const chunkSize = Math.min(Math.max(bytes.length * 12, CHUNK_BYTES_MIN), CHUNK_BYTES_MAX);
  const options = { chunkSize, maxOutputLength: Math.max(sizeMax, 1) };
  try {
    if (bytes.length <= INFLATE_SYNC_BYTES_MAX) return codec.inflateSync(bytes, options);
    return await new Promise<Uint8Array>((resolve, reject) => {
      codec.inflate(bytes, options, (err, out) => (err === null ? resolve(out) : reject(err)));
    });
  } catch (err) {
    const tooLarge = err instanceof Error && 'code' in err && err.code === 'ERR_BUFFER_TOO_LARGE';
    if (tooLarge)
      throw new TempoError('too_large', `message after decompression larger than max (${sizeMax})`, err);
    const why = err instanceof Error ? err.message : String(err);
    throw new TempoError('invalid_argument', `malformed ${encoding} body: ${why}`, err);
  }
}
