// Static types of expressions and which operators may join them.
import type { BinaryOp, FieldExpr, StaticType } from './ast.ts';
import { intrinsicType } from './intrinsics.ts';
import { operandsOf } from './flatten.ts';

const NUMERIC: ReadonlySet<StaticType> = new Set<StaticType>(['int', 'float', 'duration']);
const ORDERED: ReadonlySet<StaticType> = new Set<StaticType>([
  'int',
  'float',
  'duration',
  'string',
  'attribute',
]);
const BOOLEAN_OPS: ReadonlySet<BinaryOp> = new Set<BinaryOp>([
  '&&',
  '||',
  '=',
  '!=',
  '<',
  '<=',
  '>',
  '>=',
  '=~',
  '!~',
]);

export function isNumeric(type: StaticType): boolean {
  return NUMERIC.has(type);
}

export function isBooleanOp(op: BinaryOp): boolean {
  return BOOLEAN_OPS.has(op);
}

export function typesMatch(a: StaticType, b: StaticType): boolean {
  if (a === 'attribute' || b === 'attribute' || a === 'nil' || b === 'nil' || a === b) return true;
  return NUMERIC.has(a) && NUMERIC.has(b);
}

/** May `op` be applied to a value of this type? */
export function operatorAllowed(op: BinaryOp, type: StaticType): boolean {
  switch (op) {
    case '=':
    case '!=':
      return true;
    case '&&':
    case '||':
      return type === 'bool' || type === 'attribute';
    case '=~':
    case '!~':
      return type === 'string' || type === 'attribute';
    case '<':
    case '<=':
    case '>':
    case '>=':
      return ORDERED.has(type);
    default:
      return NUMERIC.has(type) || type === 'attribute';
  }
}

/** Of what is made of others: each is asked for its type by all that it is a part of. */
const known = new WeakMap<FieldExpr, StaticType>();

export function typeOf(expr: FieldExpr): StaticType {
  let type = known.get(expr);
  if (type === undefined) {
    type = findType(expr);
    if (expr.kind === 'unary' || expr.kind === 'binary') known.set(expr, type);
  }
  return type;
}

function findType(expr: FieldExpr): StaticType {
  switch (expr.kind) {
    case 'literal':
      return expr.value.type;
    case 'attribute':
      return 'attribute';
    case 'intrinsic':
      return intrinsicType(expr.name);
    case 'unary':
      // as of Tempo `!.a` may be anything, though only bools can be negated
      return typeOf(expr.operand);
    case 'binary':
      return isBooleanOp(expr.op) ? 'bool' : arithmeticType(expr.lhs, expr.rhs);
  }
}

function arithmeticType(lhs: FieldExpr, rhs: FieldExpr): StaticType {
  const left = typeOf(lhs);
  const right = typeOf(rhs);
  if (left === 'attribute') return right;
  if (right === 'attribute' || left === right) return left;
  return left === 'duration' || right === 'duration' ? 'duration' : 'float';
}

/** Does the value depend on the span? */
export function referencesSpan(expr: FieldExpr): boolean {
  switch (expr.kind) {
    case 'literal':
      return false;
    case 'attribute':
    case 'intrinsic':
      return true;
    case 'unary':
      return referencesSpan(expr.operand);
    case 'binary':
      return operandsOf(expr).some(referencesSpan);
  }
}
