// Runs the stages of a query. Before anything looks at spansets one by one they are kept as one set of spans.
import type { SpansetExpr, Stage } from '../ast.ts';
import { Bitset } from '../../lib/bitset.ts';
import { TraceqlError, unsupported } from '../error.ts';
import { printScalar, printStage } from '../print.ts';
import { Aggregates, splitSpansets } from './aggregate.ts';
import { columnOf, filterSpans } from './filter.ts';
import type { Scan } from './scan.ts';
import { Spansets } from './spansets.ts';
import { combineSpansets, type Grouping } from './structural.ts';

const SPLIT =
  'spanset operators are not supported for multiple spansets per trace. consider using coalesce()';

/** undefined = all spans; a Bitset = for each trace its spans in it; else spansets one by one. */
type State = undefined | Bitset | Spansets;

export class Matches {
  private readonly state: Bitset | Spansets;
  private readonly spanTrace: Int32Array;
  private readonly traceCount: number;

  constructor(state: Bitset | Spansets, spanTrace: Int32Array, traceCount: number) {
    this.state = state;
    this.spanTrace = spanTrace;
    this.traceCount = traceCount;
  }

  /** Traces with a spanset, ascending. */
  traces(): Int32Array {
    const { state, spanTrace } = this;
    const traces = new Bitset(this.traceCount);
    if (state instanceof Spansets) for (let g = 0; g < state.count; g++) traces.add(state.trace[g]!);
    else traces.addTargets(state, spanTrace);
    return traces.toArray();
  }

  /** All spans in a spanset. */
  spans(): Bitset {
    return this.state instanceof Spansets ? this.state.spans() : this.state;
  }

  /** The spansets of some traces. */
  spansets(wanted: Bitset): ReturnType<Spansets['byTrace']> {
    const { state } = this;
    const all =
      state instanceof Spansets ? state : Spansets.ofSpans(state, this.spanTrace, this.traceCount, wanted);
    return all.byTrace(wanted);
  }
}

export async function runStages(scan: Scan, stages: readonly Stage[]): Promise<Matches> {
  let state: State;
  if (scan.traces) state = await scan.keepTraces(Bitset.full(await scan.spanCount()), scan.traces);
  const end = await runPipeline(scan, unwrapped(stages), state);
  const spanTrace = await scan.relation('spanTrace');
  return new Matches(end, spanTrace, scan.source.traceCount);
}

/** Parentheses around the whole of a query mean nothing. */
function unwrapped(stages: readonly Stage[]): readonly Stage[] {
  const [only] = stages;
  return stages.length === 1 && only?.kind === 'pipeline' ? unwrapped(only.stages) : stages;
}

async function runPipeline(scan: Scan, stages: readonly Stage[], begin: State): Promise<Bitset | Spansets> {
  let state = begin;
  for (const stage of stages) state = await runStage(scan, stage, state);
  return state ?? Bitset.full(await scan.spanCount());
}

async function runStage(scan: Scan, stage: Stage, state: State): Promise<State> {
  switch (stage.kind) {
    case 'select':
      return state;
    case 'coalesce':
      return state instanceof Spansets ? state.spans() : state;
    case 'by': {
      const spansets = await asSpansets(scan, state);
      const column = await columnOf(scan, stage.expr, spansets.spans());
      return splitSpansets(spansets, printStage(stage), column, scan.texts);
    }
    case 'scalarFilter':
      return scalarFilter(scan, stage, state);
    default: {
      if (!(state instanceof Spansets)) return evaluateSpanset(scan, stage, state);
      const groups = stage.kind === 'spansets' && state.isSplit ? state.grouping() : undefined;
      return state.keepSpans(await evaluateSpanset(scan, stage, state.spans(), groups));
    }
  }
}

async function asSpansets(scan: Scan, state: State): Promise<Spansets> {
  if (state instanceof Spansets) return state;
  const spanTrace = await scan.relation('spanTrace');
  const spans = state ?? Bitset.full(spanTrace.length);
  return Spansets.ofSpans(spans, spanTrace, scan.source.traceCount);
}

async function scalarFilter(
  scan: Scan,
  stage: Extract<Stage, { kind: 'scalarFilter' }>,
  state: State,
): Promise<Spansets> {
  const { lhs, rhs, op } = stage;
  if (lhs.kind !== 'aggregate' || rhs.kind !== 'literal') throw unsupported('scalar filter of this form');
  const spansets = await asSpansets(scan, state);
  const column = lhs.arg && (await columnOf(scan, lhs.arg, spansets.spans()));
  const values = new Aggregates(spansets, lhs.name, column);
  const literal = rhs.value.type === 'nil' ? Number.NaN : Number(rhs.value.value);
  return spansets.pick(values.passing(op, literal), {
    key: printScalar(lhs),
    indices: Int32Array.from({ length: spansets.count }, (_, g) => g),
    valueAt: (g) => values.valueAt(g),
  });
}

/** @param groups what operators join the spans of, when it is not traces. */
async function evaluateSpanset(
  scan: Scan,
  node: SpansetExpr,
  within: Bitset | undefined,
  groups?: Grouping,
): Promise<Bitset> {
  if (node.kind === 'filter') return filterSpans(scan, node.expr, within);
  if (node.kind === 'pipeline') {
    const { spans, split } = await runWrapped(scan, node.stages, within);
    if (split !== undefined) throw new TraceqlError(SPLIT);
    return spans;
  }
  const left = await operand(scan, node.lhs, within, groups);
  const right = await operand(scan, node.rhs, within, groups);
  if (node.op !== '&&' && node.op !== '||') await refuseSplit(scan, left, right);
  return combineSpansets(scan, node.op, left.spans, right.spans, groups);
}

interface Operand {
  readonly spans: Bitset;
  /** Traces with several spansets. */
  readonly split: Bitset | undefined;
}

async function operand(
  scan: Scan,
  node: SpansetExpr,
  within: Bitset | undefined,
  groups: Grouping | undefined,
): Promise<Operand> {
  if (node.kind === 'pipeline') return runWrapped(scan, node.stages, within);
  return { spans: await evaluateSpanset(scan, node, within, groups), split: undefined };
}

/** A pipeline in parentheses. */
async function runWrapped(
  scan: Scan,
  stages: readonly Stage[],
  within: Bitset | undefined,
): Promise<Operand> {
  const end = await runPipeline(scan, stages, within);
  if (!(end instanceof Spansets)) return { spans: end.clone(), split: undefined };
  return { spans: end.spans(), split: end.isSplit ? end.splitTraces(scan.source.traceCount) : undefined };
}

/** Relations are between one spanset and one other, where there is anything on the right. */
async function refuseSplit(scan: Scan, left: Operand, right: Operand): Promise<void> {
  if (left.split === undefined && right.split === undefined) return;
  const traces = new Bitset(scan.source.traceCount);
  traces.addTargets(right.spans, await scan.relation('spanTrace'));
  const split = right.split ?? new Bitset(scan.source.traceCount);
  if (left.split !== undefined) split.or(left.split);
  if (!split.and(traces).isEmpty()) throw new TraceqlError(SPLIT);
}
