// Bodies of answers made of finished parts. A small one is joined; a large one is a stream, so that neither
// joining nor compressing it holds up other requests, and its client begins to read at once.
import { Readable } from 'node:stream';
import { noteShortLivedBytes } from '../../lib/garbage.ts';

/** Larger bodies are streams. */
const JOINED_BYTES_MAX = 1 << 20;
/** Small parts are sent together up to this size, larger parts in pieces of it. */
const CHUNK_BYTES = 256 << 10;
/** Others get a turn when the parts took that long. */
const TURN_MS = 5;

/** @param parts must not change any more. */
export function bodyOf(parts: Iterable<Uint8Array>): Buffer | Readable {
  const begun: Uint8Array[] = [];
  let sizeBytes = 0;
  const iterator = parts[Symbol.iterator]();
  for (let next = iterator.next(); next.done !== true; next = iterator.next()) {
    begun.push(next.value);
    sizeBytes += next.value.length;
    if (sizeBytes > JOINED_BYTES_MAX) {
      return Readable.from(withTurns(chunks(continued(begun, iterator))), { objectMode: false });
    }
  }
  return begun.length === 1 ? viewOf(begun[0]!) : Buffer.concat(begun, sizeBytes);
}

function* continued(begun: readonly Uint8Array[], rest: Iterator<Uint8Array>): Generator<Uint8Array> {
  yield* begun;
  for (let next = rest.next(); next.done !== true; next = rest.next()) yield next.value;
}

function* chunks(parts: Iterable<Uint8Array>): Generator<Buffer> {
  let chunk = newChunk();
  let length = 0;
  for (const part of parts) {
    if (length + part.length > CHUNK_BYTES) {
      if (length > 0) yield chunk.subarray(0, length);
      chunk = newChunk();
      length = 0;
    }
    if (part.length > CHUNK_BYTES) {
      for (let at = 0; at < part.length; at += CHUNK_BYTES) {
        yield viewOf(part.subarray(at, at + CHUNK_BYTES));
      }
    } else {
      chunk.set(part, length);
      length += part.length;
    }
  }
  if (length > 0) yield chunk.subarray(0, length);
}

function newChunk(): Buffer {
  noteShortLivedBytes(CHUNK_BYTES);
  return Buffer.allocUnsafeSlow(CHUNK_BYTES);
}

/** A reader that is as fast as we are would else keep the thread until all is sent. */
async function* withTurns(parts: Iterable<Buffer>): AsyncGenerator<Buffer> {
  let turnMs = performance.now();
  for (const part of parts) {
    yield part;
    if (performance.now() - turnMs < TURN_MS) continue;
    await new Promise((resolve) => setImmediate(resolve));
    turnMs = performance.now();
  }
}

function viewOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
