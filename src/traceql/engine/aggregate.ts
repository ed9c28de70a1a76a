// Aggregates of spansets (count, avg, min, max, sum) and by(): the stages that look at the spans of one
// spanset together.
import type { AggregateName, Static } from '../ast.ts';
import { ValueType } from '../source.ts';
import type { Column } from './column.ts';
import { kindName, statusName } from './enum-names.ts';
import { idText, jsonAnyValues } from './json.ts';
import { type SpansetAttribute, Spansets, pickAttribute } from './spansets.ts';
import type { TextPool } from './text-pool.ts';
import { isNumberType, isSafe, Values } from './values.ts';

/** In place of the type of a value, for arrays. */
const ARRAY = -1;

/** The aggregate of each spanset; type nil where no span has one. */
export class Aggregates extends Values {
  constructor(spansets: Spansets, name: AggregateName, column: Column | undefined) {
    super(spansets.count);
    if (column === undefined) this.countSpans(spansets);
    else for (let g = 0; g < spansets.count; g++) this.aggregate(spansets, g, name, column);
  }

  private countSpans(spansets: Spansets): void {
    this.type.fill(ValueType.int);
    for (let g = 0; g < spansets.count; g++) this.num[g] = spansets.start[g + 1]! - spansets.start[g]!;
  }

  /** Numbers of several types are calculated with together, as floats. */
  private aggregate(spansets: Spansets, spanset: number, name: AggregateName, column: Column): void {
    const type = numberTypeOf(spansets.membersOf(spanset), column);
    let count = 0;
    let sum = 0;
    // what the additions rounded away (Neumaier), so that the order of spans does not show in the sum
    let lost = 0;
    let size = 0;
    let min = Infinity;
    let max = -Infinity;
    for (let i = spansets.start[spanset]!; i < spansets.start[spanset + 1]!; i++) {
      const at = column.isConstant ? 0 : spansets.members[i]!;
      if (!isNumberAt(column, at)) continue;
      const value = column.num[at]!;
      count++;
      size += Math.abs(value);
      const next = sum + value;
      lost += Math.abs(sum) >= Math.abs(value) ? sum - next + value : value - next + sum;
      sum = next;
      if (value < min) min = value;
      if (value > max) max = value;
    }
    if (count === 0) return;
    if (Number.isFinite(lost)) sum += lost;
    if (type === ValueType.float && (name === 'min' || name === 'max'))
      return this.setValueOf(spansets, spanset, column, name === 'min' ? min : max);
    const isAverage = name === 'avg';
    this.type[spanset] = isAverage && type === ValueType.int ? ValueType.float : type;
    this.num[spanset] = isAverage ? sum / count : name === 'min' ? min : name === 'max' ? max : sum;
    if (isSafe(size) || type === ValueType.float || !Number.isFinite(size)) {
      if (this.exact !== undefined && type === ValueType.int)
        this.setSmallInteger(spanset, this.num[spanset]!);
      // an average of nanoseconds is a number of them
      if (isAverage && type === ValueType.duration) this.num[spanset] = Math.trunc(this.num[spanset]!);
    } else this.aggregateExactly(spansets, spanset, name, { column, type, count });
  }

  /** The value of a span, in its type. */
  private setValueOf(spansets: Spansets, spanset: number, column: Column, value: number): void {
    this.type[spanset] = ValueType.float;
    this.num[spanset] = value;
    for (let i = spansets.start[spanset]!; i < spansets.start[spanset + 1]!; i++) {
      const at = column.isConstant ? 0 : spansets.members[i]!;
      if (!isNumberAt(column, at) || column.num[at] !== value) continue;
      const type = column.type[at]!;
      this.type[spanset] = type;
      if (type === ValueType.int) this.setInteger(spanset, column.integerAt(at));
      return;
    }
  }

  /** Integers and nanoseconds of which doubles do not hold the sum; a sum wraps, as it does in Go. */
  private aggregateExactly(
    spansets: Spansets,
    spanset: number,
    name: AggregateName,
    { column, type, count }: { readonly column: Column; readonly type: number; readonly count: number },
  ): void {
    const isInteger = type === ValueType.int;
    let result: bigint | undefined;
    for (let i = spansets.start[spanset]!; i < spansets.start[spanset + 1]!; i++) {
      const at = column.isConstant ? 0 : spansets.members[i]!;
      if (column.type[at] !== type || column.arrays.has(at)) continue;
      const value = isInteger ? column.integerAt(at) : BigInt(Math.trunc(column.num[at]!));
      if (result === undefined) result = value;
      else if (name === 'sum' || name === 'avg') result += value;
      else if (name === 'min' ? value < result : value > result) result = value;
    }
    if (result === undefined) return;
    if (name === 'avg')
      this.num[spanset] = isInteger ? Number(result) / count : Number(result / BigInt(count));
    else if (isInteger) this.setInteger(spanset, result);
    else this.num[spanset] = Number(result);
  }

  valueAt(spanset: number): Static {
    if (this.exact !== undefined && this.type[spanset] === ValueType.int) {
      return { type: 'int', value: this.exact[spanset]! };
    }
    return numberStatic(this.type[spanset]!, this.num[spanset]!);
  }

  /** The spansets of which `aggregate op literal` holds; without a value nothing passes. */
  passing(op: string, literal: number): number[] {
    const passing: number[] = [];
    for (let g = 0; g < this.num.length; g++) if (this.passes(g, op, literal)) passing.push(g);
    return passing;
  }

  private passes(spanset: number, op: string, literal: number): boolean {
    const value = this.num[spanset]!;
    if (this.type[spanset] === ValueType.nil) return false;
    switch (op) {
      case '=':
        return value === literal;
      case '!=':
        return value !== literal;
      case '<':
        return value < literal;
      case '<=':
        return value <= literal;
      case '>':
        return value > literal;
      default:
        return value >= literal;
    }
  }
}

/** Float where they are of several types. */
function numberTypeOf(spans: Int32Array, column: Column): number {
  let common: number = ValueType.nil;
  for (let i = 0; i < spans.length; i++) {
    const at = column.isConstant ? 0 : spans[i]!;
    if (!isNumberAt(column, at)) continue;
    const type = column.type[at]!;
    if (common === ValueType.nil) common = type;
    else if (type !== common) return ValueType.float;
  }
  return common;
}

/** Arrays are no numbers. */
function isNumberAt(column: Column, at: number): boolean {
  return isNumberType(column.type[at]!) && (column.arrays.size === 0 || !column.arrays.has(at));
}

function numberStatic(type: number, value: number): Static {
  if (type === ValueType.float || !Number.isFinite(value)) return { type: 'float', value };
  return { type: type === ValueType.int ? 'int' : 'duration', value: BigInt(Math.trunc(value)) };
}

/** by(): splits each spanset by the value of its spans, in order of first appearance. */
export function splitSpansets(spansets: Spansets, key: string, column: Column, texts: TextPool): Spansets {
  const { members, start: oldStart } = spansets;
  const codes = valueCodes(members, column, texts);
  let codeCount = 0;
  for (let i = 0; i < codes.length; i++) codeCount = Math.max(codeCount, codes[i]! + 1);
  // The group that a value has in the spanset at hand: valid where `usedBy` says so.
  const groupOfCode = new Int32Array(codeCount);
  const usedBy = new Int32Array(codeCount).fill(-1);
  const groupOf = new Int32Array(members.length);
  const parents: number[] = [];
  const sizes: number[] = [];
  const firstMember: number[] = [];
  for (let g = 0; g < spansets.count; g++) {
    for (let i = oldStart[g]!; i < oldStart[g + 1]!; i++) {
      const code = codes[i]!;
      if (usedBy[code] !== g) {
        usedBy[code] = g;
        groupOfCode[code] = parents.length;
        parents.push(g);
        sizes.push(0);
        firstMember.push(members[i]!);
      }
      groupOf[i] = groupOfCode[code]!;
      sizes[groupOf[i]!]!++;
    }
  }
  const start = new Int32Array(parents.length + 1);
  for (let group = 0; group < sizes.length; group++) start[group + 1] = start[group]! + sizes[group]!;
  const next = start.slice();
  const ordered = new Int32Array(members.length);
  for (let i = 0; i < groupOf.length; i++) ordered[next[groupOf[i]!]!++] = members[i]!;
  const by: SpansetAttribute = {
    key,
    indices: Int32Array.from(firstMember),
    valueAt: (span) => column.arrays.get(span) ?? columnStatic(column, span, texts),
  };
  const attributes = [...spansets.attributes.map((attribute) => pickAttribute(attribute, parents)), by];
  const trace = new Int32Array(parents.length);
  for (let i = 0; i < trace.length; i++) trace[i] = spansets.trace[parents[i]!]!;
  return new Spansets(trace, start, ordered, attributes, spansets.spanCount);
}

/** Small numbers for the values of some spans: equal values of one type have equal numbers. */
function valueCodes(spans: Int32Array, column: Column, texts: TextPool): Int32Array {
  const codes = new Int32Array(spans.length);
  const byType = new Map<number, Map<number | bigint, number>>();
  let count = 0;
  for (let i = 0; i < spans.length; i++) {
    const span = spans[i]!;
    const array = column.arrays.get(span);
    const type = array === undefined ? column.type[span]! : ARRAY;
    let known = byType.get(type);
    if (!known) {
      known = new Map();
      byType.set(type, known);
    }
    const value = array === undefined ? codedValue(column, span, type) : texts.idOfText(jsonAnyValues(array));
    let code = known.get(value);
    if (code === undefined) {
      code = count++;
      known.set(value, code);
    }
    codes[i] = code;
  }
  return codes;
}

function codedValue(column: Column, span: number, type: number): number | bigint {
  if (type === ValueType.nil) return 0;
  if (type === ValueType.string || type === ValueType.bytes) return column.text[span]!;
  return type === ValueType.int && column.exact ? column.exact[span]! : column.num[span]!;
}

function columnStatic(column: Column, span: number, texts: TextPool): Static {
  const value = column.num[span]!;
  switch (column.type[span]) {
    case ValueType.string:
      return { type: 'string', value: texts.text(column.text[span]!) };
    case ValueType.bytes:
      return { type: 'string', value: idText(texts.bytes(column.text[span]!)) };
    case ValueType.bool:
      return { type: 'bool', value: value !== 0 };
    case ValueType.int:
      return column.exact ? { type: 'int', value: column.exact[span]! } : numberStatic(ValueType.int, value);
    case ValueType.float:
      return { type: 'float', value };
    case ValueType.duration:
      return numberStatic(ValueType.duration, value);
    case ValueType.status:
      return { type: 'status', value: statusName(value) };
    case ValueType.kind:
      return { type: 'kind', value: kindName(value) };
    default:
      return { type: 'nil' };
  }
}
