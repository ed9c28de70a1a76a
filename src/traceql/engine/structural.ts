// Spanset operators: union and intersection by trace, and the structural operators over nested-set numbers:
// span d lies below span a when a.left < d.left and d.right < a.right; its parent is the span whose left
// is d.parent.
import type { SpansetOp, StructuralOp } from '../ast.ts';
import { Bitset } from '../../lib/bitset.ts';
import type { Vector } from '../source.ts';
import type { Scan } from './scan.ts';

/** What spans belong together: traces, or the spansets that they were split into. */
export interface Grouping {
  /** The group of each span that a side may have. */
  readonly ofSpan: Int32Array;
  readonly count: number;
}

/** The spans that `left op right` keeps in each group; groups are traces by default. Takes over both sets. */
export async function combineSpansets(
  scan: Scan,
  op: SpansetOp,
  left: Bitset,
  right: Bitset,
  groups?: Grouping,
): Promise<Bitset> {
  if (op === '||') return left.or(right);
  const grouping = groups ?? {
    ofSpan: await scan.relation('spanTrace'),
    count: scan.source.traceCount,
  };
  const both = groupsOf(left, grouping).and(groupsOf(right, grouping));
  if (op === '&&') return left.or(right).keepSources(both, grouping.ofSpan);
  return relate(scan, op, { left, right, both, grouping });
}

function groupsOf(spans: Bitset, { ofSpan, count }: Grouping): Bitset {
  return new Bitset(count).addTargets(spans, ofSpan);
}

interface Related {
  readonly left: Bitset;
  readonly right: Bitset;
  /** Groups with spans on both sides. */
  readonly both: Bitset;
  readonly grouping: Grouping;
}

/** Groups that are related before anyone asks whether the answer is still wanted. */
const GROUPS_UNASKED = 256;

type Relation = '>>' | '<<' | '>' | '<' | '~';

async function relate(scan: Scan, op: StructuralOp, related: Related): Promise<Bitset> {
  const { right, both, grouping } = related;
  const relation = op.replace(/^[!&]/, '') as Relation;
  const isNegated = op.startsWith('!');
  const result = new Bitset(right.size);
  if (isNegated) result.or(right);
  if (both.isEmpty()) return result;
  const sides = await loadSides(scan, related);
  const kept = op.startsWith('&') ? result : undefined;
  for (let group = 0; group < grouping.count; group++) {
    if (group % GROUPS_UNASKED === 0) scan.signal?.throwIfAborted();
    sides.enter(group);
    if (isNegated) sides.eachMatch(relation, (span) => result.remove(span));
    else sides.eachMatch(relation, (span) => result.add(span));
    if (kept) sides.eachLeftMatch(relation, (span) => kept.add(span));
  }
  return result;
}

async function loadSides(scan: Scan, { left, right, both, grouping }: Related): Promise<Sides> {
  const traces = (await scan.tracesOf(left)).and(await scan.tracesOf(right));
  const rows = scan.rowsOfTraces(traces.toArray());
  const names = ['span:nestedSetLeft', 'span:nestedSetRight', 'span:nestedSetParent'] as const;
  const numbers: Int32Array[] = [];
  for (const name of names) {
    const vector = await scan.vector({ kind: 'intrinsic', name }, rows);
    numbers.push(denseNumbers(vector, left.size));
  }
  const [lefts, rights, parents] = numbers as [Int32Array, Int32Array, Int32Array];
  const of = { spanTrace: grouping.ofSpan, traces: both, traceCount: grouping.count };
  return new Sides(lefts, rights, parents, groupByTrace(left, of), groupByTrace(right, of));
}

/** The number of each span; 0 = it has none. */
function denseNumbers({ owners, num, count }: Vector, spans: number): Int32Array {
  if (owners === undefined && num instanceof Int32Array) return num;
  const dense = new Int32Array(spans);
  if (num !== undefined)
    for (let i = 0; i < count; i++) dense[owners === undefined ? i : owners[i]!] = num[i]!;
  return dense;
}

/** Spans in the order of their traces: those of trace t are spans[start[t]] up to spans[start[t + 1]]. */
export interface ByTrace {
  readonly start: Int32Array;
  readonly spans: Int32Array;
}

export function groupByTrace(
  spans: Bitset,
  of: { readonly spanTrace: Int32Array; readonly traces: Bitset | undefined; readonly traceCount: number },
): ByTrace {
  const { spanTrace, traces, traceCount } = of;
  const wanted = traces === undefined ? spans : spans.clone().keepSources(traces, spanTrace);
  const start = new Int32Array(traceCount + 1);
  for (let i = wanted.next(0); i >= 0; i = wanted.next(i + 1)) start[spanTrace[i]! + 1]!++;
  for (let t = 0; t < traceCount; t++) start[t + 1]! += start[t]!;
  const next = start.slice(0, traceCount);
  const ordered = new Int32Array(start[traceCount]!);
  for (let i = wanted.next(0); i >= 0; i = wanted.next(i + 1)) ordered[next[spanTrace[i]!]!++] = i;
  return { start, spans: ordered };
}

/** Both sides of an operator, one group at a time. */
class Sides {
  private readonly lefts: Int32Array;
  private readonly rights: Int32Array;
  private readonly parents: Int32Array;
  private readonly leftSide: ByTrace;
  private readonly rightSide: ByTrace;
  private left: Int32Array = new Int32Array(0);
  private right: Int32Array = new Int32Array(0);

  constructor(
    lefts: Int32Array,
    rights: Int32Array,
    parents: Int32Array,
    leftSide: ByTrace,
    rightSide: ByTrace,
  ) {
    this.lefts = lefts;
    this.rights = rights;
    this.parents = parents;
    this.leftSide = leftSide;
    this.rightSide = rightSide;
  }

  enter(trace: number): void {
    this.left = membersOf(this.leftSide, trace);
    this.right = membersOf(this.rightSide, trace);
  }

  /** Calls with each right span that stands in the relation to some left span. */
  eachMatch(relation: Relation, visit: (span: number) => void): void {
    if (this.left.length > 0 && this.right.length > 0) this.match(relation, this.left, this.right, visit);
  }

  /** Calls with each left span to which some right span stands in the relation. */
  eachLeftMatch(relation: Relation, visit: (span: number) => void): void {
    const inverse = ({ '>>': '<<', '<<': '>>', '>': '<', '<': '>', '~': '~' } as const)[relation];
    if (this.left.length > 0 && this.right.length > 0) this.match(inverse, this.right, this.left, visit);
  }

  private match(relation: Relation, from: Int32Array, to: Int32Array, visit: (span: number) => void): void {
    switch (relation) {
      case '>>':
        return this.descendants(from, to, visit);
      case '<<':
        return this.ancestors(from, to, visit);
      case '>':
        return this.children(from, to, visit);
      case '<':
        return this.parentsOf(from, to, visit);
      case '~':
        return this.siblings(from, to, visit);
    }
  }

  private connectedByLeft(spans: Int32Array): Int32Array {
    const { lefts } = this;
    return spans.filter((span) => lefts[span] !== 0).sort((a, b) => lefts[a]! - lefts[b]!);
  }

  /** Intervals nest or are disjoint: one that began before and ends after is an ancestor. */
  private descendants(from: Int32Array, to: Int32Array, visit: (span: number) => void): void {
    const { lefts, rights } = this;
    const ancestors = this.connectedByLeft(from);
    let next = 0;
    let end = 0;
    for (const span of this.connectedByLeft(to)) {
      while (next < ancestors.length && lefts[ancestors[next]!]! < lefts[span]!) {
        end = Math.max(end, rights[ancestors[next++]!]!);
      }
      if (end > rights[span]!) visit(span);
    }
  }

  private ancestors(from: Int32Array, to: Int32Array, visit: (span: number) => void): void {
    const { lefts, rights } = this;
    const below = this.connectedByLeft(from);
    let next = 0;
    for (const span of this.connectedByLeft(to)) {
      while (next < below.length && lefts[below[next]!]! <= lefts[span]!) next++;
      if (next < below.length && lefts[below[next]!]! < rights[span]!) visit(span);
    }
  }

  private children(from: Int32Array, to: Int32Array, visit: (span: number) => void): void {
    const { lefts, parents } = this;
    const wanted = new Set<number>();
    for (const span of from) if (lefts[span] !== 0) wanted.add(lefts[span]!);
    for (const span of to) if (wanted.has(parents[span]!)) visit(span);
  }

  private parentsOf(from: Int32Array, to: Int32Array, visit: (span: number) => void): void {
    const { lefts, parents } = this;
    const wanted = new Set<number>();
    for (const span of from) if (parents[span] !== 0) wanted.add(parents[span]!);
    for (const span of to) if (wanted.has(lefts[span]!)) visit(span);
  }

  private siblings(from: Int32Array, to: Int32Array, visit: (span: number) => void): void {
    const { parents } = this;
    const inFrom = new Set<number>(from);
    const counts = new Map<number, number>();
    for (const span of from) counts.set(parents[span]!, (counts.get(parents[span]!) ?? 0) + 1);
    for (const span of to) {
      if (parents[span] === 0) continue;
      const others = (counts.get(parents[span]!) ?? 0) - (inFrom.has(span) ? 1 : 0);
      if (others > 0) visit(span);
    }
  }
}

function membersOf(side: ByTrace, trace: number): Int32Array {
  return side.spans.subarray(side.start[trace]!, side.start[trace + 1]!);
}
