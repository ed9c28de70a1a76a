// Answers of the query API are compressed for clients that take it, off the main thread: small ones not,
// large ones while they are sent.
import { pipeline, type Readable } from 'node:stream';
import { promisify } from 'node:util';
import { constants, createGzip, gzip } from 'node:zlib';
import type { FastifyReply, FastifyRequest } from 'fastify';

/** Below it a body fits into one packet anyway. */
const COMPRESSED_BYTES_MIN = 1400;
const CHUNK_BYTES = 64 << 10;

const OPTIONS = { level: constants.Z_BEST_SPEED, chunkSize: CHUNK_BYTES };

const gzipAsync = promisify(gzip);

/** A hook for `onSend`. */
export async function compressAnswer(
  request: FastifyRequest,
  reply: FastifyReply,
  body: unknown,
): Promise<unknown> {
  reply.header('vary', 'Accept-Encoding');
  const isSmall = !isStream(body) && (!Buffer.isBuffer(body) || body.length < COMPRESSED_BYTES_MIN);
  if (isSmall || !takesGzip(request.headers['accept-encoding'])) return body;
  const compressed = isStream(body) ? compressedStream(body) : await gzipAsync(body as Buffer, OPTIONS);
  reply.header('content-encoding', 'gzip');
  reply.removeHeader('content-length');
  return compressed;
}

export function isStream(body: unknown): body is Readable {
  return typeof body === 'object' && body !== null && 'pipe' in body;
}

function compressedStream(body: Readable): Readable {
  // What fails on either side ends both: the server notices when the answer breaks off.
  return pipeline(body, createGzip(OPTIONS), () => {});
}

function takesGzip(accepted: string | string[] | undefined): boolean {
  for (const part of String(accepted ?? '').split(',')) {
    const [coding, ...params] = part.split(';').map((text) => text.trim().toLowerCase());
    if (coding === 'gzip') return !params.some((param) => /^q=0(?:\.0*)?$/.test(param));
  }
  return false;
}
