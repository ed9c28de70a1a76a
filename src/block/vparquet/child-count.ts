// How many children each span has, from nested sets: for blocks without a column of its own (before
// vParquet5).
import { ValueType, type Field, type Vector } from '../../traceql/source.ts';
import { INTRINSICS } from './block-columns.ts';
import type { GroupColumns } from './group-columns.ts';
import { vectorOf } from './vector-parts.ts';

/** True of `span:childCount` where the block does not hold it. */
export function isChildCountMissing(group: GroupColumns, field: Field): boolean {
  if (field.kind !== 'intrinsic' || field.name !== 'span:childCount') return false;
  return group.chunk(INTRINSICS['span:childCount'].column) === undefined;
}

/**
 * @param left `span:nestedSetLeft` of all spans.
 * @param parent `span:nestedSetParent` of all spans.
 * @param spanTrace spans of a trace are neighbours.
 */
export function childCounts(left: Vector, parent: Vector, spanTrace: Int32Array): Vector {
  const count = spanTrace.length;
  const lefts = wholeNumbers(left, count);
  const parents = wholeNumbers(parent, count);
  if (lefts === undefined || parents === undefined) return vectorOf('span', []);
  const num = new Float64Array(count);
  const spanOf = new Int32Array(2 * count + 2); // by left number, of the trace at hand
  for (let from = 0; from < count; ) {
    let to = from + 1;
    while (to < count && spanTrace[to] === spanTrace[from]) to++;
    for (let i = from; i < to; i++) spanOf[lefts[i]] = i;
    for (let i = from; i < to; i++) {
      const wanted: number = parents[i];
      const span: number = spanOf[wanted];
      // numbers of a damaged block may point anywhere
      if (wanted > 0 && span >= from && span < to && lefts[span] === wanted) num[span]++;
    }
    from = to;
  }
  const numbers = { num, base: 0n, exact: undefined };
  const type = ValueType.int;
  return vectorOf('span', [
    { count, owners: undefined, type, ids: undefined, table: undefined, numbers, isElement: undefined },
  ]);
}

/** Undefined unless there is a number for each span. */
function wholeNumbers({ num, base, count }: Vector, spans: number): Float64Array | undefined {
  if (num === undefined || count !== spans) return undefined;
  const offset = Number(base);
  return offset === 0 ? num : num.map((value) => value + offset);
}
