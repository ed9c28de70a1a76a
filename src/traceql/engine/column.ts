// Expressions that are more than `field op constant`: values as dense columns over spans, joined span by
// span.
import type { BinaryOp, FieldExpr, FieldRef, Static } from '../ast.ts';
import { Bitset } from '../../lib/bitset.ts';
import { roundedSum } from '../../lib/rounded-sum.ts';
import { type Field, ValueType, type Vector } from '../source.ts';
import { kindNumber, statusNumber } from './enum-names.ts';
import { ownerOf, storedFields } from './fields.ts';
import { idText } from './json.ts';
import { type Rows, type Scan, UP } from './scan.ts';
import type { TextPool } from './text-pool.ts';
import { endOfOwner, isElementAt, staticAt } from './value-reader.ts';
import { arithmeticInto, negate, Values } from './values.ts';

/** The value of each span (index 0 of all spans when `isConstant`). */
export class Column extends Values {
  readonly isConstant: boolean;
  /** Values beyond the first, of arrays and of several events or links; those of one span stand together. */
  readonly extra: Extra[] = [];
  /** Whole arrays of spans whose value is one. */
  readonly arrays = new Map<number, readonly Static[]>();

  constructor(size: number, isConstant = false) {
    super(size);
    this.isConstant = isConstant;
  }
}

/** More values of some spans: value i is one of span `spans[i]`. */
export class Extra extends Values {
  readonly spans: Int32Array;

  constructor(spans: Int32Array) {
    super(spans.length);
    this.spans = spans;
  }
}

export async function fieldColumn(scan: Scan, ref: FieldRef, rows: Rows | undefined): Promise<Column> {
  const size = await scan.spanCount();
  const column = new Column(size);
  for (const field of storedFields(ref)) {
    const vector = await scan.vector(field, rows);
    if (vector.count > 0) await fill(scan, column, field, vector);
  }
  return column;
}

/** Gives the vector's values to the spans that have none yet. */
async function fill(scan: Scan, column: Column, field: Field, vector: Vector): Promise<void> {
  const owner = ownerOf(field);
  const up = UP[owner];
  const size = column.type.length;
  const entrySpan: Int32Array | undefined =
    owner === 'event' || owner === 'link'
      ? await scan.relation(owner === 'event' ? 'eventSpan' : 'linkSpan')
      : undefined;
  const writer = new EntryWriter(column, vector, scan.texts);
  if (up !== undefined) {
    const relation = await scan.relation(up);
    const first = firstEntries(vector);
    for (let span = 0; span < size; span++) {
      const at = relation[span]!;
      if (at >= first.length || first[at]! < 0) continue;
      for (let entry = first[at]!; entry < vector.count && writer.ownerAt(entry) === at; entry++) {
        writer.write(span, entry);
      }
    }
  } else {
    for (let entry = 0; entry < vector.count; entry++) {
      const at = writer.ownerAt(entry);
      writer.write(entrySpan === undefined ? at : entrySpan[at]!, entry);
    }
  }
  writer.finish();
}

function firstEntries(vector: Vector): Int32Array {
  const { owners, count } = vector;
  const first = new Int32Array(owners === undefined ? count : owners[count - 1]! + 1).fill(-1);
  for (let entry = count - 1; entry >= 0; entry--)
    first[owners === undefined ? entry : owners[entry]!] = entry;
  return first;
}

/** Copies entries of one vector into a column: the first of a span densely, later ones as extra. */
class EntryWriter {
  private readonly column: Column;
  private readonly vector: Vector;
  private readonly texts: TextPool;
  /** Spans whose value came from this vector. */
  private readonly mine: Bitset;
  private readonly extraSpans: number[] = [];
  private readonly extraEntries: number[] = [];
  private readonly textIds: Int32Array | undefined;

  constructor(column: Column, vector: Vector, texts: TextPool) {
    this.column = column;
    this.vector = vector;
    this.texts = texts;
    this.mine = new Bitset(column.type.length);
    this.textIds = vector.table && texts.idsOf(vector.table);
    if (vector.exact && !column.exact) column.withExact();
  }

  ownerAt(entry: number): number {
    return this.vector.owners === undefined ? entry : this.vector.owners[entry]!;
  }

  write(span: number, entry: number): void {
    const { column } = this;
    if (column.type[span] !== ValueType.nil) {
      if (!this.mine.has(span)) return;
      this.extraSpans.push(span);
      this.extraEntries.push(entry);
      return;
    }
    this.mine.add(span);
    this.copy(column, span, entry);
  }

  private exactAt(entry: number): bigint {
    const { exact, num, base } = this.vector;
    if (exact) return base + exact[entry]!;
    const value = num?.[entry] ?? 0;
    return Number.isInteger(value) ? base + BigInt(value) : 0n;
  }

  private copy(to: Values, at: number, entry: number): void {
    const { vector, textIds } = this;
    const type = typeof vector.type === 'number' ? vector.type : vector.type[entry]!;
    to.type[at] = type;
    if (type === ValueType.string || type === ValueType.bytes) {
      if (vector.str && vector.table && textIds)
        to.text[at] = this.texts.idOf(vector.table, textIds, vector.str[entry]!);
    } else if (vector.num) to.num[at] = roundedSum(vector.base, vector.num[entry]!);
    if (to.exact) to.exact[at] = this.exactAt(entry);
  }

  finish(): void {
    const count = this.extraSpans.length;
    if (count === 0) return;
    const extra = new Extra(Int32Array.from(this.extraSpans));
    if (this.vector.exact) extra.withExact();
    for (let i = 0; i < count; i++) this.copy(extra, i, this.extraEntries[i]!);
    this.column.extra.push(extra);
    if (this.vector.isElement) this.keepArrays();
  }

  /** The elements of an array are neighbours: the first is dense, the others are extra. */
  private keepArrays(): void {
    const { extraSpans, extraEntries, vector, column } = this;
    for (let i = 0; i < extraSpans.length; i++) {
      const span = extraSpans[i]!;
      const entry = extraEntries[i]!;
      if (!isElementAt(vector, entry) || column.arrays.has(span)) continue;
      const end = endOfOwner(vector, entry);
      const elements: Static[] = [];
      for (let e = entry - 1; e < end; e++) elements.push(staticAt(vector, e));
      column.arrays.set(span, elements);
    }
  }
}

export function constantColumn(scan: Scan, value: Static): Column {
  const column = new Column(1, true);
  const set = (type: ValueType, num: number): void => {
    column.type[0] = type;
    column.num[0] = num;
  };
  switch (value.type) {
    case 'nil':
      break;
    case 'string':
      set(ValueType.string, 0);
      column.text[0] = scan.texts.idOfText(value.value);
      break;
    case 'bool':
      set(ValueType.bool, value.value ? 1 : 0);
      break;
    case 'status':
      set(ValueType.status, statusNumber(value.value));
      break;
    case 'kind':
      set(ValueType.kind, kindNumber(value.value));
      break;
    default:
      set(ValueType[value.type], Number(value.value));
      if (value.type === 'int') column.exact = BigInt64Array.of(value.value);
  }
  return column;
}

export function boolColumn(spans: Bitset): Column {
  const column = new Column(spans.size);
  column.type.fill(ValueType.bool);
  for (let i = spans.next(0); i >= 0; i = spans.next(i + 1)) column.num[i] = 1;
  return column;
}

/** `lhs op rhs` span by span: of one value with each of several, of several with several in their order. */
export function arithmeticColumn(op: BinaryOp, lhs: Column, rhs: Column, size: number): Column {
  const result = new Column(size);
  const set = arithmeticInto(result, op);
  for (let i = 0; i < size; i++) set(i, lhs, lhs.isConstant ? 0 : i, rhs, rhs.isConstant ? 0 : i);
  const isMany = lhs.extra.length > 0 && rhs.extra.length > 0;
  const ofRight = laterValues(isMany ? rhs.extra : []);
  for (const extra of lhs.extra) {
    result.extra.push(arithmeticOfExtra(extra, ofRight, op, rhs));
  }
  const ofLeft = laterValues(isMany ? lhs.extra : []);
  for (const extra of rhs.extra) {
    const more = new Extra(extra.spans);
    const setMore = arithmeticInto(more, op);
    extra.spans.forEach((span, i) => {
      if (!ofLeft.has(span)) setMore(i, lhs, lhs.isConstant ? 0 : span, extra, i);
    });
    result.extra.push(more);
  }
  return result;
}

/** @param ofRight where the right side has later values too. */
function arithmeticOfExtra(
  extra: Extra,
  ofRight: ReadonlyMap<number, LaterValues>,
  op: BinaryOp,
  rhs: Column,
): Extra {
  const { spans } = extra;
  const result = new Extra(spans);
  const set = arithmeticInto(result, op);
  let place = 0;
  spans.forEach((span, i) => {
    place = i > 0 && spans[i - 1] === span ? place + 1 : 0;
    const others = ofRight.get(span);
    if (others === undefined) set(i, extra, i, rhs, rhs.isConstant ? 0 : span);
    else if (others.begin + place < others.end) set(i, extra, i, others.extra, others.begin + place);
  });
  return result;
}

export interface LaterValues {
  readonly extra: Extra;
  readonly begin: number;
  readonly end: number;
}

/** Of each span with several values those beyond the first. */
export function laterValues(extras: readonly Extra[]): Map<number, LaterValues> {
  const bySpan = new Map<number, LaterValues>();
  for (const extra of extras) {
    const { spans } = extra;
    for (let begin = 0, end = 0; begin < spans.length; begin = end) {
      while (end < spans.length && spans[end] === spans[begin]) end++;
      bySpan.set(spans[begin]!, { extra, begin, end });
    }
  }
  return bySpan;
}

export function negatedColumn(operand: Column): Column {
  const result = new Column(operand.type.length, operand.isConstant);
  negate(operand, result);
  for (const extra of operand.extra) {
    const more = new Extra(extra.spans);
    negate(extra, more);
    result.extra.push(more);
  }
  return result;
}

/** `!value` of bools; nothing else has one. */
export function notColumn(operand: Column): Column {
  const result = new Column(operand.type.length);
  const ofValues = (from: Values, to: Values): void => {
    for (let i = 0; i < from.type.length; i++) {
      if (from.type[i] !== ValueType.bool) continue;
      to.type[i] = ValueType.bool;
      to.num[i] = 1 - from.num[i]!;
    }
  };
  ofValues(operand, result);
  for (const extra of operand.extra) {
    const more = new Extra(extra.spans);
    ofValues(extra, more);
    result.extra.push(more);
  }
  return result;
}

/** Ids become the texts that are shown of them. */
export function idsToTexts(column: Column, texts: TextPool): void {
  const shown = new Map<number, number>();
  for (const { type, text } of [column, ...column.extra]) {
    for (let i = 0; i < type.length; i++) {
      if (type[i] !== ValueType.bytes) continue;
      const id = text[i]!;
      let asText = shown.get(id);
      if (asText === undefined) {
        asText = texts.idOfText(idText(texts.bytes(id)));
        shown.set(id, asText);
      }
      type[i] = ValueType.string;
      text[i] = asText;
    }
  }
}

export function isFieldRef(expr: FieldExpr): expr is FieldRef {
  return expr.kind === 'attribute' || expr.kind === 'intrinsic';
}
