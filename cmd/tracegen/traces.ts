// Invents the traces of a small web shop: a few services that call each other, with errors and slow calls
// among them.
import { randomBytes } from 'node:crypto';
import { ByteWriter } from '../../src/lib/byte-writer.ts';
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
import { hexOfBytes, SPAN_ID_BYTES, TRACE_ID_BYTES } from '../../src/model/ids.ts';

/** One operation of the shop; `calls` are made one after the other. */
type Operation = {
  readonly service: string;
  readonly name: string;
  readonly kind: number;
  readonly ownMs: number;
  readonly attributes: () => PlainAttributes;
  readonly calls: readonly Operation[];
};

type Span = {
  readonly spanId: Uint8Array;
  readonly parentId: Uint8Array;
  readonly operation: Operation;
  readonly startMs: number;
  readonly endMs: number;
  readonly failed: boolean;
};

export type GeneratedTrace = {
  readonly traceId: string;
  readonly spans: number;
  /** A serialised ExportTraceServiceRequest. */
  readonly request: Uint8Array;
};

const KIND_INTERNAL = 1;
const KIND_SERVER = 2;
const KIND_CLIENT = 3;
const STATUS_ERROR = 2;
const FAILURE_RATE = 0.03;
const SLOW_RATE = 0.05;
const SLOW_FACTOR = 20;
const NO_PARENT = new Uint8Array(0);

const oneOf = (values: readonly string[]): string => values[Math.floor(Math.random() * values.length)] ?? '';
const below = (limit: number): number => Math.floor(Math.random() * limit);

function http(service: string, method: string, route: string, calls: readonly Operation[]): Operation {
  const attributes = (): PlainAttributes => ({
    'http.method': method,
    'http.route': route,
    'http.status_code': 200,
    'user.id': `user-${below(500)}`,
  });
  return { service, name: `${method} ${route}`, kind: KIND_SERVER, ownMs: 8, attributes, calls };
}

function query(service: string, table: string, verb: string): Operation {
  const attributes = (): PlainAttributes => ({
    'db.system': 'postgresql',
    'db.name': service,
    'db.statement': `${verb} ${table} WHERE id = ${below(10_000)}`,
    'db.rows': below(50),
  });
  return { service, name: `${verb} ${table}`, kind: KIND_CLIENT, ownMs: 5, attributes, calls: [] };
}

function step(service: string, name: string, calls: readonly Operation[]): Operation {
  const attributes = (): PlainAttributes => ({
    'app.region': oneOf(['eu-west-1', 'us-east-1', 'ap-south-1']),
  });
  return { service, name, kind: KIND_INTERNAL, ownMs: 3, attributes, calls };
}

const STORIES: readonly Operation[] = [
  http('gateway', 'POST', '/checkout', [
    http('cart', 'GET', '/cart/{id}', [query('cart', 'carts', 'SELECT')]),
    http('checkout', 'POST', '/orders', [
      step('checkout', 'validate order', []),
      query('checkout', 'orders', 'INSERT'),
      http('payment', 'POST', '/charge', [
        step('payment', 'check fraud', [query('payment', 'risk', 'SELECT')]),
        query('payment', 'charges', 'INSERT'),
      ]),
    ]),
    http('shipping', 'POST', '/shipments', [query('shipping', 'shipments', 'INSERT')]),
  ]),
  http('gateway', 'GET', '/products', [
    http('catalogue', 'GET', '/products', [query('catalogue', 'products', 'SELECT')]),
    http('recommendation', 'GET', '/similar', [step('recommendation', 'rank', [])]),
  ]),
  http('gateway', 'POST', '/login', [http('user', 'POST', '/sessions', [query('user', 'users', 'SELECT')])]),
];

/** Lays out an operation and its calls in time and answers when it ends. */
function layOut(operation: Operation, parentId: Uint8Array, startMs: number, spans: Span[]): number {
  const spanId = randomBytes(SPAN_ID_BYTES);
  const at = spans.length;
  spans.push({ spanId, parentId, operation, startMs, endMs: startMs, failed: false });
  const slow = Math.random() < SLOW_RATE ? SLOW_FACTOR : 1;
  const ownMs = operation.ownMs * slow * (0.5 + Math.random());
  let nowMs = startMs + ownMs / 2;
  for (const call of operation.calls) nowMs = layOut(call, spanId, nowMs, spans) + 0.2;
  const endMs = nowMs + ownMs / 2;
  const failed = Math.random() < FAILURE_RATE;
  spans[at] = { spanId, parentId, operation, startMs, endMs, failed };
  return endMs;
}

function writeSpan(w: ByteWriter, traceId: Uint8Array, span: Span): void {
  const { operation, failed } = span;
  const mark = openField(w, Tag.scopeSpans.spans);
  bytesField(w, Tag.span.traceId, traceId, 0, TRACE_ID_BYTES);
  bytesField(w, Tag.span.spanId, span.spanId, 0, SPAN_ID_BYTES);
  bytesFieldIfAny(w, Tag.span.parentSpanId, span.parentId, 0, span.parentId.length);
  textField(w, Tag.span.name, operation.name);
  uintField(w, Tag.span.kind, operation.kind);
  timeField(w, Tag.span.startTimeUnixNano, span.startMs);
  timeField(w, Tag.span.endTimeUnixNano, span.endMs);
  const attributes = operation.attributes();
  const isServer = failed && operation.kind === KIND_SERVER;
  attributesField(w, Tag.span.attributes, isServer ? { ...attributes, 'http.status_code': 500 } : attributes);
  if (failed) {
    const status = openField(w, Tag.span.status);
    textField(w, Tag.status.message, `${operation.name} failed`);
    uintField(w, Tag.status.code, STATUS_ERROR);
    closeField(w, status);
  }
  closeField(w, mark);
}

function writeService(w: ByteWriter, service: string, traceId: Uint8Array, spans: readonly Span[]): void {
  const resourceSpans = openField(w, Tag.tracesData.resourceSpans);
  const resource = openField(w, Tag.resourceSpans.resource);
  attributesField(w, Tag.resource.attributes, {
    'service.name': service,
    'service.version': '1.0.0',
    'deployment.environment': 'tracegen',
  });
  closeField(w, resource);
  const scopeSpans = openField(w, Tag.resourceSpans.scopeSpans);
  const scope = openField(w, Tag.scopeSpans.scope);
  textField(w, Tag.scope.name, 'tracegen');
  closeField(w, scope);
  for (const span of spans) writeSpan(w, traceId, span);
  closeField(w, scopeSpans);
  closeField(w, resourceSpans);
}

/** Invents one trace that ends now; `prefix` stands before every service's name. */
export function generateTrace(prefix = ''): GeneratedTrace {
  const traceId = randomBytes(TRACE_ID_BYTES);
  const story = STORIES[below(STORIES.length)] as Operation;
  const relative: Span[] = [];
  const lengthMs = layOut(story, NO_PARENT, 0, relative);
  const beganMs = Date.now() - lengthMs;
  const spans = relative.map((span) => ({
    ...span,
    startMs: beganMs + span.startMs,
    endMs: beganMs + span.endMs,
  }));
  const w = new ByteWriter(8192);
  for (const [service, own] of Map.groupBy(spans, (span) => span.operation.service)) {
    writeService(w, prefix + service, traceId, own);
  }
  return { traceId: hexOfBytes(traceId), spans: spans.length, request: w.copy() };
}
