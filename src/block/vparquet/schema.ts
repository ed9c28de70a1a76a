// The schema of a block's data.parquet: one description with the format version as a parameter. It names
// every leaf column, its encoding and whether it is compressed; whoever reads binds columns by name from
// the file itself.
import { TempoError } from '../../lib/errors.ts';
import { schemaLeaves } from '../../parquet/schema-levels.ts';
import type { Leaf, LogicalType, PhysicalType, Repetition, SchemaNode } from '../../parquet/types.ts';
import type { DedicatedColumn } from '../meta.ts';

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

/** Formats that blocks are written in. */
export const WRITTEN_FORMATS = ['vParquet4', 'vParquet5'] as const;
export type WrittenFormat = (typeof WRITTEN_FORMATS)[number];

/** Throws `unimplemented` for formats that are only read. */
export function writtenFormat(format: string): WrittenFormat {
  const written = WRITTEN_FORMATS.find((name) => name === format);
  if (written === undefined) throw new TempoError('unimplemented', `cannot write blocks of format ${format}`);
  return written;
}

/** Most dedicated columns of a type that a scope has. Those of vParquet5 are 10 before Tempo 3.0. */
export const DEDICATED_MAX: Readonly<
  Record<WrittenFormat, Readonly<Record<DedicatedColumn['type'], number>>>
> = {
  vParquet4: { string: 10, int: 0 },
  vParquet5: { string: 20, int: 5 },
};

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

/** Name of the dedicated column `n` of a type, counted from 1. */
export function dedicatedColumnName(type: DedicatedColumn['type'], n: number): string {
  return `${type === 'int' ? 'Int' : 'String'}${String(n).padStart(2, '0')}`;
}

/** Lengths of the intervals whose numbers vParquet5 has of each span's start. */
export const ROUNDED_STARTS_SEC = [15, 60, 300, 3600] as const;

export function roundedStartName(sec: number): string {
  return `StartTimeRounded${sec}`;
}

/** The tree of one format, from the leaves of attributes up to the row of a trace. */
class SchemaTree {
  private readonly is5: boolean;
  private readonly dedicatedColumns: readonly DedicatedColumn[];

  constructor(format: WrittenFormat, dedicatedColumns: readonly DedicatedColumn[]) {
    this.is5 = format === 'vParquet5';
    this.dedicatedColumns = dedicatedColumns;
  }

  trace(): SchemaNode {
    return group('Trace', [
      id('TraceID', RAW),
      longText('TraceIDText'),
      nanos('StartTimeUnixNano', RAW),
      nanos('EndTimeUnixNano', RAW),
      nanos('DurationNano', RAW),
      text('RootServiceName'),
      text('RootSpanName'),
      this.serviceStats(),
      this.list('rs', group('element', [this.resource(), this.list('ss', this.scopeSpans())])),
    ]);
  }

  /**
   * vParquet5 repeats the element itself; vParquet4 wraps it in two groups, both without an optional level.
   * In both an empty list ends at its parent's level.
   */
  private list(name: string, element: SchemaNode): SchemaNode {
    if (this.is5) return { ...element, name, repetition: 'REPEATED' };
    const repeated: SchemaNode = {
      name: 'list',
      repetition: 'REPEATED',
      children: [{ ...element, name: 'element', repetition: 'REQUIRED' }],
    };
    return { name, repetition: 'REQUIRED', logical: 'LIST', children: [repeated] };
  }

  private serviceStats(): SchemaNode {
    const counts = [uint32('SpanCount'), uint32('ErrorCount')];
    if (this.is5) return this.list('ServiceStats', group('element', [text('ServiceName'), ...counts]));
    const pair: SchemaNode = {
      name: 'key_value',
      repetition: 'REPEATED',
      children: [text('key'), group('value', counts)],
    };
    return { name: 'ServiceStats', repetition: 'REQUIRED', logical: 'MAP', children: [pair] };
  }

  private attributes(): SchemaNode {
    return this.list(
      'Attrs',
      group('element', [
        text('Key'),
        leaf('IsArray', 'BOOLEAN', undefined, 'plain'),
        this.list('Value', text('element')),
        this.list('ValueInt', plainInt64('element')),
        this.list('ValueDouble', leaf('element', 'DOUBLE', undefined, 'plain')),
        this.list('ValueBool', leaf('element', 'BOOLEAN', undefined, 'plain')),
        longText('ValueUnsupported', OPTIONAL),
      ]),
    );
  }

  /** vParquet4 has all its columns always, vParquet5 those that are in use. */
  private dedicated(scope: DedicatedColumn['scope']): SchemaNode[] {
    if (!this.is5) {
      if (scope === 'event') return [];
      const count = DEDICATED_MAX.vParquet4.string;
      const columns = Array.from({ length: count }, (_, i) => dedicatedColumnName('string', i + 1));
      return [
        group(
          'DedicatedAttributes',
          columns.map((name) => text(name, OPTIONAL)),
        ),
      ];
    }
    const own = this.dedicatedColumns.filter((column) => column.scope === scope);
    const columns = (['string', 'int'] as const).flatMap((type) =>
      own
        .filter((column) => column.type === type)
        .slice(0, DEDICATED_MAX.vParquet5[type])
        .map(({ options }, i) => {
          const name = dedicatedColumnName(type, i + 1);
          if (type === 'int') return this.list(name, plainInt64('element'));
          return this.list(name, options.includes('blob') ? longText('element') : text('element'));
        }),
    );
    return columns.length === 0 ? [] : [group('DedicatedAttributes', columns)];
  }

  private resource(): SchemaNode {
    const name = text('ServiceName');
    const generic = [this.attributes(), int32('DroppedAttributesCount')];
    const own = this.is5
      ? [name, ...generic]
      : [...generic, name, ...Object.values(RESOURCE_COLUMNS).map((column) => text(column, OPTIONAL))];
    return group('Resource', [...own, ...this.dedicated('resource')]);
  }

  private scopeSpans(): SchemaNode {
    const scope = group('Scope', [
      text('Name'),
      text('Version'),
      this.attributes(),
      int32('DroppedAttributesCount'),
    ]);
    const spans = this.list('Spans', this.span());
    return group('element', this.is5 ? [scope, spans, int32('SpanCount')] : [scope, spans]);
  }

  private event(): SchemaNode {
    return group('element', [
      nanos('TimeSinceStartNano'),
      text('Name'),
      this.attributes(),
      int32('DroppedAttributesCount'),
      ...this.dedicated('event'),
    ]);
  }

  private link(): SchemaNode {
    return group('element', [
      id('TraceID'),
      id('SpanID'),
      longText('TraceState'),
      this.attributes(),
      int32('DroppedAttributesCount'),
    ]);
  }

  private span(): SchemaNode {
    return group('element', [
      id('SpanID', RAW),
      id('ParentSpanID', RAW),
      int32('ParentID'),
      int32('NestedSetLeft'),
      int32('NestedSetRight'),
      ...(this.is5 ? [int32('ChildCount')] : []),
      text('Name'),
      int64('Kind'),
      longText('TraceState'),
      nanos('StartTimeUnixNano', RAW),
      nanos('DurationNano', RAW),
      int64('StatusCode'),
      longText('StatusMessage'),
      this.attributes(),
      int32('DroppedAttributesCount'),
      this.list('Events', this.event()),
      plainInt32('DroppedEventsCount'),
      this.list('Links', this.link()),
      plainInt32('DroppedLinksCount'),
      ...(this.is5 ? [] : [text('HttpMethod', OPTIONAL), text('HttpUrl', OPTIONAL)]),
      ...(this.is5 ? [] : [plainInt64('HttpStatusCode', OPTIONAL)]),
      ...this.dedicated('span'),
      ...(this.is5 ? ROUNDED_STARTS_SEC.map((sec) => uint32(roundedStartName(sec))) : []),
    ]);
  }
}

function storedLeaves(node: SchemaNode, out: StoredLeaf[]): void {
  if (node.type !== undefined) out.push(node as StoredLeaf);
  for (const child of node.children ?? []) storedLeaves(child, out);
}

/**
 * The schema that blocks of this format are written with.
 * @param dedicated as the meta of the block has them.
 */
export function blockSchema(format: WrittenFormat, dedicated: readonly DedicatedColumn[]): BlockSchema {
  const root = new SchemaTree(format, dedicated).trace();
  const stored: StoredLeaf[] = [];
  storedLeaves(root, stored);
  const columns = schemaLeaves(root).map((described, i) => {
    const { encoding, compressed } = stored[i];
    return { leaf: described, encoding, compressed };
  });
  return { root, columns };
}
