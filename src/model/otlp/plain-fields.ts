// OTLP fields from plain JavaScript values, for programs that send invented traces; nothing for hot paths,
// where `encode.ts` writes from columns.
import type { ByteWriter } from '../../lib/byte-writer.ts';
import {
  boolValue,
  bytesField,
  closeField,
  doubleValue,
  fixed64Field,
  intValue,
  openAttribute,
  stringValue,
  Tag,
} from './encode.ts';

/** A whole number is an int, any other number a double. */
export type PlainValue = string | number | boolean;
export type PlainAttributes = Readonly<Record<string, PlainValue>>;

const WORD = 2 ** 32;

export function textField(w: ByteWriter, tag: number, text: string): void {
  const bytes = Buffer.from(text);
  bytesField(w, tag, bytes, 0, bytes.length);
}

/** A time in milliseconds, of which microseconds count, as fixed64 nanoseconds. */
export function timeField(w: ByteWriter, tag: number, timeMs: number): void {
  const nano = BigInt(Math.round(timeMs * 1000)) * 1000n;
  fixed64Field(w, tag, Number(nano & 0xffffffffn), Number(nano >> 32n));
}

/** One KeyValue each as field `tag`. Ints are at least 0 and exact up to 2^53. */
export function attributesField(w: ByteWriter, tag: number, attributes: PlainAttributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    const key = Buffer.from(name);
    const mark = openAttribute(w, tag, key, 0, key.length);
    valueField(w, value);
    closeField(w, mark);
  }
}

function valueField(w: ByteWriter, value: PlainValue): void {
  const tag = Tag.keyValue.value;
  if (typeof value === 'boolean') {
    boolValue(w, tag, value);
  } else if (typeof value === 'string') {
    const bytes = Buffer.from(value);
    stringValue(w, tag, bytes, 0, bytes.length);
  } else if (Number.isInteger(value)) {
    intValue(w, tag, value >>> 0, Math.floor(value / WORD));
  } else {
    const bits = new DataView(new ArrayBuffer(8));
    bits.setFloat64(0, value);
    doubleValue(w, tag, bits.getUint32(4), bits.getUint32(0));
  }
}
