// The way back from the protobuf-JSON text in ValueUnsupported columns to an AnyValue message.
import type { ByteWriter } from '../../lib/byte-writer.ts';
import * as otlp from '../../model/otlp/encode.ts';
import { Tag } from '../../model/otlp/encode.ts';

const text = new TextDecoder();
const utf8 = new TextEncoder();
const words = new Int32Array(2);
const double = new Float64Array(words.buffer);
const DEPTH_MAX = 64;

/** Writes the value that `bytes` describe as field `tag`; what is no such text becomes a string. */
export function writeAnyValueText(w: ByteWriter, tag: number, bytes: Uint8Array): void {
  let value: unknown;
  try {
    value = JSON.parse(text.decode(bytes));
  } catch {
    otlp.stringValue(w, tag, bytes, 0, bytes.length); // not ours to refuse: shown as it is stored
    return;
  }
  writeValue(w, tag, value, 0);
}

/** A field of an object that came from JSON. */
function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

/** Strings and numbers as text. */
function textOf(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}

function listOf(value: unknown, name: string): readonly unknown[] {
  const list = field(value, name);
  return Array.isArray(list) ? list : [];
}

function writeValue(w: ByteWriter, tag: number, value: unknown, depth: number): void {
  const name = typeof value === 'object' && value !== null ? Object.keys(value)[0] : undefined;
  const content = name === undefined || depth > DEPTH_MAX ? undefined : field(value, name);
  switch (content === undefined ? undefined : name) {
    case 'stringValue': {
      const bytes = utf8.encode(textOf(content));
      otlp.stringValue(w, tag, bytes, 0, bytes.length);
      return;
    }
    case 'boolValue':
      otlp.boolValue(w, tag, content === true);
      return;
    case 'intValue':
      writeInt(w, tag, textOf(content));
      return;
    case 'doubleValue':
      double[0] = Number(content); // also "NaN", "Infinity", "-Infinity"
      otlp.doubleValue(w, tag, words[0], words[1]);
      return;
    case 'bytesValue': {
      const bytes = fromBase64(textOf(content));
      const mark = otlp.openField(w, tag);
      otlp.bytesField(w, Tag.anyValue.bytes, bytes, 0, bytes.length);
      otlp.closeField(w, mark);
      return;
    }
    case 'arrayValue': {
      const mark = otlp.openArray(w, tag);
      for (const element of listOf(content, 'values'))
        writeValue(w, Tag.arrayValue.values, element, depth + 1);
      otlp.closeArray(w, mark);
      return;
    }
    case 'kvlistValue': {
      const mark = otlp.openField(w, tag);
      const list = otlp.openField(w, Tag.anyValue.kvlist);
      for (const pair of listOf(content, 'values')) {
        const key = utf8.encode(textOf(field(pair, 'key')));
        // KeyValueList.values and ArrayValue.values are both field 1
        const attribute = otlp.openAttribute(w, Tag.arrayValue.values, key, 0, key.length);
        writeValue(w, Tag.keyValue.value, field(pair, 'value'), depth + 1);
        otlp.closeField(w, attribute);
      }
      otlp.closeField(w, list);
      otlp.closeField(w, mark);
      return;
    }
    default:
      otlp.rawValue(w, tag, new Uint8Array(0), 0, 0);
  }
}

function writeInt(w: ByteWriter, tag: number, digits: string): void {
  const value = /^-?\d{1,20}$/.test(digits) ? BigInt(digits) : 0n;
  otlp.intValue(w, tag, Number(BigInt.asIntN(32, value)), Number(BigInt.asIntN(32, value >> 32n)));
}

function fromBase64(encoded: string): Uint8Array {
  try {
    return Uint8Array.from(atob(encoded), (c) => c.charCodeAt(0));
  } catch {
    return new Uint8Array(0);
  }
}
