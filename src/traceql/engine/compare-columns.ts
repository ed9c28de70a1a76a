// Comparison of two columns. Types decide per span: numbers compare as numbers, everything else only with
// its like.
import type { CompareOp } from '../ast.ts';
import { Bitset } from '../../lib/bitset.ts';
import { ValueType } from '../source.ts';
import { type Column, type Extra, type LaterValues, laterValues } from './column.ts';
import { compareBytes } from './bytes-tests.ts';
import { MIRRORED } from './entry-test.ts';
import type { TextPool } from './text-pool.ts';
import { isNumberType, isSafe, type Values } from './values.ts';

/** The spans that have a value. */
export function presentSpans({ type, isConstant }: Column, size: number): Bitset {
  const result = new Bitset(size);
  for (let i = 0; i < size; i++) if (type[isConstant ? 0 : i] !== ValueType.nil) result.add(i);
  return result;
}

/** The spans for which any value of `lhs` and any of `rhs` satisfy `op`. */
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
  return result;
}

/** Adds spans with several values on both sides. */
function compareLater(op: CompareOp, lhs: Column, rhs: Column, texts: TextPool, result: Bitset): void {
  const ofRight = laterValues(rhs.extra);
  for (const [span, left] of laterValues(lhs.extra)) {
    const right = ofRight.get(span);
    if (right === undefined || result.has(span)) continue;
    const lefts = deciding(op, left, right, texts);
    const rights = deciding(MIRRORED[op] ?? op, right, left, texts);
    const isMet = lefts.some((l) => rights.some((r) => accepts(op, left.extra, l, right.extra, r, texts)));
    if (isMet) result.add(span);
  }
}

/** Those that decide whether one of these values stands in the relation to one of others, in few steps. */
function deciding(
  op: CompareOp,
  { extra, begin, end }: LaterValues,
  others: LaterValues,
  texts: TextPool,
): readonly number[] {
  const all = Array.from({ length: end - begin }, (_, i) => begin + i);
  switch (op) {
    case '<':
    case '<=':
      return extremes('<', extra, all, texts);
    case '>':
    case '>=':
      return extremes('>', extra, all, texts);
    case '!=':
      return [...extremes('<', extra, all, texts), ...extremes('>', extra, all, texts)];
    case '=': {
      const keys = new Set<string>();
      for (let i = others.begin; i < others.end; i++) keys.add(keyOf(others.extra, i));
      return all.filter((i) => keys.has(keyOf(extra, i)));
    }
    default:
      return all;
  }
}

/** Equal values have equal keys. */
function keyOf(values: Values, at: number): string {
  const type = values.type[at]!;
  if (isNumberType(type)) return String(values.num[at]);
  return `${type} ${values.num[at]} ${values.text[at]}`;
}

/** The first of each kind in an order; among numbers NaN has no place. */
function extremes(order: '<' | '>', extra: Extra, all: readonly number[], texts: TextPool): number[] {
  const firsts = new Map<number, number>();
  for (const i of all) {
    const type = extra.type[i]!;
    if (type === ValueType.nil || Number.isNaN(extra.num[i])) continue;
    const kind = isNumberType(type) ? ValueType.float : type;
    const first = firsts.get(kind);
    if (first === undefined || isBefore(order, extra, i, first, texts)) firsts.set(kind, i);
  }
  return [...firsts.values()];
}

function isBefore(order: '<' | '>', values: Values, a: number, b: number, texts: TextPool): boolean {
  const isOrdered = isNumberType(values.type[a]!) || values.type[a] === ValueType.string;
  return isOrdered
    ? accepts(order, values, a, values, b, texts)
    : numbersPass(order, values.num[a]!, values.num[b]!);
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
