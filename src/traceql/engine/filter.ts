// Evaluates a filter's expression over all spans of a source into a set of spans. Conditions of a
// conjunction are tried cheapest first; what is left of the spans then limits what later ones load.
import type { CompareOp, FieldExpr, FieldRef, Static } from '../ast.ts';
import { Bitset } from '../../lib/bitset.ts';
import { flatten, operandsOf } from '../flatten.ts';
import { isId } from '../intrinsics.ts';
import { isBooleanOp } from '../types.ts';
import {
  type Column,
  arithmeticColumn,
  boolColumn,
  constantColumn,
  fieldColumn,
  idsToTexts,
  isFieldRef,
  negatedColumn,
  notColumn,
} from './column.ts';
import { compareColumns, presentSpans } from './compare-columns.ts';
import { type EntryTest, MIRRORED, entryTest, matchOwners, restrictionOf } from './entry-test.ts';
import { LOOKUP_ORDER, ownerOf, storedFields } from './fields.ts';
import { keptFilter } from './kept-filter.ts';
import { byOwner, nestedConjunction, type NestedOwner } from './nested-conditions.ts';
import type { Scan } from './scan.ts';

/** The spans of `{ expr }`, at most those in `within`. */
export async function filterSpans(scan: Scan, expr: FieldExpr, within: Bitset | undefined): Promise<Bitset> {
  if (within?.isEmpty()) return within.clone();
  const result = await keptFilter(scan, expr, within, evaluate);
  return within === undefined ? result : result.and(within);
}

/** Bits outside `within` mean nothing. The result is the caller's to change. */
async function evaluate(scan: Scan, expr: FieldExpr, within: Bitset | undefined): Promise<Bitset> {
  switch (expr.kind) {
    case 'literal': {
      const isTrue = expr.value.type === 'bool' && expr.value.value;
      const size = await scan.spanCount();
      return isTrue ? Bitset.full(size) : new Bitset(size);
    }
    case 'attribute':
    case 'intrinsic':
      return condition(scan, expr, '=', { type: 'bool', value: true }, within);
    case 'unary':
      return expr.op === '!' ? negation(scan, expr.operand, within) : nothing(scan);
    case 'binary':
      if (expr.op === '&&') return conjunction(scan, flatten(expr, '&&'), within);
      if (expr.op === '||') return disjunction(scan, flatten(expr, '||'), within);
      return isBooleanOp(expr.op) ? comparison(scan, expr, within) : nothing(scan);
  }
}

/** A number is not true. */
async function nothing(scan: Scan): Promise<Bitset> {
  return new Bitset(await scan.spanCount());
}

async function negation(scan: Scan, operand: FieldExpr, within: Bitset | undefined): Promise<Bitset> {
  // `!.a` needs an `.a` that is a bool.
  if (operand.kind === 'attribute' || operand.kind === 'intrinsic') {
    return condition(scan, operand, '=', { type: 'bool', value: false }, within);
  }
  return (await evaluate(scan, operand, within)).invert();
}

async function conjunction(
  scan: Scan,
  parts: readonly FieldExpr[],
  within: Bitset | undefined,
): Promise<Bitset> {
  const groups = byOwner(parts).map((group) => ({
    ...group,
    cost: group.parts.reduce((sum, part) => sum + costOf(part), 0),
  }));
  let left = within;
  for (const { owner, parts } of groups.sort((a, b) => a.cost - b.cost)) {
    const next =
      owner === undefined
        ? await evaluate(scan, parts[0]!, left)
        : await conditionsOfOne(scan, owner, parts, left);
    if (left !== undefined) next.and(left);
    left = next;
    if (next.isEmpty()) break;
  }
  return left!;
}

async function conditionsOfOne(
  scan: Scan,
  owner: NestedOwner,
  parts: readonly FieldExpr[],
  within: Bitset | undefined,
): Promise<Bitset> {
  const rows = await scan.rowsOf(within);
  return scan.spansOf(await nestedConjunction(scan, parts, rows), owner, within);
}

async function disjunction(
  scan: Scan,
  parts: readonly FieldExpr[],
  within: Bitset | undefined,
): Promise<Bitset> {
  let all: Bitset | undefined;
  for (const part of parts) {
    const next = await evaluate(scan, part, within);
    all = all === undefined ? next : all.or(next);
  }
  return all!;
}

function comparison(
  scan: Scan,
  expr: Extract<FieldExpr, { kind: 'binary' }>,
  within: Bitset | undefined,
): Promise<Bitset> {
  const op = expr.op as CompareOp;
  const { lhs, rhs } = expr;
  if (isFieldRef(lhs) && rhs.kind === 'literal') return condition(scan, lhs, op, rhs.value, within);
  const mirrored = MIRRORED[op];
  if (isFieldRef(rhs) && lhs.kind === 'literal' && mirrored !== undefined) {
    return condition(scan, rhs, mirrored, lhs.value, within);
  }
  return comparisonOfColumns(scan, op, lhs, rhs, within);
}

async function comparisonOfColumns(
  scan: Scan,
  op: CompareOp,
  lhs: FieldExpr,
  rhs: FieldExpr,
  within: Bitset | undefined,
): Promise<Bitset> {
  const left = await columnOf(scan, lhs, within);
  const right = await columnOf(scan, rhs, within);
  if (rhs.kind === 'literal' && rhs.value.type === 'nil') {
    const present = presentSpans(left, await scan.spanCount());
    return op === '!=' ? present : present.invert();
  }
  // beside texts, and beside ids of another length, ids are what is shown of them
  if (isId(lhs)) idsToTexts(left, scan.texts);
  if (isId(rhs)) idsToTexts(right, scan.texts);
  return compareColumns(op, left, right, await scan.spanCount(), scan.texts);
}

/** The values of an expression; spans outside `within` may have none. */
export async function columnOf(scan: Scan, expr: FieldExpr, within: Bitset | undefined): Promise<Column> {
  switch (expr.kind) {
    case 'literal':
      return constantColumn(scan, expr.value);
    case 'attribute':
    case 'intrinsic':
      return fieldColumn(scan, expr, await scan.rowsOf(within));
    case 'unary':
      if (expr.op === '-') return negatedColumn(await columnOf(scan, expr.operand, within));
      if (isFieldRef(expr.operand)) return notColumn(await columnOf(scan, expr.operand, within));
      return boolColumn(await evaluate(scan, expr, within));
    case 'binary': {
      if (isBooleanOp(expr.op)) return boolColumn(await evaluate(scan, expr, within));
      const left = await columnOf(scan, expr.lhs, within);
      const right = await columnOf(scan, expr.rhs, within);
      return arithmeticColumn(expr.op, left, right, await scan.spanCount());
    }
  }
}

/** `ref op literal`: the spans for which any value of the field passes. */
async function condition(
  scan: Scan,
  ref: FieldRef,
  op: CompareOp,
  literal: Static,
  within: Bitset | undefined,
): Promise<Bitset> {
  if (literal.type === 'nil') {
    const existing = await existingSpans(scan, ref, within);
    return op === '!=' ? existing : op === '=' ? existing.invert() : new Bitset(existing.size);
  }
  const test = entryTest(ref, op, literal);
  return ref.kind === 'attribute' && ref.scope === 'none'
    ? unscopedCondition(scan, ref, test, within)
    : fieldCondition(scan, ref, test, within);
}

/** Spans that have the field at all. */
function existingSpans(scan: Scan, ref: FieldRef, within: Bitset | undefined): Promise<Bitset> {
  return fieldCondition(scan, ref, { kind: 'exists' }, within);
}

async function fieldCondition(
  scan: Scan,
  ref: FieldRef,
  test: EntryTest,
  within: Bitset | undefined,
): Promise<Bitset> {
  const rows = await scan.rowsOf(within);
  const spans = new Bitset(await scan.spanCount());
  for (const field of storedFields(ref)) {
    const vector = await scan.vector(field, rows, restrictionOf(field, [test]));
    const owner = ownerOf(field);
    const matched = matchOwners(vector, test, {
      within: owner === 'span' ? within : undefined,
      signal: scan.signal,
    });
    const found = await scan.spansOf(matched, owner, within);
    spans.or(found);
  }
  return spans;
}

/**
 * An unscoped attribute is the one of the first scope that has it. Whether a scope has it only matters when
 * a later scope matches, so scopes are asked from the last to the first, and usually only for what matches.
 */
async function unscopedCondition(
  scan: Scan,
  ref: FieldRef,
  test: EntryTest,
  within: Bitset | undefined,
): Promise<Bitset> {
  const rows = await scan.rowsOf(within);
  const fields = storedFields(ref);
  let matched = new Bitset(await scan.spanCount());
  for (let i = LOOKUP_ORDER.length - 1; i >= 0; i--) {
    const field = fields[i]!;
    const isShadowing = !matched.isEmpty();
    const vector = await scan.vector(field, rows, restrictionOf(field, isShadowing ? [] : [test]));
    if (vector.count === 0) continue;
    if (isShadowing) {
      matched.andNot(
        await scan.spansOf(matchOwners(vector, { kind: 'exists' }, scan), ownerOf(field), within),
      );
    }
    matched = (await scan.spansOf(matchOwners(vector, test, scan), ownerOf(field), within)).or(matched);
  }
  return matched;
}

/** Rough cost of evaluating, to order the parts of a conjunction. */
function costOf(expr: FieldExpr): number {
  switch (expr.kind) {
    case 'literal':
      return 0;
    case 'attribute':
      return expr.scope === 'none'
        ? 8
        : { resource: 1, instrumentation: 2, event: 5, link: 5, span: 6 }[expr.scope];
    case 'intrinsic':
      return intrinsicCost(expr.name);
    case 'unary':
      return costOf(expr.operand) + (expr.op === '!' ? 1 : 0);
    case 'binary': {
      const operands = operandsOf(expr);
      // a disjunction seldom leaves little
      const own = expr.op === '||' ? 3 : expr.op === '=' ? 0 : 0.5;
      return operands.reduce((sum, operand) => sum + costOf(operand), own * (operands.length - 1));
    }
  }
}

function intrinsicCost(name: string): number {
  if (name.startsWith('trace:')) return 0.5;
  if (name.startsWith('instrumentation:')) return 2;
  if (name === 'span:status' || name === 'span:kind') return 2;
  return name.startsWith('span:') ? 3 : 5;
}
