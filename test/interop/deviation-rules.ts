// Which entries of docs/decisions/deviations.md apply to a query, so that random queries can be compared with
// real Tempo: those of REFUSED_OR_OTHER are answered otherwise, the rest is compared without what they touch.
import type {
  Attribute,
  CompareOp,
  FieldExpr,
  FieldRef,
  MetricsStage,
  Query,
  SpansetExpr,
  Stage,
  Static,
} from '../../src/traceql/ast.ts';
import { MIRRORED } from '../../src/traceql/engine/entry-test.ts';
import { STRUCTURAL_OPS } from '../../src/traceql/token-stream.ts';
import { isBooleanOp } from '../../src/traceql/types.ts';

/** Of the corpus: attributes that may hold an array. */
export const ARRAYS: ReadonlySet<string> = new Set([
  'app.flags',
  'app.shards',
  'app.weights',
  'app.switches',
  'process.args',
  'odd.list-mixed',
]);
/** Attributes that may have a column of their own. */
const OWN_COLUMNS = new Set([
  'http.method',
  'http.url',
  'http.status_code',
  'http.route',
  'k8s.namespace.name',
  'k8s.pod.name',
]);
/** Attributes that are integers in some spans and floats in others. */
const MIXED = new Set(['peer.id']);
const ORDER = new Set(['<', '<=', '>', '>=']);
const ARITHMETIC = new Set(['+', '-', '*', '/', '%', '^']);

export interface Applying {
  /** Headings of entries because of which both answers may differ in any way. */
  readonly headings: ReadonlySet<string>;
  /** Traces without a root are left out of the comparison. */
  readonly ignoresRootless: boolean;
  /** Names of attributes, and of intrinsics in full, that the query mentions. */
  readonly mentioned: ReadonlySet<string>;
}

export function deviationsOf(query: Query): Applying {
  const visitor = new Visitor();
  visitor.stages(query.stages);
  if (query.metrics !== undefined) visitor.metrics(query.metrics, query);
  visitor.together();
  const { headings, hasRelation, mentioned } = visitor;
  return { headings, ignoresRootless: hasRelation, mentioned };
}

class Visitor {
  readonly headings = new Set<string>();
  hasRelation = false;
  private readonly unscoped = new Set<string>();
  private readonly inner = new Set<string>();
  readonly mentioned = new Set<string>();
  /** Intrinsics that are compared with a constant. */
  private readonly conditions = new Set<string>();
  /** Scope and name of attributes that are. */
  private readonly scoped = new Set<string>();
  /** A condition on nested sets that holds for 0. */
  private hasZeroNestedSet = false;
  /** Attributes with a column of their own: that must be there, and by which is grouped. */
  private readonly ownPresent = new Set<string>();
  private readonly ownGroups = new Set<string>();
  private readonly ofEvents = new Set<string>();
  /** Conditions on events, and on links. */
  private eventConditions = 0;
  private linkConditions = 0;
  /** Expressions with attributes of either. */
  private nestedExpressions = 0;
  /** An intrinsic that is not just compared with a constant. */
  private hasIntrinsicExpression = false;
  /** An attribute stands for a bool. */
  private hasBareBool = false;
  private hasOr = false;
  private filters = 0;
  /** Spans are read that not all conditions hold for. */
  private hasAlternatives = false;
  private hasMixed = false;
  private hasBareTraceField = false;
  private hasGroup = false;

  stages(stages: readonly Stage[]): void {
    let isBehindSelect = false;
    let isGrouped = false;
    for (const stage of stages) {
      this.hasAlternatives ||= stage.kind !== 'filter' || stage !== stages[0];
      if (stage.kind === 'pipeline' && stages.length > 1) this.headings.add('Pipelines in parentheses');
      if (isGrouped && isRelation(stage)) this.headings.add('Relations within groups');
      if (stage.kind === 'by' || stage.kind === 'coalesce') isGrouped = stage.kind === 'by';
      if (isBehindSelect && stage.kind !== 'select' && stage.kind !== 'coalesce') {
        this.headings.add('Stages behind select');
      }
      isBehindSelect ||= stage.kind === 'select';
      this.stage(stage);
    }
  }

  metrics(stage: MetricsStage, { stages, second }: Query): void {
    this.hasGroup = true;
    if (stages.some(({ kind }) => kind === 'select')) this.headings.add('Stages behind select');
    if (stages.some(({ kind }) => kind === 'pipeline')) this.headings.add('Pipelines in parentheses');
    if (this.hasIntrinsicExpression) this.headings.add('Intrinsics in expressions');
    if (stage.kind === 'compare') return this.selection(stage.filter);
    for (const ref of [...stage.by, ...(stage.arg === undefined ? [] : [stage.arg])]) {
      if (isOfNothing(ref)) this.headings.add('Events and links that are not there');
      if (isQuoted(ref)) this.headings.add('Names in quotes');
      if (isArray(ref)) this.headings.add('Groups by arrays');
      if (isMixed(ref) && second.length > 0) this.headings.add('Ranks of values of several types');
      if (ref.kind === 'intrinsic' ? this.conditions.has(ref.name) : this.isOtherCondition(ref)) {
        this.headings.add('Fields that are conditions too');
      }
      this.ref(ref);
    }
    if (stage.arg === undefined) return;
    if (stage.name === 'sum_over_time' && stage.arg.kind === 'attribute') {
      this.headings.add('Spans that have no value');
    }
    if (isArray(stage.arg)) this.headings.add('Arithmetic with arrays');
    if (isOwnColumn(stage.arg)) this.headings.add('Absent attributes');
  }

  /** Of compare(): Tempo reads for it what a span has for being shown. */
  private selection(filter: FieldExpr): void {
    this.hasAlternatives = true;
    const isRead = (expr: FieldExpr): boolean =>
      isArray(expr) && 'name' in expr && this.mentioned.has(expr.name);
    if (mentions(filter, (expr) => isUnselective(expr) || isRead(expr)))
      this.headings.add('Selections of compare()');
    this.truth(filter);
  }

  /** Whether a condition has the attribute otherwise spelled, or there are spans that need not satisfy it. */
  private isOtherCondition(ref: Attribute): boolean {
    const own = `${ref.scope} ${ref.name}`;
    const keys = [...this.scoped].filter((key) => key.endsWith(` ${ref.name}`));
    return keys.some((key) => key !== own || (this.hasAlternatives && !isOwnColumn(ref)));
  }

  /** What follows from all mentions. */
  together(): void {
    for (const name of this.unscoped) if (this.inner.has(name)) this.headings.add('Unscoped attributes');
    const isAlone = this.mentioned.size === 1 && this.filters === 1;
    for (const name of this.ownPresent) if (this.ownGroups.has(name)) this.headings.add('Absent attributes');
    if (this.hasBareBool && this.hasOr) this.headings.add('Bools among alternatives');
    const most = Math.max(this.eventConditions, this.linkConditions);
    if (
      (this.hasAlternatives && most > 1) ||
      (this.nestedExpressions > 0 && most + this.nestedExpressions > 1)
    ) {
      this.headings.add('Several events and links');
    }
    if (this.hasMixed && this.mentioned.size > 1) this.headings.add('Numbers of another type');
    if (this.hasZeroNestedSet && !isAlone) this.headings.add('Nested sets beside other conditions');
    if (this.hasBareTraceField && this.hasGroup) this.headings.add('Groups and fields of the trace');
  }

  private stage(stage: Stage): void {
    switch (stage.kind) {
      case 'coalesce':
        return;
      case 'select':
        return stage.fields.forEach((field) => this.ref(field));
      case 'by':
        this.hasGroup = true;
        if (mentions(stage.expr, isQuoted)) this.headings.add('Names in quotes');
        if (stage.expr.kind === 'attribute' && isOwnColumn(stage.expr)) this.ownGroups.add(stage.expr.name);
        if (mentions(stage.expr, isTraceField)) this.hasBareTraceField = true;
        if (isOfNothing(stage.expr)) this.headings.add('Events and links that are not there');
        if (isArithmetic(stage.expr)) this.headings.add('Arithmetic with absent attributes');
        return this.field(stage.expr);
      case 'scalarFilter':
        if (stage.lhs.kind === 'aggregate' && stage.lhs.arg !== undefined) {
          if (isArray(stage.lhs.arg)) this.headings.add('Arithmetic with arrays');
          if (mentions(stage.lhs.arg, isTraceField)) this.hasBareTraceField = true;
          if (isOfNothing(stage.lhs.arg)) this.headings.add('Events and links that are not there');
          if (mentions(stage.lhs.arg, isQuoted)) this.headings.add('Names in quotes');
          if (stage.lhs.name === 'avg' && mentions(stage.lhs.arg, mayBeNegative))
            this.headings.add('Averages of negative integers');
          if (mentions(stage.lhs.arg, isMixed)) this.headings.add('Aggregates of several types');
          if (mentions(stage.lhs.arg, isOwnColumn)) this.headings.add('Absent attributes');
          if (isArithmetic(stage.lhs.arg)) this.headings.add('Arithmetic with absent attributes');
          this.field(stage.lhs.arg);
        }
        return;
      default:
        this.spanset(stage);
    }
  }

  private spanset(node: SpansetExpr): void {
    if (node.kind === 'filter') {
      this.filters++;
      return this.truth(node.expr);
    }
    if (node.kind === 'pipeline') return this.stages(node.stages);
    if ((node.lhs.kind === 'filter') !== (node.rhs.kind === 'filter') && hasPipeline(node)) {
      this.headings.add('Pipelines in parentheses');
    }
    if (node.op.startsWith('&') && node.op !== '&&') this.headings.add('Unions of related spans');
    if (STRUCTURAL_OPS.has(node.op)) this.hasRelation = true;
    this.spanset(node.lhs);
    this.spanset(node.rhs);
  }

  /** Where a bool is wanted. */
  private truth(expr: FieldExpr): void {
    if (expr.kind === 'attribute') {
      this.hasBareBool = true;
      if (isArray(expr)) this.headings.add('Arithmetic with arrays');
      if (isOfEvent(expr)) this.nestedCondition(expr);
    }
    this.field(expr);
  }

  private ref(ref: FieldRef): void {
    this.mentioned.add(ref.name);
    if (ref.kind === 'attribute') {
      if (ref.scope === 'none') this.unscoped.add(ref.name);
      else if (ref.scope !== 'span' && ref.scope !== 'resource') this.inner.add(ref.name);
      return;
    }
    if (ref.name === 'span:childCount') this.headings.add('Child count');
  }

  private field(expr: FieldExpr): void {
    switch (expr.kind) {
      case 'literal':
        return;
      case 'attribute':
      case 'intrinsic':
        return this.ref(expr);
      case 'unary': {
        const isPlain = expr.operand.kind === 'attribute' || expr.operand.kind === 'intrinsic';
        if (expr.op === '!') this.headings.add('Not');
        if (expr.op === '-') this.headings.add('Arithmetic with absent attributes');
        if (isPlain && isArray(expr.operand)) this.headings.add('Arithmetic with arrays');
        return this.field(expr.operand);
      }
      case 'binary':
        this.binary(expr);
    }
  }

  private binary(expr: Extract<FieldExpr, { kind: 'binary' }>): void {
    const { op, lhs, rhs } = expr;
    if (op !== '&&' && op !== '||') {
      this.field(lhs);
      this.field(rhs);
    }
    this.operator(op, lhs, rhs);
    if (ARITHMETIC.has(op)) return this.arithmetic(lhs, rhs);
    if (op === '&&' || op === '||') {
      this.truth(lhs);
      return this.truth(rhs);
    }
    if (lhs.kind === 'literal') {
      if (ORDER.has(op)) this.headings.add('Literals on the left');
      this.condition(MIRRORED[op as CompareOp] ?? op, rhs, lhs.value);
    } else if (rhs.kind === 'literal') this.condition(op, lhs, rhs.value);
    else this.fields(lhs, rhs);
  }

  private operator(op: string, lhs: FieldExpr, rhs: FieldExpr): void {
    if ((op === '=~' || op === '!~') && rhs.kind !== 'literal') this.headings.add('Patterns from attributes');
    if (op !== '&&' && op !== '||' && (isComparison(lhs) || isComparison(rhs))) {
      this.headings.add('Conditions compared with each other');
    }
    if (op === '||') this.hasOr = this.hasAlternatives = true;
    if (op === '^') this.headings.add('Powers');
    if ((op === '/' || op === '%') && mayBeZero(rhs)) this.headings.add('Division by zero');
    if (op === '||' && (isConstant(lhs) || isConstant(rhs)))
      this.headings.add('Constants among alternatives');
  }

  private arithmetic(lhs: FieldExpr, rhs: FieldExpr): void {
    if (isNestedSet(lhs) || isNestedSet(rhs)) this.hasZeroNestedSet = true;
    if (lhs.kind === 'intrinsic' || rhs.kind === 'intrinsic') this.hasIntrinsicExpression = true;
    if (isOfEvent(lhs) || isOfEvent(rhs)) this.nestedExpressions++;
    if (isArray(lhs) || isArray(rhs)) this.headings.add('Arithmetic with arrays');
    if (isTraceField(lhs) || isTraceField(rhs)) this.hasBareTraceField = true;
    if (isOfNothing(lhs) || isOfNothing(rhs)) this.headings.add('Events and links that are not there');
  }

  /** @param op with the field on its left. */
  private condition(op: string, expr: FieldExpr, value: Static): void {
    if (value.type === 'nil' && op === '=') this.headings.add('Absent attributes');
    if (isOwnColumn(expr) && op !== '=' && value.type !== 'nil') {
      this.headings.add('Absent attributes');
    }
    if (expr.kind === 'attribute') {
      this.scoped.add(`${expr.scope} ${expr.name}`);
      if (value.type === 'nil' && op === '!=' && isOwnColumn(expr)) this.ownPresent.add(expr.name);
    }
    if (isOfEvent(expr)) this.nestedCondition(expr);
    if (isMixed(expr) && isNumber(value)) this.hasMixed = true;
    if (expr.kind !== 'intrinsic') return;
    this.conditions.add(expr.name);
    if (isNestedSet(expr) && holdsForZero(op, value)) this.hasZeroNestedSet = true;
    if (isOfNothing(expr) && mayHoldForNothing(op, value)) {
      this.headings.add('Events and links that are not there');
    }
    if (value.type === 'string' && beginsWithZeros(expr.name, value.value)) {
      this.headings.add('Ids that begin with zeros');
    }
  }

  /** Of events or links. */
  private nestedCondition(expr: FieldExpr): void {
    const key = `${expr.kind} ${expr.kind === 'attribute' || expr.kind === 'intrinsic' ? expr.name : ''}`;
    if (this.ofEvents.has(key)) this.headings.add('Several events and links');
    this.ofEvents.add(key);
    if (isOfLink(expr)) this.linkConditions++;
    else this.eventConditions++;
  }

  private fields(...sides: readonly FieldExpr[]): void {
    if (sides.some(isOfEvent)) this.nestedExpressions++;
    for (const side of sides) {
      if (isTraceField(side)) this.hasBareTraceField = true;
      if (side.kind === 'intrinsic') this.hasIntrinsicExpression = true;
      if (isOwnColumn(side)) this.headings.add('Absent attributes');
      if (isOfNothing(side)) this.headings.add('Events and links that are not there');
    }
  }
}

/** Whether the empty text, 0 s or an id of zeros may satisfy it. */
function mayHoldForNothing(op: string, value: Static): boolean {
  if (value.type === 'duration') return op !== '>' && !(value.value > 0n && (op === '>=' || op === '='));
  return !(op === '=' && value.type === 'string' && value.value !== '');
}

function isRelation(stage: Stage): boolean {
  if (stage.kind !== 'spansets') return false;
  return STRUCTURAL_OPS.has(stage.op) || isRelation(stage.lhs) || isRelation(stage.rhs);
}

function hasPipeline(node: SpansetExpr): boolean {
  return (
    node.kind === 'pipeline' || (node.kind === 'spansets' && (hasPipeline(node.lhs) || hasPipeline(node.rhs)))
  );
}

function isComparison(expr: FieldExpr): boolean {
  return expr.kind === 'binary' && isBooleanOp(expr.op);
}

function isNestedSet(expr: FieldExpr): boolean {
  return expr.kind === 'intrinsic' && expr.name.startsWith('span:nestedSet');
}

function holdsForZero(op: string, value: Static): boolean {
  const number = value.type === 'int' || value.type === 'float' ? Number(value.value) : 0;
  if (op === '=') return number === 0;
  if (op === '!=') return number !== 0;
  return op.startsWith('<') ? number >= 0 : number <= 0;
}

function isQuoted(expr: FieldExpr): boolean {
  return expr.kind === 'attribute' && expr.name.includes(' ');
}

function mayBeNegative(expr: FieldExpr): boolean {
  if (expr.kind === 'intrinsic') return expr.name === 'span:nestedSetParent';
  return expr.kind === 'attribute' && expr.name.startsWith('odd.');
}

function isNumber({ type }: Static): boolean {
  return type === 'int' || type === 'float';
}

function isOwnColumn(expr: FieldExpr): boolean {
  return expr.kind === 'attribute' && OWN_COLUMNS.has(expr.name);
}

/** Is any operand such a field? */
function mentions(expr: FieldExpr, isSuch: (expr: FieldExpr) => boolean): boolean {
  if (expr.kind === 'unary') return mentions(expr.operand, isSuch);
  if (expr.kind === 'binary') return mentions(expr.lhs, isSuch) || mentions(expr.rhs, isSuch);
  return isSuch(expr);
}

function isTraceField(expr: FieldExpr): boolean {
  return expr.kind === 'intrinsic' && expr.name.startsWith('trace:');
}

/** An intrinsic of events or links, of which a span may have none. */
function isOfNothing(expr: FieldExpr): boolean {
  return expr.kind === 'intrinsic' && /^(event|link):/.test(expr.name);
}

function isOfEvent(expr: FieldExpr): boolean {
  return (
    isOfNothing(expr) || (expr.kind === 'attribute' && (expr.scope === 'event' || expr.scope === 'link'))
  );
}

function isOfLink(expr: FieldExpr): boolean {
  return expr.kind === 'intrinsic'
    ? expr.name.startsWith('link:')
    : expr.kind === 'attribute' && expr.scope === 'link';
}

function isArithmetic(expr: FieldExpr): boolean {
  return expr.kind === 'unary' ? expr.op === '-' : expr.kind === 'binary' && ARITHMETIC.has(expr.op);
}

/** Or with what was left out: ids of spans are compared as 8 bytes. */
function beginsWithZeros(field: string, text: string): boolean {
  if (!/[iI][dD]$/.test(field)) return false;
  const digits = field === 'trace:id' ? 0 : field === 'link:traceID' ? 32 : 16;
  return text.length < digits || /^(00|$)/.test(text);
}

function mayBeZero(expr: FieldExpr): boolean {
  return expr.kind !== 'literal' || !('value' in expr.value) || Number(expr.value.value) === 0;
}

/** What Tempo does not select by in compare(). */
function isUnselective(expr: FieldExpr): boolean {
  if (expr.kind === 'literal') return expr.value.type === 'nil';
  return (
    isOfEvent(expr) || isNestedSet(expr) || (expr.kind === 'intrinsic' && /ID$|^span:id$/.test(expr.name))
  );
}

function isMixed(expr: FieldExpr): boolean {
  return expr.kind === 'attribute' && MIXED.has(expr.name);
}

function isConstant(expr: FieldExpr): boolean {
  return expr.kind === 'literal';
}

function isArray(expr: FieldExpr): boolean {
  return mentions(expr, (field) => field.kind === 'attribute' && ARRAYS.has(field.name));
}
