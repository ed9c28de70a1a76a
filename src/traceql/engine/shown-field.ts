// Which fields of a span a result shows, and with which of its values.
import type { CompareOp, FieldExpr, FieldRef, Query, SpansetExpr, Stage } from '../ast.ts';
import { printField, resultKey } from '../print.ts';
import { type AttributeScope, type Owner, ValueType, type Vector } from '../source.ts';
import { COMPARE_OPS, STRUCTURAL_OPS } from '../token-stream.ts';
import { isFieldRef } from './column.ts';
import { type EntryTest, MIRRORED, entryAccepted, entryTest, restrictionOf } from './entry-test.ts';
import { LOOKUP_ORDER, ownerOf, storedFields } from './fields.ts';
import { jsonAnyValue, jsonAttribute } from './json.ts';
import { OWN_COLUMNS, WELL_KNOWN } from './own-columns.ts';
import type { Bitset } from '../../lib/bitset.ts';
import { lowerBound } from '../../lib/lower-bound.ts';
import type { NestedOwners } from './nested-conditions.ts';
import type { Rows, Scan } from './scan.ts';
import { decodeText } from '../regex.ts';
import { bytesAt, endOfOwner, firstEntry, isElementAt, staticAt, typeAt } from './value-reader.ts';
import { operandsOf } from '../flatten.ts';

/** A field that the query mentions. */
export interface ShownField {
  readonly ref: FieldRef;
  /** The conditions on it; empty when it is shown whatever its value (select, by, aggregates, arithmetic). */
  readonly tests: readonly EntryTest[];
  /** In their place, the conditions of scopes in which it has no column of its own. */
  readonly scopeTests: ReadonlyMap<AttributeScope, readonly EntryTest[]>;
  /** Shown as `nil` when absent: compared with `= nil`, or selected and well known. */
  readonly asNil: boolean;
}

interface Mention {
  readonly ref: FieldRef;
  readonly op?: CompareOp;
  readonly literal?: Extract<FieldExpr, { kind: 'literal' }>;
  readonly isSelected?: boolean;
}

function scopesOf(ref: FieldRef): readonly AttributeScope[] {
  if (ref.kind === 'intrinsic') return [];
  return ref.scope === 'none' ? LOOKUP_ORDER : [ref.scope];
}

function isWellKnown(ref: FieldRef): boolean {
  return scopesOf(ref).some((scope) => WELL_KNOWN[scope].has(ref.name));
}

/** The fields of a query in order of their first mention. */
export function shownFields(query: Query): ShownField[] {
  const mentions: Mention[] = [];
  // what is behind a select is read with what it selects
  const selectAt = query.stages.findIndex(({ kind }) => kind === 'select');
  query.stages.forEach((stage, i) => {
    const from = mentions.length;
    mentionsOfStage(stage, mentions);
    if (selectAt < 0 || i < selectAt) return;
    for (let m = from; m < mentions.length; m++) mentions[m] = { ...mentions[m]!, isSelected: true };
  });
  const byField = new Map<string, Mention[]>();
  for (const mention of mentions) {
    const key = printField(mention.ref);
    byField.set(key, [...(byField.get(key) ?? []), mention]);
  }
  const scopeTests = genericTests(mentions);
  const related = new Set(query.stages.flatMap(relationFields));
  return [...byField.values()].map((all) => {
    const { ref } = all[0]!;
    const isAnyPlain = related.has(ref.name) || all.some(({ literal }) => literal === undefined);
    const tests = isAnyPlain ? [] : all.map(testOf);
    const isNilCompared = all.some(({ op, literal }) => literal?.value.type === 'nil' && op === '=');
    const asNil = isNilCompared || (isAnyPlain && isWellKnown(ref));
    const own = isAnyPlain ? [] : genericScopes(ref);
    return {
      ref,
      tests,
      scopeTests: new Map(own.map((scope) => [scope, scopeTests.get(scope) ?? []])),
      asNil,
    };
  });
}

/** What relations are decided by, which is then at hand for every span. */
function relationFields(stage: Stage): readonly string[] {
  if (stage.kind === 'pipeline') return stage.stages.flatMap(relationFields);
  if (stage.kind !== 'spansets') return [];
  const inner = [...relationFields(stage.lhs), ...relationFields(stage.rhs)];
  if (!STRUCTURAL_OPS.has(stage.op)) return inner;
  if (stage.op.endsWith('~')) return [...inner, 'span:nestedSetParent'];
  const isDeep = stage.op.endsWith('>>') || stage.op.endsWith('<<');
  return [...inner, 'span:nestedSetLeft', isDeep ? 'span:nestedSetRight' : 'span:nestedSetParent'];
}

/**
 * Tempo reads the generic attributes of a scope together: a value is kept when it satisfies a condition on
 * any of them, and all are when one is wanted in any case. What is selected is read apart.
 */
function genericTests(mentions: readonly Mention[]): Map<AttributeScope, readonly EntryTest[]> {
  const tests = new Map<AttributeScope, EntryTest[]>();
  const plain = new Set<AttributeScope>();
  for (const mention of mentions) {
    if (mention.isSelected) continue;
    for (const scope of genericScopes(mention.ref)) {
      if (isPlain(mention)) plain.add(scope);
      else tests.set(scope, [...(tests.get(scope) ?? []), testOf(mention)]);
    }
  }
  for (const scope of plain) tests.set(scope, []);
  return tests;
}

function testOf({ ref, op, literal }: Mention): EntryTest {
  return entryTest(ref, op!, literal!.value);
}

/** Wanted whatever its value is. */
function isPlain({ op, literal }: Mention): boolean {
  return literal === undefined || (literal.value.type === 'nil' && op === '!=');
}

/** Scopes in which it has no column of its own. */
function genericScopes(ref: FieldRef): readonly AttributeScope[] {
  return scopesOf(ref).filter(
    (scope) => !WELL_KNOWN[scope].has(ref.name) && !OWN_COLUMNS[scope].has(ref.name),
  );
}

function mentionsOfStage(stage: Stage, out: Mention[]): void {
  switch (stage.kind) {
    case 'scalarFilter':
      if (stage.lhs.kind === 'aggregate' && stage.lhs.arg) mentionsOfField(stage.lhs.arg, out);
      return;
    case 'by':
      return mentionsOfField(stage.expr, out);
    case 'coalesce':
      return;
    case 'select':
      for (const ref of stage.fields) out.push({ ref, isSelected: true });
      return;
    default:
      mentionsOfSpanset(stage, out);
  }
}

function mentionsOfSpanset(node: SpansetExpr, out: Mention[]): void {
  if (node.kind === 'filter') return mentionsOfField(node.expr, out);
  if (node.kind === 'pipeline') return node.stages.forEach((stage) => mentionsOfStage(stage, out));
  mentionsOfSpanset(node.lhs, out);
  mentionsOfSpanset(node.rhs, out);
}

function mentionsOfField(expr: FieldExpr, out: Mention[]): void {
  switch (expr.kind) {
    case 'literal':
      return;
    case 'attribute':
    case 'intrinsic':
      out.push({ ref: expr });
      return;
    case 'unary':
      return mentionsOfField(expr.operand, out);
    case 'binary': {
      const { lhs, rhs } = expr;
      if (isFieldRef(lhs) && rhs.kind === 'literal' && COMPARE_OPS.has(expr.op)) {
        out.push({ ref: lhs, op: expr.op as CompareOp, literal: rhs });
        return;
      }
      const mirrored = MIRRORED[expr.op as CompareOp];
      if (isFieldRef(rhs) && lhs.kind === 'literal' && mirrored !== undefined) {
        out.push({ ref: rhs, op: mirrored, literal: lhs });
        return;
      }
      for (const operand of operandsOf(expr)) mentionsOfField(operand, out);
    }
  }
}

/** A shown field with its vectors: one for each scope that it may come from. */
export class LoadedField {
  private readonly key: string;
  private readonly field: ShownField;
  private readonly parts: readonly TestedPart[];
  /** By value. */
  private readonly attributes = new Map<string, string>();

  private constructor(field: ShownField, parts: readonly TestedPart[]) {
    this.key = resultKey(field.ref);
    this.field = field;
    this.parts = parts;
  }

  static async load(
    scan: Scan,
    field: ShownField,
    rows: Rows | undefined,
    joined: NestedOwners = {},
  ): Promise<LoadedField> {
    const parts: TestedPart[] = [];
    for (const stored of storedFields(field.ref)) {
      const scopeTests = stored.kind === 'attribute' ? field.scopeTests.get(stored.scope) : undefined;
      const tests = scopeTests ?? field.tests;
      // whether it is absent is seen in all of it only
      const restriction = restrictionOf(stored, field.asNil ? [] : tests);
      const vector = await scan.vector(stored, rows, restriction);
      const owner = ownerOf(stored);
      const first = owner === 'event' || owner === 'link' ? joined[owner] : undefined;
      if (vector.count > 0) parts.push({ part: await FieldPart.load(scan, vector, owner, first), tests });
    }
    return new LoadedField(field, parts);
  }

  /** Appends the JSON of this field of a span: of each scope that has it, what is not there yet. */
  append(attributes: string, span: number): string {
    let all = attributes;
    let isShown = false;
    for (const { part, tests } of this.parts) {
      const value = part.json(span, tests);
      if (value === '') continue;
      isShown = true;
      all = appended(all, this.attribute(value));
    }
    const isNil = !isShown && this.field.asNil && this.isAbsent(span);
    return isNil ? appended(all, this.attribute(NIL)) : all;
  }

  private isAbsent(span: number): boolean {
    return this.parts.every(({ part }) => part.json(span, []) === '');
  }

  private attribute(value: string): string {
    let attribute = this.attributes.get(value);
    if (attribute === undefined) {
      attribute = jsonAttribute(this.key, value);
      if (this.attributes.size < MEMO_MAX) this.attributes.set(value, attribute);
    }
    return attribute;
  }

  /** The text of a string field, '' when it is not shown. */
  text(span: number): string {
    const [first] = this.parts;
    return first === undefined ? '' : first.part.text(span, first.tests);
  }
}

/** Values and attributes that are made once. */
const MEMO_MAX = 4096;
const NIL = jsonAnyValue({ type: 'nil' });

/** The same attribute may be named with and without its scope. */
function appended(attributes: string, attribute: string): string {
  if (attributes === '') return attribute;
  return attributes.includes(attribute) ? attributes : `${attributes},${attribute}`;
}

interface TestedPart {
  readonly part: FieldPart;
  /** Empty = shown whatever its value. */
  readonly tests: readonly EntryTest[];
}

/** The values of a field in one scope. */
class FieldPart {
  private readonly vector: Vector;
  private readonly owner: Owner;
  /** Owner of each span, or (events, links) span of each owner. */
  private readonly relation: Int32Array | undefined;
  /** Of events or links those that are shown before others. */
  private readonly joined: Bitset | undefined;
  /** JSON by number of the string. */
  private readonly texts = new Map<number, string>();

  private constructor(
    vector: Vector,
    owner: Owner,
    relation: Int32Array | undefined,
    joined: Bitset | undefined,
  ) {
    this.vector = vector;
    this.owner = owner;
    this.relation = relation;
    this.joined = joined;
  }

  static async load(
    scan: Scan,
    vector: Vector,
    owner: Owner,
    joined: Bitset | undefined,
  ): Promise<FieldPart> {
    const relation = owner === 'span' ? undefined : await scan.relation(RELATION_OF[owner]);
    return new FieldPart(vector, owner, relation, joined);
  }

  json(span: number, tests: readonly EntryTest[]): string {
    const { owner, relation } = this;
    if (relation === undefined) return this.ofOwner(span, tests);
    if (owner !== 'event' && owner !== 'link') return this.ofOwner(relation[span]!, tests);
    // of several events or links that pass, Tempo shows the last
    const first = lowerBound(relation, span);
    const end = lowerBound(relation, span + 1);
    const { joined } = this;
    const ofJoined = joined === undefined ? '' : this.lastOf(first, end, tests, joined);
    return ofJoined === '' ? this.lastOf(first, end, tests, undefined) : ofJoined;
  }

  private lastOf(first: number, end: number, tests: readonly EntryTest[], among: Bitset | undefined): string {
    for (let index = end - 1; index >= first; index--) {
      const value = among === undefined || among.has(index) ? this.ofOwner(index, tests) : '';
      if (value !== '') return value;
    }
    return '';
  }

  /** Of a field of the span itself with one value. */
  text(span: number, tests: readonly EntryTest[]): string {
    const { vector } = this;
    const entry = firstEntry(vector, span);
    if (entry < 0) return '';
    const isShown = tests.length === 0 || tests.some((test) => entryAccepted(vector, entry, test));
    return isShown ? decodeText(bytesAt(vector, entry)) : '';
  }

  /** The JSON of an entry; that of a string is made once. */
  private valueAt(entry: number): string {
    const { vector, texts } = this;
    if (vector.str === undefined || typeAt(vector, entry) !== ValueType.string) {
      return jsonAnyValue(staticAt(vector, entry));
    }
    const id = vector.str[entry]!;
    let json = texts.get(id);
    if (json === undefined) {
      json = jsonAnyValue(staticAt(vector, entry));
      if (texts.size < MEMO_MAX) texts.set(id, json);
    }
    return json;
  }

  private ofOwner(owner: number, tests: readonly EntryTest[]): string {
    const { vector } = this;
    const first = firstEntry(vector, owner);
    if (first < 0 || typeAt(vector, first) === ValueType.nil) return '';
    const end = endOfOwner(vector, first);
    const isAll = tests.length === 0;
    if (!isElementAt(vector, first)) {
      const isShown = isAll || tests.some((test) => entryAccepted(vector, first, test));
      return isShown ? this.valueAt(first) : '';
    }
    const values: string[] = [];
    for (let i = first; i < end; i++) {
      if (isAll || tests.some((test) => entryAccepted(vector, i, test))) {
        values.push(this.valueAt(i));
      }
    }
    // of an array the elements that pass: one alone is shown as a plain value
    return isAll || values.length > 1 ? `{"arrayValue":{"values":[${values.join()}]}}` : (values[0] ?? '');
  }
}

const RELATION_OF = {
  trace: 'spanTrace',
  resource: 'spanResource',
  scope: 'spanScope',
  event: 'eventSpan',
  link: 'linkSpan',
} as const;
