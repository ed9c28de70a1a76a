// Reads the spans of a request one by one into objects, for what is shown to people: slow, and not strict.
// What cannot be read is left out.
import { TempoError } from '../../lib/errors.ts';
import { Tag } from './encode.ts';
import { WireCursor } from './wire.ts';

type ReadAttribute = readonly [key: string, value: string];

export interface ReadSpan {
  /** Hex. */
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly name: string;
  readonly kind: number;
  readonly status: number;
  readonly startUnixNano: bigint;
  readonly endUnixNano: bigint;
  readonly attributes: readonly ReadAttribute[];
  /** One array for all spans of a resource. */
  readonly resource: readonly ReadAttribute[];
}

/** Visits all spans in order. Throws nothing: `body` is taken as far as it can be read. */
export function readSpans(body: Uint8Array, visit: (span: ReadSpan) => void): void {
  eachField(body, 0, body.length, (tag, from, to) => {
    if (tag === Tag.tracesData.resourceSpans) readResource(body, from, to, visit);
  });
}

function readResource(body: Uint8Array, start: number, end: number, visit: (span: ReadSpan) => void): void {
  const resource: ReadAttribute[] = [];
  eachField(body, start, end, (tag, from, to) => {
    if (tag !== Tag.resourceSpans.resource) return;
    eachField(body, from, to, (inner, at, last) => {
      if (inner === Tag.resource.attributes) resource.push(attributeOf(body, at, last));
    });
  });
  eachField(body, start, end, (tag, from, to) => {
    if (tag !== Tag.resourceSpans.scopeSpans) return;
    eachField(body, from, to, (inner, at, last) => {
      if (inner === Tag.scopeSpans.spans) visit(spanOf(body, at, last, resource));
    });
  });
}

function spanOf(body: Uint8Array, start: number, end: number, resource: readonly ReadAttribute[]): ReadSpan {
  const attributes: ReadAttribute[] = [];
  const span = {
    traceId: '',
    spanId: '',
    parentSpanId: '',
    name: '',
    kind: 0,
    status: 0,
    startUnixNano: 0n,
    endUnixNano: 0n,
    attributes,
    resource,
  };
  eachField(body, start, end, (tag, from, to, value) => {
    if (tag === Tag.span.traceId) span.traceId = hexOf(body, from, to);
    else if (tag === Tag.span.spanId) span.spanId = hexOf(body, from, to);
    else if (tag === Tag.span.parentSpanId) span.parentSpanId = hexOf(body, from, to);
    else if (tag === Tag.span.name) span.name = textOf(body, from, to);
    else if (tag === Tag.span.kind) span.kind = value;
    else if (tag === Tag.span.startTimeUnixNano)
      span.startUnixNano = viewOf(body, from).getBigUint64(0, true);
    else if (tag === Tag.span.endTimeUnixNano) span.endUnixNano = viewOf(body, from).getBigUint64(0, true);
    else if (tag === Tag.span.attributes) attributes.push(attributeOf(body, from, to));
    else if (tag === Tag.span.status) {
      eachField(body, from, to, (inner, _from, _to, code) => {
        if (inner === Tag.status.code) span.status = code;
      });
    }
  });
  return span;
}

function attributeOf(body: Uint8Array, start: number, end: number): ReadAttribute {
  let key = '';
  let value = '';
  eachField(body, start, end, (tag, from, to) => {
    if (tag === Tag.keyValue.key) key = textOf(body, from, to);
    else if (tag === Tag.keyValue.value) value = valueText(body, from, to);
  });
  return [key, value];
}

/** As Tempo writes values in its logs: elements of arrays and lists with nothing between them. */
function valueText(body: Uint8Array, start: number, end: number): string {
  let shown = '';
  eachField(body, start, end, (tag, from, to, value) => {
    if (tag === Tag.anyValue.string) shown = textOf(body, from, to);
    else if (tag === Tag.anyValue.bool) shown = String(value !== 0);
    else if (tag === Tag.anyValue.int) shown = String(int64At(body, from));
    else if (tag === Tag.anyValue.double) shown = String(viewOf(body, from).getFloat64(0, true));
    else if (tag === Tag.anyValue.array || tag === Tag.anyValue.kvlist) {
      const parts: string[] = [];
      eachField(body, from, to, (inner, at, last) => {
        if (inner !== Tag.arrayValue.values) return;
        parts.push(
          tag === Tag.anyValue.array ? valueText(body, at, last) : attributeOf(body, at, last).join(':'),
        );
      });
      shown = tag === Tag.anyValue.array ? `[${parts.join('')}]` : `{${parts.join('')}}`;
    }
  });
  return shown;
}

type VisitField = (tag: number, from: number, to: number, value: number) => void;

/** Visits the fields of the message in [start, end) with their ranges; stops at what is malformed. */
function eachField(body: Uint8Array, start: number, end: number, visit: VisitField): void {
  const cursor = new WireCursor(body);
  cursor.pos = start;
  try {
    while (cursor.pos < end) {
      const tag = cursor.tag(end);
      if ((tag & 7) === 2) {
        const to = cursor.valueEnd(end);
        visit(tag, cursor.pos, to, 0);
        cursor.pos = to;
        continue;
      }
      const from = cursor.pos;
      const value = (tag & 7) === 0 ? cursor.varint(end) : (cursor.skip(tag & 7, end), 0);
      visit(tag, from, cursor.pos, value);
    }
  } catch (err) {
    if (!(err instanceof TempoError)) throw err;
  }
}

function int64At(body: Uint8Array, from: number): bigint {
  let value = 0n;
  for (let at = from, shift = 0n; ; at++, shift += 7n) {
    value |= BigInt(body[at] & 127) << shift;
    if (body[at] < 128) return BigInt.asIntN(64, value);
  }
}

function viewOf(body: Uint8Array, from: number): DataView {
  return new DataView(body.buffer, body.byteOffset + from, 8);
}

function hexOf(body: Uint8Array, from: number, to: number): string {
  return Buffer.from(body.buffer, body.byteOffset + from, to - from).toString('hex');
}

function textOf(body: Uint8Array, from: number, to: number): string {
  return Buffer.from(body.buffer, body.byteOffset + from, to - from).toString();
}
