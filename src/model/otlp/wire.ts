// A checked cursor over protobuf wire bytes: every tag, varint and length is bounded by the message that
// holds it. For bytes from strangers; format: https://protobuf.dev/programming-guides/encoding/.
import { TempoError } from '../../lib/errors.ts';

export const VARINT = 0;
export const FIXED64 = 1;
export const BYTES = 2;
export const FIXED32 = 5;

const VARINT_BYTES_MAX = 10;
const FIELD_MAX = 0x1fffffff;

export class WireCursor {
  readonly bytes: Uint8Array;
  pos = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  /** Reads a varint that must end before `end`; inexact above 2^53, which no length or tag can be. */
  varint(end: number): number {
    const start = this.pos;
    let value = 0;
    let unit = 1;
    for (let p = start; p < end; p++) {
      const byte = this.bytes[p];
      value += (byte & 127) * unit;
      unit *= 128;
      if (byte < 128) {
        this.pos = p + 1;
        return value;
      }
      if (p - start + 1 >= VARINT_BYTES_MAX) throw malformed('varint longer than 10 bytes', start);
    }
    throw malformed('truncated varint', start);
  }

  /** Reads a field's tag; its number is `tag >>> 3`, its wire type `tag & 7`. */
  tag(end: number): number {
    const start = this.pos;
    const tag = this.varint(end);
    if (tag < 8) throw malformed('field number 0', start);
    if (tag > FIELD_MAX * 8 + 7) throw malformed('field number too large', start);
    return tag;
  }

  /** Reads a length and answers where its value ends; `pos` is then where it starts. */
  valueEnd(end: number): number {
    const start = this.pos;
    const length = this.varint(end);
    if (length > end - this.pos) throw malformed(`length ${length} beyond the end of its message`, start);
    return this.pos + length;
  }

  /** Moves over the value of a field of any known wire type. */
  skip(wire: number, end: number): void {
    if (wire === VARINT) {
      this.varint(end);
    } else if (wire === BYTES) {
      this.pos = this.valueEnd(end);
    } else if (wire === FIXED64 || wire === FIXED32) {
      const size = wire === FIXED64 ? 8 : 4;
      if (size > end - this.pos) throw malformed('truncated fixed-size value', this.pos);
      this.pos += size;
    } else {
      throw malformed(`wire type ${wire} is not allowed`, this.pos);
    }
  }
}

/** The error of a body that is no protobuf message of the wanted type. */
export function malformed(what: string, at: number): TempoError {
  return new TempoError('invalid_argument', `malformed protobuf: ${what} at byte ${at}`);
}
