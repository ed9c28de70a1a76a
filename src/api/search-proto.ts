// A found trace as the protobuf message tempopb.TraceSearchMetadata, made of its JSON.
import { ByteWriter } from '../lib/byte-writer.ts';
import { bytesField, textField, varintField } from '../lib/protobuf.ts';
import type { JsonAttribute, JsonValue } from './json-shapes.ts';

interface Span {
  readonly spanID?: string;
  readonly name?: string;
  readonly startTimeUnixNano?: string;
  readonly durationNanos?: string;
  readonly attributes?: readonly JsonAttribute[];
}

interface Spanset {
  readonly spans?: readonly Span[];
  readonly matched?: number;
  readonly attributes?: readonly JsonAttribute[];
}

interface FoundTrace {
  readonly traceID: string;
  readonly rootServiceName?: string;
  readonly rootTraceName?: string;
  readonly startTimeUnixNano?: string;
  readonly durationMs?: number;
  readonly spanSets?: readonly Spanset[];
  readonly serviceStats?: Readonly<
    Record<string, { readonly spanCount?: number; readonly errorCount?: number }>
  >;
}

const BYTES_WIRE = 2;
const DOUBLE_BYTES = 8;
const FIRST_SPANSET_FIELD = 6;

/** @param json TraceSearchMetadata as the engine writes it. */
export function foundTraceProto(json: Uint8Array): Uint8Array {
  const trace = JSON.parse(Buffer.from(json.buffer, json.byteOffset, json.length).toString()) as FoundTrace;
  const { spanSets = [], serviceStats = {} } = trace;
  const out = new ByteWriter(json.length);
  textField(out, 1, trace.traceID);
  textField(out, 2, trace.rootServiceName ?? '');
  textField(out, 3, trace.rootTraceName ?? '');
  uint64Field(out, 4, trace.startTimeUnixNano);
  varintField(out, 5, trace.durationMs ?? 0);
  const sets = spanSets.map(spansetProto);
  if (sets.length > 0) bytesField(out, FIRST_SPANSET_FIELD, sets[0]!);
  for (const set of sets) bytesField(out, 7, set);
  for (const [service, { spanCount = 0, errorCount = 0 }] of Object.entries(serviceStats)) {
    const stats = message((to) => {
      varintField(to, 1, spanCount);
      varintField(to, 2, errorCount);
    });
    const entry = message((to) => {
      textField(to, 1, service);
      bytesField(to, 2, stats);
    });
    bytesField(out, 8, entry);
  }
  return out.copy();
}

/** The message without its spans and what is told of services. */
export function headOfFoundTrace(proto: Uint8Array): Uint8Array {
  let at = 0;
  while (at < proto.length && proto[at]! >> 3 < FIRST_SPANSET_FIELD) {
    const isBytes = (proto[at++]! & 7) === BYTES_WIRE;
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = proto[at++]!;
      if (isBytes) value |= (byte & 127) << shift;
      if (byte < 128) break;
    }
    at += value;
  }
  return proto.subarray(0, at);
}

function spansetProto({ spans = [], matched = 0, attributes = [] }: Spanset): Uint8Array {
  return message((out) => {
    for (const span of spans) bytesField(out, 1, spanProto(span));
    varintField(out, 2, matched);
    for (const attribute of attributes) bytesField(out, 3, keyValueProto(attribute));
  });
}

function spanProto({ spanID, name, startTimeUnixNano, durationNanos, attributes = [] }: Span): Uint8Array {
  return message((out) => {
    textField(out, 1, spanID ?? '');
    textField(out, 2, name ?? '');
    uint64Field(out, 3, startTimeUnixNano);
    uint64Field(out, 4, durationNanos);
    for (const attribute of attributes) bytesField(out, 5, keyValueProto(attribute));
  });
}

function keyValueProto({ key, value }: JsonAttribute): Uint8Array {
  return message((out) => {
    textField(out, 1, key);
    bytesField(out, 2, anyValueProto(value));
  });
}

/** Of a oneof the chosen field is always written. */
function anyValueProto(value: JsonValue): Uint8Array {
  return message((out) => {
    if (value.stringValue !== undefined) bytesField(out, 1, Buffer.from(value.stringValue));
    else if (value.boolValue !== undefined) varint(out, 2, value.boolValue ? 1n : 0n);
    else if (value.intValue !== undefined) varint(out, 3, BigInt(value.intValue));
    else if (value.doubleValue !== undefined) double(out, 4, Number(value.doubleValue));
    else if (value.arrayValue !== undefined) {
      const { values = [] } = value.arrayValue;
      bytesField(
        out,
        5,
        message((to) => values.forEach((one) => bytesField(to, 1, anyValueProto(one)))),
      );
    }
  });
}

function message(write: (out: ByteWriter) => void): Uint8Array {
  const out = new ByteWriter(64);
  write(out);
  return out.view();
}

function uint64Field(out: ByteWriter, field: number, decimal = '0'): void {
  if (decimal !== '0') varint(out, field, BigInt(decimal));
}

/** A 64-bit varint; negative numbers take ten bytes. */
function varint(out: ByteWriter, field: number, value: bigint): void {
  out.varint(field << 3);
  let rest = BigInt.asUintN(64, value);
  while (rest > 127n) {
    out.u8(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  out.u8(Number(rest));
}

function double(out: ByteWriter, field: number, value: number): void {
  out.varint((field << 3) | 1);
  out.reserve(DOUBLE_BYTES);
  const view = new DataView(out.bytes.buffer, out.bytes.byteOffset);
  view.setFloat64(out.length, value, true);
  out.length += DOUBLE_BYTES;
}
