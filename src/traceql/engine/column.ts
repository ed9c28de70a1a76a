// Expressions that are more than `field op constant`: values as dense columns over spans, joined span by
// span.
import type { BinaryOp, FieldExpr, FieldRef, Static } from '../ast.ts';
import { Bitset } from '../../lib/bitset.ts';
import { floatArithmetic, integerArithmetic } from '../fold.ts';
import { type Field, ValueType, type Vector } from '../source.ts';
import { KIND_NUMBERS, STATUS_NUMBERS } from './entry-test.ts';
import { ownerOf, storedFields } from './fields.ts';
import { type Rows, type Scan, UP } from './scan.ts';
import type { TextPool } from './text-pool.ts';
import { endOfOwner, isElementAt, staticAt } from './value-reader.ts';

/** The value of each span (index 0 of all spans when `isConstant`); type nil = none. */
export class Column {
  readonly isConstant: boolean;
  readonly type: Uint8Array;
  /** Numbers, bools, statuses, kinds. */
  readonly num: Float64Array;
  /** Strings: ids of the text pool. */
  readonly text: Int32Array;
  /** Integers in full, when some do not fit a double. */
  exact: BigInt64Array | undefined;
  /** Values beyond the first, of arrays and of several events or links. */
  readonly extra: Extra[] = [];
  /** Whole arrays of spans whose value is one. */
  readonly arrays = new Map<number, readonly Static[]>();

  constructor(size: number, isConstant = false) {
    this.isConstant = isConstant;
    this.type = new Uint8Array(size);
    this.num = new Float64Array(size);
    this.text = new Int32Array(size);
  }
}

/** More values of some spans; arrays of the same length. */
interface Extra {
  readonly spans: Int32Array;
  readonly type: Uint8Array;
  readonly num: Float64Array;
  readonly text: Int32Array;
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
    if (vector.exact && !column.exact) withExact(column);
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
    if (column.exact) column.exact[span] = this.exactAt(entry);
  }

  private exactAt(entry: number): bigint {
    const { exact, num, base } = this.vector;
    if (exact) return base + exact[entry]!;
    const value = num?.[entry] ?? 0;
    return Number.isInteger(value) ? base + BigInt(value) : 0n;
  }

  private copy(
    to: { type: Uint8Array; num: Float64Array; text: Int32Array },
    at: number,
    entry: number,
  ): void {
    const { vector, textIds } = this;
    const type = typeof vector.type === 'number' ? vector.type : vector.type[entry]!;
    to.type[at] = type;
    if (type === ValueType.string || type === ValueType.bytes) {
      if (vector.str && vector.table && textIds)
        to.text[at] = this.texts.idOf(vector.table, textIds, vector.str[entry]!);
    } else if (vector.num) to.num[at] = Number(vector.base) + vector.num[entry]!;
  }

  finish(): void {
    const count = this.extraSpans.length;
    if (count === 0) return;
    const extra: Extra = {
      spans: Int32Array.from(this.extraSpans),
      type: new Uint8Array(count),
      num: new Float64Array(count),
      text: new Int32Array(count),
    };
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
      set(ValueType.status, STATUS_NUMBERS[value.value]);
      break;
    case 'kind':
      set(ValueType.kind, KIND_NUMBERS[value.value]);
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

export function isNumberType(type: number): boolean {
  return type === ValueType.int || type === ValueType.float || type === ValueType.duration;
}

/** `lhs op rhs` span by span; none where a side is no number, or for an integer division by zero. */
export function arithmeticColumn(op: BinaryOp, lhs: Column, rhs: Column, size: number): Column {
  const result = new Column(size);
  const { int, float, duration, nil } = ValueType;
  for (let i = 0; i < size; i++) {
    const l = lhs.isConstant ? 0 : i;
    const r = rhs.isConstant ? 0 : i;
    const leftType = lhs.type[l]!;
    const rightType = rhs.type[r]!;
    if (!isNumberType(leftType) || !isNumberType(rightType)) continue;
    const value = floatArithmetic(op, lhs.num[l]!, rhs.num[r]!);
    if (leftType === int && rightType === int) {
      const isDefined = rhs.num[r] !== 0 || (op !== '/' && op !== '%');
      result.type[i] = isDefined ? int : nil;
      if (isSafe(lhs.num[l]!) && isSafe(rhs.num[r]!) && isSafe(value)) setInteger(result, i, value);
      else if (isDefined) setExact(result, i, integerArithmetic(op, exactAt(lhs, l), exactAt(rhs, r)));
    } else {
      result.type[i] = leftType === duration || rightType === duration ? duration : float;
      result.num[i] = value;
    }
  }
  return result;
}

/** A double holds the integer in full. */
function isSafe(value: number): boolean {
  return Math.abs(value) <= Number.MAX_SAFE_INTEGER;
}

function exactAt(column: Column, at: number): bigint {
  return column.exact?.[at] ?? BigInt(column.num[at]!);
}

function setInteger(column: Column, at: number, value: number): void {
  column.num[at] = Math.trunc(value);
  if (column.exact) column.exact[at] = BigInt(column.num[at]);
}

/** An integer of 64 bits; what is larger wraps, as it does in Go. */
function setExact(column: Column, at: number, value: bigint): void {
  const exact = column.exact ?? withExact(column);
  exact[at] = value;
  column.num[at] = Number(exact[at]);
}

/** From now on the column has its integers in full. */
function withExact(column: Column): BigInt64Array {
  const { type, num } = column;
  const exact = new BigInt64Array(type.length);
  for (let i = 0; i < type.length; i++) if (type[i] === ValueType.int) exact[i] = BigInt(num[i]!);
  column.exact = exact;
  return exact;
}

export function negatedColumn(operand: Column): Column {
  const size = operand.type.length;
  const result = new Column(size, operand.isConstant);
  for (let i = 0; i < size; i++) {
    if (!isNumberType(operand.type[i]!)) continue;
    result.type[i] = operand.type[i]!;
    result.num[i] = -operand.num[i]!;
    if (operand.exact && operand.type[i] === ValueType.int) setExact(result, i, -operand.exact[i]!);
  }
  return result;
}

export function isFieldRef(expr: FieldExpr): expr is FieldRef {
  return expr.kind === 'attribute' || expr.kind === 'intrinsic';
}
