// Checks of meaning that the grammar cannot make, with Tempo's texts.
import type { FieldExpr, MetricsStage, Query, ScalarExpr, SpansetExpr, Stage } from './ast.ts';
import { TraceqlError } from './error.ts';
import { isId } from './intrinsics.ts';
import { printField, printFloat, printScalar, printSpanset, printStage } from './print.ts';
import { typeHint } from './hint.ts';
import { placeText } from './place.ts';
import { regexProblem } from './regex.ts';
import { isNumeric, operatorAllowed, referencesSpan, typeOf, typesMatch } from './types.ts';

const GROUPS_MAX = 5;
/** These add a label of their own to the series. */
const GROUPS_MAX_LABELLED = 4;

/** Throws TraceqlError when the query has no meaning. */
export function validate(query: Query): void {
  validateStages(query.stages);
  if (query.metrics) validateMetrics(query.metrics);
  for (const stage of query.second) {
    if (stage.kind === 'rank' && stage.limit <= 0) throw failed(stage, 'limit must be greater than 0');
    if (query.metrics?.kind === 'compare') {
      throw failed(stage, '`compare()` cannot be used with second stage functions');
    }
  }
}

function validateStages(stages: readonly Stage[]): void {
  for (const stage of stages) validateStage(stage);
}

function validateStage(stage: Stage): void {
  switch (stage.kind) {
    case 'scalarFilter':
      return validateScalarFilter(stage);
    case 'by':
      validateField(stage.expr);
      if (!referencesSpan(stage.expr)) {
        throw failed(stage.expr, `grouping field expressions must reference the span: ${printStage(stage)}`);
      }
      return;
    case 'coalesce':
      return;
    case 'select':
      return stage.fields.forEach(validateField);
    default:
      validateSpanset(stage);
  }
}

function validateSpanset(node: SpansetExpr): void {
  switch (node.kind) {
    case 'filter':
      return validateFilter(node.expr, node);
    case 'spansets':
      validateSpanset(node.lhs);
      validateSpanset(node.rhs);
      return;
    case 'pipeline':
      validateStages(node.stages);
  }
}

/** `at` is what stands in the text where an error is told. */
function validateFilter(expr: FieldExpr, at: object): void {
  validateField(expr);
  const type = typeOf(expr);
  if (type === 'bool' || type === 'attribute') return;
  const text = printSpanset({ kind: 'filter', expr });
  throw failed(at, `span filter field expressions must resolve to a boolean: ${text}`);
}

function validateScalarFilter(stage: Extract<Stage, { kind: 'scalarFilter' }>): void {
  validateScalar(stage.lhs);
  validateScalar(stage.rhs);
  // "%v" is Tempo's own text
  if (stage.lhs.kind !== 'aggregate') throw failed(stage, 'scalar filter lhs of type (%v) not yet supported');
  if (stage.rhs.kind !== 'literal') throw failed(stage, 'scalar filter rhs of type (%v) not yet supported');
}

function validateScalar(node: ScalarExpr): void {
  switch (node.kind) {
    case 'literal':
      return;
    case 'scalars':
      validateScalar(node.lhs);
      validateScalar(node.rhs);
      return;
    case 'scalarPipeline':
      validateStages(node.stages);
      validateScalar(node.result);
      return;
    case 'aggregate': {
      if (!node.arg) return;
      validateField(node.arg);
      const type = typeOf(node.arg);
      if (type !== 'attribute' && !isNumeric(type)) {
        throw failed(node, `aggregate field expressions must resolve to a number type: ${printScalar(node)}`);
      }
      if (!referencesSpan(node.arg)) {
        throw failed(node, `aggregate field expressions must reference the span: ${printScalar(node)}`);
      }
    }
  }
}

function validateMetrics(stage: MetricsStage): void {
  if (stage.kind === 'compare') {
    validateFilter(stage.filter, stage.filter);
    if (stage.topN <= 0) throw failed(stage, 'compare() top number of values must be integer greater than 0');
    if (stage.start !== 0n && stage.end <= stage.start) {
      throw failed(stage, 'compare() end timestamp must be greater than start timestamp');
    }
    return;
  }
  if (stage.arg) validateField(stage.arg);
  stage.by.forEach(validateField);
  for (const q of stage.quantiles) {
    if (q < 0 || q > 1)
      throw failed(stage, `quantile must be between 0 and 1: ${printFloat(q).replace(/\.0$/, '')}`);
  }
  const labelled = ['avg_over_time', 'quantile_over_time', 'histogram_over_time'].includes(stage.name);
  if (stage.by.length > (labelled ? GROUPS_MAX_LABELLED : GROUPS_MAX)) {
    throw failed(stage, `metrics group by ${stage.by.length} values not yet supported`);
  }
}

function validateField(expr: FieldExpr): void {
  switch (expr.kind) {
    case 'literal':
      return;
    case 'attribute':
      if (expr.parent) throw failed(expr, 'parent not yet supported');
      return;
    case 'intrinsic':
      if (expr.name === 'parent') throw failed(expr, 'intrinsic (parent) not yet supported');
      return;
    case 'unary': {
      validateField(expr.operand);
      const type = typeOf(expr.operand);
      const allowed = type === 'attribute' || (expr.op === '!' ? type === 'bool' : isNumeric(type));
      if (!allowed) throw failed(expr, `illegal operation for the given type: ${printField(expr)}`);
      return;
    }
    case 'binary':
      validateBinary(expr);
  }
}

type Binary = Extract<FieldExpr, { kind: 'binary' }>;

/** From left to right, without recursion along a chain: those of logic may be long. */
function validateBinary(expr: Binary): void {
  const chain: Binary[] = [expr];
  for (let lhs = expr.lhs; lhs.kind === 'binary'; lhs = lhs.lhs) chain.push(lhs);
  validateField(chain.at(-1)!.lhs);
  for (const part of chain.reverse()) {
    validateField(part.rhs);
    validateOperator(part);
  }
}

function validateOperator(expr: Binary): void {
  const left = typeOf(expr.lhs);
  const right = typeOf(expr.rhs);
  if (!typesMatch(left, right)) {
    const text = `binary operations must operate on the same type: ${printField(expr)}`;
    throw failed(expr, text + typeHint(expr));
  }
  if (!operatorAllowed(expr.op, left) || !operatorAllowed(expr.op, right)) {
    throw failed(expr, `illegal operation for the given types: ${printField(expr)}`);
  }
  if (ORDER_OPS.has(expr.op) && isIdWithLiteral(expr)) {
    throw failed(expr, `operator not supported for IDs: ${expr.op}`);
  }
  if (left === 'nil' || right === 'nil') validateNil(expr.op, left === 'nil' ? expr.rhs : expr.lhs);
  if (expr.op === '=~' || expr.op === '!~') validateRegex(expr.rhs);
}

const ORDER_OPS: ReadonlySet<string> = new Set(['<', '<=', '>', '>=']);
function isIdWithLiteral({ lhs, rhs }: Binary): boolean {
  return (isId(lhs) && rhs.kind === 'literal') || (isId(rhs) && lhs.kind === 'literal');
}

function validateNil(op: string, other: FieldExpr): void {
  if (op !== '=') return;
  if (other.kind === 'intrinsic') {
    throw failed(other, `${other.text}=nil is not valid because intrinsics cannot be nil`);
  }
  if (other.kind === 'attribute' && other.scope === 'resource' && other.name === 'service.name') {
    throw failed(other, 'resource.service.name=nil is not valid because resource.service.name cannot be nil');
  }
}

function failed(node: object, message: string): TraceqlError {
  return new TraceqlError(message + placeText(node));
}

function validateRegex(pattern: FieldExpr): void {
  if (pattern.kind !== 'literal') return;
  const { value } = pattern;
  const problem = value.type === 'string' ? regexProblem(value.value) : 'no text';
  if (problem !== undefined) throw failed(pattern, `invalid regex: ${printField(pattern)}, ${problem}`);
}
