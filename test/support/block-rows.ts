// Blocks in tests: written to memory from spans, read back by a foreign reader (hyparquet), and the rows
// that the format's rules say there must be, worked out from the spans the slow and plain way.
import { zstdDecompressSync } from 'node:zlib';
import { parquetReadObjects } from 'hyparquet';
import { HeadBuilder } from '../../src/block/head/builder.ts';
import { HeadReader } from '../../src/block/head/reader.ts';
import type { BlockMeta, DedicatedColumn } from '../../src/block/meta.ts';
import {
  type CreateOptions,
  createBlock,
  DEFAULT_DEDICATED_COLUMNS,
} from '../../src/block/vparquet/create.ts';
import {
  aResource,
  aScope,
  aTrace,
  type Attribute,
  encodeTraces,
  hexId,
  START_NANO,
  type TestSpan,
  type Value,
} from './otlp.ts';

export interface WrittenBlock {
  readonly meta: BlockMeta;
  /** In order of creation. */
  readonly objects: Map<string, Uint8Array>;
}

export interface WriteOptions extends Partial<CreateOptions> {
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
    ...options
  } = write;
  const objects = new Map<string, Uint8Array>();
  const meta = createBlock({
    head: headOf(requests),
    blockId,
    tenant,
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
  return rows.map((row) => normal(row, '') as Row);
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

/** Splits attributes into those with a column of their own (by its name) and the rest. */
function promoted(
  attributes: readonly Attribute[],
  columns: ReadonlyMap<string, [string, string]>,
): [Row, Row[]] {
  const own: Record<string, unknown> = {};
  const rest: Row[] = [];
  for (const attribute of attributes) {
    const [key, value] = attribute;
    const [name, type] = columns.get(key) ?? [];
    // oxlint-disable-next-line valid-typeof
    if (name !== undefined && typeof value === type && !(name in own)) own[name] = value;
    else rest.push(attributeRow(attribute));
  }
  return [own, rest];
}

function stringColumns(names: Readonly<Record<string, string>>): [string, [string, string]][] {
  return Object.entries(names).map(([key, column]) => [key, [column, 'string']]);
}

function columnsOf(
  scope: 'span' | 'resource',
  dedicated: readonly DedicatedColumn[],
): Map<string, [string, string]> {
  const fixed =
    scope === 'span'
      ? stringColumns({ 'http.method': 'HttpMethod', 'http.url': 'HttpUrl' })
      : stringColumns({
          'service.name': 'ServiceName',
          cluster: 'Cluster',
          namespace: 'Namespace',
          pod: 'Pod',
          container: 'Container',
          'k8s.cluster.name': 'K8sClusterName',
          'k8s.namespace.name': 'K8sNamespaceName',
          'k8s.pod.name': 'K8sPodName',
          'k8s.container.name': 'K8sContainerName',
        });
  if (scope === 'span') fixed.push(['http.status_code', ['HttpStatusCode', 'bigint']]);
  const own = dedicated
    .filter((column) => column.scope === scope)
    .map(({ name }, i): [string, [string, string]] => [name, [dedicatedName(i), 'string']]);
  return new Map([...fixed, ...own]);
}

function dedicatedName(i: number): string {
  return `String${String(i + 1).padStart(2, '0')}`;
}

function ownColumns(own: Row, names: readonly string[]): Row {
  const dedicatedNames = Array.from({ length: 10 }, (_, i) => dedicatedName(i));
  const pick = (list: readonly string[]): Row => Object.fromEntries(list.map((n) => [n, own[n] ?? null]));
  return { ...pick(names), DedicatedAttributes: pick(dedicatedNames) };
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
}

function nestedSets(spans: readonly TestSpan[]): Map<TestSpan, Numbers> {
  const numbers = new Map(spans.map((span) => [span, { left: 0, right: 0, parent: 0 }]));
  const byId = Map.groupBy(spans, (span) => span.spanId);
  if ([...byId.values()].some((same) => same.length > 2)) return numbers;
  const parentOf = (span: TestSpan): TestSpan | undefined => {
    const same = byId.get(span.parentSpanId) ?? [];
    return same.length < 2 ? same[0] : same.find(({ kind }) => kind === (span.kind === 2 ? 3 : 2));
  };
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

function spanRow(
  span: TestSpan,
  { left, right, parent }: Numbers,
  dedicated: readonly DedicatedColumn[],
): Row {
  const [own, rest] = promoted(span.attributes, columnsOf('span', dedicated));
  return {
    SpanID: span.spanId,
    ParentSpanID: span.parentSpanId,
    ParentID: parent,
    NestedSetLeft: left,
    NestedSetRight: right,
    Name: span.name,
    Kind: span.kind,
    TraceState: span.traceState,
    StartTimeUnixNano: span.startUnixNano,
    DurationNano: BigInt.asUintN(64, span.endUnixNano - span.startUnixNano),
    StatusCode: span.status.code,
    StatusMessage: span.status.message,
    Attrs: rest,
    DroppedAttributesCount: span.droppedAttributes,
    Events: span.events.map((event) => ({
      TimeSinceStartNano: BigInt.asUintN(64, event.timeUnixNano - span.startUnixNano),
      Name: event.name,
      Attrs: event.attributes.map(attributeRow),
      DroppedAttributesCount: event.droppedAttributes,
    })),
    DroppedEventsCount: span.droppedEvents,
    Links: span.links.map((link) => ({
      TraceID: link.traceId,
      SpanID: link.spanId,
      TraceState: link.traceState,
      Attrs: link.attributes.map(attributeRow),
      DroppedAttributesCount: link.droppedAttributes,
    })),
    DroppedLinksCount: span.droppedLinks,
    ...ownColumns(own, ['HttpMethod', 'HttpUrl', 'HttpStatusCode']),
  };
}

function resourceRow(resource: TestSpan['resource'], dedicated: readonly DedicatedColumn[]): Row {
  const columns = columnsOf('resource', dedicated);
  // Of several service names the last counts.
  const service = resource.attributes.findLastIndex(
    ([key, v]) => key === 'service.name' && typeof v === 'string',
  );
  const ServiceName = resource.attributes[service]?.[1] ?? '';
  columns.delete('service.name');
  const [own, rest] = promoted(
    resource.attributes.filter((_, i) => i !== service),
    columns,
  );
  const fixed = [...columns.values()].map(([name]) => name).slice(0, 8);
  return {
    Attrs: rest,
    DroppedAttributesCount: resource.droppedAttributes,
    ServiceName,
    ...ownColumns(own, fixed),
  };
}

function serviceOf({ resource }: TestSpan): string {
  const value = resource.attributes.findLast(
    ([key, v]) => key === 'service.name' && typeof v === 'string',
  )?.[1];
  return typeof value === 'string' ? value : '';
}

function traceRow(arrived: readonly TestSpan[], dedicated: readonly DedicatedColumn[]): Row {
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
  const stats = groupBy(spans, serviceOf).map((list) => [
    serviceOf(list[0]!),
    { SpanCount: list.length, ErrorCount: list.filter(({ status }) => status.code === 2).length },
  ]);
  return {
    TraceID: arrived[0]!.traceId,
    TraceIDText: arrived[0]!.traceId.replace(/^0+/, ''),
    StartTimeUnixNano: start,
    EndTimeUnixNano: end,
    DurationNano: BigInt.asUintN(64, end - start),
    RootServiceName: root === undefined ? '' : serviceOf(root),
    RootSpanName: root?.name ?? '',
    ServiceStats: Object.fromEntries(stats),
    rs: grouped.map((scopes) => ({
      Resource: resourceRow(scopes[0]![0]!.resource, dedicated),
      ss: scopes.map((list) => {
        const { scope } = list[0]!;
        return {
          Scope: {
            Name: scope.name,
            Version: scope.version,
            Attrs: scope.attributes.map(attributeRow),
            DroppedAttributesCount: scope.droppedAttributes,
          },
          Spans: list.map((span) => spanRow(span, numbers.get(span)!, dedicated)),
        };
      }),
    })),
  };
}

/** The rows of a block of these spans, in order of arrival; start times within a trace must differ. */
export function expectedRows(
  spans: readonly TestSpan[],
  dedicated: readonly DedicatedColumn[] = DEFAULT_DEDICATED_COLUMNS,
): Row[] {
  return groupBy(spans, (span) => span.traceId)
    .toSorted((a, b) => (a[0]!.traceId < b[0]!.traceId ? -1 : 1))
    .map((trace) => normal(traceRow(trace, dedicated), '') as Row);
}

/** A value of every kind. */
export function everyAttribute(n: number): Attribute[] {
  return [
    ['text', 'ä'.repeat(n % 50)],
    ['bool', n % 2 === 0],
    ['small', BigInt(n)],
    ['int', -(2n ** 62n) - BigInt(n)],
    ['double', n / 3],
    ['bytes', new Uint8Array([0, n, 255])],
    ['strings', ['a', `b${n}`, 'a']],
    ['ints', [1n, 2n ** 40n + BigInt(n)]],
    ['bools', [true, n % 2 === 0]],
    ['doubles', [0.5, n]],
    ['one', ['only']],
    ['mixed', ['a', 1n, true, 1.5, new Uint8Array([1]), undefined]],
    ['nested', [['a'], []]],
    ['empty', []],
    [
      'map',
      {
        kv: [
          ['k', 'v'],
          ['', { kv: [] }],
          ['none', undefined],
        ],
      },
    ],
    ['nothing', undefined],
    ['', 'no key'],
    ['text', 'again'],
  ];
}

/** Attributes that have columns of their own, of the right and of wrong types, and repeated. */
export function everyColumn(n: number): Attribute[] {
  return [
    ['http.method', 'GET'],
    ['http.method', 'POST'],
    ['http.url', n % 3 === 0 ? 7n : `http://h/${n}`],
    ['http.status_code', n % 3 === 1 ? '200' : BigInt(200 + n)],
    ['http.request.method', 'PUT'],
    ['url.path', ['a', 'b']],
    ['url.route', true],
    ['server.address', ''],
    ['http.route', `/r/${n}`],
  ];
}

/** Traces that use every column, some of whose spans come late: in the second request. */
export function everyTrace(count: number): TestSpan[][] {
  const resources = [
    aResource('shop', [['cluster', 'c1'], ['pod', 5n], ['k8s.pod.name', 'p'], ...everyAttribute(1)]),
    aResource('cart', [
      ['namespace', 'n'],
      ['service.name', 'second'],
    ]),
    { attributes: [['service.name', 7n]] as [string, bigint][], droppedAttributes: 4 },
  ];
  const scopes = [aScope(), { name: '', version: '', attributes: everyAttribute(2), droppedAttributes: 3 }];
  const traces = Array.from({ length: count }, (_, id) =>
    aTrace(id * 7919 + 1, (id % 9) + 1, (i) => ({
      kind: i % 6,
      status: { code: i % 3, message: i % 3 === 2 ? `broken ${i}` : '' },
      traceState: i % 4 === 0 ? 'a=b' : '',
      attributes: i % 5 === 4 ? [] : [...everyAttribute(i + id), ...everyColumn(i)],
      droppedAttributes: i % 7 === 3 ? i : 0,
      droppedEvents: i % 7 === 4 ? 2 : 0,
      droppedLinks: i % 7 === 5 ? 3 : 0,
      events: Array.from({ length: i % 3 }, (_, e) => ({
        timeUnixNano: START_NANO + BigInt(e) * 1500n, // the first is before the span's start
        name: `event ${e}`,
        attributes: e === 0 ? [] : everyAttribute(e),
        droppedAttributes: e,
      })),
      links: Array.from({ length: i % 4 === 1 ? 2 : 0 }, (_, l) => ({
        traceId: 'ff'.repeat(16),
        spanId: hexId(l + 1, 8),
        traceState: l === 0 ? '' : 'c=d',
        attributes: l === 0 ? everyAttribute(l) : [],
        droppedAttributes: l,
      })),
      resource: resources[i % 3]!,
      scope: scopes[i % 2]!,
    })),
  );
  const spans = traces.flat();
  return [spans.filter((_, i) => i % 3 !== 0), spans.filter((_, i) => i % 3 === 0)];
}
