// OTLP traces for tests, made and read by code of their own (nothing of src/), so that both ends can be
// compared. aSpan/aTrace describe spans, encodeTraces writes a request, decodeTraces reads one back.

/** string, bool, int (bigint), double (number), bytes, array, kvlist, or no value at all (undefined). */
export type Value =
  | string
  | boolean
  | bigint
  | number
  | Uint8Array
  | Value[]
  | { kv: Attribute[] }
  | undefined;
export type Attribute = [key: string, value: Value];

export interface TestEvent {
  timeUnixNano: bigint;
  name: string;
  attributes: Attribute[];
  droppedAttributes: number;
}

export interface TestLink {
  /** Hex, as all ids here. */
  traceId: string;
  spanId: string;
  traceState: string;
  attributes: Attribute[];
  droppedAttributes: number;
}

export interface TestResource {
  attributes: Attribute[];
  droppedAttributes: number;
}

export interface TestScope {
  name: string;
  version: string;
  attributes: Attribute[];
  droppedAttributes: number;
}

export interface TestSpan {
  traceId: string;
  spanId: string;
  /** Empty = root. */
  parentSpanId: string;
  traceState: string;
  name: string;
  kind: number;
  startUnixNano: bigint;
  endUnixNano: bigint;
  attributes: Attribute[];
  droppedAttributes: number;
  events: TestEvent[];
  droppedEvents: number;
  links: TestLink[];
  droppedLinks: number;
  status: { code: number; message: string };
  resource: TestResource;
  scope: TestScope;
}

/** 2026-01-01T00:00:00Z. */
export const START_NANO = 1_767_225_600_000_000_000n;

export function aResource(service = 'shop', more: Attribute[] = []): TestResource {
  return { attributes: [['service.name', service], ...more], droppedAttributes: 0 };
}

export function aScope(name = 'lib', version = '1.0'): TestScope {
  return { name, version, attributes: [], droppedAttributes: 0 };
}

export function hexId(value: number | bigint, bytes: number): string {
  return value.toString(16).padStart(bytes * 2, '0');
}

export function aSpan(over: Partial<TestSpan> = {}): TestSpan {
  return {
    traceId: hexId(1, 16),
    spanId: hexId(1, 8),
    parentSpanId: '',
    traceState: '',
    name: 'op',
    kind: 1,
    startUnixNano: START_NANO,
    endUnixNano: START_NANO + 1_000_000n,
    attributes: [],
    droppedAttributes: 0,
    events: [],
    droppedEvents: 0,
    links: [],
    droppedLinks: 0,
    status: { code: 0, message: '' },
    resource: aResource(),
    scope: aScope(),
    ...over,
  };
}

/** A trace of `spans` spans: a root (id 1) and a tree below in which span i is a child of span i >> 1. */
export function aTrace(
  id: number,
  spans: number,
  over: (i: number) => Partial<TestSpan> = () => ({}),
): TestSpan[] {
  const resource = aResource();
  const scope = aScope();
  return Array.from({ length: spans }, (_, n) => {
    const i = n + 1;
    return aSpan({
      traceId: hexId(id, 16),
      spanId: hexId(i, 8),
      parentSpanId: i === 1 ? '' : hexId(i >> 1, 8),
      name: `op-${i % 7}`,
      startUnixNano: START_NANO + BigInt(i) * 1000n,
      endUnixNano: START_NANO + BigInt(i) * 1000n + 500_000n,
      attributes: [
        ['n', BigInt(i)],
        ['user.id', `user-${i % 10}`],
      ],
      resource,
      scope,
      ...over(i),
    });
  });
}

const text = new TextEncoder();

function varint(value: bigint | number): number[] {
  let v = BigInt.asUintN(64, BigInt(value));
  const out: number[] = [];
  while (v > 127n) {
    out.push(Number(v & 127n) | 128);
    v >>= 7n;
  }
  out.push(Number(v));
  return out;
}

type Part = Uint8Array | number[];

function join(parts: readonly Part[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const out = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** A length-delimited field; also for tests that need bytes no builder makes. */
export function field(number: number, payload: Part): Uint8Array {
  return join([varint(number * 8 + 2), varint(payload.length), payload]);
}

/** A varint field. */
export function numberField(number: number, value: bigint | number): Uint8Array {
  return join([varint(number * 8), varint(value)]);
}

function optional(number: number, payload: Part): Part {
  return payload.length === 0 ? [] : field(number, payload);
}

function optionalNumber(number: number, value: number): Part {
  return value === 0 ? [] : numberField(number, value);
}

function fixed64(number: number, value: bigint): Uint8Array {
  const out = new Uint8Array(9);
  out[0] = (number << 3) | 1;
  new DataView(out.buffer).setBigUint64(1, BigInt.asUintN(64, value), true);
  return out;
}

function double(number: number, value: number): Uint8Array {
  const out = new Uint8Array(9);
  out[0] = (number << 3) | 1;
  new DataView(out.buffer).setFloat64(1, value, true);
  return out;
}

function unhex(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex, 'hex'));
}

export function encodeValue(value: Value): Uint8Array {
  if (value === undefined) return new Uint8Array(0);
  if (typeof value === 'string') return field(1, text.encode(value));
  if (typeof value === 'boolean') return numberField(2, value ? 1 : 0);
  if (typeof value === 'bigint') return numberField(3, value);
  if (typeof value === 'number') return double(4, value);
  if (value instanceof Uint8Array) return field(7, value);
  if (Array.isArray(value)) return field(5, join(value.map((v) => field(1, encodeValue(v)))));
  return field(6, encodeAttributes(1, value.kv));
}

function encodeAttributes(number: number, attributes: readonly Attribute[]): Uint8Array {
  return join(
    attributes.map(([key, value]) =>
      field(
        number,
        join([field(1, text.encode(key)), value === undefined ? [] : field(2, encodeValue(value))]),
      ),
    ),
  );
}

function encodeEvent(event: TestEvent): Uint8Array {
  return join([
    fixed64(1, event.timeUnixNano),
    optional(2, text.encode(event.name)),
    encodeAttributes(3, event.attributes),
    optionalNumber(4, event.droppedAttributes),
  ]);
}

function encodeLink(link: TestLink): Uint8Array {
  return join([
    field(1, unhex(link.traceId)),
    field(2, unhex(link.spanId)),
    optional(3, text.encode(link.traceState)),
    encodeAttributes(4, link.attributes),
    optionalNumber(5, link.droppedAttributes),
  ]);
}

/** The Span message alone. */
export function encodeSpan(span: TestSpan): Uint8Array {
  const status = [optional(2, text.encode(span.status.message)), optionalNumber(3, span.status.code)];
  return join([
    field(1, unhex(span.traceId)),
    field(2, unhex(span.spanId)),
    optional(3, text.encode(span.traceState)),
    optional(4, unhex(span.parentSpanId)),
    optional(5, text.encode(span.name)),
    optionalNumber(6, span.kind),
    fixed64(7, span.startUnixNano),
    fixed64(8, span.endUnixNano),
    encodeAttributes(9, span.attributes),
    optionalNumber(10, span.droppedAttributes),
    ...span.events.map((e) => field(11, encodeEvent(e))),
    optionalNumber(12, span.droppedEvents),
    ...span.links.map((l) => field(13, encodeLink(l))),
    optionalNumber(14, span.droppedLinks),
    optional(15, join(status)),
  ]);
}

function encodeResource(resource: TestResource): Uint8Array {
  return join([encodeAttributes(1, resource.attributes), optionalNumber(2, resource.droppedAttributes)]);
}

function encodeScope(scope: TestScope): Uint8Array {
  return join([
    optional(1, text.encode(scope.name)),
    optional(2, text.encode(scope.version)),
    encodeAttributes(3, scope.attributes),
    optionalNumber(4, scope.droppedAttributes),
  ]);
}

/**
 * An ExportTraceServiceRequest (or TracesData: the same wire format). Neighbours with the same resource and
 * scope objects share their groups.
 */
export function encodeTraces(spans: readonly TestSpan[]): Uint8Array {
  const out: Uint8Array[] = [];
  for (let i = 0; i < spans.length; ) {
    const { resource } = spans[i]!;
    const scopeSpans: Uint8Array[] = [];
    while (i < spans.length && spans[i]!.resource === resource) {
      const { scope } = spans[i]!;
      const parts = [field(1, encodeScope(scope))];
      while (i < spans.length && spans[i]!.scope === scope && spans[i]!.resource === resource) {
        parts.push(field(2, encodeSpan(spans[i++]!)));
      }
      scopeSpans.push(field(2, join(parts)));
    }
    out.push(field(1, join([field(1, encodeResource(resource)), ...scopeSpans])));
  }
  return join(out);
}

// Reading back

interface RawField {
  number: number;
  /** Of a length-delimited field; else empty. */
  payload: Uint8Array;
  /** Of a varint, fixed64 or fixed32 field; else 0. */
  value: bigint;
}

/** The fields of one message. Throws on anything malformed. */
export function readFields(bytes: Uint8Array): RawField[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const fields: RawField[] = [];
  let p = 0;
  const next = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      if (p >= bytes.length || shift > 63n) throw new Error('malformed varint');
      const byte = bytes[p++]!;
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return BigInt.asUintN(64, value);
    }
  };
  while (p < bytes.length) {
    const tag = Number(next());
    const wire = tag & 7;
    const raw: RawField = { number: tag >>> 3, payload: new Uint8Array(0), value: 0n };
    if (wire === 0) raw.value = next();
    else if (wire === 1) raw.value = view.getBigUint64((p += 8) - 8, true);
    else if (wire === 5) raw.value = BigInt(view.getUint32((p += 4) - 4, true));
    else if (wire === 2) {
      const length = Number(next());
      if (p + length > bytes.length) throw new Error('length overflow');
      raw.payload = bytes.slice(p, (p += length));
    } else throw new Error(`wire type ${wire}`);
    fields.push(raw);
  }
  return fields;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

function utf8(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** Elements of an ArrayValue or a KeyValueList; fields that it does not know are passed over. */
function valuesOf(bytes: Uint8Array): Uint8Array[] {
  return readFields(bytes)
    .filter((f) => f.number === 1)
    .map((f) => f.payload);
}

function decodeValue(bytes: Uint8Array): Value {
  let value: Value;
  for (const f of readFields(bytes)) {
    if (f.number === 1) value = utf8(f.payload);
    else if (f.number === 2) value = f.value !== 0n;
    else if (f.number === 3) value = BigInt.asIntN(64, f.value);
    else if (f.number === 4) value = new Float64Array(BigUint64Array.of(f.value).buffer)[0]!;
    else if (f.number === 5) value = valuesOf(f.payload).map(decodeValue);
    else if (f.number === 6) value = { kv: valuesOf(f.payload).map(decodeAttribute) };
    else if (f.number === 7) value = f.payload;
  }
  return value;
}

function decodeAttribute(bytes: Uint8Array): Attribute {
  const attribute: Attribute = ['', undefined];
  for (const f of readFields(bytes)) {
    if (f.number === 1) attribute[0] = utf8(f.payload);
    else if (f.number === 2) attribute[1] = decodeValue(f.payload);
  }
  return attribute;
}

function decodeEvent(bytes: Uint8Array): TestEvent {
  const event: TestEvent = { timeUnixNano: 0n, name: '', attributes: [], droppedAttributes: 0 };
  for (const f of readFields(bytes)) {
    if (f.number === 1) event.timeUnixNano = f.value;
    else if (f.number === 2) event.name = utf8(f.payload);
    else if (f.number === 3) event.attributes.push(decodeAttribute(f.payload));
    else if (f.number === 4) event.droppedAttributes = Number(f.value);
  }
  return event;
}

function decodeLink(bytes: Uint8Array): TestLink {
  const link: TestLink = { traceId: '', spanId: '', traceState: '', attributes: [], droppedAttributes: 0 };
  for (const f of readFields(bytes)) {
    if (f.number === 1) link.traceId = hex(f.payload);
    else if (f.number === 2) link.spanId = hex(f.payload);
    else if (f.number === 3) link.traceState = utf8(f.payload);
    else if (f.number === 4) link.attributes.push(decodeAttribute(f.payload));
    else if (f.number === 5) link.droppedAttributes = Number(f.value);
  }
  return link;
}

const SPAN_SETTERS: Record<number, (span: TestSpan, f: RawField) => void> = {
  1: (s, f) => (s.traceId = hex(f.payload)),
  2: (s, f) => (s.spanId = hex(f.payload)),
  3: (s, f) => (s.traceState = utf8(f.payload)),
  4: (s, f) => (s.parentSpanId = hex(f.payload)),
  5: (s, f) => (s.name = utf8(f.payload)),
  6: (s, f) => (s.kind = Number(BigInt.asIntN(64, f.value))),
  7: (s, f) => (s.startUnixNano = f.value),
  8: (s, f) => (s.endUnixNano = f.value),
  9: (s, f) => s.attributes.push(decodeAttribute(f.payload)),
  10: (s, f) => (s.droppedAttributes = Number(f.value)),
  11: (s, f) => s.events.push(decodeEvent(f.payload)),
  12: (s, f) => (s.droppedEvents = Number(f.value)),
  13: (s, f) => s.links.push(decodeLink(f.payload)),
  14: (s, f) => (s.droppedLinks = Number(f.value)),
  15: (s, f) => {
    for (const g of readFields(f.payload)) {
      if (g.number === 2) s.status.message = utf8(g.payload);
      else if (g.number === 3) s.status.code = Number(BigInt.asIntN(64, g.value));
    }
  },
};

function decodeSpan(bytes: Uint8Array, resource: TestResource, scope: TestScope): TestSpan {
  const span = aSpan({ name: '', kind: 0, startUnixNano: 0n, endUnixNano: 0n, resource, scope });
  for (const f of readFields(bytes)) SPAN_SETTERS[f.number]?.(span, f);
  return span;
}

function decodeResource(bytes: Uint8Array): TestResource {
  const resource: TestResource = { attributes: [], droppedAttributes: 0 };
  for (const f of readFields(bytes)) {
    if (f.number === 1) resource.attributes.push(decodeAttribute(f.payload));
    else if (f.number === 2) resource.droppedAttributes = Number(f.value);
  }
  return resource;
}

function decodeScope(bytes: Uint8Array): TestScope {
  const scope: TestScope = { name: '', version: '', attributes: [], droppedAttributes: 0 };
  for (const f of readFields(bytes)) {
    if (f.number === 1) scope.name = utf8(f.payload);
    else if (f.number === 2) scope.version = utf8(f.payload);
    else if (f.number === 3) scope.attributes.push(decodeAttribute(f.payload));
    else if (f.number === 4) scope.droppedAttributes = Number(f.value);
  }
  return scope;
}

/** The spans of a TracesData or ExportTraceServiceRequest, in wire order. Throws on anything malformed. */
export function decodeTraces(bytes: Uint8Array): TestSpan[] {
  const spans: TestSpan[] = [];
  for (const rs of readFields(bytes)) {
    const inner = readFields(rs.payload);
    const resource = decodeResource(inner.find((f) => f.number === 1)?.payload ?? new Uint8Array(0));
    for (const ss of inner.filter((f) => f.number === 2)) {
      const parts = readFields(ss.payload);
      const scope = decodeScope(parts.find((f) => f.number === 1)?.payload ?? new Uint8Array(0));
      for (const f of parts) if (f.number === 2) spans.push(decodeSpan(f.payload, resource, scope));
    }
  }
  return spans;
}
