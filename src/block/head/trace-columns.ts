// What looking at each span of a head once, in order of arrival, tells of its traces. It grows with the head:
// unlike what the writer says of traces it is as of a snapshot.
import { withRoom } from './head-columns.ts';
import { AttrType } from './layout.ts';
import type { HeadReader } from './reader.ts';

const REF_TYPE = new TextEncoder().encode('opentracing.ref_type');
const CHILD_OF = new TextEncoder().encode('child_of');

export class TraceColumns {
  /** Of the snapshot. */
  spanCount = 0;
  traceCount = 0;
  /** Of each span the one before it in the same trace, -1 = first. */
  previous = new Int32Array(0);
  /** Of each trace its last span. */
  last = new Int32Array(0);
  /** Of each trace its root, the earliest span without a parent, or -1. */
  roots = new Int32Array(0);
  /** Of each trace how many spans it has. */
  sizes = new Int32Array(0);
  /** Words of each trace's first start and last end. */
  starts = new Uint32Array(0);
  ends = new Uint32Array(0);

  get sizeBytes(): number {
    const { previous, last, roots, sizes, starts, ends } = this;
    return [previous, last, roots, sizes, starts, ends].reduce((sum, array) => sum + array.byteLength, 0);
  }

  /** @returns whether the head has more than was known. */
  extend(reader: HeadReader): boolean {
    const { spanCount, traceCount, vecs } = reader;
    const from = this.spanCount;
    if (spanCount <= from && traceCount <= this.traceCount) return false;
    this.reserve(reader);
    this.last.fill(-1, this.traceCount, traceCount);
    this.roots.fill(-1, this.traceCount, traceCount);
    this.starts.fill(0xffff_ffff, 2 * this.traceCount, 2 * traceCount);
    vecs.spanPrev.copyTo(this.previous, from, from);
    const traces = vecs.spanTrace.slice(from);
    this.addMembers(traces, from);
    this.addTimes(traces, vecs.spanStart.slice(from), vecs.spanDuration.slice(from));
    this.addRoots(reader, traces, vecs.spanParent.slice(from), from);
    this.spanCount = spanCount;
    this.traceCount = traceCount;
    return true;
  }

  private reserve({ spanCount, traceCount }: HeadReader): void {
    const ints = (length: number): Int32Array<ArrayBuffer> => new Int32Array(length);
    const words = (length: number): Uint32Array<ArrayBuffer> => new Uint32Array(length);
    this.previous = withRoom(this.previous, spanCount, ints);
    this.last = withRoom(this.last, traceCount, ints);
    this.roots = withRoom(this.roots, traceCount, ints);
    this.sizes = withRoom(this.sizes, traceCount, ints);
    this.starts = withRoom(this.starts, 2 * traceCount, words);
    this.ends = withRoom(this.ends, 2 * traceCount, words);
  }

  private addMembers(traces: Int32Array, from: number): void {
    const { last, sizes } = this;
    for (let i = 0; i < traces.length; i++) {
      const trace = traces[i]!;
      last[trace] = from + i;
      sizes[trace]!++;
    }
  }

  private addTimes(traces: Int32Array, start: Int32Array, duration: Int32Array): void {
    const { starts, ends } = this;
    for (let i = 0; i < traces.length; i++) {
      const at = 2 * traces[i]!;
      const low = start[2 * i]! >>> 0;
      const high = start[2 * i + 1]! >>> 0;
      const first = starts[at + 1]!;
      if (high < first || (high === first && low < starts[at]!)) {
        starts[at] = low;
        starts[at + 1] = high;
      }
      const sum = low + (duration[2 * i]! >>> 0);
      const endHigh = (high + (duration[2 * i + 1]! >>> 0) + (sum > 0xffff_ffff ? 1 : 0)) >>> 0;
      const endLow = sum >>> 0;
      if (endHigh > ends[at + 1]! || (endHigh === ends[at + 1]! && endLow > ends[at]!)) {
        ends[at] = endLow;
        ends[at + 1] = endHigh;
      }
    }
  }

  private addRoots(reader: HeadReader, traces: Int32Array, parents: Int32Array, from: number): void {
    const { roots } = this;
    const links = new ParentLinks(reader);
    for (let i = 0; i < traces.length; i++) {
      if (parents[2 * i] !== 0 || parents[2 * i + 1] !== 0 || links.namesParent(from + i)) continue;
      const trace = traces[i]!;
      const root = roots[trace]!;
      if (root < 0 || isEarlier(reader, from + i, root)) roots[trace] = from + i;
    }
  }
}

/** OpenTracing's way to name a parent: a link within the trace that says `child_of`. */
class ParentLinks {
  private readonly reader: HeadReader;
  private refTypeKey: number | undefined;

  constructor(reader: HeadReader) {
    this.reader = reader;
  }

  namesParent(span: number): boolean {
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

/** By start, and where these are equal by id. */
export function isEarlier({ vecs }: HeadReader, a: number, b: number): boolean {
  const { spanStart, spanId } = vecs;
  const high = unsigned(spanStart, a, 1) - unsigned(spanStart, b, 1);
  const start = high || unsigned(spanStart, a, 0) - unsigned(spanStart, b, 0);
  if (start !== 0) return start < 0;
  return (spanId.get(a, 1) - spanId.get(b, 1) || spanId.get(a, 0) - spanId.get(b, 0)) < 0;
}

function unsigned(words: HeadReader['vecs']['spanStart'], span: number, word: 0 | 1): number {
  return words.get(span, word) >>> 0;
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
