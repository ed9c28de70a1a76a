// Which fields of a span a result shows, and with which of its values.
import type { CompareOp, FieldExpr, FieldRef, Query, SpansetExpr, Stage } from '../ast.ts';
import { printField, resultKey } from '../print.ts';
import { type Owner, ValueType, type Vector } from '../source.ts';
import { COMPARE_OPS } from '../token-stream.ts';
import { type EntryTest, entryAccepted, entryTest, restrictionOf } from './entry-test.ts';
import { ownerOf, storedFields } from './fields.ts';
import { jsonAnyValue, jsonAttribute } from './json.ts';
import type { Rows, Scan } from './scan.ts';
import { decodeText } from '../regex.ts';
import { bytesAt, endOfOwner, firstEntry, isElementAt, staticAt, typeAt } from './value-reader.ts';

/** A field that the query mentions. */
export interface ShownField {
  readonly ref: FieldRef;
  /** The conditions on it; empty when it is shown whatever its value (select, by, aggregates, arithmetic). */
  readonly tests: readonly EntryTest[];
  /** Shown as `nil` when absent: compared with `= nil`, or selected and well known. */
  readonly asNil: boolean;
}

interface Mention {
  readonly ref: FieldRef;
  readonly op?: CompareOp;
  readonly literal?: Extract<FieldExpr, { kind: 'literal' }>;
}

/** Attributes with columns of their own in vParquet4: Tempo shows their absence. */
const WELL_KNOWN: Record<string, ReadonlySet<string>> = {
  span: new Set(['http.method', 'http.url', 'http.status_code']),
  resource: new Set([
    'cluster',
    'namespace',
    'pod',
    'container',
    'k8s.cluster.name',
    'k8s.namespace.name',
    'k8s.pod.name',
    'k8s.container.name',
  ]),
};

function isWellKnown(ref: FieldRef): boolean {
  if (ref.kind === 'intrinsic') return false;
  const scopes = ref.scope === 'none' ? ['span', 'resource'] : [ref.scope];
  return scopes.some((scope) => WELL_KNOWN[scope]?.has(ref.name));
}

/** The fields of a query in order of their first mention. */
export function shownFields(query: Query): ShownField[] {
  const mentions: Mention[] = [];
  query.stages.forEach((stage) => mentionsOfStage(stage, mentions));
  const byField = new Map<string, Mention[]>();
  for (const mention of mentions) {
    const key = printField(mention.ref);
    byField.set(key, [...(byField.get(key) ?? []), mention]);
  }
  // Tempo does not choose generic attributes of spans by their value as soon as it wants one of them in
  // any case.
  const isAnyPlain = mentions.some((mention) => isPlainMention(mention) && isGeneric(mention.ref));
  return [...byField.values()].map((all) => {
    const isPlain = all.some(isPlainMention) || (isAnyPlain && isGeneric(all[0]!.ref));
    const tests = isPlain ? [] : all.map(({ ref, op, literal }) => entryTest(ref, op!, literal!.value));
    const isNilCompared = all.some(({ op, literal }) => literal?.value.type === 'nil' && op === '=');
    const asNil = isNilCompared || (all.some(({ op }) => op === undefined) && isWellKnown(all[0]!.ref));
    return { ref: all[0]!.ref, tests, asNil };
  });
}

function isPlainMention({ literal }: Mention): boolean {
  return literal === undefined || literal.value.type === 'nil';
}

/** An attribute of spans without a column of its own. */
function isGeneric(ref: FieldRef): boolean {
  return ref.kind === 'attribute' && ref.scope === 'span' && !isWellKnown(ref);
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
      for (const ref of stage.fields) out.push({ ref });
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
      const isRef = lhs.kind === 'attribute' || lhs.kind === 'intrinsic';
      if (isRef && rhs.kind === 'literal' && COMPARE_OPS.has(expr.op)) {
        out.push({ ref: lhs, op: expr.op as CompareOp, literal: rhs });
        return;
      }
      mentionsOfField(lhs, out);
      mentionsOfField(rhs, out);
    }
  }
}

/** A shown field with its vectors: one for each scope that it may come from. */
export class LoadedField {
  private readonly key: string;
  private readonly field: ShownField;
  private readonly parts: readonly FieldPart[];
  /** By value. */
  private readonly attributes = new Map<string, string>();

  private constructor(field: ShownField, parts: readonly FieldPart[]) {
    this.key = resultKey(field.ref);
    this.field = field;
    this.parts = parts;
  }

  static async load(scan: Scan, field: ShownField, rows: Rows | undefined): Promise<LoadedField> {
    const parts: FieldPart[] = [];
    for (const stored of storedFields(field.ref)) {
      const vector = await scan.vector(stored, rows, restrictionOf(stored, field.tests));
      if (vector.count > 0) parts.push(await FieldPart.load(scan, vector, ownerOf(stored)));
    }
    return new LoadedField(field, parts);
  }

  /** Appends the JSON of this field of a span: of each scope that has it, what is not there yet. */
  append(attributes: string, span: number): string {
    let all = attributes;
    let isShown = false;
    for (const part of this.parts) {
      const value = part.json(span, this.field.tests);
      if (value === '') continue;
      isShown = true;
      all = appended(all, this.attribute(value));
    }
    return isShown || !this.field.asNil ? all : appended(all, this.attribute(NIL));
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
    return this.parts.length === 0 ? '' : this.parts[0]!.text(span, this.field.tests);
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

/** The values of a field in one scope. */
class FieldPart {
  private readonly vector: Vector;
  private readonly owner: Owner;
  /** Owner of each span, or (events, links) span of each owner. */
  private readonly relation: Int32Array | undefined;
  /** JSON by number of the string. */
  private readonly texts = new Map<number, string>();

  private constructor(vector: Vector, owner: Owner, relation: Int32Array | undefined) {
    this.vector = vector;
    this.owner = owner;
    this.relation = relation;
  }

  static async load(scan: Scan, vector: Vector, owner: Owner): Promise<FieldPart> {
    const relation = owner === 'span' ? undefined : await scan.relation(RELATION_OF[owner]);
    return new FieldPart(vector, owner, relation);
  }

  json(span: number, tests: readonly EntryTest[]): string {
    const { owner, relation } = this;
    if (relation === undefined) return this.ofOwner(span, tests);
    if (owner !== 'event' && owner !== 'link') return this.ofOwner(relation[span]!, tests);
    // of several events or links that pass, Tempo shows the last
    const first = lowerBound(relation, span);
    for (let index = lowerBound(relation, span + 1) - 1; index >= first; index--) {
      const value = this.ofOwner(index, tests);
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

function lowerBound(sorted: Int32Array, value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
