// Conditions on events or on links that are joined within one filter: they hold for a span when one event, or
// one link, of it satisfies all of them.
import type { CompareOp, FieldExpr, FieldRef, SpansetExpr, Stage, Static } from '../ast.ts';
import { Bitset } from '../../lib/bitset.ts';
import { flatten } from '../flatten.ts';
import { isBooleanOp } from '../types.ts';
import { isFieldRef } from './column.ts';
import { type EntryTest, MIRRORED, entryTest, matchOwners, restrictionOf } from './entry-test.ts';
import { ownerOf, storedFields } from './fields.ts';
import type { Rows, Scan } from './scan.ts';

/** What a span may have several of. */
export type NestedOwner = 'event' | 'link';

/** Whose conditions an expression is made of, when these are conditions on one such owner only. */
function nestedOwnerOf(expr: FieldExpr): NestedOwner | undefined {
  if (expr.kind === 'binary' && (expr.op === '&&' || expr.op === '||')) {
    const [first, ...others] = flatten(expr, expr.op);
    const owner = nestedOwnerOf(first!);
    return others.every((other) => nestedOwnerOf(other) === owner) ? owner : undefined;
  }
  const condition = conditionOf(expr);
  if (condition === undefined) return undefined;
  const [field] = storedFields(condition.ref);
  const owner = field === undefined ? undefined : ownerOf(field);
  return owner === 'event' || owner === 'link' ? owner : undefined;
}

/** The events or links that satisfy all. @param parts conditions on one owner. */
export async function nestedConjunction(
  scan: Scan,
  parts: readonly FieldExpr[],
  rows: Rows | undefined,
): Promise<Bitset> {
  let all: Bitset | undefined;
  for (const part of parts) {
    const owners = await nestedOwners(scan, part, rows);
    all = all === undefined ? owners : all.and(owners);
    if (all.isEmpty()) break;
  }
  return all ?? new Bitset(0);
}

async function nestedOwners(scan: Scan, expr: FieldExpr, rows: Rows | undefined): Promise<Bitset> {
  if (expr.kind === 'binary' && expr.op === '&&') return nestedConjunction(scan, flatten(expr, '&&'), rows);
  if (expr.kind === 'binary' && expr.op === '||') {
    const sides: Bitset[] = [];
    for (const part of flatten(expr, '||')) sides.push(await nestedOwners(scan, part, rows));
    return sides.reduce(union);
  }
  const { ref, test } = conditionOf(expr)!;
  const [field] = storedFields(ref);
  return matchOwners(await scan.vector(field!, rows, restrictionOf(field!, [test])), test, scan);
}

export type NestedOwners = Readonly<Partial<Record<NestedOwner, Bitset>>>;

/** The events and links that satisfy joined conditions of a query's filters: their values are to be shown. */
export async function joinedOwners(
  scan: Scan,
  stages: readonly Stage[],
  rows: Rows | undefined,
): Promise<NestedOwners> {
  const found: Partial<Record<NestedOwner, Bitset>> = {};
  for (const { owner, parts } of stages.flatMap(conjunctionsOfStage).flatMap(byOwner)) {
    if (owner === undefined) continue;
    const owners = await nestedConjunction(scan, parts, rows);
    const others = found[owner];
    found[owner] = others === undefined ? owners : union(others, owners);
  }
  return found;
}

function conjunctionsOfStage(stage: Stage | SpansetExpr): (readonly FieldExpr[])[] {
  if (stage.kind === 'pipeline') return stage.stages.flatMap(conjunctionsOfStage);
  if (stage.kind === 'spansets') return [stage.lhs, stage.rhs].flatMap(conjunctionsOfStage);
  return stage.kind === 'filter' ? conjunctionsOf(stage.expr) : [];
}

function conjunctionsOf(expr: FieldExpr): (readonly FieldExpr[])[] {
  if (expr.kind === 'unary') return conjunctionsOf(expr.operand);
  if (expr.kind !== 'binary') return [];
  if (expr.op === '||') return flatten(expr, '||').flatMap(conjunctionsOf);
  if (expr.op !== '&&') return [expr.lhs, expr.rhs].flatMap(conjunctionsOf);
  const parts = flatten(expr, '&&');
  return [parts, ...parts.flatMap(conjunctionsOf)];
}

/** What holds together: conditions on events for one event of a span, those on links for one link. */
interface Group {
  /** undefined = a part alone. */
  readonly owner: NestedOwner | undefined;
  readonly parts: readonly FieldExpr[];
}

export function byOwner(parts: readonly FieldExpr[]): Group[] {
  const owned = new Map<NestedOwner, FieldExpr[]>();
  const groups: Group[] = [];
  for (const part of parts) {
    const owner = nestedOwnerOf(part);
    const others = owner === undefined ? undefined : owned.get(owner);
    if (others !== undefined) others.push(part);
    else {
      const group = { owner, parts: [part] };
      if (owner !== undefined) owned.set(owner, group.parts);
      groups.push(group);
    }
  }
  return groups.map(({ owner, parts: all }) => ({ owner: all.length > 1 ? owner : undefined, parts: all }));
}

function union(a: Bitset, b: Bitset): Bitset {
  return a.size < b.size ? b.or(a) : a.or(b);
}

interface Condition {
  readonly ref: FieldRef;
  readonly test: EntryTest;
}

/** A field that is compared with a constant, or stands for a bool. What asks for absence is no condition. */
function conditionOf(expr: FieldExpr): Condition | undefined {
  if (isFieldRef(expr)) return { ref: expr, test: entryTest(expr, '=', { type: 'bool', value: true }) };
  if (expr.kind === 'unary') {
    const { op, operand } = expr;
    if (op !== '!' || !isFieldRef(operand)) return undefined;
    return { ref: operand, test: entryTest(operand, '=', { type: 'bool', value: false }) };
  }
  if (expr.kind !== 'binary' || !isBooleanOp(expr.op)) return undefined;
  const op = expr.op as CompareOp;
  const { lhs, rhs } = expr;
  if (isFieldRef(lhs) && rhs.kind === 'literal') return comparisonWith(lhs, op, rhs.value);
  const mirrored = MIRRORED[op];
  if (isFieldRef(rhs) && lhs.kind === 'literal' && mirrored !== undefined) {
    return comparisonWith(rhs, mirrored, lhs.value);
  }
  return undefined;
}

function comparisonWith(ref: FieldRef, op: CompareOp, literal: Static): Condition | undefined {
  if (literal.type === 'nil' && op !== '!=') return undefined;
  return { ref, test: entryTest(ref, op, literal) };
}
