// Chains of `&&` or `||`, which may be as long as a query: what walks an expression takes them apart here, as
// recursion would exceed the stack.
import type { FieldExpr } from './ast.ts';

/** The operands of a chain of one operator, from left to right. */
export function flatten(expr: FieldExpr, op: '&&' | '||'): FieldExpr[] {
  const parts: FieldExpr[] = [];
  const rest = [expr];
  for (let next = rest.pop(); next !== undefined; next = rest.pop()) {
    if (next.kind === 'binary' && next.op === op) rest.push(next.rhs, next.lhs);
    else parts.push(next);
  }
  return parts;
}

/** What a binary expression is made of: of `&&` and `||` the operands of the chain, else two. */
export function operandsOf(expr: Extract<FieldExpr, { kind: 'binary' }>): readonly FieldExpr[] {
  return expr.op === '&&' || expr.op === '||' ? flatten(expr, expr.op) : [expr.lhs, expr.rhs];
}
