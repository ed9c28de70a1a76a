// OTLP JSON into protobuf bytes: ids are hex, enums numbers or names, 64-bit integers strings or numbers,
// names camel or snake case, unknown names ignored. Errors name the path of the value. Format:
// https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
import { ByteWriter } from '../../lib/byte-writer.ts';
import { TempoError } from '../../lib/errors.ts';
import { bytesOfHex } from '../ids.ts';
import { closeField, openField, Tag } from './encode.ts';

/** Values may hold values; no sane attribute goes deeper. */
const VALUE_DEPTH_MAX = 64;
const UINT32_MAX = 0xffff_ffff;
/** Numbers that a double cannot hold exactly: then the text is parsed again with their source at hand. */
const LONG_NUMBER = /[\s:[,]-?\d{16,}/;
const BASE64 = /^[A-Za-z0-9+/_-]*={0,2}$/;

type Write = (encoder: JsonEncoder, tag: number, value: unknown) => void;

interface Field {
  readonly camel: string;
  readonly snake: string;
  readonly tag: number;
  readonly write: Write;
}

type JsonObject = Readonly<Record<string, unknown>>;

class JsonEncoder {
  readonly out: ByteWriter;
  /** Names and indices from the root to the value at hand. */
  readonly path: (string | number)[] = [];
  readonly #text = new TextEncoder();
  valueDepth = 0;

  constructor(capacity: number) {
    this.out = new ByteWriter(capacity);
  }

  /** Writes the fields of a message in the order of its table. */
  message(fields: readonly Field[], value: unknown): void {
    const object = this.object(value);
    for (const field of fields) {
      const name = Object.hasOwn(object, field.camel) ? field.camel : field.snake;
      const member = Object.hasOwn(object, name) ? object[name] : undefined;
      if (member === undefined || member === null) continue;
      this.path.push(name);
      field.write(this, field.tag, member);
      this.path.pop();
    }
  }

  object(value: unknown): JsonObject {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw this.wrong('an object', value);
    return value as JsonObject;
  }

  string(tag: number, value: unknown): void {
    if (typeof value !== 'string') throw this.wrong('a string', value);
    const { out } = this;
    const mark = openField(out, tag);
    out.reserve(value.length * 3);
    out.length += this.#text.encodeInto(value, out.bytes.subarray(out.length)).written;
    closeField(out, mark);
  }

  raw(tag: number, bytes: Uint8Array): void {
    this.out.u8(tag);
    this.out.varint(bytes.length);
    this.out.raw(bytes);
  }

  /** A varint of 64 bits, negative ones in two's complement. */
  varint64(value: bigint): void {
    let rest = BigInt.asUintN(64, value);
    for (; rest > 127n; rest >>= 7n) this.out.u8(Number(rest & 127n) | 128);
    this.out.u8(Number(rest));
  }

  /** A number or text as integer between two bounds. */
  integer(value: unknown, min: bigint, max: bigint): bigint {
    const isText = typeof value === 'string' && /^-?\d{1,20}$/.test(value);
    const isWhole = typeof value === 'number' && Number.isInteger(value);
    if (!isText && !isWhole && typeof value !== 'bigint') throw this.wrong('an integer', value);
    const integer = BigInt(value as string | number | bigint);
    if (integer < min || integer > max) throw this.wrong(`an integer from ${min} to ${max}`, value);
    return integer;
  }

  wrong(wanted: string, value: unknown): TempoError {
    let where = '';
    for (const step of this.path) where += typeof step === 'number' ? `[${step}]` : `${where && '.'}${step}`;
    return new TempoError(
      'invalid_argument',
      `${where || 'request'}: expected ${wanted}, found ${shown(value)}`,
    );
  }
}

/** Short, and never the whole of something nested. */
function shown(value: unknown): string {
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'object' && value !== null) return 'an object';
  const text = typeof value === 'string' ? JSON.stringify(value.slice(0, 60)) : String(value);
  return typeof value === 'string' && value.length > 60 ? `${text}...` : text;
}

const text: Write = (encoder, tag, value) => {
  if (value !== '') encoder.string(tag, value);
};

const hexId: Write = (encoder, tag, value) => {
  const bytes = typeof value === 'string' ? bytesOfHex(value) : undefined;
  if (bytes === undefined) throw encoder.wrong('hex digits, two for each byte (not base64)', value);
  if (bytes.length > 0) encoder.raw(tag, bytes);
};

const uint32: Write = (encoder, tag, value) => {
  const integer = encoder.integer(value, 0n, BigInt(UINT32_MAX));
  encoder.out.u8(tag);
  encoder.out.varint(Number(integer));
};

const nanoseconds: Write = (encoder, tag, value) => {
  const nano = encoder.integer(value, 0n, 0xffff_ffff_ffff_ffffn);
  encoder.out.u8(tag);
  encoder.out.u32(Number(nano & 0xffff_ffffn));
  encoder.out.u32(Number(nano >> 32n));
};

/** The two-byte tag of field 16 and a fixed32. */
const flags: Write = (encoder, _tag, value) => {
  const integer = encoder.integer(value, 0n, BigInt(UINT32_MAX));
  encoder.out.u8(0x85);
  encoder.out.u8(0x01);
  encoder.out.u32(Number(integer));
};

const linkFlags: Write = (encoder, tag, value) => {
  encoder.out.u8(tag);
  encoder.out.u32(Number(encoder.integer(value, 0n, BigInt(UINT32_MAX))));
};

function enumOf(prefix: string, names: readonly string[]): Write {
  return (encoder, tag, value) => {
    const named = typeof value === 'string' ? names.indexOf(value.replace(prefix, '')) : -1;
    if (typeof value === 'string' && (named < 0 || !value.startsWith(prefix))) {
      throw encoder.wrong(`a number or ${prefix}{${names.join(',')}}`, value);
    }
    const number = named >= 0 ? named : Number(encoder.integer(value, -0x8000_0000n, 0x7fff_ffffn));
    encoder.out.u8(tag);
    encoder.varint64(BigInt(number));
  };
}

function one(fields: () => readonly Field[]): Write {
  return (encoder, tag, value) => {
    const mark = openField(encoder.out, tag);
    encoder.message(fields(), value);
    closeField(encoder.out, mark);
  };
}

function many(fields: () => readonly Field[]): Write {
  return each(one(fields));
}

function each(write: Write): Write {
  return (encoder, tag, value) => {
    if (!Array.isArray(value)) throw encoder.wrong('an array', value);
    for (let i = 0; i < value.length; i++) {
      encoder.path.push(i);
      write(encoder, tag, value[i]);
      encoder.path.pop();
    }
  };
}

/** An AnyValue: at most one of its members, none at all is a value of no kind. */
const anyValue: Write = (encoder, tag, value) => {
  if (++encoder.valueDepth > VALUE_DEPTH_MAX) {
    throw encoder.wrong(`values nested at most ${VALUE_DEPTH_MAX} deep`, value);
  }
  const mark = openField(encoder.out, tag);
  const object = encoder.object(value);
  let present = 0;
  for (const { camel, snake } of ANY_VALUE) {
    if ((object[camel] ?? object[snake] ?? undefined) !== undefined) present++;
  }
  if (present > 1) throw encoder.wrong('one kind of value', value);
  encoder.message(ANY_VALUE, object);
  closeField(encoder.out, mark);
  encoder.valueDepth--;
};

const boolMember: Write = (encoder, tag, value) => {
  if (typeof value !== 'boolean') throw encoder.wrong('true or false', value);
  encoder.out.u8(tag);
  encoder.out.u8(value ? 1 : 0);
};

const intMember: Write = (encoder, tag, value) => {
  const integer = encoder.integer(value, -(1n << 63n), (1n << 63n) - 1n);
  encoder.out.u8(tag);
  encoder.varint64(integer);
};

const doubleMember: Write = (encoder, tag, value) => {
  const isText = typeof value === 'string' && value.trim() !== '';
  const number = isText || typeof value === 'bigint' ? Number(value) : value;
  if (typeof number !== 'number' || (Number.isNaN(number) && value !== 'NaN'))
    throw encoder.wrong('a number', value);
  const { out } = encoder;
  out.u8(tag);
  out.reserve(8);
  new DataView(out.bytes.buffer, out.bytes.byteOffset + out.length).setFloat64(0, number, true);
  out.length += 8;
};

const bytesMember: Write = (encoder, tag, value) => {
  if (typeof value !== 'string' || !BASE64.test(value)) throw encoder.wrong('base64', value);
  encoder.raw(tag, Buffer.from(value, 'base64'));
};

function field(camel: string, tag: number, write: Write): Field {
  return { camel, snake: camel.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`), tag, write };
}

const KEY_VALUE = [
  field('key', Tag.keyValue.key, (encoder, tag, value) => encoder.string(tag, value)),
  field('value', Tag.keyValue.value, anyValue),
];
const attributes = many(() => KEY_VALUE);

const ANY_VALUE: readonly Field[] = [
  field('stringValue', Tag.anyValue.string, (encoder, tag, value) => encoder.string(tag, value)),
  field('boolValue', Tag.anyValue.bool, boolMember),
  field('intValue', Tag.anyValue.int, intMember),
  field('doubleValue', Tag.anyValue.double, doubleMember),
  field(
    'arrayValue',
    Tag.anyValue.array,
    one(() => ARRAY_VALUE),
  ),
  field(
    'kvlistValue',
    Tag.anyValue.kvlist,
    one(() => KVLIST_VALUE),
  ),
  field('bytesValue', Tag.anyValue.bytes, bytesMember),
];
const ARRAY_VALUE = [field('values', Tag.arrayValue.values, each(anyValue))];
const KVLIST_VALUE = [field('values', Tag.arrayValue.values, attributes)];

const EVENT = [
  field('timeUnixNano', Tag.event.timeUnixNano, nanoseconds),
  field('name', Tag.event.name, text),
  field('attributes', Tag.event.attributes, attributes),
  field('droppedAttributesCount', Tag.event.droppedAttributesCount, uint32),
];

const LINK = [
  field('traceId', Tag.link.traceId, hexId),
  field('spanId', Tag.link.spanId, hexId),
  field('traceState', Tag.link.traceState, text),
  field('attributes', Tag.link.attributes, attributes),
  field('droppedAttributesCount', Tag.link.droppedAttributesCount, uint32),
  field('flags', 0x35, linkFlags),
];

const STATUS = [
  field('message', Tag.status.message, text),
  field('code', Tag.status.code, enumOf('STATUS_CODE_', ['UNSET', 'OK', 'ERROR'])),
];

const SPAN_KINDS = ['UNSPECIFIED', 'INTERNAL', 'SERVER', 'CLIENT', 'PRODUCER', 'CONSUMER'];

const SPAN = [
  field('traceId', Tag.span.traceId, hexId),
  field('spanId', Tag.span.spanId, hexId),
  field('traceState', Tag.span.traceState, text),
  field('parentSpanId', Tag.span.parentSpanId, hexId),
  field('name', Tag.span.name, text),
  field('kind', Tag.span.kind, enumOf('SPAN_KIND_', SPAN_KINDS)),
  field('startTimeUnixNano', Tag.span.startTimeUnixNano, nanoseconds),
  field('endTimeUnixNano', Tag.span.endTimeUnixNano, nanoseconds),
  field('attributes', Tag.span.attributes, attributes),
  field('droppedAttributesCount', Tag.span.droppedAttributesCount, uint32),
  field(
    'events',
    Tag.span.events,
    many(() => EVENT),
  ),
  field('droppedEventsCount', Tag.span.droppedEventsCount, uint32),
  field(
    'links',
    Tag.span.links,
    many(() => LINK),
  ),
  field('droppedLinksCount', Tag.span.droppedLinksCount, uint32),
  field(
    'status',
    Tag.span.status,
    one(() => STATUS),
  ),
  field('flags', 0, flags),
];

const RESOURCE = [
  field('attributes', Tag.resource.attributes, attributes),
  field('droppedAttributesCount', Tag.resource.droppedAttributesCount, uint32),
];

const SCOPE = [
  field('name', Tag.scope.name, text),
  field('version', Tag.scope.version, text),
  field('attributes', Tag.scope.attributes, attributes),
  field('droppedAttributesCount', Tag.scope.droppedAttributesCount, uint32),
];

const SCOPE_SPANS = [
  field(
    'scope',
    Tag.scopeSpans.scope,
    one(() => SCOPE),
  ),
  field(
    'spans',
    Tag.scopeSpans.spans,
    many(() => SPAN),
  ),
  field('schemaUrl', Tag.scopeSpans.schemaUrl, text),
];

const RESOURCE_SPANS = [
  field(
    'resource',
    Tag.resourceSpans.resource,
    one(() => RESOURCE),
  ),
  field(
    'scopeSpans',
    Tag.resourceSpans.scopeSpans,
    many(() => SCOPE_SPANS),
  ),
  field('schemaUrl', Tag.resourceSpans.schemaUrl, text),
];

const REQUEST = [
  field(
    'resourceSpans',
    Tag.tracesData.resourceSpans,
    many(() => RESOURCE_SPANS),
  ),
];

/** Serialises the ExportTraceServiceRequest of a JSON body. Throws TempoError invalid_argument. */
export function requestOfJson(body: Uint8Array): Uint8Array {
  const encoder = new JsonEncoder(body.length);
  encoder.message(REQUEST, parse(body));
  return encoder.out.view();
}

/** What begins with it. */
const GZIP = [0x1f, 0x8b] as const;

function parse(body: Uint8Array): unknown {
  if (body[0] === GZIP[0] && body[1] === GZIP[1]) {
    throw new TempoError('invalid_argument', 'malformed JSON: it is gzip, without a Content-Encoding: gzip');
  }
  try {
    const source = new TextDecoder('utf-8', { fatal: true }).decode(body);
    return LONG_NUMBER.test(source) ? JSON.parse(source, exactInteger) : JSON.parse(source);
  } catch (err) {
    const why = err instanceof Error ? err.message : String(err);
    throw new TempoError('invalid_argument', `malformed JSON: ${why}`, err);
  }
}

/** What has more digits is a double, or no integer that anything has. */
function exactInteger(_key: string, value: unknown, context?: { readonly source?: string }): unknown {
  if (typeof value !== 'number' || Number.isSafeInteger(value)) return value;
  const source = context?.source ?? '';
  return /^-?\d{1,20}$/.test(source) ? BigInt(source) : value;
}
