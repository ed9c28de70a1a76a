// Blocks in tests: written to memory from spans, read back by a foreign reader (hyparquet), and the rows
// that the format's rules say there must be, worked out from the spans the slow and plain way.
import { zstdDecompressSync } from 'node:zlib';
import { parquetReadObjects } from 'hyparquet';
import type { Test } from 'tap';
import { HeadBuilder } from '../../src/block/head/builder.ts';
import { HeadReader } from '../../src/block/head/reader.ts';
import type { BlockMeta, DedicatedColumn } from '../../src/block/meta.ts';
import {
  type CreateOptions,
  createBlock,
  DEFAULT_DEDICATED_COLUMNS,
} from '../../src/block/vparquet/create.ts';
import type { WrittenFormat } from '../../src/block/vparquet/schema.ts';
import { type Attribute, encodeTraces, type TestSpan, type Value } from './otlp.ts';

export interface WrittenBlock {
  readonly meta: BlockMeta;
  /** In order of creation. */
  readonly objects: Map<string, Uint8Array>;
}

export interface WriteOptions extends Partial<CreateOptions> {
  readonly format?: WrittenFormat;
  readonly dedicatedColumns?: readonly DedicatedColumn[];
  readonly blockId?: string;
  readonly tenant?: string;
}

export const TEST_BLOCK_ID = '11111111-2222-4333-8444-555555555555';

/** Each element of `requests` comes in a request of its own. */
export function headOf(requests: readonly (readonly TestSpan[])[]): HeadReader {
  const builder = new HeadBuilder({ maxBytes: 2 ** 29 });
  for (const spans of requests) {
    const bytes = encodeTraces(spans);
    builder.append(bytes, 0, bytes.length);
  }
  return new HeadReader(builder.sab);
}

export function writeBlock(
  requests: readonly (readonly TestSpan[])[],
  write: WriteOptions = {},
): WrittenBlock {
  const {
    dedicatedColumns = DEFAULT_DEDICATED_COLUMNS,
    blockId = TEST_BLOCK_ID,
    tenant = 'acme',
    format = 'vParquet4',
    ...options
  } = write;
  const objects = new Map<string, Uint8Array>();
  const meta = createBlock({
    head: headOf(requests),
    blockId,
    tenant,
    format,
    dedicatedColumns,
    options,
    sink: {
      create(name) {
        const parts: Uint8Array[] = [];
        return {
          write: (bytes) => parts.push(bytes.slice()),
          close: () => objects.set(name, Uint8Array.from(Buffer.concat(parts))),
        };
      },
    },
  });
  return { meta, objects };
}

/** A row with ids as hex and whole numbers as decimal text, so that every reader's rows compare. */
export type Row = Readonly<Record<string, unknown>>;

/** What hyparquet calls null where a list of vParquet5 is empty. */
const LISTS = /^(Value|ValueInt|ValueDouble|ValueBool|Attrs|Events|Links|(String|Int)\d\d)$/;

function withLists(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withLists);
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
  return Object.fromEntries(
    Object.entries(value).map(([k, v]) => [k, LISTS.test(k) ? withLists(v ?? []) : withLists(v)]),
  );
}

function normal(value: unknown, key: string): unknown {
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'number') return key === 'ValueDouble' ? value : String(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (Array.isArray(value)) return value.map((v) => normal(v, key));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, normal(v, k)]));
}

export async function readRows(block: WrittenBlock): Promise<Row[]> {
  const data = block.objects.get('data.parquet')!;
  const rows = await parquetReadObjects({
    file: data.buffer as ArrayBuffer,
    compressors: { ZSTD: (input) => zstdDecompressSync(input) },
    utf8: false,
  });
  const is5 = block.meta.format === 'vParquet5';
  return rows.map((row) => normal(is5 ? withLists(row) : row, '') as Row);
}

/** Comparing rows as trees takes long: only those that differ are. */
export function sameRows(t: Test, got: readonly Row[], want: readonly Row[], name: string): void {
  const other = want.findIndex((row, i) => JSON.stringify(row) !== JSON.stringify(got[i]));
  if (other >= 0) t.strictSame(got[other], want[other], `${name}: row ${other}`);
  t.equal(got.length, want.length, name);
}

// What must be there

function jsonOf(value: Value): unknown {
  if (value === undefined) return {};
  if (typeof value === 'string') return { stringValue: value };
  if (typeof value === 'boolean') return { boolValue: value };
  if (typeof value === 'bigint') return { intValue: String(value) };
  if (typeof value === 'number') return { doubleValue: value };
  if (value instanceof Uint8Array) return { bytesValue: Buffer.from(value).toString('base64') };
  if (Array.isArray(value)) return { arrayValue: value.length === 0 ? {} : { values: value.map(jsonOf) } };
  const values = value.kv.map(([key, v]) => ({
    ...(key === '' ? {} : { key }),
    value: jsonOf(v),
  }));
  return { kvlistValue: values.length === 0 ? {} : { values } };
}

const SCALARS: Readonly<Record<string, string>> = {
  string: 'Value',
  bigint: 'ValueInt',
  number: 'ValueDouble',
  boolean: 'ValueBool',
};

function attributeRow([key, value]: Attribute): Row {
  const row: Record<string, unknown> = {
    Key: key,
    IsArray: Array.isArray(value),
    Value: [],
    ValueInt: [],
    ValueDouble: [],
    ValueBool: [],
    ValueUnsupported: null,
  };
  const types = new Set(Array.isArray(value) ? value.map((v) => typeof v) : [typeof value]);
  const [type] = types;
  if (Array.isArray(value) && value.length === 0) return row;
  const column = types.size === 1 ? SCALARS[type!] : undefined;
  if (column === undefined) {
    row['IsArray'] = false;
    row['ValueUnsupported'] = JSON.stringify(jsonOf(value));
  } else {
    row[column] = Array.isArray(value) ? value : [value];
  }
  return row;
}

/** What a block is written with, as far as its rows tell. */
interface Layout {
  readonly is5: boolean;
  readonly dedicated: readonly DedicatedColumn[];
}

/** Column and type by key. */
type Columns = Map<string, readonly [column: string, type: string]>;

/** Splits attributes into those with a column of their own (by its name) and the rest. */
function promoted(attributes: readonly Attribute[], columns: Columns, { is5 }: Layout): [Row, Row[]] {
  const own: Record<string, unknown> = {};
  const rest: Row[] = [];
  for (const attribute of attributes) {
    const [key, value] = attribute;
    const [name, type] = columns.get(key) ?? [];
    // oxlint-disable-next-line valid-typeof
    const isOfType = (v: unknown): boolean => typeof v === type;
    const isList = is5 && Array.isArray(value) && value.length > 1 && value.every(isOfType);
    const isTaken = name !== undefined && (isList || isOfType(value)) && !(name in own);
    if (isTaken) own[name] = is5 ? [value].flat() : value;
    else rest.push(attributeRow(attribute));
  }
  return [own, rest];
}

function stringColumns(names: Readonly<Record<string, string>>): [string, [string, string]][] {
  return Object.entries(names).map(([key, column]) => [key, [column, 'string']]);
}

const STATIC_COLUMNS = {
  span: stringColumns({ 'http.method': 'HttpMethod', 'http.url': 'HttpUrl' }),
  resource: stringColumns({
    cluster: 'Cluster',
    namespace: 'Namespace',
    pod: 'Pod',
    container: 'Container',
    'k8s.cluster.name': 'K8sClusterName',
    'k8s.namespace.name': 'K8sNamespaceName',
    'k8s.pod.name': 'K8sPodName',
    'k8s.container.name': 'K8sContainerName',
  }),
};

function dedicatedOf(scope: DedicatedColumn['scope'], { dedicated }: Layout): Columns {
  const counts = { string: 0, int: 0 };
  const columns: Columns = new Map();
  for (const { name, type } of dedicated.filter((column) => column.scope === scope)) {
    const column = dedicatedName(type, counts[type]++);
    columns.set(name, [column, type === 'int' ? 'bigint' : 'string']);
  }
  return columns;
}

function columnsOf(scope: 'span' | 'resource', layout: Layout): Columns {
  const own = dedicatedOf(scope, layout);
  if (layout.is5) return own;
  const columns: Columns = new Map(STATIC_COLUMNS[scope]);
  if (scope === 'span') columns.set('http.status_code', ['HttpStatusCode', 'bigint']);
  for (const [key, column] of own) columns.set(key, column);
  return columns;
}

function dedicatedName(type: DedicatedColumn['type'], i: number): string {
  return `${type === 'int' ? 'Int' : 'String'}${String(i + 1).padStart(2, '0')}`;
}

function stringsFirst(a: string, b: string): number {
  const [ofA, ofB] = [a.startsWith('String'), b.startsWith('String')];
  return ofA === ofB ? a.localeCompare(b) : Number(ofB) - Number(ofA);
}

/** Of vParquet4 all columns there are, of vParquet5 those that are configured. */
function dedicatedRow(own: Row, scope: DedicatedColumn['scope'], layout: Layout): Row {
  const names = layout.is5
    ? [...dedicatedOf(scope, layout).values()].map(([column]) => column).toSorted(stringsFirst)
    : Array.from({ length: 10 }, (_, i) => dedicatedName('string', i));
  if (names.length === 0) return {};
  const none = layout.is5 ? [] : null;
  return { DedicatedAttributes: Object.fromEntries(names.map((name) => [name, own[name] ?? none])) };
}

function ownColumns(own: Row, scope: 'span' | 'resource', layout: Layout): Row {
  const fixed = [...columnsOf(scope, layout).values()]
    .map(([name]) => name)
    .filter((name) => !/^(String|Int)/.test(name));
  const rows = Object.fromEntries(fixed.map((name) => [name, own[name] ?? null]));
  return { ...rows, ...dedicatedRow(own, scope, layout) };
}

function byStart(a: TestSpan, b: TestSpan): number {
  if (a.startUnixNano !== b.startUnixNano) return a.startUnixNano < b.startUnixNano ? -1 : 1;
  return 0;
}

/** Groups in order of their first element. */
function groupBy<T>(list: readonly T[], keyOf: (item: T) => string): T[][] {
  const groups = new Map<string, T[]>();
  for (const item of list) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return [...groups.values()];
}

function identity({ attributes, ...others }: { readonly attributes: readonly Attribute[] }): string {
  const text = attributes.map(([key, value]) => `${key}=${JSON.stringify(jsonOf(value))}`);
  return JSON.stringify([others, text.toSorted()]);
}

interface Numbers {
  left: number;
  right: number;
  parent: number;
  children: number;
}

function nestedSets(spans: readonly TestSpan[]): Map<TestSpan, Numbers> {
  const numbers = new Map(spans.map((span) => [span, { left: 0, right: 0, parent: 0, children: 0 }]));
  const byId = Map.groupBy(spans, (span) => span.spanId);
  if ([...byId.values()].some((same) => same.length > 2)) return numbers;
  const parentOf = (span: TestSpan): TestSpan | undefined => {
    const same = byId.get(span.parentSpanId) ?? [];
    return same.length < 2 ? same[0] : same.find(({ kind }) => kind === (span.kind === 2 ? 3 : 2));
  };
  if (spans.every((span) => span.parentSpanId !== '')) return numbers;
  for (const span of spans) {
    const parent = span.parentSpanId === '' ? undefined : parentOf(span);
    if (parent !== undefined) numbers.get(parent)!.children++;
  }
  let next = 1;
  const visit = (span: TestSpan, parent: number): void => {
    const own = numbers.get(span)!;
    own.left = next++;
    own.parent = parent;
    for (const child of spans)
      if (child.parentSpanId !== '' && parentOf(child) === span) visit(child, own.left);
    own.right = next++;
  };
  for (const span of spans) if (span.parentSpanId === '') visit(span, -1);
  return numbers;
}

/** The number of the interval, closed at its end, that a time is in. */
function interval(nano: bigint, seconds: bigint): bigint {
  return nano === 0n ? 0n : (nano - 1n) / (seconds * 1_000_000_000n);
}

function roundedStarts({ startUnixNano }: TestSpan): Row {
  const lengths = [15, 60, 300, 3600];
  return Object.fromEntries(
    lengths.map((seconds) => [`StartTimeRounded${seconds}`, interval(startUnixNano, BigInt(seconds))]),
  );
}

function eventRow(event: TestSpan['events'][number], span: TestSpan, layout: Layout): Row {
  const columns: Columns = layout.is5 ? dedicatedOf('event', layout) : new Map();
  const [own, rest] = promoted(event.attributes, columns, layout);
  return {
    TimeSinceStartNano: BigInt.asUintN(64, event.timeUnixNano - span.startUnixNano),
    Name: event.name,
    Attrs: rest,
    DroppedAttributesCount: event.droppedAttributes,
    ...(layout.is5 ? dedicatedRow(own, 'event', layout) : {}),
  };
}

function spanRow(span: TestSpan, { left, right, parent, children }: Numbers, layout: Layout): Row {
  const [own, rest] = promoted(span.attributes, columnsOf('span', layout), layout);
  return {
    SpanID: span.spanId,
    ParentSpanID: span.parentSpanId,
    ParentID: parent,
    NestedSetLeft: left,
    NestedSetRight: right,
    ...(layout.is5 ? { ChildCount: children } : {}),
    Name: span.name,
    Kind: span.kind,
    TraceState: span.traceState,
    StartTimeUnixNano: span.startUnixNano,
    DurationNano: BigInt.asUintN(64, span.endUnixNano - span.startUnixNano),
    StatusCode: span.status.code,
    StatusMessage: span.status.message,
    Attrs: rest,
    DroppedAttributesCount: span.droppedAttributes,
    Events: span.events.map((event) => eventRow(event, span, layout)),
    DroppedEventsCount: span.droppedEvents,
    Links: span.links.map((link) => ({
      TraceID: link.traceId,
      SpanID: link.spanId,
      TraceState: link.traceState,
      Attrs: link.attributes.map(attributeRow),
      DroppedAttributesCount: link.droppedAttributes,
    })),
    DroppedLinksCount: span.droppedLinks,
    ...ownColumns(own, 'span', layout),
    ...(layout.is5 ? roundedStarts(span) : {}),
  };
}

function resourceRow(resource: TestSpan['resource'], layout: Layout): Row {
  const columns = columnsOf('resource', layout);
  columns.delete('service.name');
  // Of several service names the last counts.
  const service = resource.attributes.findLastIndex(
    ([key, v]) => key === 'service.name' && typeof v === 'string',
  );
  const ServiceName = resource.attributes[service]?.[1] ?? '';
  const others = resource.attributes.filter((_, i) => i !== service);
  const [own, rest] = promoted(others, columns, layout);
  const generic = { Attrs: rest, DroppedAttributesCount: resource.droppedAttributes };
  const inOrder = layout.is5 ? { ServiceName, ...generic } : { ...generic, ServiceName };
  return { ...inOrder, ...ownColumns(own, 'resource', layout) };
}

function serviceOf({ resource }: TestSpan): string {
  const value = resource.attributes.findLast(
    ([key, v]) => key === 'service.name' && typeof v === 'string',
  )?.[1];
  return typeof value === 'string' ? value : '';
}

function serviceStats(spans: readonly TestSpan[], { is5 }: Layout): unknown {
  const stats = groupBy(spans, serviceOf).map((list) => ({
    ServiceName: serviceOf(list[0]!),
    SpanCount: list.length,
    ErrorCount: list.filter(({ status }) => status.code === 2).length,
  }));
  return is5 ? stats : Object.fromEntries(stats.map(({ ServiceName, ...counts }) => [ServiceName, counts]));
}

function traceRow(arrived: readonly TestSpan[], layout: Layout): Row {
  const unique = [
    ...new Map([...arrived].reverse().map((s) => [`${s.spanId}/${s.kind}`, s])).values(),
  ].reverse();
  const sorted = unique.toSorted(byStart);
  const resources = groupBy(sorted, ({ resource }) => identity(resource));
  const grouped = resources.map((spans) => groupBy(spans, ({ scope }) => identity(scope)));
  const spans = grouped.flat(2);
  const numbers = nestedSets(sorted);
  const root = sorted.find((span) => span.parentSpanId === '');
  const starts = spans.map((span) => span.startUnixNano);
  const ends = spans.map((span) => span.endUnixNano);
  const start = starts.reduce((a, b) => (b < a ? b : a));
  const end = ends.reduce((a, b) => (b > a ? b : a));
  return {
    TraceID: arrived[0]!.traceId,
    TraceIDText: arrived[0]!.traceId.replace(/^0+/, ''),
    StartTimeUnixNano: start,
    EndTimeUnixNano: end,
    DurationNano: BigInt.asUintN(64, end - start),
    RootServiceName: root === undefined ? '' : serviceOf(root),
    RootSpanName: root?.name ?? '',
    ServiceStats: serviceStats(spans, layout),
    rs: grouped.map((scopes) => ({
      Resource: resourceRow(scopes[0]![0]!.resource, layout),
      ss: scopes.map((list) => {
        const { scope } = list[0]!;
        return {
          Scope: {
            Name: scope.name,
            Version: scope.version,
            Attrs: scope.attributes.map(attributeRow),
            DroppedAttributesCount: scope.droppedAttributes,
          },
          Spans: list.map((span) => spanRow(span, numbers.get(span)!, layout)),
          ...(layout.is5 ? { SpanCount: list.length } : {}),
        };
      }),
    })),
  };
}

/** The rows of a block of these spans, in order of arrival; start times within a trace must differ. */
export function expectedRows(
  spans: readonly TestSpan[],
  dedicated: readonly DedicatedColumn[] = DEFAULT_DEDICATED_COLUMNS,
  format: WrittenFormat = 'vParquet4',
): Row[] {
  const layout = { is5: format === 'vParquet5', dedicated };
  return groupBy(spans, (span) => span.traceId)
    .toSorted((a, b) => (a[0]!.traceId < b[0]!.traceId ? -1 : 1))
    .map((trace) => normal(traceRow(trace, layout), '') as Row);
}
