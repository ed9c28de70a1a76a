// Evaluates expressions of constants at parse time; what does not type-check is left for validation to
// report.
import type { BinaryOp, CompareOp, FieldExpr, Static } from './ast.ts';
import { regexMatcher } from './regex.ts';
import { isNumeric, operatorAllowed, typesMatch } from './types.ts';

type Fail = (message: string) => Error;

/** `lhs op rhs`, folded when both are constants. */
export function fold(op: BinaryOp, lhs: FieldExpr, rhs: FieldExpr, fail: Fail): FieldExpr {
  const value =
    lhs.kind === 'literal' && rhs.kind === 'literal'
      ? foldStatics(op, lhs.value, rhs.value, fail)
      : undefined;
  return value ? { kind: 'literal', value } : { kind: 'binary', op, lhs, rhs };
}

export function foldUnary(op: '!' | '-', operand: FieldExpr): FieldExpr {
  if (operand.kind === 'literal') {
    const { value } = operand;
    if (op === '!' && value.type === 'bool') return bool(!value.value);
    if (op === '-' && (value.type === 'int' || value.type === 'duration')) {
      return { kind: 'literal', value: { type: value.type, value: BigInt.asIntN(64, -value.value) } };
    }
    if (op === '-' && value.type === 'float')
      return { kind: 'literal', value: { type: 'float', value: -value.value } };
  }
  return { kind: 'unary', op, operand };
}

function bool(value: boolean): FieldExpr {
  return { kind: 'literal', value: { type: 'bool', value } };
}

function foldStatics(op: BinaryOp, a: Static, b: Static, fail: Fail): Static | undefined {
  if (!typesMatch(a.type, b.type) || !operatorAllowed(op, a.type) || !operatorAllowed(op, b.type))
    return undefined;
  switch (op) {
    case '&&':
      return { type: 'bool', value: a.type === 'bool' && b.type === 'bool' && a.value && b.value };
    case '||':
      return { type: 'bool', value: a.type === 'bool' && b.type === 'bool' && (a.value || b.value) };
    case '+':
    case '-':
    case '*':
    case '/':
    case '%':
    case '^':
      return arithmetic(op, a, b, fail);
    default: {
      const value = compareStatics(op, a, b);
      return value === undefined ? undefined : { type: 'bool', value };
    }
  }
}

/** undefined: the regex is invalid. */
function compareStatics(op: CompareOp, a: Static, b: Static): boolean | undefined {
  if (a.type === 'nil' || b.type === 'nil') return false;
  if (op === '=~' || op === '!~') {
    const matcher = regexMatcher(String(b.value));
    return matcher && matcher.matchesText(String(a.value)) === (op === '=~');
  }
  const order = compareValues(a, b);
  switch (op) {
    case '=':
      return order === 0;
    case '!=':
      return order !== 0;
    case '<':
      return order < 0;
    case '<=':
      return order <= 0;
    case '>':
      return order > 0;
    case '>=':
      return order >= 0;
  }
}

function compareValues(a: Static, b: Static): number {
  if (a.type === 'nil' || b.type === 'nil') return Number.NaN;
  // bigint and number compare exactly in JavaScript
  return a.value === b.value ? 0 : a.value < b.value ? -1 : a.value > b.value ? 1 : 0;
}

function arithmetic(op: BinaryOp, a: Static, b: Static, fail: Fail): Static | undefined {
  if (a.type === 'nil' || b.type === 'nil' || !isNumeric(a.type) || !isNumeric(b.type)) return undefined;
  if (a.type === 'int' && b.type === 'int') {
    return { type: 'int', value: BigInt.asIntN(64, integerArithmetic(op, a.value, b.value, fail)) };
  }
  const value = floatArithmetic(op, Number(a.value), Number(b.value));
  // no literal stands for infinity
  if (!Number.isFinite(value)) return undefined;
  if (a.type !== 'duration' && b.type !== 'duration') return { type: 'float', value };
  return { type: 'duration', value: BigInt(Math.trunc(value)) };
}

/** Not yet cut to 64 bits. */
export function integerArithmetic(op: BinaryOp, a: bigint, b: bigint, fail: Fail = failed): bigint {
  switch (op) {
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '*':
      return a * b;
    case '^':
      return integerPower(a, b);
    default:
      if (b === 0n) throw fail('integer divide by zero');
      return op === '/' ? a / b : a % b;
  }
}

function failed(message: string): Error {
  return new Error(message);
}

/** a^b in 64 bits; negative exponents truncate to 0 (or ±1). */
function integerPower(a: bigint, b: bigint): bigint {
  if (b < 0n) return a === 1n ? 1n : a === -1n ? (b % 2n === 0n ? 1n : -1n) : 0n;
  let result = 1n;
  let base = BigInt.asIntN(64, a);
  for (let e = b; e > 0n; e >>= 1n) {
    if (e & 1n) result = BigInt.asIntN(64, result * base);
    base = BigInt.asIntN(64, base * base);
  }
  return result;
}

export function floatArithmetic(op: BinaryOp, a: number, b: number): number {
  switch (op) {
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '*':
      return a * b;
    case '/':
      return a / b;
    case '%':
      return a % b;
    default:
      return a ** b;
  }
}
