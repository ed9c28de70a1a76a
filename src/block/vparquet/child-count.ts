// How many children each span has, from the ids of spans and their parents: for blocks without a column of
// its own (before vParquet5).
import { ValueType, type Field, type Vector } from '../../traceql/source.ts';
import { NestedSets } from '../nested-set.ts';
import { INTRINSICS } from './block-columns.ts';
import type { GroupColumns } from './group-columns.ts';
import { readKinds, readSpanIds } from './span-ids.ts';
import { loadSpanTree } from './span-tree.ts';
import { vectorOf } from './vector-parts.ts';

/** Greater ones have no name, as 0 has none. */
const KIND_MAX = 5;

/** True of `span:childCount` where the block does not hold it. */
export function isChildCountMissing(group: GroupColumns, field: Field): boolean {
  if (field.kind !== 'intrinsic' || field.name !== 'span:childCount') return false;
  return group.chunk(INTRINSICS['span:childCount'].column) === undefined;
}

/** Of all spans of the row group. */
export async function childCounts(group: GroupColumns, signal?: AbortSignal): Promise<Vector> {
  const { cache } = group.file;
  const key = group.cacheKey('children');
  let num = cache.get<Float64Array>(key);
  if (num === undefined) {
    num = await count(group, signal);
    cache.set(key, num, num.byteLength);
  }
  const numbers = { num, base: 0n, exact: undefined };
  const none = { owners: undefined, ids: undefined, table: undefined, isElement: undefined };
  return vectorOf('span', [{ ...none, count: num.length, type: ValueType.int, numbers }]);
}

async function count(group: GroupColumns, signal?: AbortSignal): Promise<Float64Array> {
  const { rowSpan } = await loadSpanTree(group, signal);
  const spans = rowSpan[rowSpan.length - 1];
  const ids = await readSpanIds(group, INTRINSICS['span:id'].column, spans, signal);
  const parents = await readSpanIds(group, INTRINSICS['span:parentID'].column, spans, signal);
  const numbers = await readKinds(group, INTRINSICS['span:kind'].column, spans, signal);
  const kinds = Uint8Array.from(numbers, (kind) => (kind >>> 0 > KIND_MAX ? 0 : kind));
  const counts = new Float64Array(spans);
  const sets = new NestedSets();
  for (let row = 0; row + 1 < rowSpan.length; row++) {
    const from = rowSpan[row];
    const to = rowSpan[row + 1];
    if (from === to) continue;
    const idsOfRow = ids.subarray(2 * from, 2 * to);
    sets.compute(to - from, idsOfRow, parents.subarray(2 * from, 2 * to), kinds.subarray(from, to));
    counts.set(sets.childCount.subarray(0, to - from), from);
  }
  return counts;
}
