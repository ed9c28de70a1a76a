// Parser of whole queries: pipelines of spanset and scalar expressions, metrics functions and hints.
// Field expressions are in parse-field.ts, checks of meaning in validate.ts.
import {
  type AggregateName,
  type ArithmeticOp,
  type FieldExpr,
  type FieldRef,
  type Hint,
  type MetricsName,
  type MetricsStage,
  type Query,
  type SampleOp,
  type ScalarExpr,
  type SecondStage,
  type SpansetExpr,
  type SpansetOp,
  type Stage,
  isSpansetExpr,
} from './ast.ts';
import { foldUnary } from './fold.ts';
import { parseFieldExpr, parseFieldRef, parseFloatToken, parseStatic } from './parse-field.ts';
import { placed } from './place.ts';
import type { RegexBudget } from './regex-budget.ts';
import { COMPARE_OPS, STRUCTURAL_OPS, TokenStream } from './token-stream.ts';

const AGGREGATES: ReadonlySet<string> = new Set(['count', 'avg', 'min', 'max', 'sum']);
const METRICS: ReadonlySet<string> = new Set([
  'rate',
  'count_over_time',
  'min_over_time',
  'max_over_time',
  'avg_over_time',
  'sum_over_time',
  'quantile_over_time',
  'histogram_over_time',
  'compare',
]);
const ARITHMETIC_OPS: ReadonlySet<string> = new Set(['+', '-', '*', '/', '%', '^']);
const SAMPLE_OPS: ReadonlySet<string> = new Set(['=', '!=', '<', '<=', '>', '>=']);
const STAGE_OPS: ReadonlySet<string> = new Set([
  ...STRUCTURAL_OPS,
  ...ARITHMETIC_OPS,
  ...COMPARE_OPS,
  '&&',
  '||',
]);
const COMPARE_TOP_N = 10;

/**
 * Throws TraceqlError. The result is not validated yet.
 * @param regexes shared by texts that are read for one request.
 */
export function parse(text: string, regexes?: RegexBudget): Query {
  return new Parser(text, regexes).query();
}

/** One field as the API takes it: `resource.service.name`, `.a`, `duration`. */
export function parseIdentifier(text: string): FieldRef {
  const stream = new TokenStream(text);
  const field = parseFieldRef(stream);
  if (!field || stream.current.kind !== 'end') throw stream.unexpected();
  return field;
}

/** What an operand or operator gives, before it is known in which role it stands. */
type Node =
  | { readonly role: 'spanset'; readonly node: SpansetExpr }
  | { readonly role: 'scalar'; readonly node: ScalarExpr }
  | { readonly role: 'filter'; readonly node: Extract<Stage, { kind: 'scalarFilter' }> };

class Parser {
  private readonly stream: TokenStream;

  constructor(text: string, regexes: RegexBudget | undefined) {
    this.stream = new TokenStream(text, regexes);
  }

  query(): Query {
    const { stream } = this;
    const stages = this.stages();
    const last = stages.at(-1);
    if (last?.role === 'scalar') throw stream.unexpected();
    let metrics: MetricsStage | undefined;
    const second: SecondStage[] = [];
    if (this.atMetrics && stream.isBehindPipe) {
      metrics = this.metricsStage();
      for (let stage = this.secondStage(); stage !== undefined; stage = this.secondStage()) {
        stream.countOperator();
        second.push(stage);
      }
    }
    const hints = this.hints();
    if (stream.current.kind !== 'end') throw stream.unexpected(...this.endExpected(metrics !== undefined));
    return { stages: stages.map((stage) => stage.node as Stage), metrics, second, hints };
  }

  /** At the end of a query goyacc names what may follow, when that is little. */
  private endExpected(afterMetrics: boolean): string[] {
    const { current } = this.stream;
    return afterMetrics || (current.kind !== 'end' && !AGGREGATES.has(current.text)) ? ['with'] : [];
  }

  private get atMetrics(): boolean {
    return this.stream.current.kind === 'keyword' && METRICS.has(this.stream.current.text);
  }

  /**
   * Stages up to a metrics function, the end or a closing parenthesis; only the last may be a bare scalar.
   */
  private stages(): ({ role: 'stage'; node: Stage } | { role: 'scalar'; node: ScalarExpr })[] {
    const { stream } = this;
    const stages: ({ role: 'stage'; node: Stage } | { role: 'scalar'; node: ScalarExpr })[] = [];
    do {
      if (stages.length > 0 && this.atMetrics) break;
      const isFirst = stages.length === 0;
      const word = stream.current.kind === 'keyword' ? stream.current.text : '';
      if (word === 'by') stages.push({ role: 'stage', node: this.byStage() });
      else if (word === 'select') stages.push({ role: 'stage', node: this.selectStage() });
      else if (word === 'coalesce' && !isFirst) stages.push({ role: 'stage', node: this.coalesceStage() });
      else {
        const expr = this.expression(0);
        if (expr.role === 'scalar') {
          stages.push(expr);
          break;
        }
        stages.push({ role: 'stage', node: expr.node });
      }
      stream.countOperator();
    } while (stream.acceptOp('|'));
    return stages;
  }

  private byStage(): Stage {
    const word = this.stream.take();
    this.stream.expectOp('(');
    const expr = parseFieldExpr(this.stream);
    if (!this.stream.acceptOp(')')) throw this.stream.unexpected();
    return placed(word, { kind: 'by' as const, expr });
  }

  private coalesceStage(): Stage {
    this.stream.take();
    this.stream.expectOp('(');
    this.stream.expectOp(')');
    return { kind: 'coalesce' };
  }

  private selectStage(): Stage {
    this.stream.take();
    this.stream.expectOp('(');
    const fields = this.fieldList();
    this.stream.expectOp(')', ',');
    return { kind: 'select', fields };
  }

  private fieldList(): FieldRef[] {
    const fields: FieldRef[] = [];
    do fields.push(this.fieldRef());
    while (this.stream.acceptOp(','));
    return fields;
  }

  private fieldRef(): FieldRef {
    const field = parseFieldRef(this.stream);
    if (!field) throw this.stream.unexpected();
    return field;
  }

  /** Spanset and scalar operators share one precedence table; which is meant follows from the operands. */
  private expression(minimum: number): Node {
    const { stream } = this;
    let lhs = this.operand();
    for (;;) {
      const found = stream.operator(STAGE_OPS, minimum);
      if (!found || lhs.role === 'filter') break;
      const op = found.token.text;
      if (!allowedAfter(lhs, op)) break;
      stream.countOperator();
      stream.take();
      if (lhs.role === 'spanset' && !stream.isOp('{') && !stream.isOp('(')) throw stream.unexpected('{', '(');
      const rhs = stream.nested(() => this.expression(op === '^' ? found.precedence : found.precedence + 1));
      const joined = join(op, lhs, rhs);
      if (!joined) throw stream.failAt(found.token, `syntax error: unexpected ${op}`);
      placed(found.token, joined.node);
      lhs = joined;
    }
    return lhs;
  }

  private operand(): Node {
    const { stream } = this;
    const { current } = stream;
    if (stream.isOp('{')) {
      return { role: 'spanset', node: placed(current, { kind: 'filter' as const, expr: this.filter() }) };
    }
    if (stream.acceptOp('(')) return stream.nested(() => this.parenthesised());
    if (current.kind === 'keyword' && AGGREGATES.has(current.text)) {
      return { role: 'scalar', node: this.aggregate(current.text as AggregateName) };
    }
    return { role: 'scalar', node: this.scalarLiteral() };
  }

  private filter(): FieldExpr {
    const { stream } = this;
    stream.expectOp('{');
    if (stream.acceptOp('}')) return { kind: 'literal', value: { type: 'bool', value: true } };
    const expr = parseFieldExpr(stream);
    if (!stream.acceptOp('}')) throw stream.unexpected();
    return expr;
  }

  private scalarLiteral(): ScalarExpr {
    const { stream } = this;
    const negative = stream.acceptOp('-');
    const { current } = stream;
    const isNumber = ['int', 'float', 'duration'].includes(current.kind);
    const value = isNumber ? parseStatic(stream) : undefined;
    if (!value) throw stream.unexpected();
    const literal = negative ? foldUnary('-', { kind: 'literal', value }) : undefined;
    return { kind: 'literal', value: literal?.kind === 'literal' ? literal.value : value };
  }

  private aggregate(name: AggregateName): ScalarExpr {
    const { stream } = this;
    const word = stream.take();
    stream.expectOp('(');
    const arg = name === 'count' ? undefined : parseFieldExpr(stream);
    if (!stream.acceptOp(')')) throw stream.unexpected();
    return placed(word, { kind: 'aggregate' as const, name, arg });
  }

  private parenthesised(): Node {
    const { stream } = this;
    // `(1 + 2)`: numbers never begin a pipeline of more than one stage
    const stages = this.stages();
    if (this.atMetrics && stream.isBehindPipe) throw stream.unexpected();
    stream.expectOp(')', '|');
    const last = stages.at(-1)!;
    const before = stages.slice(0, -1).map((stage) => stage.node as Stage);
    if (last.role === 'scalar') {
      const node =
        before.length === 0
          ? last.node
          : { kind: 'scalarPipeline' as const, stages: before, result: last.node };
      return { role: 'scalar', node };
    }
    if (before.length === 0 && isSpansetExpr(last.node)) return { role: 'spanset', node: last.node };
    return { role: 'spanset', node: { kind: 'pipeline', stages: [...before, last.node] } };
  }

  private metricsStage(): MetricsStage {
    const word = this.stream.take();
    this.stream.expectOp('(');
    const name = word.text as MetricsName | 'compare';
    return placed(word, name === 'compare' ? this.compareStage() : this.functionStage(name));
  }

  private functionStage(name: MetricsName): MetricsStage {
    const { stream } = this;
    const hasArg = name !== 'rate' && name !== 'count_over_time';
    const arg = hasArg ? this.fieldRef() : undefined;
    const quantiles = name === 'quantile_over_time' ? this.quantiles() : [];
    stream.expectOp(')');
    return { kind: 'metrics', name, arg, quantiles, by: this.byList() };
  }

  private quantiles(): number[] {
    const { stream } = this;
    const values: number[] = [];
    stream.expectOp(',');
    do {
      const { current } = stream;
      if (current.kind !== 'int' && current.kind !== 'float') throw stream.unexpected('INTEGER', 'FLOAT');
      values.push(parseFloatToken(stream, stream.take()));
    } while (stream.acceptOp(','));
    return values;
  }

  private compareStage(): MetricsStage {
    const { stream } = this;
    if (!stream.isOp('{')) throw stream.unexpected('{');
    const filter = this.filter();
    const numbers: bigint[] = [];
    while (numbers.length < 3 && stream.acceptOp(',')) {
      if (stream.current.kind !== 'int') throw stream.unexpected('INTEGER');
      const value = parseStatic(stream)!;
      numbers.push(value.type === 'int' ? value.value : 0n);
    }
    if (numbers.length === 2) throw stream.unexpected(',');
    stream.expectOp(')', ...(numbers.length < 3 ? [','] : []));
    const topN = numbers[0] === undefined ? COMPARE_TOP_N : Number(numbers[0]);
    return { kind: 'compare', filter, topN, start: numbers[1] ?? 0n, end: numbers[2] ?? 0n };
  }

  private byList(): FieldRef[] {
    if (!this.stream.isKeyword('by')) return [];
    this.stream.take();
    this.stream.expectOp('(');
    const fields = this.fieldList();
    this.stream.expectOp(')', ',');
    return fields;
  }

  private secondStage(): SecondStage | undefined {
    const { stream } = this;
    if (stream.acceptOp('|')) return this.rankStage();
    const { kind, text } = stream.current;
    return kind === 'op' && SAMPLE_OPS.has(text) ? this.samplesStage() : undefined;
  }

  private samplesStage(): SecondStage {
    const { stream } = this;
    const op = stream.take().text as SampleOp;
    const negative = stream.acceptOp('-');
    if (!['int', 'float', 'duration'].includes(stream.current.kind)) throw stream.unexpected();
    const value = parseStatic(stream)!;
    const folded = negative ? foldUnary('-', { kind: 'literal', value }) : undefined;
    return { kind: 'samples', op, value: folded?.kind === 'literal' ? folded.value : value };
  }

  private rankStage(): SecondStage {
    const { stream } = this;
    const name = stream.current.text;
    if (name !== 'topk' && name !== 'bottomk') throw stream.unexpected('topk', 'bottomk');
    const word = stream.take();
    stream.expectOp('(');
    if (stream.current.kind !== 'int') throw stream.unexpected('INTEGER');
    const limit = parseStatic(stream)!;
    stream.expectOp(')');
    return placed(word, {
      kind: 'rank' as const,
      name,
      limit: limit.type === 'int' ? Number(limit.value) : 0,
    });
  }

  /** Of several lists the last one counts. */
  private hints(): Hint[] {
    const { stream } = this;
    let hints: Hint[] = [];
    while (stream.isKeyword('with')) {
      hints = [];
      stream.take();
      stream.expectOp('(');
      do {
        if (stream.current.kind !== 'identifier') throw stream.unexpected('IDENTIFIER');
        const name = stream.take().text;
        stream.expectOp('=');
        const value = stream.isKeyword('nil') ? undefined : parseStatic(stream);
        if (!value) throw stream.unexpected();
        hints.push({ name, value });
      } while (stream.acceptOp(','));
      stream.expectOp(')', ',');
    }
    return hints;
  }
}

function allowedAfter(lhs: Node, op: string): boolean {
  if (lhs.role === 'spanset') return STRUCTURAL_OPS.has(op) || op === '&&' || op === '||';
  return ARITHMETIC_OPS.has(op) || (COMPARE_OPS.has(op) && op !== '=~' && op !== '!~');
}

function join(op: string, lhs: Node, rhs: Node): Node | undefined {
  if (lhs.role === 'spanset' && rhs.role === 'spanset') {
    return { role: 'spanset', node: { kind: 'spansets', op: op as SpansetOp, lhs: lhs.node, rhs: rhs.node } };
  }
  if (lhs.role !== 'scalar' || rhs.role !== 'scalar') return undefined;
  if (ARITHMETIC_OPS.has(op)) {
    return {
      role: 'scalar',
      node: { kind: 'scalars', op: op as ArithmeticOp, lhs: lhs.node, rhs: rhs.node },
    };
  }
  return {
    role: 'filter',
    node: { kind: 'scalarFilter', op: op as '=', lhs: lhs.node, rhs: rhs.node },
  };
}
