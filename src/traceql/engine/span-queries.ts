// Queries that look at each span by itself: a trace matches when any part of it does, wherever its other
// spans are.
import type { FieldExpr, FieldRef, Query, Stage } from '../ast.ts';
import type { Intrinsic } from '../source.ts';
import { operandsOf } from '../flatten.ts';

/** Fields that other spans of the trace have a say in. */
const OF_TRACE: ReadonlySet<Intrinsic | 'parent'> = new Set([
  'parent',
  'span:childCount',
  'span:nestedSetLeft',
  'span:nestedSetRight',
  'span:nestedSetParent',
  'trace:duration',
  'trace:rootName',
  'trace:rootService',
  'trace:start',
] as const);

/** One filter over spans, and what is shown of them. */
export function looksAtSpansOnly({ stages }: Query): boolean {
  const [first, ...rest] = stages;
  return first?.kind === 'filter' && isOfSpan(first.expr) && rest.every(isShown);
}

function isShown(stage: Stage): boolean {
  return stage.kind === 'select';
}

/** Does nothing but the span itself, and what it belongs to, decide? */
export function isOfSpan(expr: FieldExpr): boolean {
  switch (expr.kind) {
    case 'literal':
      return true;
    case 'attribute':
    case 'intrinsic':
      return isFieldOfSpan(expr);
    case 'unary':
      return isOfSpan(expr.operand);
    case 'binary':
      return operandsOf(expr).every(isOfSpan);
  }
}

function isFieldOfSpan(ref: FieldRef): boolean {
  return ref.kind === 'attribute' ? !ref.parent : !OF_TRACE.has(ref.name);
}
