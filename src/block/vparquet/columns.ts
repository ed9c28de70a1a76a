// Where the values of each column of a row group come from: a producer by column path, called when the
// column is written, so that no more than one column's values exist at a time.
import { Entries, type ColumnValues } from '../../parquet/values.ts';
import { inFull, KIND, type KindOrStatus, STATUS, unpack } from '../head/kind-status.ts';
import type { HeadReader } from '../head/reader.ts';
import type { VecReader } from '../head/vec.ts';
import {
  AttributeColumns,
  type AttributeStore,
  type ColumnSource,
  type HeadContext,
  type Promotion,
} from './attribute-columns.ts';
import { gather32, gather64, gather8, gatherNext32 } from './gather.ts';
import { type PromotedKey, PromotedValues, SERVICE_NAME } from './promoted.ts';
import type { Owners, TraceRows } from './trace-rows.ts';

export interface ColumnsContext extends HeadContext {
  readonly resourceKeys: readonly PromotedKey[];
  readonly spanKeys: readonly PromotedKey[];
  readonly resourceCodes: Uint8Array;
  readonly spanCodes: Uint8Array;
  /** Index + 1 into `spanDropped` by span; undefined when no span dropped anything. */
  readonly droppedOf: Int32Array | undefined;
}

export type Producers = Map<string, () => ColumnSource>;

const RESOURCE = 'rs.list.element.Resource.';
const SCOPE = 'rs.list.element.ss.list.element.Scope.';
const SPAN = 'rs.list.element.ss.list.element.Spans.list.element.';
const EVENT = `${SPAN}Events.list.element.`;
const LINK = `${SPAN}Links.list.element.`;

export function columnProducers(context: ColumnsContext, rows: TraceRows): Producers {
  const out: Producers = new Map();
  traceColumns(out, context, rows);
  resourceColumns(out, context, rows.resources);
  scopeColumns(out, context, rows.scopes);
  spanColumns(out, context, rows);
  eventColumns(out, context, rows.spans);
  linkColumns(out, context, rows.spans);
  return out;
}

/** Head ordinals of traces -> TraceID column bytes, also for the bloom filter and the index. */
export function traceIdBytes(head: HeadReader, traces: Int32Array): Uint8Array {
  const words = new Int32Array(traces.length * 4);
  for (let i = 0; i < traces.length; i++) {
    for (let k = 0; k < 4; k++) words[4 * i + k] = head.vecs.traceId.get(traces[i], k);
  }
  return new Uint8Array(words.buffer);
}

function strings(context: HeadContext, ids: Int32Array): ColumnValues {
  return { kind: 'strings', ids, table: context.strings };
}

/** Concatenated values of `size` bytes each. */
function fixed(bytes: Uint8Array, size: number): ColumnValues {
  const starts = new Int32Array(bytes.length / size + 1);
  for (let i = 0; i < starts.length; i++) starts[i] = i * size;
  return { kind: 'packed', bytes, starts };
}

function traceColumns(out: Producers, context: ColumnsContext, rows: TraceRows): void {
  const { trace, stats } = rows;
  const entries = new Entries(rows.traces.length, undefined, rows.pageRows);
  const column = (name: string, values: () => ColumnValues): void => {
    out.set(name, () => ({ entries, definition: 0, values: values() }));
  };
  column('TraceID', () => fixed(traceIdBytes(context.head, rows.traces), 16));
  column('TraceIDText', () => hexText(traceIdBytes(context.head, rows.traces)));
  column('StartTimeUnixNano', () => ({ kind: 'int64', words: trace.start }));
  column('EndTimeUnixNano', () => ({ kind: 'int64', words: trace.end }));
  column('DurationNano', () => ({ kind: 'int64', words: trace.duration }));
  column('RootServiceName', () => strings(context, trace.rootService));
  column('RootSpanName', () => strings(context, trace.rootName));
  const stat = (name: string, values: ColumnValues): void => {
    out.set(`ServiceStats.key_value.${name}`, () => ({ entries: stats.entries, definition: 1, values }));
  };
  stat('key', strings(context, stats.service));
  stat('value.SpanCount', { kind: 'int32', values: stats.spanCount });
  stat('value.ErrorCount', { kind: 'int32', values: stats.errorCount });
}

/** Hex of 16-byte ids without leading zeros. */
function hexText(ids: Uint8Array): ColumnValues {
  const digits = '0123456789abcdef';
  const bytes = new Uint8Array(ids.length * 2);
  const starts = new Int32Array(ids.length / 16 + 1);
  let n = 0;
  for (let i = 0; i < ids.length; i++) {
    if (i % 16 === 0) starts[i / 16] = n;
    const high = ids[i] >>> 4;
    const low = ids[i] & 15;
    if (high !== 0 || n > starts[i >>> 4]) bytes[n++] = digits.charCodeAt(high);
    if (low !== 0 || n > starts[i >>> 4]) bytes[n++] = digits.charCodeAt(low);
  }
  starts[starts.length - 1] = n;
  return { kind: 'packed', bytes, starts };
}

/** Adds a column to which each owner gives one value. */
type Add = (name: string, values: () => ColumnValues) => void;

function ownerColumns(out: Producers, prefix: string, owners: Owners): Add {
  return (name, values) => {
    out.set(prefix + name, () => ({
      entries: owners.entries,
      definition: owners.definition,
      values: values(),
    }));
  };
}

/** The head ordinals of owners that are no nulls. */
function present(owners: Owners): Int32Array {
  if (typeof owners.definition === 'number') return owners.source;
  const { source } = owners;
  const out = new Int32Array(source.length);
  let n = 0;
  for (let i = 0; i < source.length; i++) if (source[i] >= 0) out[n++] = source[i];
  return out.subarray(0, n);
}

function once<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
}

function attributeColumns(
  out: Producers,
  prefix: string,
  context: HeadContext,
  store: AttributeStore,
  owners: Owners,
  promotion?: Promotion,
): () => AttributeColumns {
  const attributes = once(() => new AttributeColumns(context, store, owners, promotion));
  const element = `${prefix}Attrs.list.element.`;
  out.set(`${element}Key`, () => attributes().key());
  out.set(`${element}IsArray`, () => attributes().isArray());
  out.set(`${element}Value.list.element`, () => attributes().strings());
  out.set(`${element}ValueInt.list.element`, () => attributes().ints());
  out.set(`${element}ValueDouble.list.element`, () => attributes().doubles());
  out.set(`${element}ValueBool.list.element`, () => attributes().bools());
  out.set(`${element}ValueUnsupported`, () => attributes().unsupported());
  return attributes;
}

/**
 * Columns of promoted attributes; those of keys that the schema has a column for but nobody configured
 * are null.
 */
function promotedColumns(
  out: Producers,
  prefix: string,
  context: HeadContext,
  owners: Owners,
  columns: readonly string[],
  keys: readonly PromotedKey[],
  promotion: Promotion,
  attributes: () => AttributeColumns,
): void {
  for (const name of columns) {
    const index = keys.findIndex((key) => key.column === name);
    out.set(prefix + name, () => {
      attributes(); // fills the promoted values
      return promotedSource(context, owners, index < 0 ? undefined : promotion.columns[index]);
    });
  }
}

function promotedSource(
  context: HeadContext,
  owners: Owners,
  column: PromotedValues | undefined,
): ColumnSource {
  const { entries, level } = owners;
  if (column?.present === undefined) {
    const values: ColumnValues =
      column?.isInt === true
        ? { kind: 'int64', words: new Int32Array(0) }
        : strings(context, new Int32Array(0));
    return { entries, definition: level, values };
  }
  const definition = column.present.map((has) => level + has);
  const values: ColumnValues = column.isInt
    ? { kind: 'int64', words: column.values }
    : strings(context, column.values);
  return { entries, definition, values };
}

const DEDICATED = Array.from(
  { length: 10 },
  (_, i) => `DedicatedAttributes.String${String(i + 1).padStart(2, '0')}`,
);
const RESOURCE_STATIC = [
  'Cluster',
  'Namespace',
  'Pod',
  'Container',
  'K8sClusterName',
  'K8sNamespaceName',
  'K8sPodName',
  'K8sContainerName',
];
const SPAN_STATIC = ['HttpMethod', 'HttpUrl', 'HttpStatusCode'];

function promotionOf(
  keys: readonly PromotedKey[],
  codes: Uint8Array,
  owners: Owners,
  services?: Int32Array,
): Promotion {
  const columns = keys.map(
    ({ key, type }) =>
      new PromotedValues(type === 'int', owners.entries.count, key === SERVICE_NAME ? services : undefined),
  );
  return { codes, columns };
}

function resourceColumns(out: Producers, context: ColumnsContext, owners: Owners): void {
  const { vecs } = context.head;
  const store = { start: vecs.resourceAttrStart, keys: vecs.resourceAttrKey, values: vecs.resourceAttrValue };
  const services = gather32(vecs.resourceService, owners.source);
  const promotion = promotionOf(context.resourceKeys, context.resourceCodes, owners, services);
  const attributes = attributeColumns(out, RESOURCE, context, store, owners, promotion);
  const columns = [...RESOURCE_STATIC, ...DEDICATED];
  promotedColumns(out, RESOURCE, context, owners, columns, context.resourceKeys, promotion, attributes);
  const add = ownerColumns(out, RESOURCE, owners);
  add('ServiceName', () => strings(context, services));
  add('DroppedAttributesCount', () => ({
    kind: 'int32',
    values: gather32(vecs.resourceDropped, owners.source),
  }));
}

function scopeColumns(out: Producers, context: ColumnsContext, owners: Owners): void {
  const { vecs } = context.head;
  const store = { start: vecs.scopeAttrStart, keys: vecs.scopeAttrKey, values: vecs.scopeAttrValue };
  attributeColumns(out, SCOPE, context, store, owners);
  const add = ownerColumns(out, SCOPE, owners);
  add('Name', () => strings(context, gather32(vecs.scopeName, owners.source)));
  add('Version', () => strings(context, gather32(vecs.scopeVersion, owners.source)));
  add('DroppedAttributesCount', () => ({
    kind: 'int32',
    values: gather32(vecs.scopeDropped, owners.source),
  }));
}

function spanColumns(out: Producers, context: ColumnsContext, rows: TraceRows): void {
  const { vecs } = context.head;
  const owners = rows.spans;
  const { source } = owners;
  const add = ownerColumns(out, SPAN, owners);
  add('SpanID', () => fixed(new Uint8Array(gather64(vecs.spanId, source).buffer), 8));
  add('ParentSpanID', () => parentIds(gather64(vecs.spanParent, source)));
  add('ParentID', () => ({ kind: 'int32', values: rows.parent }));
  add('NestedSetLeft', () => ({ kind: 'int32', values: rows.left }));
  add('NestedSetRight', () => ({ kind: 'int32', values: rows.right }));
  add('Name', () => strings(context, gather32(vecs.spanName, source)));
  add('Kind', () => kindsOrStatuses(context.head, source, KIND));
  add('StatusCode', () => kindsOrStatuses(context.head, source, STATUS));
  add('TraceState', () => strings(context, gather32(vecs.spanTraceState, source)));
  add('StatusMessage', () => strings(context, gather32(vecs.spanStatusMessage, source)));
  add('StartTimeUnixNano', () => ({ kind: 'int64', words: gather64(vecs.spanStart, source) }));
  add('DurationNano', () => ({ kind: 'int64', words: gather64(vecs.spanDuration, source) }));
  add('DroppedAttributesCount', () => dropped(context, source, 1));
  add('DroppedEventsCount', () => dropped(context, source, 2));
  add('DroppedLinksCount', () => dropped(context, source, 3));
  const store = { start: vecs.spanAttrStart, keys: vecs.spanAttrKey, values: vecs.spanAttrValue };
  const promotion = promotionOf(context.spanKeys, context.spanCodes, owners);
  const attributes = attributeColumns(out, SPAN, context, store, owners, promotion);
  const columns = [...SPAN_STATIC, ...DEDICATED];
  promotedColumns(out, SPAN, context, owners, columns, context.spanKeys, promotion, attributes);
}

function kindsOrStatuses(head: HeadReader, spans: Int32Array, which: KindOrStatus): ColumnValues {
  const { vecs } = head;
  const packed = gather8(vecs.spanKindStatus, spans);
  const values = new Int32Array(packed.length);
  for (let i = 0; i < packed.length; i++) {
    values[i] = inFull(vecs, spans[i], which, unpack(packed[i], which));
  }
  return { kind: 'int32', values };
}

/** 8 bytes each, or none for a root. */
function parentIds(words: Int32Array): ColumnValues {
  const kept = new Int32Array(words.length);
  const starts = new Int32Array(words.length / 2 + 1);
  let n = 0;
  for (let i = 0; i < words.length; i += 2) {
    if (words[i] !== 0 || words[i + 1] !== 0) {
      kept[n++] = words[i];
      kept[n++] = words[i + 1];
    }
    starts[i / 2 + 1] = n * 4;
  }
  return { kind: 'packed', bytes: new Uint8Array(kept.buffer), starts };
}

function dropped(context: ColumnsContext, spans: Int32Array, word: number): ColumnValues {
  const values = new Int32Array(spans.length);
  const { droppedOf } = context;
  if (droppedOf !== undefined) {
    const { spanDropped } = context.head.vecs;
    for (let i = 0; i < spans.length; i++) {
      const at = droppedOf[spans[i]];
      if (at > 0) values[i] = spanDropped.get(at - 1, word);
    }
  }
  return { kind: 'int32', values };
}

/** Events or links of the spans: one entry each, and a null for a span without any. */
function children(spans: Owners, start: VecReader, count: number): Owners {
  const from = gather32(start, spans.source);
  const to = gatherNext32(start, spans.source, count);
  let total = 0;
  for (let i = 0; i < from.length; i++) total += Math.max(1, to[i] - from[i]);
  const level = spans.level + 1;
  const repetition = new Uint8Array(total);
  const definition = new Uint8Array(total);
  const source = new Int32Array(total);
  const pageStarts = new Int32Array(spans.entries.pageStarts.length);
  const spanRepetition = spans.entries.repetition!;
  let n = 0;
  let page = 0;
  for (let span = 0; span < from.length; span++) {
    while (span === spans.entries.pageStarts[page]) pageStarts[page++] = n;
    repetition[n] = spanRepetition[span];
    if (from[span] >= to[span]) {
      definition[n] = spans.level;
      source[n++] = -1;
      continue;
    }
    for (let child = from[span]; child < to[span]; child++) {
      if (child > from[span]) repetition[n] = level;
      definition[n] = level;
      source[n++] = child;
    }
  }
  while (page < pageStarts.length) pageStarts[page++] = n;
  return { entries: new Entries(n, repetition, pageStarts), source, definition, level };
}

function eventColumns(out: Producers, context: ColumnsContext, spans: Owners): void {
  const { vecs } = context.head;
  const events = once(() => children(spans, vecs.spanEventStart, vecs.eventTime.count));
  const store = { start: vecs.eventAttrStart, keys: vecs.eventAttrKey, values: vecs.eventAttrValue };
  lazyColumns(out, EVENT, events, (add) => {
    add('TimeSinceStartNano', (owners) => ({
      kind: 'int64',
      words: gather64(vecs.eventTime, present(owners)),
    }));
    add('Name', (owners) => strings(context, gather32(vecs.eventName, present(owners))));
    add('DroppedAttributesCount', (owners) => ({
      kind: 'int32',
      values: gather32(vecs.eventDropped, present(owners)),
    }));
  });
  lazyAttributes(out, EVENT, context, store, events);
}

function linkColumns(out: Producers, context: ColumnsContext, spans: Owners): void {
  const { vecs } = context.head;
  const links = once(() => children(spans, vecs.spanLinkStart, vecs.linkTraceId.count));
  const store = { start: vecs.linkAttrStart, keys: vecs.linkAttrKey, values: vecs.linkAttrValue };
  lazyColumns(out, LINK, links, (add) => {
    add('TraceID', (owners) => strings(context, gather32(vecs.linkTraceId, present(owners))));
    add('SpanID', (owners) => strings(context, gather32(vecs.linkSpanId, present(owners))));
    add('TraceState', (owners) => strings(context, gather32(vecs.linkTraceState, present(owners))));
    add('DroppedAttributesCount', (owners) => ({
      kind: 'int32',
      values: gather32(vecs.linkDropped, present(owners)),
    }));
  });
  lazyAttributes(out, LINK, context, store, links);
}

type AddLazy = (name: string, values: (owners: Owners) => ColumnValues) => void;

function lazyColumns(
  out: Producers,
  prefix: string,
  owners: () => Owners,
  fill: (add: AddLazy) => void,
): void {
  fill((name, values) => {
    out.set(prefix + name, () => {
      const { entries, definition } = owners();
      return { entries, definition, values: values(owners()) };
    });
  });
}

function lazyAttributes(
  out: Producers,
  prefix: string,
  context: HeadContext,
  store: AttributeStore,
  owners: () => Owners,
): void {
  const attributes = once(() => {
    const columns: Producers = new Map();
    attributeColumns(columns, prefix, context, store, owners());
    return columns;
  });
  const names = [
    'Key',
    'IsArray',
    'Value.list.element',
    'ValueInt.list.element',
    'ValueDouble.list.element',
    'ValueBool.list.element',
    'ValueUnsupported',
  ];
  for (const name of names) {
    const path = `${prefix}Attrs.list.element.${name}`;
    out.set(path, () => attributes().get(path)!());
  }
}
