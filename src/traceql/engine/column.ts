// Expressions that are more than `field op constant`: values of both sides as columns over spans, joined span by span.
import type { CompareOp, FieldExpr } from '../ast.ts';
import { Bitset } from '../../lib/bitset.ts';
import { unsupported } from '../error.ts';
import type { Scan } from './scan.ts';

export function truthy(_scan: Scan, _expr: FieldExpr, _within: Bitset | undefined): Promise<Bitset> {
  throw unsupported('arithmetic');
}

export function compareColumns(
  _scan: Scan, _op: CompareOp, _lhs: FieldExpr, _rhs: FieldExpr, _within: Bitset | undefined,
): Promise<Bitset> {
  throw unsupported('arithmetic');
}
