// Values of OTTL and how they compare: as in the Collector, where `nil` is equal to itself only, numbers
// compare across their types, and what cannot be compared is different.
import type { CompareOp, MathOp } from './syntax.ts';

export type OttlValue =
  | undefined
  | boolean
  | bigint
  | number
  | string
  | Uint8Array
  | OttlId
  | readonly OttlValue[]
  | ReadonlyMap<string, OttlValue>;

/** A trace or span id: it is equal to ids only, never to bytes. */
export class OttlId {
  readonly hex: string;

  constructor(hex: string) {
    this.hex = hex;
  }
}

/** What went wrong with one span. The condition that it happens in does not hold. */
export class OttlFailure extends Error {}

export function compareValues(op: CompareOp, a: OttlValue, b: OttlValue): boolean {
  if (a === undefined && b === undefined) return op === '==' || op === '<=' || op === '>=';
  if (isNumber(a) && isNumber(b)) return holds(op, orderOfNumbers(a, b));
  if (typeof a === 'string' && typeof b === 'string')
    return holds(op, a === b ? 0 : Buffer.compare(Buffer.from(a), Buffer.from(b)));
  if (typeof a === 'boolean' && typeof b === 'boolean') return holds(op, Number(a) - Number(b));
  if (a instanceof Uint8Array && b instanceof Uint8Array) return holds(op, Buffer.compare(a, b));
  const isSame = areEqual(a, b);
  return op === '==' ? isSame : op === '!=' && !isSame;
}

/** @param order NaN where neither is less. */
function holds(op: CompareOp, order: number): boolean {
  switch (op) {
    case '==':
      return order === 0;
    case '!=':
      return order !== 0;
    case '<':
      return order < 0;
    case '<=':
      return order <= 0;
    case '>':
      return order > 0;
    case '>=':
      return order >= 0;
  }
}

function orderOfNumbers(a: bigint | number, b: bigint | number): number {
  if (typeof a === 'bigint' && typeof b === 'bigint') return a < b ? -1 : a > b ? 1 : 0;
  const x = Number(a);
  const y = Number(b);
  return x < y ? -1 : x > y ? 1 : x === y ? 0 : NaN;
}

function isNumber(value: OttlValue): value is bigint | number {
  return typeof value === 'bigint' || typeof value === 'number';
}

export function isList(value: OttlValue): value is readonly OttlValue[] {
  return Array.isArray(value);
}

export function isMap(value: OttlValue): value is ReadonlyMap<string, OttlValue> {
  return value instanceof Map;
}

/** Of values that have no order. */
function areEqual(a: OttlValue, b: OttlValue): boolean {
  if (a instanceof OttlId && b instanceof OttlId) return a.hex === b.hex;
  if (isList(a) && isList(b))
    return a.length === b.length && a.every((item, i) => compareValues('==', item, b[i]));
  if (isMap(a) && isMap(b)) {
    if (a.size !== b.size) return false;
    return [...a].every(([key, value]) => b.has(key) && compareValues('==', value, b.get(key)));
  }
  return false;
}

/** Two integers give an integer, as in Go. */
export function calculate(op: MathOp, a: OttlValue, b: OttlValue): OttlValue {
  if (!isNumber(a) || !isNumber(b)) throw new OttlFailure(`${op} needs numbers`);
  if (typeof a === 'bigint' && typeof b === 'bigint') {
    if (op === '/' && b === 0n) throw new OttlFailure('division by zero');
    const result = op === '+' ? a + b : op === '-' ? a - b : op === '*' ? a * b : a / b;
    return BigInt.asIntN(64, result);
  }
  const x = Number(a);
  const y = Number(b);
  if (op === '/' && y === 0) throw new OttlFailure('division by zero');
  return op === '+' ? x + y : op === '-' ? x - y : op === '*' ? x * y : x / y;
}

/** A text for every value but nil: others than strings as JSON, bytes in hex. */
export function textOf(value: OttlValue): string | undefined {
  if (value === undefined || typeof value === 'string') return value;
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (value instanceof OttlId) return JSON.stringify(value.hex);
  return JSON.stringify(plain(value));
}

/** Integers up to 2^53 keep their digits. */
function plain(value: OttlValue): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if (isList(value)) return value.map((item) => plain(item) ?? null);
  if (!isMap(value)) return value;
  const keys = [...value.keys()].sort();
  return Object.fromEntries(keys.map((key) => [key, plain(value.get(key)) ?? null]));
}
