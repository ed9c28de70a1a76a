// What a snapshot of a head knows about its traces: their spans, roots and nested sets. Computed when
// asked, and kept.
import { Bitset } from '../../lib/bitset.ts';
import { lowerBound } from '../../lib/lower-bound.ts';
import { NestedSets } from '../nested-set.ts';
import { type HeadColumns, withRoom } from './head-columns.ts';
import type { HeadReader } from './reader.ts';
import { isEarlier, TraceColumns } from './trace-columns.ts';

/** Numbers of spans by their ordinal (all spans), or by their place in a list (a selection). */
export interface NestedSetColumns {
  readonly left: Int32Array;
  readonly right: Int32Array;
  readonly parent: Int32Array;
  readonly childCount: Int32Array;
}

/** Nested sets of all spans, which change with every span that a trace gets. */
class AllSets implements NestedSetColumns {
  /** Of the snapshot. */
  spanCount = 0;
  left = new Int32Array(0);
  right = new Int32Array(0);
  parent = new Int32Array(0);
  childCount = new Int32Array(0);

  get sizeBytes(): number {
    return 4 * this.left.byteLength;
  }

  reserve(spanCount: number): void {
    const ints = (length: number): Int32Array<ArrayBuffer> => new Int32Array(length);
    this.left = withRoom(this.left, spanCount, ints);
    this.right = withRoom(this.right, spanCount, ints);
    this.parent = withRoom(this.parent, spanCount, ints);
    this.childCount = withRoom(this.childCount, spanCount, ints);
  }
}

const TRACES = 'traces';
const NESTED_SETS = 'nested sets';

export class TraceIndex {
  private readonly reader: HeadReader;
  private readonly columns: HeadColumns;
  private known: TraceColumns | undefined;
  /** Of the traces that were asked for last: the columns are asked for one after another. */
  private lastSets: { readonly traces: Int32Array; readonly columns: NestedSetColumns } | undefined;

  constructor(reader: HeadReader, columns: HeadColumns) {
    this.reader = reader;
    this.columns = columns;
  }

  /** As of the snapshot: what is read of it must be read before anyone else may have run. */
  get traces(): TraceColumns {
    const { spanCount, traceCount } = this.reader;
    const { known } = this;
    if (known?.spanCount === spanCount && known.traceCount === traceCount) return known;
    const kept = this.columns.kept<TraceColumns>(TRACES);
    const isNewer = kept !== undefined && (kept.spanCount > spanCount || kept.traceCount > traceCount);
    const traces = kept === undefined || isNewer ? new TraceColumns() : kept;
    if (traces.extend(this.reader) && !isNewer) this.columns.keep(TRACES, traces, traces.sizeBytes);
    this.known = traces;
    return traces;
  }

  /** Ordinals of the spans of a trace, ascending. */
  spansOf(trace: number): Int32Array {
    const spans = new Int32Array(this.traces.sizes[trace]!);
    this.copySpans(trace, spans, 0);
    return spans;
  }

  /** Writes them to places from `at` on. @returns how many they are. */
  copySpans(trace: number, spans: Int32Array, at: number): number {
    const { sizes, last, previous } = this.traces;
    const size = sizes[trace]!;
    let place = at + size;
    for (let span = last[trace]!; span >= 0; span = previous[span]!) spans[--place] = span;
    return size;
  }

  /** Spans of several traces (ascending ordinals), ascending. */
  spansOfAll(traces: Int32Array): Int32Array {
    const { sizes } = this.traces;
    let length = 0;
    for (let i = 0; i < traces.length; i++) length += sizes[traces[i]!]!;
    const spans = new Int32Array(length);
    let at = 0;
    for (let i = 0; i < traces.length; i++) at += this.copySpans(traces[i]!, spans, at);
    return spans.sort();
  }

  /**
   * @param traces ascending ordinals, or undefined for all; the numbers are then in the order of
   * `spansOfAll`.
   */
  nestedSets(traces: Int32Array | undefined): NestedSetColumns {
    if (traces === undefined) return this.allSets();
    if (this.lastSets?.traces !== traces) this.lastSets = { traces, columns: this.setsOf(traces) };
    return this.lastSets.columns;
  }

  private allSets(): AllSets {
    const { spanCount, vecs } = this.reader;
    const kept = this.columns.kept<AllSets>(NESTED_SETS);
    const isNewer = kept !== undefined && kept.spanCount > spanCount;
    const sets = kept === undefined || isNewer ? new AllSets() : kept;
    if (sets.spanCount === spanCount) return sets;
    sets.reserve(spanCount);
    const touched = new Bitset(this.reader.traceCount);
    const traces = vecs.spanTrace.slice(sets.spanCount);
    for (let i = 0; i < traces.length; i++) touched.add(traces[i]!);
    this.compute(touched.toArray(), sets, undefined);
    sets.spanCount = spanCount;
    if (!isNewer) this.columns.keep(NESTED_SETS, sets, sets.sizeBytes);
    return sets;
  }

  private setsOf(traces: Int32Array): NestedSetColumns {
    const selected = this.spansOfAll(traces);
    const size = selected.length;
    const out = {
      left: new Int32Array(size),
      right: new Int32Array(size),
      parent: new Int32Array(size),
      childCount: new Int32Array(size),
    };
    this.compute(traces, out, selected);
    return out;
  }

  /** @param selected what `out` has numbers of; undefined = all spans. */
  private compute(traces: Int32Array, out: NestedSetColumns, selected: Int32Array | undefined): void {
    const sets = new NestedSets();
    const ordered = new OrderedSpans(this.reader);
    const { sizes } = this.traces;
    let members = new Int32Array(MEMBERS);
    for (let t = 0; t < traces.length; t++) {
      const trace = traces[t]!;
      if (sizes[trace]! > members.length) members = new Int32Array(sizes[trace]! * 2);
      const length = ordered.fill(members, this.copySpans(trace, members, 0));
      const { spans } = ordered;
      sets.compute(length, ordered.ids, ordered.parents, ordered.kinds);
      for (let i = 0; i < length; i++) {
        const at = selected === undefined ? spans[i]! : lowerBound(selected, spans[i]!);
        out.left[at] = sets.left[i]!;
        out.right[at] = sets.right[i]!;
        out.parent[at] = sets.parent[i]!;
        out.childCount[at] = sets.childCount[i]!;
      }
    }
  }
}

/** Spans of a trace for which there is room at first. */
const MEMBERS = 256;

/** Up to this many spans are ordered by insertion. */
const INSERTED_MAX = 64;

/**
 * The columns that nested sets need, of one trace, in memory that is used again: ordered by start and id, as
 * blocks number spans, so that numbers stay what they are.
 */
class OrderedSpans {
  spans = new Int32Array(0);
  ids = new Int32Array(0);
  parents = new Int32Array(0);
  kinds = new Uint8Array(0);
  /** Words of each start. */
  private starts = new Uint32Array(0);
  private readonly reader: HeadReader;

  constructor(reader: HeadReader) {
    this.reader = reader;
  }

  /** @param members of which the first `count` are meant. @returns how many spans there are. */
  fill(members: Int32Array, count: number): number {
    this.reserve(count);
    if (count > INSERTED_MAX) this.sort(members.subarray(0, count));
    else this.insert(members, count);
    const { spanId, spanParent, spanKindStatus } = this.reader.vecs;
    const { spans, ids, parents, kinds } = this;
    for (let i = 0; i < count; i++) {
      const span = spans[i]!;
      ids[2 * i] = spanId.get(span, 0);
      ids[2 * i + 1] = spanId.get(span, 1);
      parents[2 * i] = spanParent.get(span, 0);
      parents[2 * i + 1] = spanParent.get(span, 1);
      kinds[i] = spanKindStatus.get(span) & 15;
    }
    return count;
  }

  private reserve(count: number): void {
    if (this.kinds.length >= count) return;
    const size = Math.max(256, count * 2);
    this.spans = new Int32Array(size);
    this.ids = new Int32Array(size * 2);
    this.parents = new Int32Array(size * 2);
    this.starts = new Uint32Array(size * 2);
    this.kinds = new Uint8Array(size);
  }

  private insert(members: Int32Array, count: number): void {
    const { reader, spans, starts } = this;
    const { spanStart } = reader.vecs;
    for (let i = 0; i < count; i++) {
      const span = members[i]!;
      const low = spanStart.get(span, 0) >>> 0;
      const high = spanStart.get(span, 1) >>> 0;
      let at = i;
      for (; at > 0; at--) {
        const order = high - starts[2 * at - 1]! || low - starts[2 * at - 2]!;
        if (order > 0 || (order === 0 && !isEarlier(reader, span, spans[at - 1]!))) break;
        spans[at] = spans[at - 1]!;
        starts[2 * at] = starts[2 * at - 2]!;
        starts[2 * at + 1] = starts[2 * at - 1]!;
      }
      spans[at] = span;
      starts[2 * at] = low;
      starts[2 * at + 1] = high;
    }
  }

  private sort(members: Int32Array): void {
    const { reader, spans } = this;
    spans.set(members);
    let isSorted = true;
    for (let i = 1; i < members.length && isSorted; i++) {
      isSorted = !isEarlier(reader, spans[i]!, spans[i - 1]!);
    }
    if (isSorted) return;
    spans.subarray(0, members.length).sort((a, b) => (isEarlier(reader, a, b) ? -1 : 1));
  }
}
