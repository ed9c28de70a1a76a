// Undoes a body's compression within a size limit, so that a small message cannot become a huge one, and
// within a limit of what all bodies may become at a time.
import zlib from 'node:zlib';
import { ByteGate } from '../lib/byte-gate.ts';
import { TempoError } from '../lib/errors.ts';
import { noteReleasedBytes, noteShortLivedBytes } from '../lib/garbage.ts';
import { bodyThreads } from './body-threads.ts';
import { inflateByHand } from './inflate-by-hand.ts';
import { malformed, tooLarge } from './inflate-errors.ts';

/**
 * Compressed bodies up to this size are inflated at once; larger ones on other threads, so that sockets stay
 * served.
 */
const INFLATE_SYNC_BYTES_MAX = 4 << 10;
const BY_HAND_SYNC_BYTES_MAX = 32 << 10;
const CHUNK_BYTES_MIN = 16 << 10;
const CHUNK_BYTES_MAX = 512 << 10;
/** What bodies that are being inflated may become together; the others wait. */
const INFLATING_BYTES_MAX = 256 << 20;

interface Codec {
  inflate(bytes: Uint8Array, options: zlib.ZlibOptions, done: (err: Error | null, out: Buffer) => void): void;
  inflateSync(bytes: Uint8Array, options: zlib.ZlibOptions): Buffer;
}

const ZLIB: Codec = { inflate: zlib.inflate, inflateSync: zlib.inflateSync };

/**
 * By the name that Content-Encoding and grpc-encoding use. `deflate` is the zlib format (RFC 9110 section
 * 8.4.1.2), which Collectors call `zlib` too.
 */
const CODECS: Readonly<Record<string, Codec>> = {
  gzip: { inflate: zlib.gunzip, inflateSync: zlib.gunzipSync },
  deflate: ZLIB,
  zlib: ZLIB,
  zstd: {
    inflate: (bytes, options, done) => zlib.zstdDecompress(bytes, options as zlib.ZstdOptions, done),
    inflateSync: (bytes, options) => zlib.zstdDecompressSync(bytes, options as zlib.ZstdOptions),
  },
};

/** Those that Node has not. */
const BY_HAND = new Set(['snappy', 'x-snappy-framed', 'lz4']);

export const ENCODINGS: readonly string[] = [...Object.keys(CODECS), ...BY_HAND];

const gate = new ByteGate(INFLATING_BYTES_MAX);

/**
 * Inflates a whole body.
 * @param encoding one of ENCODINGS.
 * @throws TempoError `too_large` when the result exceeds `sizeMax` bytes, `invalid_argument` when it is no
 * such stream.
 */
export async function inflate(encoding: string, bytes: Uint8Array, sizeMax: number): Promise<Uint8Array> {
  const isByHand = BY_HAND.has(encoding);
  const syncBytesMax = isByHand ? BY_HAND_SYNC_BYTES_MAX : INFLATE_SYNC_BYTES_MAX;
  if (bytes.length <= syncBytesMax) {
    return isByHand ? inflateByHand(encoding, bytes, sizeMax) : inflateSync(encoding, bytes, sizeMax);
  }
  const leave = await gate.enter(sizeMax);
  try {
    const out = isByHand
      ? await bodyThreads.run({ kind: 'inflate', encoding, bytes, sizeMax })
      : await inflateOnPool(encoding, bytes, sizeMax);
    noteShortLivedBytes(out.length);
    return out;
  } finally {
    leave();
  }
}

function inflateSync(encoding: string, bytes: Uint8Array, sizeMax: number): Uint8Array {
  const codec = codecOf(encoding);
  try {
    return codec.inflateSync(bytes, optionsFor(bytes, sizeMax));
  } catch (err) {
    throw refusal(encoding, sizeMax, err);
  }
}

async function inflateOnPool(encoding: string, bytes: Uint8Array, sizeMax: number): Promise<Uint8Array> {
  const codec = codecOf(encoding);
  const result = await new Promise<Uint8Array | Error>((resolve) => {
    codec.inflate(bytes, optionsFor(bytes, sizeMax), (err, out) => resolve(err ?? out));
  });
  // Made here and not in the callback, where its stack would hold on to what was inflated so far.
  if (result instanceof Error) throw refusal(encoding, sizeMax, result);
  return result;
}

function codecOf(encoding: string): Codec {
  const codec = CODECS[encoding];
  if (codec === undefined) throw new TempoError('unimplemented', `compression ${encoding} is not supported`);
  return codec;
}

/** Traces shrink to about a tenth: one output chunk then mostly holds the result. */
function optionsFor(bytes: Uint8Array, sizeMax: number): zlib.ZlibOptions {
  const chunkSize = Math.min(Math.max(bytes.length * 12, CHUNK_BYTES_MIN), CHUNK_BYTES_MAX);
  return { chunkSize, maxOutputLength: Math.max(sizeMax, 1) };
}

function refusal(encoding: string, sizeMax: number, err: unknown): TempoError {
  const isTooLarge = err instanceof Error && 'code' in err && err.code === 'ERR_BUFFER_TOO_LARGE';
  if (!isTooLarge) return malformed(encoding, err);
  // Without the cause, for the same reason.
  noteReleasedBytes(sizeMax);
  return tooLarge(sizeMax);
}
