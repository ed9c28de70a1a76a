// Names of a block's columns, free of what differs between versions (list wrappers), and which of them hold
// an attribute. Bound to each file's own footer.
import type { FileMetadata, Leaf } from '../../parquet/types.ts';
import type { AttributeScope, Intrinsic, Owner } from '../../traceql/source.ts';
import { ValueType } from '../../traceql/source.ts';
import type { DedicatedColumn } from '../meta.ts';
import { dedicatedColumnName, RESOURCE_COLUMNS, SPAN_COLUMNS } from './schema.ts';

/**
 * Repeated groups down to an owner: the repetition level at which another one begins under the same parent.
 */
export const OWNER_DEPTH: Readonly<Record<Owner, number>> = {
  trace: 0,
  resource: 1,
  scope: 2,
  span: 3,
  event: 4,
  link: 4,
};

export const RESOURCE = 'rs.Resource.';
export const SCOPE = 'rs.ss.Scope.';
export const SPAN = 'rs.ss.Spans.';
export const EVENT = 'rs.ss.Spans.Events.';
export const LINK = 'rs.ss.Spans.Links.';

export const SCOPE_OWNER: Readonly<Record<AttributeScope, Owner>> = {
  resource: 'resource',
  instrumentation: 'scope',
  span: 'span',
  event: 'event',
  link: 'link',
};
export const SCOPE_PREFIX: Readonly<Record<AttributeScope, string>> = {
  resource: RESOURCE,
  instrumentation: SCOPE,
  span: SPAN,
  event: EVENT,
  link: LINK,
};

/** A column that every owner has exactly one value in: its entries that are not null count the owners. */
export const COUNTING_COLUMN: Readonly<Record<Exclude<Owner, 'trace'>, string>> = {
  resource: `${RESOURCE}ServiceName`,
  scope: `${SCOPE}Name`,
  span: `${SPAN}SpanID`,
  event: `${EVENT}Name`,
  link: `${LINK}SpanID`,
};

export interface StoredColumn {
  readonly column: string;
  readonly owner: Owner;
  readonly type: ValueType;
}

const stored = (column: string, owner: Owner, type: ValueType): StoredColumn => ({ column, owner, type });

export const INTRINSICS: Readonly<Record<Intrinsic, StoredColumn>> = {
  'span:duration': stored(`${SPAN}DurationNano`, 'span', ValueType.duration),
  'span:name': stored(`${SPAN}Name`, 'span', ValueType.string),
  'span:status': stored(`${SPAN}StatusCode`, 'span', ValueType.status),
  'span:statusMessage': stored(`${SPAN}StatusMessage`, 'span', ValueType.string),
  'span:kind': stored(`${SPAN}Kind`, 'span', ValueType.kind),
  'span:id': stored(`${SPAN}SpanID`, 'span', ValueType.bytes),
  'span:parentID': stored(`${SPAN}ParentSpanID`, 'span', ValueType.bytes),
  'span:childCount': stored(`${SPAN}ChildCount`, 'span', ValueType.int),
  'span:start': stored(`${SPAN}StartTimeUnixNano`, 'span', ValueType.int),
  'span:nestedSetLeft': stored(`${SPAN}NestedSetLeft`, 'span', ValueType.int),
  'span:nestedSetRight': stored(`${SPAN}NestedSetRight`, 'span', ValueType.int),
  'span:nestedSetParent': stored(`${SPAN}ParentID`, 'span', ValueType.int),
  'trace:id': stored('TraceID', 'trace', ValueType.bytes),
  'trace:duration': stored('DurationNano', 'trace', ValueType.duration),
  'trace:rootName': stored('RootSpanName', 'trace', ValueType.string),
  'trace:rootService': stored('RootServiceName', 'trace', ValueType.string),
  'trace:start': stored('StartTimeUnixNano', 'trace', ValueType.int),
  'event:name': stored(`${EVENT}Name`, 'event', ValueType.string),
  'event:timeSinceStart': stored(`${EVENT}TimeSinceStartNano`, 'event', ValueType.duration),
  'link:traceID': stored(`${LINK}TraceID`, 'link', ValueType.bytes),
  'link:spanID': stored(`${LINK}SpanID`, 'link', ValueType.bytes),
  'instrumentation:name': stored(`${SCOPE}Name`, 'scope', ValueType.string),
  'instrumentation:version': stored(`${SCOPE}Version`, 'scope', ValueType.string),
};

/** An attribute with a column of its own. */
export interface AttributeColumn {
  readonly name: string;
  readonly column: string;
  readonly type: 'string' | 'int';
}

const WRAPPERS = new Set(['list', 'element', 'key_value', 'value']);

/** The path of a leaf without the groups that only wrap lists and maps. */
export function columnName(leaf: Leaf): string {
  return leaf.path.filter((part) => !WRAPPERS.has(part)).join('.');
}

const MADE_MAX = 64;
/** By the leaves of a schema, which most blocks share. */
const made = new WeakMap<readonly Leaf[], Map<string, BlockColumns>>();

/** The columns of a file: the same object for files with one schema and the same dedicated columns. */
export function columnsOf(file: FileMetadata, dedicatedColumns: readonly DedicatedColumn[]): BlockColumns {
  const key = JSON.stringify(dedicatedColumns);
  let byDedicated = made.get(file.leaves);
  const found = byDedicated?.get(key);
  if (found !== undefined) return found;
  const columns = new BlockColumns(file, dedicatedColumns);
  if (byDedicated === undefined) made.set(file.leaves, (byDedicated = new Map()));
  if (byDedicated.size < MADE_MAX) byDedicated.set(key, columns);
  return columns;
}

export class BlockColumns {
  private readonly ordinals = new Map<string, number>();
  private readonly dedicated: Readonly<Record<AttributeScope, readonly AttributeColumn[]>>;

  constructor(file: FileMetadata, dedicatedColumns: readonly DedicatedColumn[]) {
    file.leaves.forEach((leaf, i) => this.ordinals.set(columnName(leaf), i));
    const own = ownColumns(dedicatedColumns);
    const present = (columns: readonly AttributeColumn[]): readonly AttributeColumn[] =>
      columns.filter(({ column }) => this.ordinals.has(column));
    this.dedicated = {
      span: present([...own.span, ...staticColumns(SPAN, SPAN_COLUMNS)]),
      resource: present([
        ...own.resource,
        ...staticColumns(RESOURCE, { 'service.name': 'ServiceName', ...RESOURCE_COLUMNS }),
      ]),
      event: present(own.event),
      link: [],
      instrumentation: [],
    };
  }

  /** Position of a column in each row group; undefined when the file does not have it. */
  ordinal(name: string): number | undefined {
    return this.ordinals.get(name);
  }

  /** All columns. */
  get names(): readonly string[] {
    return [...this.ordinals.keys()];
  }

  /** Those of all scopes. */
  allAttributeColumns(): readonly AttributeColumn[] {
    return [...this.dedicated.resource, ...this.dedicated.span, ...this.dedicated.event];
  }

  /**
   * Columns of a scope that hold one attribute each: dedicated ones in the order of the meta, then static
   * ones.
   */
  attributeColumns(scope: AttributeScope): readonly AttributeColumn[] {
    return this.dedicated[scope];
  }
}

function staticColumns(prefix: string, columns: Readonly<Record<string, string>>): AttributeColumn[] {
  return Object.entries(columns).map(([name, column]) => ({
    name,
    column: prefix + column,
    type: column === 'HttpStatusCode' ? 'int' : 'string',
  }));
}

/** The n-th string (int) column of a scope in the meta is String0n (Int0n). */
function ownColumns(
  columns: readonly DedicatedColumn[],
): Record<DedicatedColumn['scope'], AttributeColumn[]> {
  const own: Record<DedicatedColumn['scope'], AttributeColumn[]> = { span: [], resource: [], event: [] };
  const counts = new Map<string, number>();
  for (const { scope, name, type } of columns) {
    const kind = `${scope} ${type}`;
    const n = (counts.get(kind) ?? 0) + 1;
    counts.set(kind, n);
    const leaf = dedicatedColumnName(type, n);
    own[scope]?.push({ name, column: `${SCOPE_PREFIX[scope]}DedicatedAttributes.${leaf}`, type });
  }
  return own;
}
