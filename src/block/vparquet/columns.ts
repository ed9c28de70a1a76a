// Where the values of each column of a row group come from: a producer by the column's name (free of what
// differs between formats), called when the column is written, so that no more than one column's values exist
// at a time.
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
import { EVENT, LINK, RESOURCE, SCOPE, SPAN } from './block-columns.ts';
import { gather32, gather64, gather8, gatherNext32 } from './gather.ts';
import { type PromotedColumns, SERVICE_NAME } from './promoted.ts';
import { promotedSource, promotionOf } from './promoted-source.ts';
import { quarterMinutes, roundedStarts } from './rounded-starts.ts';
import { ROUNDED_STARTS_SEC, roundedStartName } from './schema.ts';
import type { Owners, TraceRows } from './trace-rows.ts';

export interface ColumnsContext extends HeadContext {
  readonly promoted: Readonly<Record<'resource' | 'span' | 'event', PromotedColumns>>;
  /** Index + 1 into `spanDropped` by span; undefined when no span dropped anything. */
  readonly droppedOf: Int32Array | undefined;
}

/** Above the columns of a scope. */
const SCOPE_SPANS = 'rs.ss.';

export type Producers = Map<string, () => ColumnSource>;

/** Of all formats: a schema has some of these. */
export function columnProducers(context: ColumnsContext, rows: TraceRows): Producers {
  const out: Producers = new Map();
  traceColumns(out, context, rows);
  resourceColumns(out, context, rows.resources);
  scopeColumns(out, context, rows);
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
    out.set(`ServiceStats.${name}`, () => ({ entries: stats.entries, definition: 1, values }));
  };
  stat('key', strings(context, stats.service));
  stat('ServiceName', strings(context, stats.service));
  stat('SpanCount', { kind: 'int32', values: stats.spanCount });
  stat('ErrorCount', { kind: 'int32', values: stats.errorCount });
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

/** The columns of attributes, generic ones and those with a column of their own. */
function attributeColumns(
  out: Producers,
  prefix: string,
  context: HeadContext,
  store: AttributeStore,
  owners: () => Owners,
  promoted?: PromotedOwners,
): void {
  const promotion = once(() => promoted && promotionOf(promoted.columns, owners(), promoted.services));
  const attributes = once(() => new AttributeColumns(context, store, owners(), promotion()));
  if (promoted !== undefined)
    promotedColumns(out, prefix, context, promoted, owners, () => {
      attributes(); // fills the promoted values
      return promotion();
    });
  const element = `${prefix}Attrs.`;
  out.set(`${element}Key`, () => attributes().key());
  out.set(`${element}IsArray`, () => attributes().isArray());
  out.set(`${element}Value`, () => attributes().strings());
  out.set(`${element}ValueInt`, () => attributes().ints());
  out.set(`${element}ValueDouble`, () => attributes().doubles());
  out.set(`${element}ValueBool`, () => attributes().bools());
  out.set(`${element}ValueUnsupported`, () => attributes().unsupported());
}

interface PromotedOwners {
  readonly columns: PromotedColumns;
  /** Name of the service by owner, where that is decided already. */
  readonly services?: Int32Array;
}

/** One column for each promoted key, and nulls for the columns that no attribute goes to. */
function promotedColumns(
  out: Producers,
  prefix: string,
  context: HeadContext,
  { columns }: PromotedOwners,
  owners: () => Owners,
  filled: () => Promotion | undefined,
): void {
  columns.keys.forEach(({ column, key }, i) => {
    if (key === SERVICE_NAME && column === 'ServiceName') return; // every resource has one
    out.set(prefix + column, () => promotedSource(context, owners(), filled()?.columns[i]));
  });
  for (const column of columns.unused) {
    out.set(prefix + column, () => promotedSource(context, owners(), undefined));
  }
}

function resourceColumns(out: Producers, context: ColumnsContext, owners: Owners): void {
  const { vecs } = context.head;
  const store = { start: vecs.resourceAttrStart, keys: vecs.resourceAttrKey, values: vecs.resourceAttrValue };
  const services = gather32(vecs.resourceService, owners.source);
  const promoted = { columns: context.promoted.resource, services };
  attributeColumns(out, RESOURCE, context, store, () => owners, promoted);
  const add = ownerColumns(out, RESOURCE, owners);
  add('ServiceName', () => strings(context, services));
  add('DroppedAttributesCount', () => ({
    kind: 'int32',
    values: gather32(vecs.resourceDropped, owners.source),
  }));
}

function scopeColumns(out: Producers, context: ColumnsContext, rows: TraceRows): void {
  const { vecs } = context.head;
  const owners = rows.scopes;
  const store = { start: vecs.scopeAttrStart, keys: vecs.scopeAttrKey, values: vecs.scopeAttrValue };
  attributeColumns(out, SCOPE, context, store, () => owners);
  ownerColumns(out, SCOPE_SPANS, owners)('SpanCount', () => spanCounts(rows));
  const add = ownerColumns(out, SCOPE, owners);
  add('Name', () => strings(context, gather32(vecs.scopeName, owners.source)));
  add('Version', () => strings(context, gather32(vecs.scopeVersion, owners.source)));
  add('DroppedAttributesCount', () => ({
    kind: 'int32',
    values: gather32(vecs.scopeDropped, owners.source),
  }));
}

/** How many spans each scope has. */
function spanCounts({ scopes, spans }: TraceRows): ColumnValues {
  const values = new Int32Array(scopes.entries.count);
  const repetition = spans.entries.repetition!;
  let scope = -1;
  for (let i = 0; i < spans.entries.count; i++) {
    if (repetition[i] < spans.level) scope++;
    values[scope]++;
  }
  return { kind: 'int32', values };
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
  add('ChildCount', () => ({ kind: 'int32', values: rows.childCount }));
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
  const quarters = once(() => quarterMinutes(gather64(vecs.spanStart, source)));
  for (const sec of ROUNDED_STARTS_SEC) {
    add(roundedStartName(sec), () => ({ kind: 'int32', values: roundedStarts(quarters(), sec) }));
  }
  const store = { start: vecs.spanAttrStart, keys: vecs.spanAttrKey, values: vecs.spanAttrValue };
  attributeColumns(out, SPAN, context, store, () => owners, { columns: context.promoted.span });
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
  attributeColumns(out, EVENT, context, store, events, { columns: context.promoted.event });
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
  attributeColumns(out, LINK, context, store, links);
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
