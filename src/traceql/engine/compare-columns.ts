// Comparison of two columns. Types decide per span: numbers compare as numbers, everything else only with
// its like.
import type { CompareOp } from '../ast.ts';
import { Bitset } from '../../lib/bitset.ts';
import { ValueType } from '../source.ts';
import { type Column, isNumberType } from './column.ts';
import { compareBytes } from './entry-test.ts';
import { jsonAnyValues } from './json.ts';
import type { TextPool } from './text-pool.ts';

interface Values {
  readonly exact?: BigInt64Array | undefined;
  readonly type: Uint8Array;
  readonly num: Float64Array;
  readonly text: Int32Array;
}

/**
 * The spans for which any value of `lhs` and any of `rhs` satisfy `op`. Two arrays are equal or not as a
 * whole, and have no order.
 */
export function compareColumns(
  op: CompareOp,
  lhs: Column,
  rhs: Column,
  size: number,
  texts: TextPool,
): Bitset {
  const result = new Bitset(size);
  for (let i = 0; i < size; i++) {
    if (accepts(op, lhs, lhs.isConstant ? 0 : i, rhs, rhs.isConstant ? 0 : i, texts)) result.add(i);
  }
  for (const extra of lhs.extra) {
    extra.spans.forEach((span, i) => {
      if (accepts(op, extra, i, rhs, rhs.isConstant ? 0 : span, texts)) result.add(span);
    });
  }
  for (const extra of rhs.extra) {
    extra.spans.forEach((span, i) => {
      if (accepts(op, lhs, lhs.isConstant ? 0 : span, extra, i, texts)) result.add(span);
    });
  }
  for (const [span, elements] of lhs.arrays) {
    const others = rhs.arrays.get(span);
    if (others === undefined) continue;
    const isEqual = jsonAnyValues(elements) === jsonAnyValues(others);
    if (op === '=' ? isEqual : op === '!=' && !isEqual) result.add(span);
    else result.remove(span);
  }
  return result;
}

function accepts(op: CompareOp, lhs: Values, l: number, rhs: Values, r: number, texts: TextPool): boolean {
  const leftType = lhs.type[l]!;
  const rightType = rhs.type[r]!;
  if (leftType === ValueType.int && rightType === ValueType.int && lhs.exact && rhs.exact) {
    return numbersPass(op, lhs.exact[l]!, rhs.exact[r]!);
  }
  if (isNumberType(leftType) && isNumberType(rightType)) return numbersPass(op, lhs.num[l]!, rhs.num[r]!);
  if (leftType !== rightType || leftType === ValueType.nil) return false;
  if (leftType === ValueType.string || leftType === ValueType.bytes) {
    return textsPass(op, lhs.text[l]!, rhs.text[r]!, texts);
  }
  const isEqual = lhs.num[l] === rhs.num[r];
  return op === '=' ? isEqual : op === '!=' ? !isEqual : false;
}

function numbersPass(op: CompareOp, a: number | bigint, b: number | bigint): boolean {
  switch (op) {
    case '=':
      return a === b;
    case '!=':
      return a !== b;
    case '<':
      return a < b;
    case '<=':
      return a <= b;
    case '>':
      return a > b;
    case '>=':
      return a >= b;
    default:
      return false;
  }
}

function textsPass(op: CompareOp, a: number, b: number, texts: TextPool): boolean {
  switch (op) {
    case '=':
      return a === b;
    case '!=':
      return a !== b;
    case '=~':
      return texts.matches(a, b);
    case '!~':
      return !texts.matches(a, b);
    default:
      return numbersPass(op, compareBytes(texts.bytes(a), texts.bytes(b)), 0);
  }
}
