// One growable stretch of shared memory and a bump allocator over it: all memory of one head.
// The writer allocates; readers in other threads hold the same SharedArrayBuffer and never write.

/** Every allocation starts at a multiple of this, so offsets are kept in units of it and fit 32 bits. */
export const ARENA_UNIT = 8;

/** Byte offsets of strings are 32 bits. */
const ARENA_BYTES_MAX = 0xffff_fff8;

const FIRST_BYTES = 64 * 1024;
const GROW_STEP_MAX_BYTES = 64 * 1024 * 1024;

/** Thrown when a head would outgrow its reservation: the caller cuts the head and begins another. */
export class ArenaFullError extends Error {
  override readonly name = 'ArenaFullError';
}

export class Arena {
  readonly sab: SharedArrayBuffer;
  /** Bytes handed out so far. Untouched pages of the buffer cost no memory. */
  usedBytes: number;
  /** All bytes of the buffer: replaced when it grows, so take it anew after an allocation. */
  bytes: Uint8Array;
  /** The same as 32-bit words. */
  words: Int32Array;

  /** @param maxBytes reservation of address space; memory is only taken as it is used. */
  constructor(maxBytes: number) {
    const max = Math.min(Math.max(maxBytes - (maxBytes % ARENA_UNIT), FIRST_BYTES), ARENA_BYTES_MAX);
    this.sab = new SharedArrayBuffer(FIRST_BYTES, { maxByteLength: max });
    this.bytes = new Uint8Array(this.sab, 0, FIRST_BYTES);
    this.words = new Int32Array(this.sab, 0, FIRST_BYTES / 4);
    this.usedBytes = 0;
  }

  /** Returns the byte offset of `sizeBytes` zeroed bytes. Throws ArenaFullError. */
  allocate(sizeBytes: number): number {
    const offset = this.usedBytes;
    const end = offset + Math.ceil(sizeBytes / ARENA_UNIT) * ARENA_UNIT;
    if (end > this.sab.byteLength) this.grow(end);
    this.usedBytes = end;
    return offset;
  }

  private grow(neededBytes: number): void {
    if (neededBytes > this.sab.maxByteLength) throw new ArenaFullError('head is full');
    const step = Math.min(this.sab.byteLength, GROW_STEP_MAX_BYTES);
    const wanted = Math.max(neededBytes, this.sab.byteLength + step);
    this.sab.grow(Math.min(wanted, this.sab.maxByteLength));
    // An explicit length: views that follow a growable buffer are slower to read.
    this.bytes = new Uint8Array(this.sab, 0, this.sab.byteLength);
    this.words = new Int32Array(this.sab, 0, this.sab.byteLength / 4);
  }
}
