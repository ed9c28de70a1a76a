// Writes OTLP TracesData straight from columns: a message is opened, its fields are written, it is closed.
// Strings are taken as a range of some larger buffer, so that no view is made for each of them.
//
//   const rs = openField(w, Tag.tracesData.resourceSpans);
//     ... openField(w, Tag.resourceSpans.resource) ... attributes ... closeField ...
//   closeField(w, rs);
//
// Canonical form, the same whatever the columns come from: fields in ascending order of their number,
// defaults left out, but `resource`, `scope` and `status` always present, even when empty.
import type { ByteWriter } from '../../lib/byte-writer.ts';

/**
 * Wire tags (field number and wire type, all of one byte) by message and field, as in opentelemetry-
 * proto.
 */
export const Tag = {
  tracesData: { resourceSpans: 0x0a },
  resourceSpans: { resource: 0x0a, scopeSpans: 0x12, schemaUrl: 0x1a },
  resource: { attributes: 0x0a, droppedAttributesCount: 0x10 },
  scopeSpans: { scope: 0x0a, spans: 0x12, schemaUrl: 0x1a },
  scope: { name: 0x0a, version: 0x12, attributes: 0x1a, droppedAttributesCount: 0x20 },
  span: {
    traceId: 0x0a,
    spanId: 0x12,
    traceState: 0x1a,
    parentSpanId: 0x22,
    name: 0x2a,
    kind: 0x30,
    startTimeUnixNano: 0x39,
    endTimeUnixNano: 0x41,
    attributes: 0x4a,
    droppedAttributesCount: 0x50,
    events: 0x5a,
    droppedEventsCount: 0x60,
    links: 0x6a,
    droppedLinksCount: 0x70,
    status: 0x7a,
  },
  event: { timeUnixNano: 0x09, name: 0x12, attributes: 0x1a, droppedAttributesCount: 0x20 },
  link: { traceId: 0x0a, spanId: 0x12, traceState: 0x1a, attributes: 0x22, droppedAttributesCount: 0x28 },
  status: { message: 0x12, code: 0x18 },
  keyValue: { key: 0x0a, value: 0x12 },
  anyValue: { string: 0x0a, bool: 0x10, int: 0x18, double: 0x21, array: 0x2a, kvlist: 0x32, bytes: 0x3a },
  arrayValue: { values: 0x0a },
} as const;

/** Below this a loop is quicker than making a view for `set`. */
const COPY_LOOP_MAX = 64;

/** Begins a length-delimited field; `closeField` must be given what this returns. Fields nest. */
export function openField(w: ByteWriter, tag: number): number {
  w.reserve(2);
  w.bytes[w.length] = tag;
  w.length += 2; // one byte is kept for the length; closeField makes room when it needs more
  return w.length - 1;
}

/** Ends a field begun by `openField`. */
export function closeField(w: ByteWriter, mark: number): void {
  const length = w.length - mark - 1;
  if (length < 0x80) {
    w.bytes[mark] = length;
    return;
  }
  const more = length < 0x4000 ? 1 : length < 0x200000 ? 2 : length < 0x10000000 ? 3 : 4;
  w.reserve(more);
  const end = w.length;
  w.bytes.copyWithin(mark + 1 + more, mark + 1, end);
  w.length = mark;
  w.varint(length);
  w.length = end + more;
}

/** A bytes or string field, also when it is empty. */
export function bytesField(
  w: ByteWriter,
  tag: number,
  source: Uint8Array,
  start: number,
  length: number,
): void {
  w.reserve(length + 6);
  w.bytes[w.length++] = tag;
  w.varint(length);
  copyRange(w, source, start, length);
}

/** A bytes or string field, left out when it is empty. */
export function bytesFieldIfAny(
  w: ByteWriter,
  tag: number,
  source: Uint8Array,
  start: number,
  length: number,
): void {
  if (length > 0) bytesField(w, tag, source, start, length);
}

/** A uint32 field, left out when it is 0. */
export function uintField(w: ByteWriter, tag: number, value: number): void {
  if (value === 0) return;
  w.u8(tag);
  w.varint(value >>> 0);
}

/** An int32 or enum field, left out when it is 0. Negative ones take ten bytes. */
export function int32Field(w: ByteWriter, tag: number, value: number): void {
  uintField(w, tag, value);
  if (value >= 0) return;
  w.bytes[w.length - 1]! |= 0xf0;
  for (let i = 0; i < 4; i++) w.u8(0xff);
  w.u8(1);
}

/** A fixed64 field from its two 32-bit words, left out when it is 0. */
export function fixed64Field(w: ByteWriter, tag: number, low: number, high: number): void {
  if (low === 0 && high === 0) return;
  w.u8(tag);
  w.u32(low);
  w.u32(high);
}

/** A span id or one half of a trace id: 8 bytes from two little-endian words, as a bytes field. */
export function id8Field(w: ByteWriter, tag: number, low: number, high: number): void {
  w.u8(tag);
  w.u8(8);
  w.u32(low);
  w.u32(high);
}

/**
 * Begins a KeyValue as field `tag` of its owner: one value under `Tag.keyValue.value` and `closeField`
 * follow.
 */
export function openAttribute(
  w: ByteWriter,
  tag: number,
  source: Uint8Array,
  keyStart: number,
  keyLength: number,
): number {
  const mark = openField(w, tag);
  bytesField(w, Tag.keyValue.key, source, keyStart, keyLength);
  return mark;
}

// These write an AnyValue as field `tag`: Tag.keyValue.value, or Tag.arrayValue.values inside an array.

export function stringValue(
  w: ByteWriter,
  tag: number,
  source: Uint8Array,
  start: number,
  length: number,
): void {
  const mark = openField(w, tag);
  bytesField(w, Tag.anyValue.string, source, start, length);
  closeField(w, mark);
}

export function boolValue(w: ByteWriter, tag: number, value: boolean): void {
  w.u8(tag);
  w.u8(2);
  w.u8(Tag.anyValue.bool);
  w.u8(value ? 1 : 0);
}

/** An int64 from its two 32-bit words. */
export function intValue(w: ByteWriter, tag: number, low: number, high: number): void {
  const mark = openField(w, tag);
  w.u8(Tag.anyValue.int);
  varint64(w, low, high);
  closeField(w, mark);
}

/** A double from the two 32-bit words of its bits. */
export function doubleValue(w: ByteWriter, tag: number, low: number, high: number): void {
  w.u8(tag);
  w.u8(9);
  w.u8(Tag.anyValue.double);
  w.u32(low);
  w.u32(high);
}

/** An AnyValue whose serialised message is at hand (empty = no value). */
export function rawValue(
  w: ByteWriter,
  tag: number,
  source: Uint8Array,
  start: number,
  length: number,
): void {
  bytesField(w, tag, source, start, length);
}

/** Begins an array value as field `tag`; its elements are values with Tag.arrayValue.values. */
export function openArray(w: ByteWriter, tag: number): number {
  const mark = openField(w, tag);
  openField(w, Tag.anyValue.array); // its length byte is at mark + 2
  return mark;
}

export function closeArray(w: ByteWriter, mark: number): void {
  closeField(w, mark + 2);
  closeField(w, mark);
}

function copyRange(w: ByteWriter, source: Uint8Array, start: number, length: number): void {
  w.reserve(length);
  if (length > COPY_LOOP_MAX) {
    w.bytes.set(source.subarray(start, start + length), w.length);
  } else {
    const out = w.bytes;
    const at = w.length;
    for (let i = 0; i < length; i++) out[at + i] = source[start + i]!;
  }
  w.length += length;
}

function varint64(w: ByteWriter, low: number, high: number): void {
  if (high === 0) {
    w.varint(low >>> 0);
    return;
  }
  w.reserve(10);
  const out = w.bytes;
  let p = w.length;
  let lo = low;
  let hi = high;
  while (hi !== 0 || lo >>> 0 > 0x7f) {
    out[p++] = (lo & 0x7f) | 0x80;
    lo = (lo >>> 7) | (hi << 25);
    hi >>>= 7;
  }
  out[p++] = lo;
  w.length = p;
}
