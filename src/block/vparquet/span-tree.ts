// How the owners of a row group hang together: which spans, scopes, resources, events and links belong to
// which trace and to which span. Made from levels alone.
import { BitRank } from '../../lib/bit-rank.ts';
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
  return group.lend(async (scratch) => {
    const column = await group.pages(smallest(group, SPAN, SPAN_COLUMNS), scratch, signal);
    const tree = new LeveledTree(column, group);
    const bytes = 3 * 4 * (column.valueCount + group.rowCount);
    group.file.cache.set(key, tree, bytes + 2 * column.entryCount);
    return tree;
  });
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

/**
 * Made from one bit an entry of a column of spans: where traces, resources, scopes and spans begin. An entry
 * that has no span stands for a trace, resource or scope without any.
 */
class LeveledTree implements SpanTree {
  /** The first entry of each row, and how many there are. */
  private readonly rowEntry: Int32Array;
  private readonly rows: BitRank;
  private readonly resources: BitRank;
  private readonly scopes: BitRank;
  /** Entries that have a span; undefined = all. */
  private readonly spans: BitRank | undefined;
  private readonly firsts = new Map<BitRank, Int32Array>();
  private readonly made = new Map<BitRank, Int32Array>();

  constructor(column: ColumnPages, group: GroupColumns) {
    const { entryCount, valueCount } = column;
    const beginning = (depth: number): BitRank => {
      const begins = column.repetitionBits(0, depth);
      if (valueCount === entryCount) return begins;
      return BitRank.and(begins, column.definitionBits(depth, column.leaf.maxDefinition));
    };
    this.rows = column.repetitionBits(0, 0);
    this.resources = beginning(1);
    this.scopes = beginning(2);
    this.spans = valueCount === entryCount ? undefined : beginning(3);
    if (this.rows.count !== group.rowCount || (this.spans?.count ?? entryCount) !== valueCount) {
      throw group.damaged(column.name, 'has not the rows of its group');
    }
    this.rowEntry = this.rows.positions();
  }

  get rowResource(): Int32Array {
    return this.firstIn(this.resources);
  }

  get rowScope(): Int32Array {
    return this.firstIn(this.scopes);
  }

  get rowSpan(): Int32Array {
    return this.spans === undefined ? this.rowEntry : this.firstIn(this.spans);
  }

  get spanTrace(): Int32Array {
    return this.ownersIn(this.rows);
  }

  get spanResource(): Int32Array {
    return this.ownersIn(this.resources);
  }

  get spanScope(): Int32Array {
    return this.ownersIn(this.scopes);
  }

  private firstIn(owners: BitRank): Int32Array {
    let first = this.firsts.get(owners);
    if (first === undefined) this.firsts.set(owners, (first = ranksAt(owners, this.rowEntry)));
    return first;
  }

  private ownersIn(begins: BitRank): Int32Array {
    let owners = this.made.get(begins);
    if (owners === undefined) this.made.set(begins, (owners = lastBefore(begins, this.spans)));
    return owners;
  }
}

/** How many ones come before each position. */
function ranksAt(bits: BitRank, positions: Int32Array): Int32Array {
  const ranks = new Int32Array(positions.length);
  for (let i = 0; i < ranks.length; i++) ranks[i] = bits.rank(positions[i]);
  return ranks;
}

/** For each position, or each that `of` has: the number of the last one of `begins` that is not behind it. */
function lastBefore(begins: BitRank, of: BitRank | undefined): Int32Array {
  const { words, length } = begins;
  const out = new Int32Array(of?.count ?? length);
  let last = -1;
  let count = 0;
  for (let w = 0; w < words.length; w++) {
    const word = words[w];
    const wanted = of === undefined ? -1 : of.words[w];
    const bits = Math.min(32, length - w * 32);
    for (let i = 0; i < bits; i++) {
      last += (word >>> i) & 1;
      if (((wanted >>> i) & 1) === 1) out[count++] = last;
    }
  }
  return out;
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
  const tree = await group.lend(async (scratch) =>
    childTree(await group.pages(smallest(group, prefix, names), scratch, signal), group),
  );
  group.file.cache.set(key, tree, tree.span.byteLength + tree.row.byteLength);
  return tree;
}

function childTree(column: ColumnPages, group: GroupColumns): ChildTree {
  const { maxDefinition } = column.leaf;
  const begins = column.repetitionBits(0, 0);
  const spans = BitRank.and(column.repetitionBits(0, 3), column.definitionBits(3, maxDefinition));
  const children = column.definitionBits(4, maxDefinition);
  if (begins.count !== group.rowCount || children.count !== column.valueCount) {
    throw group.damaged(column.name, 'has not the rows of its group');
  }
  const entries = children.positions();
  const span = new Int32Array(children.count);
  for (let i = 0; i < span.length; i++) span[i] = spans.rank(entries[i] + 1) - 1;
  return { span, row: ranksAt(children, begins.positions()) };
}
