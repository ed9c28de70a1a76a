// What a snapshot of a head knows about its traces: their spans, roots and nested sets. Computed when
// asked, and kept.
import { NestedSets } from '../nested-set.ts';
import { AttrType } from './layout.ts';
import type { HeadReader } from './reader.ts';

const REF_TYPE = new TextEncoder().encode('opentracing.ref_type');
const CHILD_OF = new TextEncoder().encode('child_of');

/** Numbers of spans by their ordinal (all spans), or by their place in a list (a selection). */
export interface NestedSetColumns {
  readonly left: Int32Array;
  readonly right: Int32Array;
  readonly parent: Int32Array;
  readonly childCount: Int32Array;
}

export class TraceIndex {
  private readonly reader: HeadReader;
  private starts: Int32Array | undefined;
  private spans = new Int32Array(0);
  private roots: Int32Array | undefined;
  private refTypeKey: number | undefined;
  /** Of the traces that were asked for last: the columns are asked for one after another. */
  private lastSets:
    | { readonly traces: Int32Array | undefined; readonly columns: NestedSetColumns }
    | undefined;

  constructor(reader: HeadReader) {
    this.reader = reader;
  }

  /** Ordinals of the spans of a trace, ascending. */
  spansOf(trace: number): Int32Array {
    if (this.starts !== undefined) return this.spans.subarray(this.starts[trace], this.starts[trace + 1]);
    const { spanPrev, traceLastSpan } = this.reader.vecs;
    const last = traceLastSpan.get(trace);
    if (last >= this.reader.spanCount) {
      this.group(); // spans came after the snapshot: the chain begins outside of it
      return this.spansOf(trace);
    }
    let count = 0;
    for (let span = last; span >= 0; span = spanPrev.get(span)) count++;
    const spans = new Int32Array(count);
    for (let span = last; span >= 0; span = spanPrev.get(span)) spans[--count] = span;
    return spans;
  }

  /** Spans of several traces (ascending ordinals), ascending. */
  spansOfAll(traces: Int32Array): Int32Array {
    const lists = Array.from(traces, (trace) => this.spansOf(trace));
    let length = 0;
    for (const list of lists) length += list.length;
    const spans = new Int32Array(length);
    let at = 0;
    for (const list of lists) {
      spans.set(list, at);
      at += list.length;
    }
    return spans.sort();
  }

  /** For each trace its root, the earliest span without a parent, or -1. */
  rootSpans(): Int32Array {
    if (this.roots !== undefined) return this.roots;
    const roots = new Int32Array(this.reader.traceCount).fill(-1);
    const { spanParent, spanTrace } = this.reader.vecs;
    spanParent.forEachChunk((words, first, count) => {
      for (let i = 0; i < count; i++) {
        if (words[2 * i] !== 0 || words[2 * i + 1] !== 0 || this.isChildByLink(first + i)) continue;
        const trace = spanTrace.get(first + i);
        const root = roots[trace]!;
        if (root < 0 || isEarlier(this.reader, first + i, root)) roots[trace] = first + i;
      }
    });
    this.roots = roots;
    return roots;
  }

  /** The root of one trace, as `rootSpans`, given its spans. */
  rootOf(spans: Int32Array): number {
    const { spanParent } = this.reader.vecs;
    let root = -1;
    for (const span of spans) {
      if (spanParent.get(span, 0) !== 0 || spanParent.get(span, 1) !== 0 || this.isChildByLink(span))
        continue;
      if (root < 0 || isEarlier(this.reader, span, root)) root = span;
    }
    return root;
  }

  /**
   * @param traces ascending ordinals, or undefined for all; the numbers are then in the order of
   * `spansOfAll`.
   */
  nestedSets(traces: Int32Array | undefined): NestedSetColumns {
    if (this.lastSets === undefined || this.lastSets.traces !== traces) {
      this.lastSets = { traces, columns: this.computeSets(traces) };
    }
    return this.lastSets.columns;
  }

  private computeSets(traces: Int32Array | undefined): NestedSetColumns {
    const { spanCount, traceCount } = this.reader;
    if (traces === undefined) this.group();
    const selected = traces === undefined ? undefined : this.spansOfAll(traces);
    const size = selected?.length ?? spanCount;
    const out = {
      left: new Int32Array(size),
      right: new Int32Array(size),
      parent: new Int32Array(size),
      childCount: new Int32Array(size),
    };
    const sets = new NestedSets();
    const ordered = new OrderedSpans(this.reader);
    const count = traces?.length ?? traceCount;
    for (let t = 0; t < count; t++) {
      const length = ordered.fill(this.spansOf(traces === undefined ? t : traces[t]!));
      const { spans } = ordered;
      sets.compute(length, ordered.ids, ordered.parents, ordered.kinds);
      for (let i = 0; i < length; i++) {
        const at = selected === undefined ? spans[i]! : find(selected, spans[i]!);
        out.left[at] = sets.left[i]!;
        out.right[at] = sets.right[i]!;
        out.parent[at] = sets.parent[i]!;
        out.childCount[at] = sets.childCount[i]!;
      }
    }
    return out;
  }

  /** Sorts all spans by trace, once. */
  private group(): void {
    if (this.starts !== undefined) return;
    const { spanCount, traceCount, vecs } = this.reader;
    const trace = vecs.spanTrace.toArray();
    const starts = new Int32Array(traceCount + 1);
    for (let i = 0; i < spanCount; i++) starts[trace[i]! + 1]!++;
    for (let t = 0; t < traceCount; t++) starts[t + 1]! += starts[t]!;
    const next = starts.slice();
    const spans = new Int32Array(spanCount);
    for (let i = 0; i < spanCount; i++) spans[next[trace[i]!]!++] = i;
    this.starts = starts;
    this.spans = spans;
  }

  /** OpenTracing's way to name a parent: a link within the trace that says `child_of`. */
  private isChildByLink(span: number): boolean {
    const { vecs, spanCount } = this.reader;
    const end = span + 1 < spanCount ? vecs.spanLinkStart.get(span + 1) : vecs.linkTraceId.count;
    const start = vecs.spanLinkStart.get(span);
    if (start === end) return false;
    this.refTypeKey ??= this.reader.findKey(REF_TYPE);
    if (this.refTypeKey < 0) return false;
    const wanted = (this.refTypeKey << 4) | AttrType.string;
    const traceId = this.reader.traceId(vecs.spanTrace.get(span));
    for (let link = start; link < end; link++) {
      if (!equalBytes(this.reader.str(vecs.linkTraceId.get(link)), traceId)) continue;
      const last =
        link + 1 < vecs.linkAttrStart.count ? vecs.linkAttrStart.get(link + 1) : vecs.linkAttrKey.count;
      for (let a = vecs.linkAttrStart.get(link); a < last; a++) {
        const isRefType = vecs.linkAttrKey.get(a) === wanted;
        if (isRefType && equalBytes(this.reader.str(vecs.linkAttrValue.get(a)), CHILD_OF)) return true;
      }
    }
    return false;
  }
}

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

  /** @returns how many spans there are. */
  fill(members: Int32Array): number {
    const count = members.length;
    this.reserve(count);
    if (count > INSERTED_MAX) this.sort(members);
    else this.insert(members);
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

  private insert(members: Int32Array): void {
    const { reader, spans, starts } = this;
    const { spanStart } = reader.vecs;
    for (let i = 0; i < members.length; i++) {
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

function isEarlier({ vecs }: HeadReader, a: number, b: number): boolean {
  const { spanStart, spanId } = vecs;
  const high = unsigned(spanStart, a, 1) - unsigned(spanStart, b, 1);
  const start = high || unsigned(spanStart, a, 0) - unsigned(spanStart, b, 0);
  if (start !== 0) return start < 0;
  return (spanId.get(a, 1) - spanId.get(b, 1) || spanId.get(a, 0) - spanId.get(b, 0)) < 0;
}

function unsigned(words: HeadReader['vecs']['spanStart'], span: number, word: 0 | 1): number {
  return words.get(span, word) >>> 0;
}

/** Index of `value`, which is there, in sorted `list`. */
function find(list: Int32Array, value: number): number {
  let low = 0;
  let high = list.length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (list[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
