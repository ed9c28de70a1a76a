// Memory for one piece of work after another: arrays of any content are taken from one buffer, and all of
// them are given back at once. V8 counts bytes outside of its heap and would collect after every few
// megabytes of new ones, and the system would hand out and clear their pages each time.

const ALIGNED_BYTES = 8;

export class WorkMemory {
  private buffer = new ArrayBuffer(0);
  private used = 0;
  /** Taken since the last reset. */
  private wanted = 0;
  private readonly keptBytesMax: number;

  /** @param keptBytesMax what is taken above it is made anew each time. */
  constructor(keptBytesMax: number) {
    this.keptBytesMax = keptBytesMax;
  }

  /** What was taken before may be overwritten from now on. */
  reset(): void {
    if (this.wanted > this.buffer.byteLength && this.buffer.byteLength < this.keptBytesMax) {
      this.buffer = new ArrayBuffer(Math.min(this.keptBytesMax, Math.ceil(this.wanted * 1.5)));
    }
    this.used = 0;
    this.wanted = 0;
  }

  bytes(length: number): Uint8Array {
    const at = this.place(length);
    return at < 0 ? new Uint8Array(length) : new Uint8Array(this.buffer, at, length);
  }

  /** As `bytes`, for who decompresses or reads into it. */
  take(lengthBytes: number): Uint8Array {
    return this.bytes(lengthBytes);
  }

  words(length: number): Int32Array {
    const at = this.place(length * 4);
    return at < 0 ? new Int32Array(length) : new Int32Array(this.buffer, at, length);
  }

  /** @returns where in the buffer; -1 = it has no room. */
  private place(lengthBytes: number): number {
    const taken = Math.ceil(lengthBytes / ALIGNED_BYTES) * ALIGNED_BYTES;
    this.wanted += taken;
    if (this.used + taken > this.buffer.byteLength) return -1;
    this.used += taken;
    return this.used - taken;
  }
}
