// The skeleton of one row group: for its traces the resources, scopes and spans in stored order with their
// repetition levels, the nested sets, and what is summed up per trace. Attribute values are not touched here.
import { Entries } from '../../parquet/values.ts';
import type { HeadReader } from '../head/reader.ts';
import { NestedSets } from '../nested-set.ts';
import { gather32, gather64, gather8 } from './gather.ts';
import { isChildOfLinked } from './root-span.ts';
import { SpanSorter } from './span-sort.ts';

/** Things of one kind in stored order: which of the head's they are, and their levels. */
export interface Owners {
  readonly entries: Entries;
  /** Head ordinal; -1 = the entry is only a null. */
  readonly source: Int32Array;
  /** Level of each entry or of all; an entry that is no null has `level`. */
  readonly definition: Uint8Array | number;
  readonly level: number;
}

interface TraceColumns {
  /** Word pairs. */
  readonly start: Int32Array;
  readonly end: Int32Array;
  readonly duration: Int32Array;
  /** String ids, -1 = none. */
  readonly rootService: Int32Array;
  readonly rootName: Int32Array;
}

interface ServiceStats {
  readonly entries: Entries;
  readonly service: Int32Array;
  readonly spanCount: Int32Array;
  readonly errorCount: Int32Array;
}

/** Traces that are not whole, as far as their spans tell. */
export interface OddTraces {
  /** With a span that no root leads to. */
  disconnected: number;
  /** Without a root. */
  rootless: number;
}

export interface TraceRows {
  readonly pageRows: Int32Array;
  /** Head ordinals. */
  readonly traces: Int32Array;
  readonly trace: TraceColumns;
  readonly stats: ServiceStats;
  readonly resources: Owners;
  readonly scopes: Owners;
  readonly spans: Owners;
  /** By span in stored order. */
  readonly left: Int32Array;
  readonly right: Int32Array;
  readonly parent: Int32Array;
  readonly childCount: Int32Array;
  readonly odd: OddTraces;
}

export interface RowSlice {
  readonly traces: Int32Array;
  /** Spans of row r: [spanStarts[r], spanStarts[r + 1]) of `spans` (head ordinals). */
  readonly spanStarts: Int32Array;
  readonly spans: Int32Array;
  readonly pageRows: Int32Array;
}

/** First ordinals that stand for equal resources and scopes. */
export interface Canonical {
  readonly resources: Int32Array;
  readonly scopes: Int32Array;
}

const TWO32 = 4294967296;
const STATUS_ERROR = 2;

// Repetition levels at which something begins anew.
const RS = 1;
const SS = 2;
const SPAN = 3;

/** Counts of entries so far, by kind; also the page starts that are taken from them. */
interface Counts {
  resources: number;
  scopes: number;
  spans: number;
  stats: number;
}

export function buildTraceRows(head: HeadReader, canonical: Canonical, slice: RowSlice): TraceRows {
  return new TraceRowsBuilder(head, canonical, slice).build();
}

class TraceRowsBuilder {
  private readonly head: HeadReader;
  private readonly slice: RowSlice;
  // gathered by place in the slice
  private readonly resource: Int32Array;
  private readonly scope: Int32Array;
  private readonly start: Int32Array;
  private readonly duration: Int32Array;
  private readonly ids: Int32Array;
  private readonly parents: Int32Array;
  private readonly kindStatus: Uint8Array;
  private readonly sorter: SpanSorter;
  private readonly sets = new NestedSets();
  // of the trace at hand, by start
  private traceIds = new Int32Array(0);
  private traceParents = new Int32Array(0);
  private traceKinds = new Uint8Array(0);
  /** Place by start of each span of the trace at hand. */
  private traceOrder = new Int32Array(0);
  // results
  private readonly counts: Counts = { resources: 0, scopes: 0, spans: 0, stats: 0 };
  private readonly resourceSource: Int32Array;
  private readonly resourceRep: Uint8Array;
  private readonly scopeSource: Int32Array;
  private readonly scopeRep: Uint8Array;
  private readonly spanSource: Int32Array;
  private readonly spanRep: Uint8Array;
  private readonly statsRep: Uint8Array;
  private readonly statsService: Int32Array;
  private readonly statsSpans: Int32Array;
  private readonly statsErrors: Int32Array;
  private readonly nested: Readonly<Pick<TraceRows, 'left' | 'right' | 'parent' | 'childCount'>>;
  private readonly trace: TraceColumns;
  private readonly odd: OddTraces = { disconnected: 0, rootless: 0 };

  constructor(head: HeadReader, canonical: Canonical, slice: RowSlice) {
    const { vecs } = head;
    const { spans } = slice;
    const count = spans.length;
    const rows = slice.traces.length;
    this.head = head;
    this.slice = slice;
    this.resource = gather32(vecs.spanResource, spans);
    this.scope = gather32(vecs.spanScope, spans);
    for (let i = 0; i < count; i++) {
      this.resource[i] = canonical.resources[this.resource[i]];
      this.scope[i] = canonical.scopes[this.scope[i]];
    }
    this.start = gather64(vecs.spanStart, spans);
    this.duration = gather64(vecs.spanDuration, spans);
    this.parents = gather64(vecs.spanParent, spans);
    this.kindStatus = gather8(vecs.spanKindStatus, spans);
    this.ids = gather64(vecs.spanId, spans);
    this.sorter = new SpanSorter(
      { start: this.start, ids: this.ids, resource: this.resource, scope: this.scope },
      {
        resources: canonical.resources.length,
        scopes: canonical.scopes.length,
      },
    );
    this.resourceSource = new Int32Array(count);
    this.resourceRep = new Uint8Array(count);
    this.scopeSource = new Int32Array(count);
    this.scopeRep = new Uint8Array(count);
    this.spanSource = new Int32Array(count);
    this.spanRep = new Uint8Array(count);
    this.statsRep = new Uint8Array(count);
    this.statsService = new Int32Array(count);
    this.statsSpans = new Int32Array(count);
    this.statsErrors = new Int32Array(count);
    this.nested = {
      left: new Int32Array(count),
      right: new Int32Array(count),
      parent: new Int32Array(count),
      childCount: new Int32Array(count),
    };
    this.trace = {
      start: new Int32Array(rows * 2),
      end: new Int32Array(rows * 2),
      duration: new Int32Array(rows * 2),
      rootService: new Int32Array(rows).fill(-1),
      rootName: new Int32Array(rows).fill(-1),
    };
  }

  build(): TraceRows {
    const { traces, pageRows, spanStarts } = this.slice;
    const { counts, nested } = this;
    const pages = pageRows.length;
    const starts = {
      resources: new Int32Array(pages),
      scopes: new Int32Array(pages),
      spans: new Int32Array(pages),
      stats: new Int32Array(pages),
    };
    for (let page = 0; page < pages; page++) {
      starts.resources[page] = counts.resources;
      starts.scopes[page] = counts.scopes;
      starts.spans[page] = counts.spans;
      starts.stats[page] = counts.stats;
      if (page + 1 === pages) break;
      for (let row = pageRows[page]; row < pageRows[page + 1]; row++) {
        this.row(row, spanStarts[row] - spanStarts[0], spanStarts[row + 1] - spanStarts[0]);
      }
    }
    const owners = (
      source: Int32Array,
      rep: Uint8Array,
      count: number,
      pageStarts: Int32Array,
      level: number,
    ) => ({
      entries: new Entries(count, rep, pageStarts),
      source: source.subarray(0, count),
      definition: level,
      level,
    });
    return {
      pageRows,
      traces,
      trace: this.trace,
      stats: {
        entries: new Entries(counts.stats, this.statsRep, starts.stats),
        service: this.statsService,
        spanCount: this.statsSpans,
        errorCount: this.statsErrors,
      },
      resources: owners(this.resourceSource, this.resourceRep, counts.resources, starts.resources, RS),
      scopes: owners(this.scopeSource, this.scopeRep, counts.scopes, starts.scopes, SS),
      spans: owners(this.spanSource, this.spanRep, counts.spans, starts.spans, SPAN),
      ...nested,
      odd: this.odd,
    };
  }

  private row(row: number, from: number, to: number): void {
    const { sorter } = this;
    sorter.sort(from, to);
    this.number(sorter.order, sorter.count, from);
    const root = this.rootOf(row, sorter.order, sorter.count);
    sorter.group();
    this.emit(row, sorter.order, sorter.count, from);
    if (root >= 0) this.setRoot(row, root);
    else this.odd.rootless++;
    if (this.sets.left.subarray(0, sorter.count).includes(0)) this.odd.disconnected++;
  }

  /** The nested sets of a trace whose spans are given by start; `from` is the first place of any of them. */
  private number(order: Int32Array, count: number, from: number): void {
    if (this.traceKinds.length < count) {
      this.traceIds = new Int32Array(count * 4);
      this.traceParents = new Int32Array(count * 4);
      this.traceKinds = new Uint8Array(count * 2);
      this.traceOrder = new Int32Array(count * 2);
    }
    const { traceIds, traceParents, traceKinds, traceOrder } = this;
    for (let i = 0; i < count; i++) {
      const span = order[i];
      traceIds[2 * i] = this.ids[2 * span];
      traceIds[2 * i + 1] = this.ids[2 * span + 1];
      traceParents[2 * i] = this.parents[2 * span];
      traceParents[2 * i + 1] = this.parents[2 * span + 1];
      traceKinds[i] = this.kindStatus[span] & 15;
      traceOrder[span - from] = i;
    }
    this.sets.compute(count, traceIds, traceParents, traceKinds);
  }

  /** Appends the spans of a trace, given in stored order. */
  private emit(row: number, order: Int32Array, count: number, from: number): void {
    const { counts, resource, scope, slice, sets, nested, traceOrder } = this;
    const firstStats = counts.stats;
    const times = new TimeRange(this.start, this.duration);
    let lastResource = -1;
    let lastScope = -1;
    let stats = 0;
    for (let i = 0; i < count; i++) {
      const span = order[i];
      let rep = SPAN;
      if (resource[span] !== lastResource) {
        lastResource = resource[span];
        rep = i === 0 ? 0 : RS;
        this.resourceRep[counts.resources] = rep;
        this.resourceSource[counts.resources++] = lastResource;
        stats = this.statsOf(firstStats, this.head.vecs.resourceService.get(lastResource));
      } else if (scope[span] !== lastScope) {
        rep = SS;
      }
      if (rep < SPAN) {
        lastScope = scope[span];
        this.scopeRep[counts.scopes] = rep;
        this.scopeSource[counts.scopes++] = lastScope;
      }
      const place = traceOrder[span - from];
      nested.left[counts.spans] = sets.left[place];
      nested.right[counts.spans] = sets.right[place];
      nested.parent[counts.spans] = sets.parent[place];
      nested.childCount[counts.spans] = sets.childCount[place];
      this.spanRep[counts.spans] = rep;
      this.spanSource[counts.spans++] = slice.spans[span];
      this.statsSpans[stats]++;
      if (this.kindStatus[span] >>> 4 === STATUS_ERROR) this.statsErrors[stats]++;
      times.add(span);
    }
    times.write(this.trace, row);
  }

  /** The earliest span without a parent; -1 when there is none. */
  private rootOf(row: number, order: Int32Array, count: number): number {
    const { parents, slice } = this;
    for (let i = 0; i < count; i++) {
      const span = order[i];
      if (parents[2 * span] !== 0 || parents[2 * span + 1] !== 0) continue;
      if (!isChildOfLinked(this.head, slice.traces[row], slice.spans[span])) return span;
    }
    return -1;
  }

  private setRoot(row: number, span: number): void {
    const { vecs } = this.head;
    this.trace.rootName[row] = vecs.spanName.get(this.slice.spans[span]);
    this.trace.rootService[row] = vecs.resourceService.get(this.resource[span]);
  }

  /** The entry of a service in the trace whose entries begin at `first`; a trace has few. */
  private statsOf(first: number, service: number): number {
    const { counts } = this;
    for (let i = first; i < counts.stats; i++) if (this.statsService[i] === service) return i;
    this.statsRep[counts.stats] = counts.stats === first ? 0 : 1;
    this.statsService[counts.stats] = service;
    return counts.stats++;
  }
}

/** First start and last end of a trace, exact to the nanosecond. */
class TimeRange {
  private readonly starts: Int32Array;
  private readonly durations: Int32Array;
  private startHigh = 0xffffffff;
  private startLow = 0xffffffff;
  private endHigh = 0;
  private endLow = 0;

  constructor(starts: Int32Array, durations: Int32Array) {
    this.starts = starts;
    this.durations = durations;
  }

  add(span: number): void {
    const low = this.starts[2 * span] >>> 0;
    const high = this.starts[2 * span + 1] >>> 0;
    if (high < this.startHigh || (high === this.startHigh && low < this.startLow)) {
      this.startHigh = high;
      this.startLow = low;
    }
    const sum = low + (this.durations[2 * span] >>> 0);
    const endHigh = (high + (this.durations[2 * span + 1] >>> 0) + (sum >= TWO32 ? 1 : 0)) >>> 0;
    const endLow = sum >>> 0;
    if (endHigh > this.endHigh || (endHigh === this.endHigh && endLow > this.endLow)) {
      this.endHigh = endHigh;
      this.endLow = endLow;
    }
  }

  write(out: TraceColumns, row: number): void {
    const borrow = this.endLow < this.startLow ? 1 : 0;
    out.start[2 * row] = this.startLow;
    out.start[2 * row + 1] = this.startHigh;
    out.end[2 * row] = this.endLow;
    out.end[2 * row + 1] = this.endHigh;
    out.duration[2 * row] = this.endLow - this.startLow;
    out.duration[2 * row + 1] = this.endHigh - this.startHigh - borrow;
  }
}
