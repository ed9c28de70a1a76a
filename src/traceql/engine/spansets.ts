// Spansets of all traces as arrays: spanset g belongs to trace[g] and holds members[start[g]] up to
// start[g + 1].
import type { Static } from '../ast.ts';
import type { Bitset } from '../../lib/bitset.ts';
import { Bitset as Bits } from '../../lib/bitset.ts';
import { type Grouping, groupByTrace } from './structural.ts';

/** A value, or the elements of an array. */
type AttributeValue = Static | readonly Static[];

export interface SpansetAttribute {
  readonly key: string;
  /** For each spanset the index that `valueAt` takes: values are only made for what is shown. */
  readonly indices: Int32Array;
  valueAt(index: number): AttributeValue;
}

/** The attribute for chosen spansets, in the order of `chosen`. */
export function pickAttribute(attribute: SpansetAttribute, chosen: readonly number[]): SpansetAttribute {
  const indices = new Int32Array(chosen.length);
  for (let i = 0; i < indices.length; i++) indices[i] = attribute.indices[chosen[i]!]!;
  return { key: attribute.key, indices, valueAt: (index) => attribute.valueAt(index) };
}

/** One spanset as the result shows it. */
export interface ShownSpanset {
  readonly spans: Int32Array;
  readonly attributes: readonly { readonly key: string; readonly value: AttributeValue }[];
}

export class Spansets {
  readonly trace: Int32Array;
  readonly start: Int32Array;
  readonly members: Int32Array;
  readonly attributes: readonly SpansetAttribute[];
  readonly spanCount: number;

  constructor(
    trace: Int32Array,
    start: Int32Array,
    members: Int32Array,
    attributes: readonly SpansetAttribute[],
    spanCount: number,
  ) {
    this.trace = trace;
    this.start = start;
    this.members = members;
    this.attributes = attributes;
    this.spanCount = spanCount;
  }

  /** One spanset for each trace that has a span in the set. */
  static ofSpans(spans: Bitset, spanTrace: Int32Array, traceCount: number, traces?: Bitset): Spansets {
    const byTrace = groupByTrace(spans, { spanTrace, traces, traceCount });
    const trace: number[] = [];
    const start: number[] = [];
    for (let t = 0; t < traceCount; t++) {
      if (byTrace.start[t] === byTrace.start[t + 1]) continue;
      trace.push(t);
      start.push(byTrace.start[t]!);
    }
    start.push(byTrace.spans.length);
    return new Spansets(Int32Array.from(trace), Int32Array.from(start), byTrace.spans, [], spans.size);
  }

  get count(): number {
    return this.trace.length;
  }

  /** Is there a trace with several spansets? */
  get isSplit(): boolean {
    for (let g = 1; g < this.count; g++) if (this.trace[g] === this.trace[g - 1]) return true;
    return false;
  }

  splitTraces(traceCount: number): Bitset {
    const traces = new Bits(traceCount);
    for (let g = 1; g < this.count; g++) {
      if (this.trace[g] === this.trace[g - 1]) traces.add(this.trace[g]!);
    }
    return traces;
  }

  /** The spanset of each member; spans that are in none have no group. */
  grouping(): Grouping {
    const ofSpan = new Int32Array(this.spanCount);
    for (let g = 0; g < this.count; g++) {
      for (let i = this.start[g]!; i < this.start[g + 1]!; i++) ofSpan[this.members[i]!] = g;
    }
    return { ofSpan, count: this.count };
  }

  spans(): Bitset {
    const spans = new Bits(this.spanCount);
    for (let i = 0; i < this.members.length; i++) spans.add(this.members[i]!);
    return spans;
  }

  /** Some of the spansets, ascending, with one more attribute when given. */
  pick(chosen: readonly number[], added?: SpansetAttribute): Spansets {
    const start = new Int32Array(chosen.length + 1);
    const trace = new Int32Array(chosen.length);
    for (let i = 0; i < chosen.length; i++) {
      const g = chosen[i]!;
      start[i + 1] = start[i]! + this.start[g + 1]! - this.start[g]!;
      trace[i] = this.trace[g]!;
    }
    const members = new Int32Array(start[chosen.length]!);
    for (let i = 0; i < chosen.length; i++) members.set(this.membersOf(chosen[i]!), start[i]);
    const all = added ? [...this.attributes, added] : this.attributes;
    const attributes = all.map((attribute) => pickAttribute(attribute, chosen));
    return new Spansets(trace, start, members, attributes, this.spanCount);
  }

  /** Only the spans of `spans`; what becomes empty goes. */
  keepSpans(spans: Bitset): Spansets {
    const start = new Int32Array(this.count + 1);
    const members = new Int32Array(this.members.length);
    let n = 0;
    for (let g = 0; g < this.count; g++) {
      for (let i = this.start[g]!; i < this.start[g + 1]!; i++) {
        if (spans.has(this.members[i]!)) members[n++] = this.members[i]!;
      }
      start[g + 1] = n;
    }
    const all = new Spansets(this.trace, start, members.subarray(0, n), this.attributes, this.spanCount);
    const kept: number[] = [];
    for (let g = 0; g < this.count; g++) if (start[g] !== start[g + 1]) kept.push(g);
    return all.pick(kept);
  }

  membersOf(spanset: number): Int32Array {
    return this.members.subarray(this.start[spanset]!, this.start[spanset + 1]!);
  }

  /** The spansets of the traces in `wanted`. */
  byTrace(wanted: Bitset): Map<number, ShownSpanset[]> {
    const shown = new Map<number, ShownSpanset[]>();
    for (let g = 0; g < this.count; g++) {
      const trace = this.trace[g]!;
      if (!wanted.has(trace)) continue;
      const attributes = this.attributes.map((attribute) => ({
        key: attribute.key,
        value: attribute.valueAt(attribute.indices[g]!),
      }));
      const spanset = { spans: this.membersOf(g), attributes };
      const others = shown.get(trace);
      if (others) others.push(spanset);
      else shown.set(trace, [spanset]);
    }
    return shown;
  }
}
