// How the owners of a row group hang together: which spans, scopes, resources, events and links belong to
// which trace and to which span. Made from repetition levels alone.
import type { ColumnPages } from '../../parquet/column-pages.ts';
import { COUNTING_COLUMN, EVENT, LINK, SPAN } from './block-columns.ts';
import type { GroupColumns } from './group-columns.ts';

export interface SpanTree {
  readonly spanTrace: Int32Array;
  readonly spanResource: Int32Array;
  readonly spanScope: Int32Array;
  /** First resource / scope / span of each row, and one element more. */
  readonly rowResource: Int32Array;
  readonly rowScope: Int32Array;
  readonly rowSpan: Int32Array;
}

/** Events or links of spans. */
export interface ChildTree {
  /** The span of each. */
  readonly span: Int32Array;
  /** First one of each row, and one element more. */
  readonly row: Int32Array;
}

/** Columns with one entry for each span; the smallest is read. */
const SPAN_COLUMNS = [
  'StatusCode',
  'Kind',
  'TraceState',
  'DroppedAttributesCount',
  'ParentID',
  'Name',
  'SpanID',
];
const EVENT_COLUMNS = ['Name', 'TimeSinceStartNano', 'DroppedAttributesCount'];
const LINK_COLUMNS = ['TraceState', 'DroppedAttributesCount', 'SpanID', 'TraceID'];

export async function loadSpanTree(group: GroupColumns, signal?: AbortSignal): Promise<SpanTree> {
  const key = group.cacheKey('tree');
  const cached = group.file.cache.get<SpanTree>(key);
  if (cached !== undefined) return cached;
  const column = await group.pages(smallest(group, SPAN, SPAN_COLUMNS), false, signal);
  const tree = spanTree(column, group);
  const { spanTrace, rowSpan } = tree;
  group.file.cache.set(key, tree, 3 * (spanTrace.byteLength + rowSpan.byteLength));
  return tree;
}

function smallest(group: GroupColumns, prefix: string, names: readonly string[]): string {
  let best = prefix + names[0];
  let bestBytes = Infinity;
  for (const name of names) {
    const chunk = group.chunk(prefix + name);
    if (chunk !== undefined && chunk.compressedBytes < bestBytes) {
      best = prefix + name;
      bestBytes = chunk.compressedBytes;
    }
  }
  return best;
}

function spanTree(column: ColumnPages, group: GroupColumns): SpanTree {
  const { rowCount } = group;
  const { entryCount, valueCount } = column;
  const rep = column.repetitionLevels();
  const def = valueCount === entryCount ? undefined : column.definitionLevels();
  const spanTrace = new Int32Array(valueCount);
  const spanResource = new Int32Array(valueCount);
  const spanScope = new Int32Array(valueCount);
  const rowResource = new Int32Array(rowCount + 1);
  const rowScope = new Int32Array(rowCount + 1);
  const rowSpan = new Int32Array(rowCount + 1);
  let row = -1;
  let resource = -1;
  let scope = -1;
  let span = 0;
  for (let e = 0; e < entryCount; e++) {
    const level = rep[e];
    const depth = def === undefined ? 3 : def[e];
    if (level < 3) {
      if (level === 0) {
        row++;
        if (row < rowCount) {
          rowResource[row] = resource + 1;
          rowScope[row] = scope + 1;
          rowSpan[row] = span;
        }
      }
      if (level <= 1 && depth >= 1) resource++;
      if (depth >= 2) scope++;
    }
    if (depth >= 3 && span < valueCount) {
      spanTrace[span] = row;
      spanResource[span] = resource;
      spanScope[span] = scope;
      span++;
    }
  }
  if (row !== rowCount - 1 || span !== valueCount)
    throw group.damaged(column.name, 'has not the rows of its group');
  rowResource[rowCount] = resource + 1;
  rowScope[rowCount] = scope + 1;
  rowSpan[rowCount] = span;
  return { spanTrace, spanResource, spanScope, rowResource, rowScope, rowSpan };
}

const NONE = new Int32Array(0);

export async function loadChildTree(
  group: GroupColumns,
  kind: 'event' | 'link',
  signal?: AbortSignal,
): Promise<ChildTree> {
  const key = group.cacheKey(kind);
  const cached = group.file.cache.get<ChildTree>(key);
  if (cached !== undefined) return cached;
  const prefix = kind === 'event' ? EVENT : LINK;
  const names = kind === 'event' ? EVENT_COLUMNS : LINK_COLUMNS;
  if (!group.hasValues(COUNTING_COLUMN[kind])) return { span: NONE, row: new Int32Array(group.rowCount + 1) };
  const column = await group.pages(smallest(group, prefix, names), false, signal);
  const tree = childTree(column, group);
  group.file.cache.set(key, tree, tree.span.byteLength + tree.row.byteLength);
  return tree;
}

function childTree(column: ColumnPages, group: GroupColumns): ChildTree {
  const { rowCount } = group;
  const { entryCount, valueCount } = column;
  const rep = column.repetitionLevels();
  const def = column.definitionLevels();
  const spans = new Int32Array(valueCount);
  const rows = new Int32Array(rowCount + 1);
  let row = -1;
  let span = -1;
  let child = 0;
  for (let e = 0; e < entryCount; e++) {
    if (rep[e] < 4) {
      if (rep[e] === 0) {
        row++;
        if (row < rowCount) rows[row] = child;
      }
      if (def[e] >= 3) span++;
    }
    if (def[e] >= 4 && child < valueCount) spans[child++] = span;
  }
  if (row !== rowCount - 1 || child !== valueCount)
    throw group.damaged(column.name, 'has not the rows of its group');
  rows[rowCount] = child;
  return { span: spans, row: rows };
}
