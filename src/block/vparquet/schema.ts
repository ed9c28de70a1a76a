// The schema of a block's data.parquet: one description with the format version as a parameter. It names
// every leaf column, its encoding and whether it is compressed; whoever reads binds columns by name from
// the file itself.
import { TempoError } from '../../lib/errors.ts';
import { schemaLeaves } from '../../parquet/schema-levels.ts';
import type { Leaf, LogicalType, PhysicalType, Repetition, SchemaNode } from '../../parquet/types.ts';
import type { BlockFormat } from '../meta.ts';

/**
 * How the values of a column are encoded; `bytes` is DELTA_LENGTH_BYTE_ARRAY, `delta` is
 * DELTA_BINARY_PACKED.
 */
export type ColumnEncoding = 'dictionary' | 'delta' | 'bytes' | 'plain';

export interface ColumnSpec {
  readonly leaf: Leaf;
  readonly encoding: ColumnEncoding;
  readonly compressed: boolean;
}

export interface BlockSchema {
  readonly root: SchemaNode;
  /** In file order. */
  readonly columns: readonly ColumnSpec[];
}

/** Dedicated string columns a scope has in vParquet4. */
export const DEDICATED_STRINGS = 10;

/** Static columns of string resource attributes in vParquet4: column name by attribute key. */
export const RESOURCE_COLUMNS: Readonly<Record<string, string>> = {
  cluster: 'Cluster',
  namespace: 'Namespace',
  pod: 'Pod',
  container: 'Container',
  'k8s.cluster.name': 'K8sClusterName',
  'k8s.namespace.name': 'K8sNamespaceName',
  'k8s.pod.name': 'K8sPodName',
  'k8s.container.name': 'K8sContainerName',
};

/** Static columns of span attributes in vParquet4: `HttpStatusCode` holds ints, the others strings. */
export const SPAN_COLUMNS: Readonly<Record<string, string>> = {
  'http.method': 'HttpMethod',
  'http.url': 'HttpUrl',
  'http.status_code': 'HttpStatusCode',
};

/** A leaf with its storage; the tree is made of these and of plain groups. */
interface StoredLeaf extends SchemaNode {
  readonly encoding: ColumnEncoding;
  readonly compressed: boolean;
}

interface LeafOptions {
  /** Not compressed: ids and times, which hardly shrink. */
  readonly raw?: boolean;
  readonly optional?: boolean;
}

function leaf(
  name: string,
  type: PhysicalType,
  logical: LogicalType | undefined,
  encoding: ColumnEncoding,
  options: LeafOptions = {},
): StoredLeaf {
  const repetition: Repetition = options.optional === true ? 'OPTIONAL' : 'REQUIRED';
  const compressed = options.raw !== true;
  return { name, repetition, type, encoding, compressed, ...(logical === undefined ? {} : { logical }) };
}

const RAW: LeafOptions = { raw: true };
const OPTIONAL: LeafOptions = { optional: true };

const text = (name: string, options?: LeafOptions): StoredLeaf =>
  leaf(name, 'BYTE_ARRAY', 'STRING', 'dictionary', options);
const longText = (name: string, options?: LeafOptions): StoredLeaf =>
  leaf(name, 'BYTE_ARRAY', 'STRING', 'bytes', options);
const id = (name: string, options?: LeafOptions): StoredLeaf =>
  leaf(name, 'BYTE_ARRAY', undefined, 'bytes', options);
const int32 = (name: string): StoredLeaf => leaf(name, 'INT32', 'INT_32', 'delta');
const int64 = (name: string): StoredLeaf => leaf(name, 'INT64', 'INT_64', 'delta');
const uint32 = (name: string): StoredLeaf => leaf(name, 'INT32', 'UINT_32', 'delta');
const nanos = (name: string, options?: LeafOptions): StoredLeaf =>
  leaf(name, 'INT64', 'UINT_64', 'delta', options);
const plainInt32 = (name: string): StoredLeaf => leaf(name, 'INT32', 'INT_32', 'plain');
const plainInt64 = (name: string, options?: LeafOptions): StoredLeaf =>
  leaf(name, 'INT64', 'INT_64', 'plain', options);

const group = (name: string, children: readonly SchemaNode[]): SchemaNode => ({
  name,
  repetition: 'REQUIRED',
  children,
});

/**
 * vParquet4 wraps lists in two groups, both without an optional level: an empty list ends at its
 * parent's level.
 */
function list(name: string, element: SchemaNode): SchemaNode {
  const repeated: SchemaNode = {
    name: 'list',
    repetition: 'REPEATED',
    children: [{ ...element, name: 'element', repetition: 'REQUIRED' }],
  };
  return { name, repetition: 'REQUIRED', logical: 'LIST', children: [repeated] };
}

function map(name: string, key: SchemaNode, value: SchemaNode): SchemaNode {
  const pair: SchemaNode = { name: 'key_value', repetition: 'REPEATED', children: [key, value] };
  return { name, repetition: 'REQUIRED', logical: 'MAP', children: [pair] };
}

function attributes(): SchemaNode {
  return list(
    'Attrs',
    group('element', [
      text('Key'),
      leaf('IsArray', 'BOOLEAN', undefined, 'plain'),
      list('Value', text('element')),
      list('ValueInt', plainInt64('element')),
      list('ValueDouble', leaf('element', 'DOUBLE', undefined, 'plain')),
      list('ValueBool', leaf('element', 'BOOLEAN', undefined, 'plain')),
      longText('ValueUnsupported', OPTIONAL),
    ]),
  );
}

/** Name of dedicated string column `n`, counted from 1. */
export function dedicatedColumnName(n: number): string {
  return `String${String(n).padStart(2, '0')}`;
}

function dedicated(): SchemaNode {
  const columns = Array.from({ length: DEDICATED_STRINGS }, (_, i) =>
    text(dedicatedColumnName(i + 1), OPTIONAL),
  );
  return group('DedicatedAttributes', columns);
}

function resource(): SchemaNode {
  return group('Resource', [
    attributes(),
    int32('DroppedAttributesCount'),
    text('ServiceName'),
    ...Object.values(RESOURCE_COLUMNS).map((name) => text(name, OPTIONAL)),
    dedicated(),
  ]);
}

function scope(): SchemaNode {
  return group('Scope', [text('Name'), text('Version'), attributes(), int32('DroppedAttributesCount')]);
}

function event(): SchemaNode {
  return group('element', [
    nanos('TimeSinceStartNano'),
    text('Name'),
    attributes(),
    int32('DroppedAttributesCount'),
  ]);
}

function link(): SchemaNode {
  return group('element', [
    id('TraceID'),
    id('SpanID'),
    longText('TraceState'),
    attributes(),
    int32('DroppedAttributesCount'),
  ]);
}

function span(): SchemaNode {
  return group('element', [
    id('SpanID', RAW),
    id('ParentSpanID', RAW),
    int32('ParentID'),
    int32('NestedSetLeft'),
    int32('NestedSetRight'),
    text('Name'),
    int64('Kind'),
    longText('TraceState'),
    nanos('StartTimeUnixNano', RAW),
    nanos('DurationNano', RAW),
    int64('StatusCode'),
    longText('StatusMessage'),
    attributes(),
    int32('DroppedAttributesCount'),
    list('Events', event()),
    plainInt32('DroppedEventsCount'),
    list('Links', link()),
    plainInt32('DroppedLinksCount'),
    text('HttpMethod', OPTIONAL),
    text('HttpUrl', OPTIONAL),
    plainInt64('HttpStatusCode', OPTIONAL),
    dedicated(),
  ]);
}

function traceRow(): SchemaNode {
  return group('Trace', [
    id('TraceID', RAW),
    longText('TraceIDText'),
    nanos('StartTimeUnixNano', RAW),
    nanos('EndTimeUnixNano', RAW),
    nanos('DurationNano', RAW),
    text('RootServiceName'),
    text('RootSpanName'),
    map('ServiceStats', text('key'), group('value', [uint32('SpanCount'), uint32('ErrorCount')])),
    list(
      'rs',
      group('element', [resource(), list('ss', group('element', [scope(), list('Spans', span())]))]),
    ),
  ]);
}

function storedLeaves(node: SchemaNode, out: StoredLeaf[]): void {
  if (node.type !== undefined) out.push(node as StoredLeaf);
  for (const child of node.children ?? []) storedLeaves(child, out);
}

/**
 * The schema that blocks of this format are written with. Throws `unimplemented` for formats that are
 * only read.
 */
export function blockSchema(format: BlockFormat): BlockSchema {
  if (format !== 'vParquet4')
    throw new TempoError('unimplemented', `cannot write blocks of format ${format}`);
  const root = traceRow();
  const stored: StoredLeaf[] = [];
  storedLeaves(root, stored);
  const columns = schemaLeaves(root).map((described, i) => {
    const { encoding, compressed } = stored[i];
    return { leaf: described, encoding, compressed };
  });
  return { root, columns };
}
