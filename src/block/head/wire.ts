// The protobuf wire format as the head's decoder reads it: a buffer that is followed by WIRE_PADDING zero
// bytes, so that no read of a tag, a varint or a fixed number leaves it. Positions are checked against
// the message's end after.

/** Zero bytes that must follow the input. */
export const WIRE_PADDING = 16;

/** Where `next` points after a varint that never ends: past every message. */
const NOWHERE = 0x7fff_ffff;

/** Results of reads that have two: kept in fields, so that none allocates. */
export class WireReader {
  /** Position after the last varint. */
  next = 0;
  /** Words of the last varint64. */
  low = 0;
  high = 0;
  /** Things left out of the request at hand, counted by whoever reads with this. */
  malformed = 0;

  /** An unsigned varint; beyond 2^53 it is not exact (it is then larger than any length anyway). */
  varint(b: Uint8Array, start: number): number {
    let p = start;
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 10; i++) {
      const byte = b[p++]!;
      value += (byte & 127) * scale;
      if (byte < 128) {
        this.next = p;
        return value;
      }
      scale *= 128;
    }
    this.next = NOWHERE;
    return 0;
  }

  /** A varint as two 32-bit words. */
  varint64(b: Uint8Array, start: number): void {
    let p = start;
    let low = 0;
    let high = 0;
    for (let i = 0; i < 10; i++) {
      const byte = b[p++]!;
      const bits = byte & 127;
      const shift = i * 7;
      if (shift < 32) low |= bits << shift;
      if (shift > 31) high |= bits << (shift - 32);
      else if (shift > 25) high |= bits >>> (32 - shift);
      if (byte < 128) {
        this.low = low;
        this.high = high;
        this.next = p;
        return;
      }
    }
    this.next = NOWHERE;
  }

  /** The position after the field whose tag is at `start`, or -1 when it is malformed or passes `end`. */
  skip(b: Uint8Array, start: number, end: number): number {
    const tag = this.varint(b, start);
    let p = this.next;
    if (tag < 8 || tag > 0xffff_ffff) return -1;
    switch (tag % 8) {
      case 0:
        this.varint(b, p);
        p = this.next;
        break;
      case 1:
        p += 8;
        break;
      case 2: {
        const length = this.varint(b, p);
        p = this.next + length;
        break;
      }
      case 5:
        p += 4;
        break;
      default:
        return -1; // groups, and what does not exist
    }
    return p <= end ? p : -1;
  }
}

export function word32(b: Uint8Array, p: number): number {
  return b[p]! | (b[p + 1]! << 8) | (b[p + 2]! << 16) | (b[p + 3]! << 24);
}
