// Buffers for request messages, used again and again: fresh ones of this size cost page faults and garbage
// collection. Also the bound on the bytes that unfinished requests may hold.
import { requestBodies } from '../lib/byte-ledger.ts';
import { TempoError } from '../lib/errors.ts';

/** Buffers are powers of two from this size on, so that few sizes serve all messages. */
const SIZE_MIN = 4 << 10;

export class BufferPool {
  /** Bytes of buffers that are out. */
  bytesHeld = 0;
  readonly #bytesMax: number;
  readonly #idleBytesMax: number;
  readonly #idle = new Map<number, Uint8Array[]>();
  #idleBytes = 0;

  /**
   * @param bytesMax more are never out at a time.
   * @param idleBytesMax more are never kept for later.
   */
  constructor(bytesMax: number, idleBytesMax: number) {
    this.#bytesMax = bytesMax;
    this.#idleBytesMax = idleBytesMax;
  }

  /**
   * A buffer of at least `length` bytes with old content. Throws TempoError `unavailable` when too many are
   * out.
   */
  take(length: number): Uint8Array {
    const size = sizeFor(length);
    this.hold(size);
    return this.#fresh(size);
  }

  /** A larger buffer in place of one, with its first `filledBytes`. Throws as `take` does. */
  grow(buffer: Uint8Array, filledBytes: number, length: number): Uint8Array {
    const size = sizeFor(length);
    this.hold(size - buffer.length);
    const larger = this.#fresh(size);
    larger.set(buffer.subarray(0, filledBytes));
    this.#keep(buffer);
    return larger;
  }

  #fresh(size: number): Uint8Array {
    const idle = this.#idle.get(size)?.pop();
    if (idle === undefined) return new Uint8Array(Buffer.allocUnsafeSlow(size).buffer);
    this.#idleBytes -= size;
    return idle;
  }

  /** Counts bytes that lie elsewhere. Throws as `take` does. */
  hold(sizeBytes: number): void {
    if (this.bytesHeld + sizeBytes > this.#bytesMax) {
      throw new TempoError('unavailable', `requests hold ${this.bytesHeld} bytes, try again later`);
    }
    requestBodies.hold(sizeBytes);
    this.bytesHeld += sizeBytes;
  }

  /** Takes back what `hold` counted. */
  drop(sizeBytes: number): void {
    requestBodies.drop(sizeBytes);
    this.bytesHeld -= sizeBytes;
  }

  /** Takes a buffer back, which nobody may use from now on. */
  give(buffer: Uint8Array): void {
    this.drop(buffer.length);
    this.#keep(buffer);
  }

  #keep(buffer: Uint8Array): void {
    const size = buffer.length;
    if (this.#idleBytes + size > this.#idleBytesMax) return;
    this.#idleBytes += size;
    const idle = this.#idle.get(size);
    if (idle === undefined) this.#idle.set(size, [buffer]);
    else idle.push(buffer);
  }
}

function sizeFor(length: number): number {
  let size = SIZE_MIN;
  while (size < length) size *= 2;
  return size;
}
