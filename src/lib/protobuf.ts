// Fields of small protobuf messages, appended to a ByteWriter by their field number. Not for hot paths: those
// write tags of their own (src/model/otlp/encode.ts).
import type { ByteWriter } from './byte-writer.ts';

/** A varint field, left out when it is 0. */
export function varintField(out: ByteWriter, field: number, value: number): void {
  if (value === 0) return;
  out.varint(field << 3);
  out.varint(value);
}

/** A bytes, string or message field, also when it is empty. */
export function bytesField(out: ByteWriter, field: number, bytes: Uint8Array): void {
  out.varint((field << 3) | 2);
  out.varint(bytes.length);
  out.raw(bytes);
}

/** A string field, left out when it is empty. */
export function textField(out: ByteWriter, field: number, text: string): void {
  if (text !== '') bytesField(out, field, Buffer.from(text));
}
