// Puts the one length-prefixed message of a unary gRPC call together from DATA chunks that are cut anywhere.
// Format: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, Length-Prefixed-Message.
import { TempoError } from '../lib/errors.ts';
import { noteShortLivedBytes } from '../lib/garbage.ts';
import type { BufferPool } from './buffer-pool.ts';

export const PREFIX_BYTES = 5;
const NOTHING = new Uint8Array(0);
/** A buffer is at most so many times what has come: a length that is only declared takes no memory. */
const GROWTH = 4;

export class MessageAssembler {
  /** The message; complete once `isComplete()`. A view of the only chunk where there was only one. */
  bytes: Uint8Array = NOTHING;
  isCompressed = false;

  readonly #sizeMax: number;
  readonly #pool: BufferPool;
  readonly #prefix = new Uint8Array(PREFIX_BYTES);
  #prefixLength = 0;
  #length = -1;
  #filled = 0;
  #buffer: Uint8Array | undefined;
  /** Bytes of a chunk that is the whole message, counted by the pool. */
  #heldBytes = 0;

  constructor(sizeMax: number, pool: BufferPool) {
    this.#sizeMax = sizeMax;
    this.#pool = pool;
  }

  isComplete(): boolean {
    return this.#filled === this.#length;
  }

  /**
   * Takes the next chunk. Throws TempoError for what is no message, for too large a one and when the pool
   * is empty.
   */
  push(chunk: Uint8Array): void {
    noteShortLivedBytes(chunk.length);
    let at = 0;
    if (this.#length < 0) {
      at = Math.min(PREFIX_BYTES - this.#prefixLength, chunk.length);
      for (let i = 0; i < at; i++) this.#prefix[this.#prefixLength++] = chunk[i];
      if (this.#prefixLength < PREFIX_BYTES) return;
      this.#open();
    }
    const rest = chunk.length - at;
    if (rest > this.#length - this.#filled)
      throw new TempoError('internal', 'more than one message in a unary call');
    if (rest === 0) return;
    const part = at === 0 ? chunk : chunk.subarray(at);
    if (rest === this.#length) this.#keep(part);
    else this.#append(part);
    this.#filled += rest;
  }

  /** Gives the bytes back to the pool; the message must not be used any more. */
  release(): void {
    if (this.#buffer !== undefined) this.#pool.give(this.#buffer);
    this.#buffer = undefined;
    this.#pool.drop(this.#heldBytes);
    this.#heldBytes = 0;
    this.bytes = NOTHING;
  }

  /** The whole message is one chunk: it stays where it is. */
  #keep(chunk: Uint8Array): void {
    this.#pool.hold(chunk.length);
    this.#heldBytes = chunk.length;
    this.bytes = chunk;
  }

  #append(part: Uint8Array): void {
    const filled = this.#filled + part.length;
    let buffer = this.#buffer;
    if (buffer === undefined || buffer.length < filled) {
      const size = Math.min(filled * GROWTH, this.#length);
      buffer = buffer === undefined ? this.#pool.take(size) : this.#pool.grow(buffer, this.#filled, size);
      this.#buffer = buffer;
    }
    buffer.set(part, this.#filled);
    if (filled === this.#length) this.bytes = buffer.subarray(0, filled);
  }

  #open(): void {
    const [flag, a, b, c, d] = this.#prefix;
    if (flag > 1) throw new TempoError('internal', `invalid compression flag ${flag} of a message`);
    this.isCompressed = flag === 1;
    const length = a * 0x1000000 + ((b << 16) | (c << 8) | d);
    if (length > this.#sizeMax) {
      throw new TempoError(
        'too_large',
        `grpc: received message larger than max (${length} vs. ${this.#sizeMax})`,
      );
    }
    this.#length = length;
  }
}
