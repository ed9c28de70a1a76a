// Traces that follow from a time and a tenant alone, so that what was written needs not be kept to be
// compared. A trace comes in one to three writes, each of several requests.
import { createHash } from 'node:crypto';
import { ByteWriter } from '../../src/lib/byte-writer.ts';
import { hexOfBytes, SPAN_ID_BYTES, TRACE_ID_BYTES } from '../../src/model/ids.ts';
import {
  bytesField,
  bytesFieldIfAny,
  closeField,
  openField,
  Tag,
  uintField,
} from '../../src/model/otlp/encode.ts';
import {
  attributesField,
  type PlainAttributes,
  textField,
  timeField,
} from '../../src/model/otlp/plain-fields.ts';

interface KnownEvent {
  readonly timeMs: number;
  readonly name: string;
  readonly attributes: PlainAttributes;
}

interface KnownSpan {
  readonly spanId: Uint8Array;
  /** Empty = root. */
  readonly parentId: Uint8Array;
  readonly name: string;
  readonly kind: number;
  readonly startMs: number;
  readonly endMs: number;
  readonly status: number;
  readonly attributes: PlainAttributes;
  readonly events: readonly KnownEvent[];
}

/** What one request carries. */
export interface KnownBatch {
  readonly resource: PlainAttributes;
  readonly spans: readonly KnownSpan[];
}

export interface KnownTrace {
  /** Hex. */
  readonly traceId: string;
  readonly timestampMs: number;
  readonly writes: readonly (readonly KnownBatch[])[];
}

const WRITES_MAX = 3;
const BATCHES_MAX = 5;
const SPANS_MAX = 5;
const KINDS = 5;
const SERVICE = 'tempo-vulture';
const SCOPE = 'tempo-vulture';

/** Random numbers that follow from a text: a chain of hashes. */
class Seeded {
  private readonly seed: string;
  private block = Buffer.alloc(0);
  private count = 0;

  constructor(seed: string) {
    this.seed = seed;
  }

  bytes(length: number): Buffer {
    if (this.block.length < length) {
      this.block = createHash('sha256')
        .update(`${this.seed}/${this.count++}`)
        .digest();
    }
    const taken = this.block.subarray(0, length);
    this.block = this.block.subarray(length);
    return taken;
  }

  /** From `least` to `most`. */
  between(least: number, most: number): number {
    return least + (this.bytes(4).readUInt32LE() % (most - least + 1));
  }

  text(): string {
    return this.bytes(this.between(5, 12)).toString('hex');
  }
}

/** The trace of this moment and tenant. */
export function knownTrace(timestampMs: number, tenant: string): KnownTrace {
  const random = new Seeded(`${tenant}/${timestampMs}`);
  const traceId = hexOfBytes(random.bytes(TRACE_ID_BYTES));
  const writes = Array.from({ length: random.between(1, WRITES_MAX) }, (_, write) =>
    Array.from({ length: random.between(1, BATCHES_MAX) }, () => batchOf(random, timestampMs, write)),
  );
  return { traceId, timestampMs, writes };
}

/** A chain of spans: each is the parent of the next. */
function batchOf(random: Seeded, timestampMs: number, write: number): KnownBatch {
  const spans: KnownSpan[] = [];
  const count = random.between(1, SPANS_MAX);
  for (let depth = 0; depth < count; depth++) {
    const lengthMs = random.between(1, 100_000) / 1000;
    const startMs = timestampMs + depth / 1000;
    spans.push({
      spanId: random.bytes(SPAN_ID_BYTES),
      parentId: spans.at(-1)?.spanId ?? new Uint8Array(0),
      name: `vulture-${random.between(0, 99)}`,
      kind: random.between(1, KINDS),
      startMs,
      endMs: startMs + lengthMs,
      status: random.between(0, 2),
      attributes: {
        ...texts(random, 'vulture'),
        'vulture-int': random.between(0, 2 ** 31) * 1000,
        'vulture-double': random.between(0, 2 ** 31) + 0.5,
        'vulture-bool': random.between(0, 1) === 1,
      },
      events: Array.from({ length: random.between(0, 2) }, (_, at) => ({
        timeMs: startMs + at / 1000,
        name: `event-${random.between(0, 9)}`,
        attributes: texts(random, 'vulture-event'),
      })),
    });
  }
  const resource = {
    'service.name': SERVICE,
    'vulture-write': write,
    ...texts(random, 'vulture-process'),
  };
  return { resource, spans };
}

function texts(random: Seeded, prefix: string): PlainAttributes {
  const count = random.between(1, 4);
  return Object.fromEntries(
    Array.from({ length: count }, (_, at): [string, string] => [`${prefix}-${at}`, random.text()]),
  );
}

/** A serialised ExportTraceServiceRequest. */
export function requestOf({ traceId }: KnownTrace, { resource, spans }: KnownBatch): Uint8Array {
  const id = Buffer.from(traceId, 'hex');
  const w = new ByteWriter(4096);
  const resourceSpans = openField(w, Tag.tracesData.resourceSpans);
  const inner = openField(w, Tag.resourceSpans.resource);
  attributesField(w, Tag.resource.attributes, resource);
  closeField(w, inner);
  const scopeSpans = openField(w, Tag.resourceSpans.scopeSpans);
  const scope = openField(w, Tag.scopeSpans.scope);
  textField(w, Tag.scope.name, SCOPE);
  closeField(w, scope);
  for (const span of spans) writeSpan(w, id, span);
  closeField(w, scopeSpans);
  closeField(w, resourceSpans);
  return w.copy();
}

function writeSpan(w: ByteWriter, traceId: Uint8Array, span: KnownSpan): void {
  const mark = openField(w, Tag.scopeSpans.spans);
  bytesField(w, Tag.span.traceId, traceId, 0, traceId.length);
  bytesField(w, Tag.span.spanId, span.spanId, 0, span.spanId.length);
  bytesFieldIfAny(w, Tag.span.parentSpanId, span.parentId, 0, span.parentId.length);
  textField(w, Tag.span.name, span.name);
  uintField(w, Tag.span.kind, span.kind);
  timeField(w, Tag.span.startTimeUnixNano, span.startMs);
  timeField(w, Tag.span.endTimeUnixNano, span.endMs);
  attributesField(w, Tag.span.attributes, span.attributes);
  for (const { timeMs, name, attributes } of span.events) {
    const event = openField(w, Tag.span.events);
    timeField(w, Tag.event.timeUnixNano, timeMs);
    textField(w, Tag.event.name, name);
    attributesField(w, Tag.event.attributes, attributes);
    closeField(w, event);
  }
  const status = openField(w, Tag.span.status);
  uintField(w, Tag.status.code, span.status);
  closeField(w, status);
  closeField(w, mark);
}
