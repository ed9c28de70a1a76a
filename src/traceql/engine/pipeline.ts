// Runs the stages of a query. Between stages there are spansets: for each trace one set of spans, or several after by().
import type { SpansetExpr, Stage } from '../ast.ts';
import { Bitset } from '../../lib/bitset.ts';
import { unsupported } from '../error.ts';
import { filterSpans } from './filter.ts';
import type { ShownSpanset } from './result.ts';
import type { Scan } from './scan.ts';
import { combineSpansets } from './structural.ts';

/** The spansets of all traces: so far always one a trace, kept as one set of spans. */
export class Spansets {
  private readonly spans: Bitset;
  private readonly spanTrace: Int32Array;
  private readonly traceCount: number;

  constructor(spans: Bitset, spanTrace: Int32Array, traceCount: number) {
    this.spans = spans;
    this.spanTrace = spanTrace;
    this.traceCount = traceCount;
  }

  /** Traces with a spanset, ascending. */
  traces(): Int32Array {
    const { spans, spanTrace } = this;
    const traces = new Bitset(this.traceCount);
    for (let i = spans.next(0); i >= 0; i = spans.next(i + 1)) traces.add(spanTrace[i]!);
    return traces.toArray();
  }

  /** The spansets of some traces. */
  byTrace(wanted: Int32Array): Map<number, ShownSpanset[]> {
    const { spans, spanTrace } = this;
    const slot = new Int32Array(this.traceCount).fill(-1);
    wanted.forEach((trace, i) => (slot[trace] = i));
    const members: number[][] = Array.from(wanted, () => []);
    for (let i = spans.next(0); i >= 0; i = spans.next(i + 1)) {
      const at = slot[spanTrace[i]!]!;
      if (at >= 0) members[at]!.push(i);
    }
    return new Map(
      Array.from(wanted, (trace, i) => [trace, [{ spans: Int32Array.from(members[i]!), attributes: [] }]]),
    );
  }
}

export async function runStages(scan: Scan, stages: readonly Stage[]): Promise<Spansets> {
  let spans: Bitset | undefined;
  if (scan.traces) spans = await scan.keepTraces(Bitset.full(await scan.spanCount()), scan.traces);
  for (const stage of stages) spans = await runStage(scan, stage, spans);
  const spanTrace = await scan.relation('spanTrace');
  return new Spansets(spans!, spanTrace, scan.source.traceCount);
}

async function runStage(scan: Scan, stage: Stage, spans: Bitset | undefined): Promise<Bitset> {
  switch (stage.kind) {
    case 'filter':
    case 'spansets':
      return evaluateSpanset(scan, stage, spans);
    case 'pipeline':
      throw unsupported('wrapped pipeline');
    case 'scalarFilter':
      throw unsupported('scalar filter');
    case 'select':
      return spans ?? Bitset.full(await scan.spanCount());
    default:
      throw unsupported(`${stage.kind}()`);
  }
}

async function evaluateSpanset(scan: Scan, node: SpansetExpr, within: Bitset | undefined): Promise<Bitset> {
  if (node.kind === 'filter') return filterSpans(scan, node.expr, within);
  if (node.kind === 'pipeline') throw unsupported('wrapped pipeline');
  const left = await evaluateSpanset(scan, node.lhs, within);
  const right = await evaluateSpanset(scan, node.rhs, within);
  return combineSpansets(scan, node.op, left, right);
}
