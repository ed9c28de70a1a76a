// A growable byte buffer with the little-endian and varint writes that our formats need.

const EMPTY = new Uint8Array(0);

export class ByteWriter {
  bytes: Uint8Array;
  length = 0;

  constructor(capacity = 256) {
    this.bytes = capacity === 0 ? EMPTY : new Uint8Array(capacity);
  }

  /** Makes room for `n` more bytes, so that the caller may write into `bytes` at `length` itself. */
  reserve(n: number): void {
    const needed = this.length + n;
    if (needed <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.bytes.length * 2, 64));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
  }

  u8(value: number): void {
    this.reserve(1);
    this.bytes[this.length++] = value;
  }

  u32(value: number): void {
    this.reserve(4);
    const b = this.bytes;
    let p = this.length;
    b[p++] = value;
    b[p++] = value >>> 8;
    b[p++] = value >>> 16;
    b[p++] = value >>> 24;
    this.length = p;
  }

  /** An unsigned LEB128 of a number up to 2^53. */
  varint(value: number): void {
    this.reserve(10);
    const b = this.bytes;
    let p = this.length;
    let v = value;
    while (v > 0x7fffffff) {
      b[p++] = (v % 128) | 128;
      v = Math.floor(v / 128);
    }
    while (v > 127) {
      b[p++] = (v & 127) | 128;
      v >>>= 7;
    }
    b[p++] = v;
    this.length = p;
  }

  raw(source: Uint8Array): void {
    this.reserve(source.length);
    this.bytes.set(source, this.length);
    this.length += source.length;
  }

  /** A view of what was written (valid until the next write). */
  view(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }

  /** A copy of what was written. */
  copy(): Uint8Array {
    return this.bytes.slice(0, this.length);
  }

  /** What was written, without a copy where it fills the room; nothing is written after that. */
  finish(): Uint8Array {
    return this.length === this.bytes.length ? this.bytes : this.copy();
  }

  reset(): void {
    this.length = 0;
  }
}
