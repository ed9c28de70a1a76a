// Request messages of tempopb.StreamingQuerier as the parameters that the HTTP API has for the same. Fields
// that are not set are left out; unknown ones, and rf1After, are passed over.
import { BYTES, VARINT, WireCursor } from '../model/otlp/wire.ts';

interface Field {
  readonly wire: number;
  /** Of the parameter. */
  readonly name: string;
  /** Of a number that is not 0. */
  readonly write: (value: bigint) => string;
}

type Fields = Readonly<Record<number, Field>>;

const NANOS_DIGITS = 19;

const decoder = new TextDecoder();

const text = (name: string): Field => ({ wire: BYTES, name, write: String });
const number = (name: string, unit = ''): Field => ({
  wire: VARINT,
  name,
  write: (value) => `${value}${unit}`,
});
/** With so many digits that it is not taken for seconds. */
const nanos = (name: string): Field => ({
  wire: VARINT,
  name,
  write: (value) => String(value).padStart(NANOS_DIGITS, '0'),
});

const SEARCH: Fields = {
  2: number('minDuration', 'ms'),
  3: number('maxDuration', 'ms'),
  4: number('limit'),
  5: number('start'),
  6: number('end'),
  8: text('q'),
  9: number('spss'),
};
const SEARCH_BLOCK: Fields = { 2: text('blockID'), 3: number('startPage'), 4: number('pagesToSearch') };
const TRACE: Fields = { 2: text('blockStart'), 3: text('blockEnd'), 5: text('mode') };
const TAGS: Fields = {
  1: text('scope'),
  2: text('q'),
  3: number('start'),
  4: number('end'),
  5: number('limit'),
  6: number('maxStaleValues'),
};
const TAG_VALUES: Fields = {
  1: text('tagName'),
  2: text('q'),
  4: number('start'),
  5: number('end'),
  6: number('limit'),
  7: number('maxStaleValues'),
};
const INSTANT: Fields = { 1: text('q'), 2: nanos('start'), 3: nanos('end') };
const RANGE: Fields = {
  ...INSTANT,
  4: number('step', 'ns'),
  16: number('exemplars'),
  17: number('maxSeries'),
  18: number('instant'),
};
/** Of tags, of the search in a search of a block, of an id. */
const FIRST_FIELD = 1;

/** SearchRequest. Its map of tags becomes logfmt. */
export function grpcSearchParams(message: Uint8Array): URLSearchParams {
  const params = new URLSearchParams();
  const tags: string[] = [];
  readFields(message, SEARCH, params, (entry) => {
    const pair = new URLSearchParams();
    readFields(entry, { 1: text('key'), 2: text('value') }, pair);
    tags.push(`${pair.get('key') ?? ''}=${JSON.stringify(pair.get('value') ?? '')}`);
  });
  if (tags.length > 0) params.set('tags', tags.join(' '));
  return params;
}

/** SearchBlockRequest: a search of row groups of a block. */
export function grpcSearchBlockParams(message: Uint8Array): URLSearchParams {
  const params = new URLSearchParams();
  let search: Uint8Array = new Uint8Array(0);
  readFields(message, SEARCH_BLOCK, params, (request) => (search = request));
  for (const [name, value] of grpcSearchParams(search)) params.set(name, value);
  return params;
}

/** TraceByIDRequest; the id becomes `traceID`, in hex. */
export function grpcTraceParams(message: Uint8Array): URLSearchParams {
  const params = new URLSearchParams();
  readFields(message, TRACE, params, (id) => params.set('traceID', Buffer.from(id).toString('hex')));
  return params;
}

/** SearchTagsRequest. */
export function grpcTagParams(message: Uint8Array): URLSearchParams {
  return readFields(message, TAGS, new URLSearchParams());
}

/** SearchTagValuesRequest; the name becomes `tagName`. */
export function grpcTagValueParams(message: Uint8Array): URLSearchParams {
  return readFields(message, TAG_VALUES, new URLSearchParams());
}

/** QueryRangeRequest. */
export function grpcRangeParams(message: Uint8Array): URLSearchParams {
  return readFields(message, RANGE, new URLSearchParams());
}

/** QueryInstantRequest. */
export function grpcInstantParams(message: Uint8Array): URLSearchParams {
  return readFields(message, INSTANT, new URLSearchParams());
}

/** @param onFirst gets the bytes of field 1 where `fields` has none. */
function readFields(
  message: Uint8Array,
  fields: Fields,
  params: URLSearchParams,
  onFirst?: (bytes: Uint8Array) => void,
): URLSearchParams {
  const cursor = new WireCursor(message);
  const end = message.length;
  while (cursor.pos < end) {
    const tag = cursor.tag(end);
    const field = fields[tag >>> 3];
    const wire = tag & 7;
    if (wire === VARINT && field?.wire === VARINT) {
      const from = cursor.pos;
      cursor.skip(VARINT, end);
      const value = varintValue(message.subarray(from, cursor.pos));
      if (value !== 0n) params.set(field.name, field.write(value));
    } else if (wire === BYTES) {
      const valueEnd = cursor.valueEnd(end);
      const bytes = message.subarray(cursor.pos, valueEnd);
      cursor.pos = valueEnd;
      if (field?.wire === BYTES) params.set(field.name, decoder.decode(bytes));
      else if (tag >>> 3 === FIRST_FIELD) onFirst?.(bytes);
    } else cursor.skip(wire, end);
  }
  return params;
}

/** All 64 bits of it, which nanoseconds need. */
function varintValue(bytes: Uint8Array): bigint {
  let value = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) value = (value << 7n) | BigInt(bytes[i]! & 127);
  return BigInt.asUintN(64, value);
}
