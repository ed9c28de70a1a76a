// A trace of the query API as rows of a waterfall: spans in the order of the tree, times relative to the
// beginning. Knows no browser.

import type { JsonAttribute, JsonResourceSpans, JsonSpan, JsonValue } from '../api/json-shapes.ts';

export interface JsonTrace {
  readonly resourceSpans?: readonly JsonResourceSpans[];
}

interface SpanEvent {
  readonly name: string;
  readonly atMs: number;
  readonly attributes: readonly JsonAttribute[];
}

export interface SpanLink {
  /** Hex. */
  readonly traceId: string;
  readonly spanId: string;
  readonly attributes: readonly JsonAttribute[];
}

export interface Row {
  /** Hex. */
  readonly id: string;
  readonly name: string;
  readonly service: string;
  readonly kind: string;
  readonly isError: boolean;
  readonly statusMessage: string;
  /** From the beginning of the trace. */
  readonly startMs: number;
  readonly durationMs: number;
  readonly scope: string;
  readonly attributes: readonly JsonAttribute[];
  readonly resource: readonly JsonAttribute[];
  readonly events: readonly SpanEvent[];
  readonly links: readonly SpanLink[];
  /** It has a parent, which is not in the trace. */
  readonly isOrphan: boolean;
  depth: number;
  /** How many of the rows that follow are below it. */
  below: number;
}

export interface TraceRows {
  readonly rows: readonly Row[];
  readonly startUnixMs: number;
  readonly durationMs: number;
  /** Spans of each service. */
  readonly services: ReadonlyMap<string, number>;
  readonly errors: number;
}

const NANOS_IN_MS = 1e6;
export const NO_SERVICE = '(no service)';

export function traceRows(trace: JsonTrace): TraceRows {
  const { spans, byId } = flatten(trace);
  const starts = spans.map(({ span }) => nanos(span.startTimeUnixNano)).filter((start) => start > 0n);
  const begin = starts.reduce((least, start) => (start < least ? start : least), starts[0] ?? 0n);
  const unordered = spans.map((owned) => rowOf(owned, begin, byId));
  const parents = spans.map(({ span }) => span.parentSpanId ?? '');
  const rows = inTreeOrder(unordered, parents, byId);
  const services = new Map<string, number>();
  let [durationMs, errors] = [0, 0];
  for (const row of rows) {
    durationMs = Math.max(durationMs, row.startMs + row.durationMs);
    services.set(row.service, (services.get(row.service) ?? 0) + 1);
    if (row.isError) errors++;
  }
  return { rows, startUnixMs: Number(begin) / NANOS_IN_MS, durationMs, services, errors };
}

interface Owned {
  readonly span: JsonSpan;
  readonly resource: readonly JsonAttribute[];
  readonly service: string;
  readonly scope: string;
}

interface Spans {
  readonly spans: readonly Owned[];
  /** The place of the first span of each id (base64, as in the JSON). */
  readonly byId: ReadonlyMap<string, number>;
}

function flatten({ resourceSpans = [] }: JsonTrace): Spans {
  const found: Owned[] = [];
  const byId = new Map<string, number>();
  for (const { resource, scopeSpans = [] } of resourceSpans) {
    const attributes = resource?.attributes ?? [];
    const named = attributes.find(({ key }) => key === 'service.name')?.value;
    const service = named === undefined ? NO_SERVICE : valueText(named);
    for (const { scope, spans = [] } of scopeSpans) {
      const scopeText = [scope?.name, scope?.version].filter(Boolean).join(' ');
      for (const span of spans) {
        const id = span.spanId ?? '';
        if (!byId.has(id)) byId.set(id, found.length);
        found.push({ span, resource: attributes, service, scope: scopeText });
      }
    }
  }
  return { spans: found, byId };
}

function rowOf(
  { span, resource, service, scope }: Owned,
  begin: bigint,
  ids: ReadonlyMap<string, number>,
): Row {
  const start = nanos(span.startTimeUnixNano);
  const end = nanos(span.endTimeUnixNano);
  const relativeMs = (at: bigint): number => (at === 0n ? 0 : Number(at - begin) / NANOS_IN_MS);
  const parent = span.parentSpanId ?? '';
  return {
    id: hexOfBase64(span.spanId ?? ''),
    name: span.name ?? '',
    service,
    kind: String(span.kind ?? '')
      .replace('SPAN_KIND_', '')
      .toLowerCase(),
    isError: span.status?.code === 'STATUS_CODE_ERROR',
    statusMessage: span.status?.message ?? '',
    startMs: relativeMs(start),
    durationMs: end > start ? Number(end - start) / NANOS_IN_MS : 0,
    scope,
    attributes: span.attributes ?? [],
    resource,
    events: (span.events ?? []).map(({ name = '', timeUnixNano, attributes = [] }) => ({
      name,
      atMs: relativeMs(nanos(timeUnixNano)),
      attributes,
    })),
    links: (span.links ?? []).map(({ traceId = '', spanId = '', attributes = [] }) => ({
      traceId: hexOfBase64(traceId),
      spanId: hexOfBase64(spanId),
      attributes,
    })),
    isOrphan: parent !== '' && !ids.has(parent),
    depth: 0,
    below: 0,
  };
}

/** Parents before children, siblings by their start; what hangs in a cycle begins a tree of its own. */
function inTreeOrder(
  rows: readonly Row[],
  parents: readonly string[],
  byId: ReadonlyMap<string, number>,
): readonly Row[] {
  const children = new Map<number, number[]>();
  const roots: number[] = [];
  for (const [at, parent] of parents.entries()) {
    const parentAt = parent === '' ? undefined : byId.get(parent);
    if (parentAt === undefined || parentAt === at) roots.push(at);
    else if (children.get(parentAt)?.push(at) === undefined) children.set(parentAt, [at]);
  }
  const order: Row[] = [];
  const seen = new Uint8Array(rows.length);
  const startOf = (at: number): number => rows[at]?.startMs ?? 0;
  const byStart = (a: number, b: number): number => startOf(a) - startOf(b) || a - b;
  const visit = (root: number): void => {
    const stack = [{ at: root, depth: 0 }];
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      const row = rows[next.at];
      if (row === undefined || seen[next.at] === 1) continue;
      seen[next.at] = 1;
      row.depth = next.depth;
      order.push(row);
      const below = (children.get(next.at) ?? []).toSorted(byStart).toReversed();
      for (const at of below) stack.push({ at, depth: next.depth + 1 });
    }
  };
  for (const root of roots.toSorted(byStart)) visit(root);
  for (let at = 0; at < rows.length; at++) if (seen[at] === 0) visit(at);
  countBelow(order);
  return order;
}

function countBelow(order: readonly Row[]): void {
  const open: { row: Row; at: number }[] = [];
  const close = (depth: number, at: number): void => {
    for (let top = open.at(-1); top !== undefined && top.row.depth >= depth; top = open.at(-1)) {
      top.row.below = at - top.at - 1;
      open.pop();
    }
  };
  for (const [at, row] of order.entries()) {
    close(row.depth, at);
    open.push({ row, at });
  }
  close(0, order.length);
}

function nanos(text: string | undefined): bigint {
  return text !== undefined && /^\d{1,20}$/.test(text) ? BigInt(text) : 0n;
}

function hexOfBase64(text: string): string {
  return Array.from(atob(text), (char) => char.charCodeAt(0).toString(16).padStart(2, '0')).join('');
}

/** A value as people read it: strings as they are, the rest as JSON. */
export function valueText(value: JsonValue | undefined): string {
  const plain = plainValue(value);
  return typeof plain === 'string' ? plain : JSON.stringify(plain);
}

function plainValue(value: JsonValue = {}): unknown {
  if (value.stringValue !== undefined) return value.stringValue;
  if (value.boolValue !== undefined) return value.boolValue;
  // As text where a number would lose digits.
  if (value.intValue !== undefined) {
    const number = Number(value.intValue);
    return Number.isSafeInteger(number) ? number : value.intValue;
  }
  if (value.doubleValue !== undefined) return value.doubleValue;
  if (value.bytesValue !== undefined) return `base64 ${value.bytesValue}`;
  if (value.arrayValue !== undefined) return (value.arrayValue.values ?? []).map(plainValue);
  if (value.kvlistValue === undefined) return null;
  const pairs = value.kvlistValue.values ?? [];
  return Object.fromEntries(pairs.map((pair) => [pair.key, plainValue(pair.value)]));
}

const PLAIN_NAME = /^[A-Za-z_][\w.\-/]*$/;
const QUERY_VALUE_MAX = 200;

/** The query that finds spans with the same value; undefined where TraceQL has no literal for it. */
export function queryFor(
  scope: 'span' | 'resource' | 'event',
  key: string,
  value: JsonValue | undefined,
): string | undefined {
  const name = PLAIN_NAME.test(key) ? key : JSON.stringify(key);
  const { stringValue, intValue, doubleValue, boolValue } = value ?? {};
  const literal =
    stringValue === undefined ? (intValue ?? doubleValue ?? boolValue) : JSON.stringify(stringValue);
  if (literal === undefined) return undefined;
  const text = `{ ${scope}.${name} = ${literal} }`;
  return text.length > QUERY_VALUE_MAX ? undefined : text;
}
