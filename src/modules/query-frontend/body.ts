// Bodies of answers made of finished parts. A small one is joined; a large one is a stream, so that neither
// joining nor compressing it holds up other requests, and its client begins to read at once.
import { Readable } from 'node:stream';
import { noteShortLivedBytes } from '../../lib/garbage.ts';
import { Slice } from '../../lib/slices.ts';

/** Larger bodies are streams. */
const JOINED_BYTES_MAX = 1 << 20;
/** Of the pieces of a stream. */
const CHUNK_BYTES = 256 << 10;

/**
 * @param parts must not change any more; they are copied, but for a small body of one part.
 * @param copied called when they are, or when whoever began to read wants no more.
 */
export function bodyOf(parts: Iterable<Uint8Array>, copied?: () => void): Buffer | Readable {
  const begun: Uint8Array[] = [];
  let sizeBytes = 0;
  const iterator = parts[Symbol.iterator]();
  for (let next = iterator.next(); next.done !== true; next = iterator.next()) {
    begun.push(next.value);
    sizeBytes += next.value.length;
    if (sizeBytes > JOINED_BYTES_MAX) {
      const all = chunks(continued(begun, iterator), copied);
      return Readable.from(withTurns(all), { objectMode: false });
    }
  }
  if (begun.length === 1 && copied === undefined) return viewOf(begun[0]!);
  const body = Buffer.concat(begun, sizeBytes);
  copied?.();
  return body;
}

function* continued(begun: readonly Uint8Array[], rest: Iterator<Uint8Array>): Generator<Uint8Array> {
  yield* begun;
  for (let next = rest.next(); next.done !== true; next = rest.next()) yield next.value;
}

function* chunks(parts: Iterable<Uint8Array>, copied: (() => void) | undefined): Generator<Buffer> {
  try {
    let chunk = newChunk();
    let length = 0;
    for (const part of parts) {
      for (let at = 0; at < part.length; ) {
        const piece = part.subarray(at, at + CHUNK_BYTES - length);
        chunk.set(piece, length);
        at += piece.length;
        length += piece.length;
        if (length < CHUNK_BYTES) continue;
        yield chunk;
        chunk = newChunk();
        length = 0;
      }
    }
    if (length > 0) yield chunk.subarray(0, length);
  } finally {
    copied?.();
  }
}

function newChunk(): Buffer {
  noteShortLivedBytes(CHUNK_BYTES);
  return Buffer.allocUnsafeSlow(CHUNK_BYTES);
}

/** A reader that is as fast as we are would else keep the thread until all is sent. */
async function* withTurns(parts: Iterable<Buffer>): AsyncGenerator<Buffer> {
  const slice = new Slice();
  for (const part of parts) {
    yield part;
    if (slice.isOver) await slice.next();
  }
}

/** All in one piece, with turns for others as the pieces are made. */
export async function joinedInSlices(pieces: Iterable<Uint8Array>): Promise<Uint8Array> {
  const slice = new Slice();
  const made: Uint8Array[] = [];
  for (const piece of pieces) {
    made.push(piece);
    if (slice.isOver) await slice.next();
  }
  return made.length === 1 ? made[0]! : Buffer.concat(made);
}

function viewOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
