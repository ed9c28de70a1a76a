// Answers of the query API are compressed for clients that take it, off the main thread. Small ones are not.
import { promisify } from 'node:util';
import { constants, gzip } from 'node:zlib';
import type { FastifyReply, FastifyRequest } from 'fastify';

/** Below it a body fits into one packet anyway. */
const COMPRESSED_BYTES_MIN = 1400;

const gzipAsync = promisify(gzip);

/** A hook for `onSend`. */
export async function compressAnswer(
  request: FastifyRequest,
  reply: FastifyReply,
  body: unknown,
): Promise<unknown> {
  reply.header('vary', 'Accept-Encoding');
  const isSmall = !Buffer.isBuffer(body) || body.length < COMPRESSED_BYTES_MIN;
  if (isSmall || !takesGzip(request.headers['accept-encoding'])) return body;
  const compressed = await gzipAsync(body, { level: constants.Z_BEST_SPEED });
  reply.header('content-encoding', 'gzip');
  reply.removeHeader('content-length');
  return compressed;
}

function takesGzip(accepted: string | string[] | undefined): boolean {
  for (const part of String(accepted ?? '').split(',')) {
    const [coding, ...params] = part.split(';').map((text) => text.trim().toLowerCase());
    if (coding === 'gzip') return !params.some((param) => /^q=0(?:\.0*)?$/.test(param));
  }
  return false;
}
