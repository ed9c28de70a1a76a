// Aggregates of spansets (count, avg, min, max, sum) and by(): the stages that look at the spans of one spanset together.
import type { AggregateName, Static } from '../ast.ts';
import { ValueType } from '../source.ts';
import { type Column, isNumberType } from './column.ts';
import { KIND_NUMBERS, STATUS_NUMBERS } from './entry-test.ts';
import { hexOf } from './json.ts';
import { type SpansetAttribute, Spansets } from './spansets.ts';
import type { TextPool } from './text-pool.ts';

const STATUS_NAMES = Object.keys(STATUS_NUMBERS) as (keyof typeof STATUS_NUMBERS)[];
const KIND_NAMES = Object.keys(KIND_NUMBERS) as (keyof typeof KIND_NUMBERS)[];

/** The aggregate of each spanset; nil where no span has a number. */
export function aggregateSpansets(spansets: Spansets, name: AggregateName, column: Column | undefined): Static[] {
  const values: Static[] = [];
  for (let g = 0; g < spansets.count; g++) {
    values.push(
      column === undefined
        ? { type: 'int', value: BigInt(spansets.start[g + 1]! - spansets.start[g]!) }
        : aggregate(spansets, g, name, column),
    );
  }
  return values;
}

/** Values of another type than the first are left out. */
function aggregate(spansets: Spansets, spanset: number, name: AggregateName, column: Column): Static {
  let type: number = ValueType.nil;
  let count = 0;
  let sum = 0;
  let min = Infinity;
  let max = -Infinity;
  for (let i = spansets.start[spanset]!; i < spansets.start[spanset + 1]!; i++) {
    const at = column.isConstant ? 0 : spansets.members[i]!;
    const own = column.type[at]!;
    if (!isNumberType(own) || (type !== ValueType.nil && own !== type)) continue;
    type = own;
    const value = column.num[at]!;
    count++;
    sum += value;
    if (value < min) min = value;
    if (value > max) max = value;
  }
  if (count === 0) return { type: 'nil' };
  switch (name) {
    case 'avg':
      return numberStatic(type === ValueType.int ? ValueType.float : type, sum / count);
    case 'min':
      return numberStatic(type, min);
    case 'max':
      return numberStatic(type, max);
    default:
      return numberStatic(type, sum);
  }
}

function numberStatic(type: number, value: number): Static {
  if (type === ValueType.float || !Number.isFinite(value)) return { type: 'float', value };
  return { type: type === ValueType.int ? 'int' : 'duration', value: BigInt(Math.trunc(value)) };
}

/** by(): splits each spanset by the value of its spans, in order of first appearance. */
export function splitSpansets(spansets: Spansets, key: string, column: Column, texts: TextPool): Spansets {
  const trace: number[] = [];
  const sizes: number[] = [];
  const values: Static[] = [];
  const parents: number[] = [];
  const members = new Int32Array(spansets.members.length);
  const groupOf = new Int32Array(spansets.members.length);
  for (let g = 0; g < spansets.count; g++) {
    const groups = new Map<string, number>();
    for (let i = spansets.start[g]!; i < spansets.start[g + 1]!; i++) {
      const span = spansets.members[i]!;
      const value = groupKey(column, span);
      let group = groups.get(value);
      if (group === undefined) {
        group = trace.length;
        groups.set(value, group);
        trace.push(spansets.trace[g]!);
        parents.push(g);
        sizes.push(0);
        values.push(columnStatic(column, span, texts));
      }
      sizes[group]!++;
      groupOf[i] = group;
    }
  }
  const start = new Int32Array(trace.length + 1);
  sizes.forEach((size, group) => (start[group + 1] = start[group]! + size));
  const next = start.slice();
  for (let i = 0; i < groupOf.length; i++) members[next[groupOf[i]!]!++] = spansets.members[i]!;
  const inherited = spansets.attributes.map((attribute): SpansetAttribute => ({
    key: attribute.key,
    values: parents.map((parent) => attribute.values[parent]!),
  }));
  const attributes = [...inherited, { key, values }];
  return new Spansets(Int32Array.from(trace), start, members, attributes, spansets.spanCount);
}

function groupKey(column: Column, span: number): string {
  const type = column.type[span]!;
  if (type === ValueType.nil) return '';
  if (type === ValueType.string || type === ValueType.bytes) return `${type}:${column.text[span]}`;
  if (type === ValueType.int && column.exact) return `${type}:${column.exact[span]}`;
  return `${type}:${column.num[span]}`;
}

function columnStatic(column: Column, span: number, texts: TextPool): Static {
  const value = column.num[span]!;
  switch (column.type[span]) {
    case ValueType.string:
      return { type: 'string', value: texts.text(column.text[span]!) };
    case ValueType.bytes:
      return { type: 'string', value: hexOf(texts.bytes(column.text[span]!)) };
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

/** `aggregate op literal`; a nil aggregate passes nothing. */
export function scalarPasses(op: string, value: Static, literal: Static): boolean {
  if (value.type === 'nil' || literal.type === 'nil') return false;
  const a = value.value;
  const b = literal.value;
  switch (op) {
    case '=':
      return a == b; // oxlint-disable-line eqeqeq -- bigint and number compare by value
    case '!=':
      return a != b; // oxlint-disable-line eqeqeq -- as above
    case '<':
      return a < b;
    case '<=':
      return a <= b;
    case '>':
      return a > b;
    default:
      return a >= b;
  }
}
