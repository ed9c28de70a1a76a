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
const MetadataMetrics: Message = {
  1: { name: 'inspectedBytes', kind: 'uint64' },
  2: { name: 'totalJobs', kind: 'uint32' },
  3: { name: 'completedJobs', kind: 'uint32' },
  4: { name: 'totalBlocks', kind: 'uint32' },
  5: { name: 'totalBlockBytes', kind: 'uint64' },
};

export const SearchRequest: Message = {
  1: { name: 'Tags', kind: { valueOf: 'string' } },
  2: { name: 'MinDurationMs', kind: 'uint32' },
  3: { name: 'MaxDurationMs', kind: 'uint32' },
  4: { name: 'Limit', kind: 'uint32' },
  5: { name: 'start', kind: 'uint32' },
  6: { name: 'end', kind: 'uint32' },
  8: { name: 'Query', kind: 'string' },
  9: { name: 'SpansPerSpanSet', kind: 'uint32' },
};
export const SearchBlockRequest: Message = {
  1: { name: 'searchReq', kind: SearchRequest },
  2: { name: 'blockID', kind: 'string' },
  3: { name: 'startPage', kind: 'uint32' },
  4: { name: 'pagesToSearch', kind: 'uint32' },
  9: { name: 'version', kind: 'string' },
};
export const TraceByIDResponse: Message = {
  1: { name: 'trace', kind: 'bytes' },
  2: { name: 'metrics', kind: { 1: { name: 'inspectedBytes', kind: 'uint64' } } },
};
export const SearchResponse: Message = {
  1: { name: 'traces', kind: TraceSearchMetadata, repeated: true },
  2: { name: 'metrics', kind: SearchMetrics },
};
export const SearchTagsRequest: Message = {
  1: { name: 'scope', kind: 'string' },
  2: { name: 'query', kind: 'string' },
  3: { name: 'start', kind: 'uint32' },
  4: { name: 'end', kind: 'uint32' },
  5: { name: 'maxTagsPerScope', kind: 'uint32' },
  6: { name: 'staleValuesThreshold', kind: 'uint32' },
};
export const SearchTagsResponse: Message = {
  1: { name: 'tagNames', kind: 'string', repeated: true },
  2: { name: 'metrics', kind: MetadataMetrics },
};
export const SearchTagsV2Response: Message = {
  1: {
    name: 'scopes',
    kind: { 1: { name: 'name', kind: 'string' }, 2: { name: 'tags', kind: 'string', repeated: true } },
    repeated: true,
  },
  2: { name: 'metrics', kind: MetadataMetrics },
};
export const SearchTagValuesRequest: Message = {
  1: { name: 'tagName', kind: 'string' },
  2: { name: 'query', kind: 'string' },
  4: { name: 'start', kind: 'uint32' },
  5: { name: 'end', kind: 'uint32' },
  6: { name: 'maxTagValues', kind: 'uint32' },
  7: { name: 'staleValueThreshold', kind: 'uint32' },
};
export const SearchTagValuesResponse: Message = {
  1: { name: 'tagValues', kind: 'string', repeated: true },
  2: { name: 'metrics', kind: MetadataMetrics },
};
export const SearchTagValuesV2Response: Message = {
  1: {
    name: 'tagValues',
    kind: { 1: { name: 'type', kind: 'string' }, 2: { name: 'value', kind: 'string' } },
    repeated: true,
  },
  2: { name: 'metrics', kind: MetadataMetrics },
};
export const QueryRangeRequest: Message = {
  1: { name: 'query', kind: 'string' },
  2: { name: 'start', kind: 'uint64' },
  3: { name: 'end', kind: 'uint64' },
  4: { name: 'step', kind: 'uint64' },
  16: { name: 'exemplars', kind: 'uint32' },
  17: { name: 'maxSeries', kind: 'uint32' },
  18: { name: 'instant', kind: 'uint32' },
};
const Exemplar: Message = {
  1: { name: 'labels', kind: KeyValue, repeated: true },
  2: { name: 'value', kind: 'double' },
  3: { name: 'timestampMs', kind: 'int64' },
};
const Sample: Message = {
  1: { name: 'value', kind: 'double' },
  2: { name: 'timestampMs', kind: 'int64' },
};
export const TimeSeries: Message = {
  1: { name: 'labels', kind: KeyValue, repeated: true },
  2: { name: 'samples', kind: Sample, repeated: true },
  4: { name: 'exemplars', kind: Exemplar, repeated: true },
};
const InstantSeries: Message = {
  1: { name: 'labels', kind: KeyValue, repeated: true },
  2: { name: 'value', kind: 'double' },
};
export const QueryRangeResponse: Message = {
  1: { name: 'series', kind: TimeSeries, repeated: true },
  2: { name: 'metrics', kind: SearchMetrics },
  3: { name: 'status', kind: 'uint32' },
  4: { name: 'message', kind: 'string' },
};
export const QueryInstantRequest: Message = {
  1: { name: 'query', kind: 'string' },
  2: { name: 'start', kind: 'uint64' },
  3: { name: 'end', kind: 'uint64' },
};
export const QueryInstantResponse: Message = {
  1: { name: 'series', kind: InstantSeries, repeated: true },
  2: { name: 'metrics', kind: SearchMetrics },
  3: { name: 'status', kind: 'uint32' },
  4: { name: 'message', kind: 'string' },
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

export function encodeMessage(message: Message, json: Readonly<Json>): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const [number, { name, kind, repeated }] of Object.entries(message) as [string, FieldOf][]) {
    const given = json[name];
    if (given === undefined) continue;
    for (const value of repeated ? (given as unknown[]) : [given]) {
      parts.push(...encodeField(Number(number), kind, value));
    }
  }
  return Buffer.concat(parts);
}

function encodeField(number: number, kind: FieldOf['kind'], value: unknown): Uint8Array[] {
  const bytes = (content: Uint8Array): Uint8Array[] => [
    encodeVarint(BigInt(number * 8 + 2)),
    encodeVarint(BigInt(content.length)),
    content,
  ];
  if (kind === 'string') return bytes(Buffer.from(value as string));
  if (kind === 'double') {
    const content = Buffer.alloc(8);
    content.writeDoubleLE(value as number);
    return [encodeVarint(BigInt(number * 8 + 1)), content];
  }
  if (kind === 'uint32' || kind === 'uint64' || kind === 'int64') {
    return [encodeVarint(BigInt(number * 8)), encodeVarint(BigInt(value as number | string))];
  }
  if (typeof kind === 'string') throw new Error(`fields of kind ${kind} are not written`);
  if (!('valueOf' in kind) || typeof kind.valueOf === 'function') {
    return bytes(encodeMessage(kind as Message, value as Json));
  }
  const entry: Message = { 1: { name: 'key', kind: 'string' }, 2: { name: 'value', kind: kind.valueOf } };
  return Object.entries(value as Json).flatMap(([key, one]) =>
    bytes(encodeMessage(entry, { key, value: one })),
  );
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

function encodeVarint(value: bigint): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  bytes.push(Number(rest));
  return Uint8Array.from(bytes);
}
