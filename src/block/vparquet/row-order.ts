// The order of a block's rows: traces ascending by id, the spans of each, and where row groups and pages
// begin.
import type { HeadReader } from '../head/reader.ts';

export interface RowOrder {
  /** Head ordinal of the trace in each row. */
  readonly traces: Int32Array;
  /** Spans of row r: elements [spanStarts[r], spanStarts[r + 1]) of `spans`, in order of arrival. */
  readonly spanStarts: Int32Array;
  readonly spans: Int32Array;
}

export function orderRows(head: HeadReader): RowOrder {
  const { traceCount, spanCount } = head;
  const traces = sortTraces(head);
  const rowOf = new Int32Array(traceCount);
  for (let row = 0; row < traceCount; row++) rowOf[traces[row]] = row;
  const spanStarts = new Int32Array(traceCount + 1);
  const { spanTrace } = head.vecs;
  spanTrace.forEachChunk((words, _first, count) => {
    for (let i = 0; i < count; i++) spanStarts[rowOf[words[i]] + 1]++;
  });
  for (let row = 0; row < traceCount; row++) spanStarts[row + 1] += spanStarts[row];
  const next = spanStarts.slice(0, traceCount);
  const spans = new Int32Array(spanCount);
  spanTrace.forEachChunk((words, first, count) => {
    for (let i = 0; i < count; i++) spans[next[rowOf[words[i]]]++] = first + i;
  });
  return { traces, spanStarts, spans };
}

/** Beyond this many traces an ordinal and 32 bits of the id do not fit a double. */
const PACKED_MAX = 2 ** 21;

function sortTraces(head: HeadReader): Int32Array {
  const count = head.traceCount;
  const words = new Uint32Array(head.vecs.traceId.toArray().buffer);
  for (let i = 0; i < words.length; i++) words[i] = swap(words[i]);
  const compare = (a: number, b: number): number => {
    for (let k = 0; k < 4; k++) {
      const difference = words[4 * a + k] - words[4 * b + k];
      if (difference !== 0) return difference;
    }
    return 0;
  };
  const traces = new Int32Array(count);
  if (count > PACKED_MAX) {
    for (let i = 0; i < count; i++) traces[i] = i;
    return traces.sort(compare);
  }
  // By the first 32 bits natively; what is equal in them (rare, ids being random) is put right after.
  const packed = new Float64Array(count);
  for (let i = 0; i < count; i++) packed[i] = words[4 * i] * PACKED_MAX + i;
  packed.sort();
  for (let i = 0; i < count; i++) traces[i] = packed[i] % PACKED_MAX;
  for (let from = 0; from < count; ) {
    let to = from + 1;
    while (to < count && words[4 * traces[to]] === words[4 * traces[from]]) to++;
    if (to - from > 1) traces.subarray(from, to).sort(compare);
    from = to;
  }
  return traces;
}

/** Reverses the bytes of a word. */
function swap(word: number): number {
  return ((word & 255) << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
}

export interface RowGroupLimits {
  /** A row group ends before the row that would take it over this. */
  readonly rowGroupSpans: number;
  /** As rowGroupSpans, in wire bytes of its spans. */
  readonly rowGroupWireBytes: number;
}

/** Row that each row group begins with, and the row count behind them. */
export function cutRowGroups(head: HeadReader, order: RowOrder, limits: RowGroupLimits): number[] {
  const rows = order.traces.length;
  const cuts = [0];
  let bytes = 0;
  for (let row = 0; row < rows; row++) {
    const rowBytes = head.vecs.traceBytes.get(order.traces[row]);
    const first = cuts[cuts.length - 1];
    const spans = order.spanStarts[row + 1] - order.spanStarts[first];
    if (row > first && (spans > limits.rowGroupSpans || bytes + rowBytes > limits.rowGroupWireBytes)) {
      cuts.push(row);
      bytes = 0;
    }
    bytes += rowBytes;
  }
  cuts.push(rows);
  return cuts;
}

export interface PageLimits {
  readonly pageRows: number;
  /** A page ends after the row that brings it to this. */
  readonly pageSpans: number;
}

/**
 * Pages of the row group [from, to): row, counted from `from`, that each begins with, and the row count
 * behind them.
 */
export function cutPages(
  order: Pick<RowOrder, 'spanStarts'>,
  from: number,
  to: number,
  limits: PageLimits,
): Int32Array {
  const starts = [0];
  let first = from;
  for (let row = from; row + 1 < to; row++) {
    const spans = order.spanStarts[row + 1] - order.spanStarts[first];
    if (row + 1 - first < limits.pageRows && spans < limits.pageSpans) continue;
    first = row + 1;
    starts.push(first - from);
  }
  starts.push(to - from);
  return Int32Array.from(starts);
}
