// Aggregates of spansets (count, avg, min, max, sum) and by(): the stages that look at the spans of one
// spanset together.
import type { AggregateName, Static } from '../ast.ts';
import { ValueType } from '../source.ts';
import { type Column, isNumberType } from './column.ts';
import { KIND_NUMBERS, STATUS_NUMBERS } from './entry-test.ts';
import { idText, jsonAnyValues } from './json.ts';
import { type SpansetAttribute, Spansets, pickAttribute } from './spansets.ts';
import type { TextPool } from './text-pool.ts';

/** In place of the type of a value, for arrays. */
const ARRAY = -1;
const STATUS_NAMES = Object.keys(STATUS_NUMBERS) as (keyof typeof STATUS_NUMBERS)[];
const KIND_NAMES = Object.keys(KIND_NUMBERS) as (keyof typeof KIND_NUMBERS)[];

/** The aggregate of each spanset, as numbers; type nil where no span has one. */
export class Aggregates {
  readonly type: Uint8Array;
  readonly num: Float64Array;
  /** Least, largest and sum of integers in full, when doubles do not hold all of them. */
  private readonly exact: BigInt64Array | undefined;

  constructor(spansets: Spansets, name: AggregateName, column: Column | undefined) {
    this.type = new Uint8Array(spansets.count);
    this.num = new Float64Array(spansets.count);
    const isExact = column?.exact !== undefined && name !== 'avg';
    this.exact = isExact ? new BigInt64Array(spansets.count) : undefined;
    if (column === undefined) this.countSpans(spansets);
    else for (let g = 0; g < spansets.count; g++) this.aggregate(spansets, g, name, column);
  }

  private countSpans(spansets: Spansets): void {
    this.type.fill(ValueType.int);
    for (let g = 0; g < spansets.count; g++) this.num[g] = spansets.start[g + 1]! - spansets.start[g]!;
  }

  /** Arrays are no numbers; values of another type than the first are left out. */
  private aggregate(spansets: Spansets, spanset: number, name: AggregateName, column: Column): void {
    let type: number = ValueType.nil;
    let count = 0;
    let sum = 0;
    // what the additions rounded away (Neumaier), so that the order of spans does not show in the sum
    let lost = 0;
    let min = Infinity;
    let max = -Infinity;
    for (let i = spansets.start[spanset]!; i < spansets.start[spanset + 1]!; i++) {
      const at = column.isConstant ? 0 : spansets.members[i]!;
      const own = column.type[at]!;
      if (!isNumberType(own) || (type !== ValueType.nil && own !== type)) continue;
      if (column.arrays.size > 0 && column.arrays.has(at)) continue;
      type = own;
      const value = column.num[at]!;
      count++;
      const next = sum + value;
      lost += Math.abs(sum) >= Math.abs(value) ? sum - next + value : value - next + sum;
      sum = next;
      if (value < min) min = value;
      if (value > max) max = value;
    }
    if (count === 0) return;
    if (Number.isFinite(lost)) sum += lost;
    const isAverage = name === 'avg';
    this.type[spanset] = isAverage && type === ValueType.int ? ValueType.float : type;
    this.num[spanset] = isAverage ? sum / count : name === 'min' ? min : name === 'max' ? max : sum;
    if (type === ValueType.int) this.aggregateExactly(spansets, spanset, name, column);
  }

  /** Of a spanset whose first number is an integer; a sum wraps, as it does in Go. */
  private aggregateExactly(spansets: Spansets, spanset: number, name: AggregateName, column: Column): void {
    const { exact } = column;
    if (exact === undefined || this.exact === undefined) return;
    let result: bigint | undefined;
    for (let i = spansets.start[spanset]!; i < spansets.start[spanset + 1]!; i++) {
      const at = column.isConstant ? 0 : spansets.members[i]!;
      if (column.type[at] !== ValueType.int || column.arrays.has(at)) continue;
      const value = exact[at]!;
      if (result === undefined) result = value;
      else if (name === 'sum') result += value;
      else if (name === 'min' ? value < result : value > result) result = value;
    }
    if (result === undefined) return;
    this.exact[spanset] = result;
    this.num[spanset] = Number(this.exact[spanset]);
  }

  valueAt(spanset: number): Static {
    if (this.exact !== undefined && this.type[spanset] === ValueType.int) {
      return { type: 'int', value: this.exact[spanset]! };
    }
    return numberStatic(this.type[spanset]!, this.num[spanset]!);
  }

  /** `aggregate op literal`; without a value nothing passes. */
  passes(spanset: number, op: string, literal: number): boolean {
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

function numberStatic(type: number, value: number): Static {
  if (type === ValueType.float || !Number.isFinite(value)) return { type: 'float', value };
  return { type: type === ValueType.int ? 'int' : 'duration', value: BigInt(Math.trunc(value)) };
}

/** by(): splits each spanset by the value of its spans, in order of first appearance. */
export function splitSpansets(spansets: Spansets, key: string, column: Column, texts: TextPool): Spansets {
  const { members, start: oldStart } = spansets;
  const codes = valueCodes(members, column, texts);
  const codeCount = codes.reduce((max, code) => Math.max(max, code), -1) + 1;
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
  sizes.forEach((size, group) => (start[group + 1] = start[group]! + size));
  const next = start.slice();
  const ordered = new Int32Array(members.length);
  for (let i = 0; i < groupOf.length; i++) ordered[next[groupOf[i]!]!++] = members[i]!;
  const by: SpansetAttribute = {
    key,
    indices: Int32Array.from(firstMember),
    valueAt: (span) => column.arrays.get(span) ?? columnStatic(column, span, texts),
  };
  const attributes = [...spansets.attributes.map((attribute) => pickAttribute(attribute, parents)), by];
  const trace = Int32Array.from(parents, (parent) => spansets.trace[parent]!);
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
      return { type: 'status', value: STATUS_NAMES[value] ?? 'unset' };
    case ValueType.kind:
      return { type: 'kind', value: KIND_NAMES[value] ?? 'unspecified' };
    default:
      return { type: 'nil' };
  }
}
