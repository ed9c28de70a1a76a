// The attribute values without which a query finds nothing: a source that surely lacks them need not be read.
import type { CompareOp, FieldExpr, Query, SpansetExpr, Stage, Static } from '../ast.ts';
import { type AttributeScope, ValueType } from '../source.ts';
import { isFieldRef } from './column.ts';
import { entryTest, MIRRORED } from './entry-test.ts';
import { storedFields } from './fields.ts';
import { flatten } from '../flatten.ts';

/** A value of an attribute: the bytes of a string, or an integer. */
export interface NeededValue {
  readonly scope: AttributeScope;
  readonly key: string;
  readonly value: Uint8Array | bigint;
}

/** Of each list one at least. No list: nothing is needed. */
export type NeededValues = readonly (readonly NeededValue[])[];

/** A pattern of more texts is not looked at. */
const ALTERNATIVES_MAX = 16;
const NOTHING: NeededValues = [];
const INT_MIN = -(2n ** 63n);
const INT_MAX = 2n ** 63n - 1n;

export function neededValues({ stages }: Query): NeededValues {
  const [first] = stages;
  return first === undefined ? NOTHING : ofStage(first);
}

/** What comes later sees only what the first stage leaves. */
function ofStage(stage: Stage): NeededValues {
  return stage.kind === 'filter' || stage.kind === 'spansets' || stage.kind === 'pipeline'
    ? ofSpansets(stage)
    : NOTHING;
}

function ofSpansets(expr: SpansetExpr): NeededValues {
  if (expr.kind === 'filter') return ofFilter(expr.expr);
  if (expr.kind === 'pipeline') {
    const [first] = expr.stages;
    return first === undefined ? NOTHING : ofStage(first);
  }
  const { op } = expr;
  if (op === '||') return either(ofSpansets(expr.lhs), ofSpansets(expr.rhs));
  // nothing on the left is what some spans are to have
  if (op.startsWith('!')) return ofSpansets(expr.rhs);
  return [...ofSpansets(expr.lhs), ...ofSpansets(expr.rhs)];
}

function ofFilter(expr: FieldExpr): NeededValues {
  if (expr.kind !== 'binary') return NOTHING;
  const { op, lhs, rhs } = expr;
  if (op === '&&') return flatten(expr, op).flatMap(ofFilter);
  if (op === '||') return flatten(expr, op).map(ofFilter).reduce(either);
  if (rhs.kind === 'literal') return ofComparison(lhs, op as CompareOp, rhs.value);
  const mirrored = MIRRORED[op as CompareOp];
  if (lhs.kind !== 'literal' || mirrored === undefined) return NOTHING;
  return ofComparison(rhs, mirrored, lhs.value);
}

/** One of two: a list of the one with a list of the other is needed, whichever they are. */
function either([a]: NeededValues, [b]: NeededValues): NeededValues {
  if (a === undefined || b === undefined || a.length + b.length > ALTERNATIVES_MAX) return NOTHING;
  return [[...a, ...b]];
}

function ofComparison(ref: FieldExpr, op: CompareOp, literal: Static): NeededValues {
  if (!isFieldRef(ref) || ref.kind !== 'attribute' || ref.parent) return NOTHING;
  const values = wantedValues(ref, op, literal);
  const fields = storedFields(ref).flatMap((field) => (field.kind === 'attribute' ? [field] : []));
  if (values === undefined || values.length * fields.length > ALTERNATIVES_MAX) return NOTHING;
  return [fields.flatMap(({ scope, name }) => values.map((value) => ({ scope, key: name, value })))];
}

/** undefined = any. An empty string may also stand for a value that is not there. */
function wantedValues(
  ref: Extract<FieldExpr, { kind: 'attribute' }>,
  op: CompareOp,
  literal: Static,
): readonly (Uint8Array | bigint)[] | undefined {
  if (literal.type === 'nil') return undefined;
  const test = entryTest(ref, op, literal);
  if (test.kind === 'bytes') {
    const isKnown = test.type === ValueType.string && test.equals?.every(({ length }) => length > 0) === true;
    return isKnown ? test.equals : undefined;
  }
  if (test.kind !== 'number' || test.type !== ValueType.int || test.integer === undefined) return undefined;
  if (test.less || test.greater || !test.equal) return undefined;
  const isStored = test.integer >= INT_MIN && test.integer <= INT_MAX;
  return isStored ? [test.integer] : undefined;
}
