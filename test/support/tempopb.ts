// Reads and writes messages of tempopb by tables of their fields, in the form of their JSON: names of
// protobuf, 64-bit numbers as strings, defaults left out. Shares no code with src/.

type Kind = 'string' | 'uint32' | 'uint64' | 'int64' | 'bool' | 'double' | 'bytes';

interface FieldOf {
  readonly name: string;
  readonly kind: Kind | Message | MapOf;
  readonly repeated?: boolean;
}

/** map<string, value>. */
interface MapOf {
  readonly valueOf: 'string' | Message;
}

export interface Message {
  readonly [field: number]: FieldOf;
}

const AnyValue: Record<number, FieldOf> = {
  1: { name: 'stringValue', kind: 'string' },
  2: { name: 'boolValue', kind: 'bool' },
  3: { name: 'intValue', kind: 'int64' },
  4: { name: 'doubleValue', kind: 'double' },
};
AnyValue[5] = { name: 'arrayValue', kind: { 1: { name: 'values', kind: AnyValue, repeated: true } } };
const KeyValue: Message = { 1: { name: 'key', kind: 'string' }, 2: { name: 'value', kind: AnyValue } };
const Span: Message = {
  1: { name: 'spanID', kind: 'string' },
  2: { name: 'name', kind: 'string' },
  3: { name: 'startTimeUnixNano', kind: 'uint64' },
  4: { name: 'durationNanos', kind: 'uint64' },
  5: { name: 'attributes', kind: KeyValue, repeated: true },
};
const SpanSet: Message = {
  1: { name: 'spans', kind: Span, repeated: true },
  2: { name: 'matched', kind: 'uint32' },
  3: { name: 'attributes', kind: KeyValue, repeated: true },
};
const ServiceStats: Message = {
  1: { name: 'spanCount', kind: 'uint32' },
  2: { name: 'errorCount', kind: 'uint32' },
};
const TraceSearchMetadata: Message = {
  1: { name: 'traceID', kind: 'string' },
  2: { name: 'rootServiceName', kind: 'string' },
  3: { name: 'rootTraceName', kind: 'string' },
  4: { name: 'startTimeUnixNano', kind: 'uint64' },
  5: { name: 'durationMs', kind: 'uint32' },
  6: { name: 'spanSet', kind: SpanSet },
  7: { name: 'spanSets', kind: SpanSet, repeated: true },
  8: { name: 'serviceStats', kind: { valueOf: ServiceStats } },
};
const SearchMetrics: Message = {
  1: { name: 'inspectedTraces', kind: 'uint32' },
  2: { name: 'inspectedBytes', kind: 'uint64' },
  3: { name: 'totalBlocks', kind: 'uint32' },
  4: { name: 'completedJobs', kind: 'uint32' },
  5: { name: 'totalJobs', kind: 'uint32' },
  6: { name: 'totalBlockBytes', kind: 'uint64' },
  7: { name: 'inspectedSpans', kind: 'uint64' },
};
export const SearchResponse: Message = {
  1: { name: 'traces', kind: TraceSearchMetadata, repeated: true },
  2: { name: 'metrics', kind: SearchMetrics },
};
type Json = Record<string, unknown>;

/** Repeated fields are there even when they are empty. Throws for unknown fields and bytes that are none. */
export function decodeMessage(message: Message, bytes: Uint8Array): Json {
  const out: Json = {};
  for (const { name, repeated } of Object.values(message) as FieldOf[]) if (repeated) out[name] = [];
  let at = 0;
  while (at < bytes.length) {
    const [tag, start] = varint(bytes, at);
    const field = message[Number(tag >> 3n)];
    if (field === undefined) throw new Error(`unknown field ${tag >> 3n}`);
    const wire = Number(tag & 7n);
    const [value, end] = wireValue(bytes, start, wire);
    at = end;
    put(out, field, value, wire);
  }
  return out;
}

function put(out: Json, { name, kind, repeated }: FieldOf, value: bigint | Uint8Array, wire: number): void {
  if (typeof kind === 'object' && Object.hasOwn(kind, 'valueOf')) {
    const entry: Message = {
      1: { name: 'key', kind: 'string' },
      2: { name: 'value', kind: (kind as MapOf).valueOf },
    };
    const { key = '', value: one } = decodeMessage(entry, value as Uint8Array);
    out[name] = { ...(out[name] as Json | undefined), [key as string]: one };
    return;
  }
  const read = decoded(kind as Kind | Message, value, wire);
  if (repeated) (out[name] as unknown[]).push(read);
  else out[name] = read;
}

function decoded(kind: Kind | Message, value: bigint | Uint8Array, wire: number): unknown {
  if (typeof kind === 'object') return withoutEmptyLists(decodeMessage(kind, value as Uint8Array));
  if (kind === 'string') return Buffer.from(value as Uint8Array).toString();
  if (kind === 'bytes') return Buffer.from(value as Uint8Array).toString('base64');
  if (kind === 'double') return Buffer.from(value as Uint8Array).readDoubleLE();
  if (wire !== 0) throw new Error(`wire type ${wire} of a number`);
  if (kind === 'bool') return value !== 0n;
  if (kind === 'uint32') return Number(value);
  return String(kind === 'int64' ? BigInt.asIntN(64, value as bigint) : value);
}

function withoutEmptyLists(json: Json): Json {
  return Object.fromEntries(
    Object.entries(json).filter(([, value]) => !Array.isArray(value) || value.length > 0),
  );
}

function wireValue(bytes: Uint8Array, at: number, wire: number): [bigint | Uint8Array, number] {
  if (wire === 0) return varint(bytes, at);
  const [start, length] = wire === 1 ? [at, 8] : wire === 5 ? [at, 4] : lengthOf(bytes, at);
  if (start + length > bytes.length) throw new Error('a field beyond its message');
  return [bytes.subarray(start, start + length), start + length];
}

function lengthOf(bytes: Uint8Array, at: number): [number, number] {
  const [length, start] = varint(bytes, at);
  return [start, Number(length)];
}

function varint(bytes: Uint8Array, at: number): [bigint, number] {
  let value = 0n;
  for (let i = at, shift = 0n; ; i++, shift += 7n) {
    const byte = bytes[i];
    if (byte === undefined) throw new Error('a number beyond its message');
    value |= BigInt(byte & 127) << shift;
    if (byte < 128) return [value, i + 1];
  }
}
