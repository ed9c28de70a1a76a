// The body of an answer as one array of bytes, copied once where its length is known.
import { TruncatedError } from './failures.ts';

/** Rejects with TruncatedError when the body ends before the length that its header told. */
export async function collectBody(
  body: AsyncIterable<Uint8Array>,
  lengthBytes: number | undefined,
): Promise<Uint8Array> {
  if (lengthBytes === undefined) return collectUnknown(body);
  const bytes = new Uint8Array(lengthBytes);
  let filled = 0;
  for await (const chunk of body) {
    if (filled + chunk.length > lengthBytes) throw new TruncatedError(filled + chunk.length, lengthBytes);
    bytes.set(chunk, filled);
    filled += chunk.length;
  }
  if (filled < lengthBytes) throw new TruncatedError(filled, lengthBytes);
  return bytes;
}

async function collectUnknown(body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return new Uint8Array(Buffer.concat(chunks));
}
