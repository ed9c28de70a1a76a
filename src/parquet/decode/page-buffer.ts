// Memory for the values of one page while they are decoded, used again for the next page: V8 counts bytes
// outside of its heap and would collect after every few megabytes.

/** For more than this memory is made anew each time. */
const KEPT_BYTES_MAX = 1024 * 1024;

export class PageBuffer {
  private kept = new ArrayBuffer(0);

  /** Of any content; valid until something is asked for again. */
  bytes(length: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.buffer(length), 0, length);
  }

  /** As `bytes`. */
  ints(count: number): Int32Array {
    return new Int32Array(this.buffer(count * 4), 0, count);
  }

  /** As `bytes`. */
  doubles(count: number): Float64Array {
    return new Float64Array(this.buffer(count * 8), 0, count);
  }

  /** As `bytes`. */
  longs(count: number): BigInt64Array {
    return new BigInt64Array(this.buffer(count * 8), 0, count);
  }

  private buffer(lengthBytes: number): ArrayBuffer {
    if (lengthBytes <= this.kept.byteLength) return this.kept;
    const larger = new ArrayBuffer(Math.ceil(Math.max(lengthBytes, this.kept.byteLength * 2) / 8) * 8);
    if (larger.byteLength <= KEPT_BYTES_MAX) this.kept = larger;
    return larger;
  }
}
