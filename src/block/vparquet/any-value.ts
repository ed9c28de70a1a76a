// Reads the raw AnyValue messages that a head keeps for array and structured attributes: elements of
// homogeneous arrays, and the protobuf-JSON text of everything that has no column. The head has checked
// that they are well-formed.
import { Tag } from '../../model/otlp/encode.ts';
import { WireReader } from '../head/wire.ts';

const TAG = Tag.anyValue;
const wire = new WireReader();

/** A field of a message: its tag and, by wire type, the number's position or the contents' range. */
type Visit = (tag: number, start: number, end: number) => void;

function fields(bytes: Uint8Array, start: number, end: number, visit: Visit): void {
  let p = start;
  while (p < end) {
    const tag = bytes[p];
    const next = wire.skip(bytes, p, end);
    if (next < 0) throw new Error('a head holds a malformed value');
    let from = p + 1;
    if (tag < 128 && (tag & 7) === 2) {
      wire.varint(bytes, from);
      from = wire.next;
    }
    if (tag < 128) visit(tag, from, next);
    p = next;
  }
}

/** The last value of an AnyValue, as for any protobuf oneof; tag 0 when there is none. */
function lastValue(
  bytes: Uint8Array,
  start: number,
  end: number,
): { tag: number; start: number; end: number } {
  const found = { tag: 0, start: end, end };
  fields(bytes, start, end, (tag, from, to) => {
    if (!VALUE_TAGS.has(tag)) return;
    found.tag = tag;
    found.start = from;
    found.end = to;
  });
  return found;
}

const VALUE_TAGS: ReadonlySet<number> = new Set(Object.values(TAG));

/**
 * Calls `visit` with each element of the array in the AnyValue [start, end): where its contents are
 * (strings), or where its number begins (bool and int: a varint; double: 8 bytes). An element of another
 * type is left out.
 */
export function arrayElements(
  bytes: Uint8Array,
  start: number,
  end: number,
  elementTag: number,
  visit: Visit,
): void {
  const array = lastValue(bytes, start, end);
  fields(bytes, array.start, array.end, (tag, from, to) => {
    if (tag !== Tag.arrayValue.values) return;
    const element = lastValue(bytes, from, to);
    if (element.tag === elementTag) visit(element.tag, element.start, element.end);
  });
}

/** Both words of the varint at `start`. */
export function varintWords(
  bytes: Uint8Array,
  start: number,
): { readonly low: number; readonly high: number } {
  wire.varint64(bytes, start);
  return { low: wire.low, high: wire.high };
}

const decoder = new TextDecoder();

/** Protobuf-JSON of the AnyValue in [start, end). */
export function anyValueJson(bytes: Uint8Array, start: number, end: number): string {
  const value = lastValue(bytes, start, end);
  switch (value.tag) {
    case TAG.string:
      return `{"stringValue":${quote(text(bytes, value.start, value.end))}}`;
    case TAG.bool: {
      const { low, high } = varintWords(bytes, value.start);
      return `{"boolValue":${low !== 0 || high !== 0}}`;
    }
    case TAG.int: {
      const { low, high } = varintWords(bytes, value.start);
      return `{"intValue":"${(BigInt(high) << 32n) | BigInt(low >>> 0)}"}`;
    }
    case TAG.double:
      return `{"doubleValue":${doubleJson(bytes, value.start)}}`;
    case TAG.bytes:
      return `{"bytesValue":"${base64(bytes.subarray(value.start, value.end))}"}`;
    case TAG.array: {
      const values: string[] = [];
      fields(bytes, value.start, value.end, (tag, from, to) => {
        if (tag === Tag.arrayValue.values) values.push(anyValueJson(bytes, from, to));
      });
      return values.length === 0 ? '{"arrayValue":{}}' : `{"arrayValue":{"values":[${values.join(',')}]}}`;
    }
    case TAG.kvlist: {
      const values: string[] = [];
      fields(bytes, value.start, value.end, (tag, from, to) => {
        if (tag === Tag.arrayValue.values) values.push(keyValueJson(bytes, from, to));
      });
      return values.length === 0 ? '{"kvlistValue":{}}' : `{"kvlistValue":{"values":[${values.join(',')}]}}`;
    }
    default:
      return '{}';
  }
}

function keyValueJson(bytes: Uint8Array, start: number, end: number): string {
  let key = '';
  let value = '{}'; // absent ones are written too, as Tempo does
  fields(bytes, start, end, (tag, from, to) => {
    if (tag === Tag.keyValue.key) key = text(bytes, from, to);
    else if (tag === Tag.keyValue.value) value = anyValueJson(bytes, from, to);
  });
  const members: string[] = [];
  if (key !== '') members.push(`"key":${quote(key)}`);
  members.push(`"value":${value}`);
  return `{${members.join(',')}}`;
}

/** A copy, since the head's memory is shared and the decoder takes none such. */
function text(bytes: Uint8Array, start: number, end: number): string {
  return decoder.decode(bytes.slice(start, end));
}

/** Go's encoder escapes what HTML would take for markup. */
function quote(value: string): string {
  return JSON.stringify(value).replace(
    /[<>&\u2028\u2029]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function doubleJson(bytes: Uint8Array, at: number): string {
  const value = new DataView(bytes.buffer, bytes.byteOffset + at, 8).getFloat64(0, true);
  if (Number.isNaN(value)) return '"NaN"';
  if (Number.isFinite(value)) return Object.is(value, -0) ? '-0' : String(value);
  return value > 0 ? '"Infinity"' : '"-Infinity"';
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}
