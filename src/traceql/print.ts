// The canonical text of a query: used in errors, as keys, and as names of spanset attributes.
import type {
  Attribute,
  BinaryOp,
  FieldExpr,
  FieldRef,
  Hint,
  MetricsStage,
  Query,
  ScalarExpr,
  SpansetExpr,
  Stage,
  Static,
} from './ast.ts';
import { formatNanos } from '../lib/duration.ts';
import { isBooleanOp } from './types.ts';

export function printQuery(query: Query): string {
  let text = printStages(query.stages);
  if (query.metrics) text += ` | ${printMetrics(query.metrics)}`;
  for (const stage of query.second) {
    if (stage.kind === 'rank') text += ` | ${stage.name}(${stage.limit})`;
    else text += ` ${stage.op} ${printStatic(stage.value)}`;
  }
  if (query.hints.length > 0) text += ` with(${query.hints.map(printHint).join(',')})`;
  return text;
}

function printHint(hint: Hint): string {
  return `${hint.name}=${printStatic(hint.value)}`;
}

function printStages(stages: readonly Stage[]): string {
  return stages.map(printStage).join('|');
}

export function printStage(stage: Stage): string {
  switch (stage.kind) {
    case 'scalarFilter':
      return `${printScalarOperand(stage.lhs)} ${stage.op} ${printScalarOperand(stage.rhs)}`;
    case 'by':
      return `by(${printField(stage.expr)})`;
    case 'coalesce':
      return 'coalesce()';
    case 'select':
      return `select(${stage.fields.map(printField).join(', ')})`;
    default:
      return printSpanset(stage);
  }
}

export function printSpanset(node: SpansetExpr): string {
  switch (node.kind) {
    case 'filter':
      return `{ ${printField(node.expr)} }`;
    case 'spansets':
      return `(${printSpanset(node.lhs)}) ${node.op} (${printSpanset(node.rhs)})`;
    case 'pipeline':
      return `(${printStages(node.stages)})`;
  }
}

export function printScalar(node: ScalarExpr): string {
  switch (node.kind) {
    case 'literal':
      return printStatic(node.value);
    case 'aggregate':
      return `${node.name}(${node.arg ? printField(node.arg) : ''})`;
    case 'scalars':
      return `${printScalarOperand(node.lhs)} ${node.op} ${printScalarOperand(node.rhs)}`;
    case 'scalarPipeline':
      return `(${[...node.stages.map(printStage), printScalar(node.result)].join('|')})`;
  }
}

function printScalarOperand(node: ScalarExpr): string {
  const text = printScalar(node);
  return node.kind === 'scalars' || (node.kind === 'literal' && text.startsWith('-')) ? `(${text})` : text;
}

function printMetrics(stage: MetricsStage): string {
  if (stage.kind === 'compare') {
    const range = stage.start === 0n && stage.end === 0n ? '' : `, ${stage.start}, ${stage.end}`;
    return `compare({ ${printField(stage.filter)} }, ${stage.topN}${range})`;
  }
  const args = [...(stage.arg ? [printField(stage.arg)] : []), ...stage.quantiles.map(printFloat)];
  const by = stage.by.length > 0 ? ` by(${stage.by.map(printField).join(',')})` : '';
  return `${stage.name}(${args.join(',')})${by}`;
}

export function printField(expr: FieldExpr): string {
  switch (expr.kind) {
    case 'literal':
      return printStatic(expr.value);
    case 'attribute':
      return printAttribute(expr);
    case 'intrinsic':
      return expr.text;
    case 'unary':
      return `${expr.op}${printUnaryOperand(expr.operand)}`;
    case 'binary':
      return printBinary(expr.op, expr.lhs, expr.rhs);
  }
}

function printBinary(op: BinaryOp, lhs: FieldExpr, rhs: FieldExpr): string {
  const rest = [` ${op} ${printOperand(rhs, op)}`];
  let first = lhs;
  // what stands to the left is in parentheses, without recursion: chains of logic may be long
  for (; isBooleanOp(op) && first.kind === 'binary' && first.op === op; first = first.lhs) {
    rest.push(` ${op} ${printOperand(first.rhs, op)})`);
  }
  return `${'('.repeat(rest.length - 1)}${printOperand(first, op)}${rest.reverse().join('')}`;
}

function printOperand(expr: FieldExpr, op: BinaryOp): string {
  const text = printField(expr);
  // A sign binds weaker than `*`, so a number that has one stands in parentheses there.
  const isSigned = expr.kind === 'unary' || (!isBooleanOp(op) && text.startsWith('-'));
  return expr.kind === 'binary' || isSigned ? `(${text})` : text;
}

function printUnaryOperand(expr: FieldExpr): string {
  const text = printField(expr);
  return expr.kind === 'binary' || expr.kind === 'unary' || text.startsWith('-') ? `(${text})` : text;
}

function printStatic(value: Static): string {
  switch (value.type) {
    case 'nil':
      return 'nil';
    case 'string':
      return printString(value.value);
    case 'duration':
      return formatNanos(value.value);
    case 'float':
      return printFloat(value.value);
    default:
      return String(value.value);
  }
}

function printString(value: string): string {
  if (!/[`\r]/.test(value)) return `\`${value}\``;
  const escaped = value.replaceAll('\\', '\\\\').replaceAll('"', '\\"');
  return `"${escaped.replaceAll('\n', '\\n').replaceAll('\r', '\\r')}"`;
}

/** Shortest form, `.0` appended to integral values. */
export function printFloat(value: number): string {
  if (value === Infinity) return '+Inf';
  if (value === -Infinity) return '-Inf';
  const text = String(value);
  return /^-?\d+$/.test(text) ? `${text}.0` : text;
}

function printAttribute(attribute: Attribute): string {
  const parent = attribute.parent ? 'parent.' : '';
  const scope = attribute.scope === 'none' ? (attribute.parent ? '' : '.') : `${attribute.scope}.`;
  return `${parent}${scope}${printName(attribute.name)}`;
}

function printName(name: string): string {
  // what begins with a digit would be a number behind a dot
  if (!/^(?:\d|$)|[\s{}()=~!<>&|^,"\\]/.test(name)) return name;
  return `"${name.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}

/** The key under which a field is returned: without scope. */
export function resultKey(field: FieldRef): string {
  return field.kind === 'intrinsic' ? field.text : field.name;
}
