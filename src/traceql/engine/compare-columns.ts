// Comparison of two columns. Types decide per span: numbers compare as numbers, everything else only with
// its like.
import type { CompareOp } from '../ast.ts';
import { Bitset } from '../../lib/bitset.ts';
import { ValueType } from '../source.ts';
import { type Column, type LaterValues, laterValues } from './column.ts';
import { compareBytes, MIRRORED } from './entry-test.ts';
import { jsonAnyValues } from './json.ts';
import type { TextPool } from './text-pool.ts';
import { isNumberType, isSafe, type Values } from './values.ts';

/**
 * The spans for which any value of `lhs` and any of `rhs` satisfy `op`. Two arrays are equal or not as a
 * whole.
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
  if (lhs.extra.length > 0 && rhs.extra.length > 0) compareLater(op, lhs, rhs, texts, result);
  if (op === '=' || op === '!=') compareArrays(op, lhs, rhs, result);
  return result;
}

/** Adds spans with several values on both sides. */
function compareLater(op: CompareOp, lhs: Column, rhs: Column, texts: TextPool, result: Bitset): void {
  const ofRight = laterValues(rhs.extra);
  for (const [span, left] of laterValues(lhs.extra)) {
    const right = ofRight.get(span);
    if (right === undefined || result.has(span)) continue;
    const lefts = deciding(op, left, texts);
    const rights = deciding(MIRRORED[op] ?? op, right, texts);
    const isMet = lefts.some((l) => rights.some((r) => accepts(op, left.extra, l, right.extra, r, texts)));
    if (isMet) result.add(span);
  }
}

/** Of values that stand left of an order only the least or the largest number and text decide. */
function deciding(op: CompareOp, { extra, begin, end }: LaterValues, texts: TextPool): readonly number[] {
  const all = Array.from({ length: end - begin }, (_, i) => begin + i);
  if (!op.startsWith('<') && !op.startsWith('>')) return all;
  const order = op.startsWith('<') ? '<' : '>';
  const first = (isOfKind: (type: number) => boolean): number[] => {
    const ofKind = all.filter((i) => isOfKind(extra.type[i]!) && extra.num[i] === extra.num[i]);
    if (ofKind.length === 0) return [];
    return [ofKind.reduce((a, b) => (accepts(order, extra, b, extra, a, texts) ? b : a))];
  };
  return [...first(isNumberType), ...first((type) => type === ValueType.string)];
}

function compareArrays(op: '=' | '!=', lhs: Column, rhs: Column, result: Bitset): void {
  for (const [span, elements] of lhs.arrays) {
    const others = rhs.arrays.get(span);
    if (others === undefined) continue;
    const isEqual = jsonAnyValues(elements) === jsonAnyValues(others);
    if (isEqual === (op === '=')) result.add(span);
    else result.remove(span);
  }
}

function accepts(op: CompareOp, lhs: Values, l: number, rhs: Values, r: number, texts: TextPool): boolean {
  const leftType = lhs.type[l]!;
  const rightType = rhs.type[r]!;
  if (isNumberType(leftType) && isNumberType(rightType)) {
    const a = lhs.num[l]!;
    const b = rhs.num[r]!;
    const isClose = a === b && !isSafe(a) && leftType === ValueType.int && rightType === ValueType.int;
    return isClose ? numbersPass(op, lhs.integerAt(l), rhs.integerAt(r)) : numbersPass(op, a, b);
  }
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
