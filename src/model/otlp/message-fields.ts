// Reads small protobuf messages by their field numbers, without a schema. Not for hot paths: those walk the
// wire themselves.
import { TempoError } from '../../lib/errors.ts';
import { BYTES, VARINT, WireCursor } from './wire.ts';

/** The fields of a small message; of one that may be there once, the last counts. */
export class MessageFields {
  private readonly numbers = new Map<number, number>();
  private readonly values = new Map<number, Uint8Array[]>();

  constructor(message: Uint8Array) {
    const cursor = new WireCursor(message);
    while (cursor.pos < message.length) {
      const tag = cursor.tag(message.length);
      const field = tag >>> 3;
      if ((tag & 7) === VARINT) this.numbers.set(field, cursor.varint(message.length));
      else if ((tag & 7) === BYTES) {
        const end = cursor.valueEnd(message.length);
        const value = message.subarray(cursor.pos, end);
        cursor.pos = end;
        const earlier = this.values.get(field);
        if (earlier === undefined) this.values.set(field, [value]);
        else earlier.push(value);
      } else cursor.skip(tag & 7, message.length);
    }
  }

  number(field: number): number {
    return this.numbers.get(field) ?? 0;
  }

  message(field: number): Uint8Array {
    return this.values.get(field)?.at(-1) ?? new Uint8Array(0);
  }

  messages(field: number): readonly Uint8Array[] {
    return this.values.get(field) ?? [];
  }

  text(field: number): string {
    return textOf(this.message(field));
  }

  texts(field: number): string[] {
    return this.messages(field).map(textOf);
  }
}

function textOf(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (err) {
    throw new TempoError('invalid_argument', 'malformed protobuf: a text is not UTF-8', err);
  }
}
