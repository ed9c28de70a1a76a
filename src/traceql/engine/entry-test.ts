// A comparison of a stored value with a constant, as a test of vector entries: strings are decided once per
// entry of the string table, numbers straight over the typed array.
import type { CompareOp, FieldRef, Static } from '../ast.ts';
import { Bitset } from '../../lib/bitset.ts';
import type { NumberArray } from '../../lib/narrow-numbers.ts';
import { TraceqlError } from '../error.ts';
import { kindNumber, statusNumber } from './enum-names.ts';
import { type BytesTest, EqualId, MatchingBytes, MatchingId, OrderedBytes } from './bytes-tests.ts';
import { regexMatcher } from '../regex.ts';
import { type Field, type FieldRequest, type Intrinsic, ValueType, type Vector } from '../source.ts';

export type EntryTest =
  | { readonly kind: 'never' }
  | { readonly kind: 'exists' }
  | BytesTest
  | {
      readonly kind: 'number';
      /** The type an entry must have; undefined = any number. */
      readonly type: ValueType | undefined;
      readonly value: number;
      /** The constant when it is an integer: decides where doubles are equal and too coarse. */
      readonly integer: bigint | undefined;
      readonly less: boolean;
      readonly equal: boolean;
      readonly greater: boolean;
    };

/** `1 < .a` is `.a > 1`. */
export const MIRRORED: Partial<Record<CompareOp, CompareOp>> = {
  '<': '>',
  '<=': '>=',
  '>': '<',
  '>=': '<=',
  '=': '=',
  '!=': '!=',
};
const NEVER: EntryTest = { kind: 'never' };
/** Bytes of an id, for the intrinsics that hold one. */
const ID_BYTES: Partial<Record<Intrinsic | 'parent', number>> = {
  'span:id': 8,
  'span:parentID': 8,
  'link:spanID': 8,
  'trace:id': 16,
  'link:traceID': 16,
};
const encoder = new TextEncoder();

/** `field op literal`. A literal only matches attributes of its own type; intrinsics compare as numbers. */
export function entryTest(field: FieldRef, op: CompareOp, literal: Static): EntryTest {
  switch (literal.type) {
    case 'nil':
      return op === '!=' ? { kind: 'exists' } : NEVER;
    case 'string':
      return stringTest(field, op, literal.value);
    case 'bool':
      return numberTest(op, ValueType.bool, literal.value ? 1 : 0, undefined);
    case 'status':
      return numberTest(op, ValueType.status, statusNumber(literal.value), undefined);
    case 'kind':
      return numberTest(op, ValueType.kind, kindNumber(literal.value), undefined);
    case 'int':
      return numberTest(op, typeFor(field, ValueType.int), Number(literal.value), literal.value);
    case 'float':
      return numberTest(op, typeFor(field, ValueType.float), literal.value, undefined);
    case 'duration':
      return numberTest(op, typeFor(field, ValueType.duration), Number(literal.value), literal.value);
  }
}

function typeFor(field: FieldRef, type: ValueType): ValueType | undefined {
  return field.kind === 'attribute' ? type : undefined;
}

function numberTest(
  op: CompareOp,
  type: ValueType | undefined,
  value: number,
  integer: bigint | undefined,
): EntryTest {
  return {
    kind: 'number',
    type,
    value,
    integer,
    less: op === '<' || op === '<=' || op === '!=',
    equal: op === '=' || op === '<=' || op === '>=',
    greater: op === '>' || op === '>=' || op === '!=',
  };
}

function stringTest(field: FieldRef, op: CompareOp, text: string): EntryTest {
  const idBytes = field.kind === 'intrinsic' ? ID_BYTES[field.name] : undefined;
  if (op !== '=~' && op !== '!~') {
    return idBytes === undefined
      ? new OrderedBytes(op, encoder.encode(text))
      : new EqualId(op, text, idBytes);
  }
  const matcher = regexMatcher(text);
  if (!matcher) throw new TraceqlError(`invalid regex: \`${text}\``);
  return idBytes === undefined ? new MatchingBytes(op, matcher) : new MatchingId(op, matcher);
}

/**
 * What a source may leave out when only values that pass one of the tests matter; without tests all values
 * do.
 */
export function restrictionOf(
  field: Field,
  tests: readonly EntryTest[],
): Pick<FieldRequest, 'equals' | 'types'> {
  const types = new Set<ValueType>();
  let equals: Uint8Array[] | undefined = [];
  for (const test of tests) {
    if (test.kind === 'never') continue;
    if (test.kind === 'exists' || test.type === undefined) return {};
    types.add(test.type);
    if (test.kind === 'number' || test.equals === undefined) equals = undefined;
    else equals?.push(...test.equals);
  }
  if (types.size === 0) return {};
  // values of an intrinsic are of one type
  const ofTypes = field.kind === 'intrinsic' ? {} : { types: [...types].sort((a, b) => (a < b ? -1 : 1)) };
  return equals === undefined ? ofTypes : { ...ofTypes, equals };
}

/** A large pattern takes long for each. */
const ENTRIES_UNASKED = 64;
/** Where few owners matter, the entries of others are passed over: below this share of all. */
const FEW_SHARE = 1 / 4;

export interface MatchOptions {
  /** Others need not be among what is found. */
  readonly within?: Bitset | undefined;
  /** Looked at while strings are decided. */
  readonly signal: AbortSignal | undefined;
}

/** The owners that have an entry accepted by the test. */
export function matchOwners(vector: Vector, test: EntryTest, { within, signal }: MatchOptions): Bitset {
  const { count, owners } = vector;
  const matched = new Bitset(count === 0 ? 0 : owners === undefined ? count : owners[count - 1]! + 1);
  if (count === 0 || test.kind === 'never') return matched;
  const isFew = within !== undefined && owners === undefined && within.count() <= count * FEW_SHARE;
  const entries = isFew ? within.toArray() : undefined;
  if (test.kind === 'exists') markExisting(vector, matched);
  else if (test.kind === 'bytes') markBytes(vector, test, entries, matched, signal);
  else markNumbers(vector, test, entries, matched);
  return matched;
}

function markExisting(vector: Vector, matched: Bitset): void {
  const { count, owners, type } = vector;
  for (let i = 0; i < count; i++) {
    if (typeof type === 'number' ? type !== ValueType.nil : type[i] !== ValueType.nil) {
      matched.add(owners === undefined ? i : owners[i]!);
    }
  }
}

/** @param entries that matter; undefined = all. */
function markBytes(
  vector: Vector,
  test: BytesTest,
  entries: Int32Array | undefined,
  matched: Bitset,
  signal: AbortSignal | undefined,
): void {
  const { count, owners, type, str, table } = vector;
  if (str === undefined || table === undefined) return;
  const types = typeof type === 'number' ? undefined : type;
  if (types === undefined && type !== test.type) return;
  const decided = new Uint8Array(table.size); // 0 not yet, 1 no, 2 yes
  const length = entries?.length ?? count;
  let asked = 0;
  for (let k = 0; k < length; k++) {
    const i = entries === undefined ? k : entries[k]!;
    if (types !== undefined && types[i] !== test.type) continue;
    const id = str[i]!;
    let answer = decided[id]!;
    if (answer === 0) {
      if (++asked % ENTRIES_UNASKED === 0) signal?.throwIfAborted();
      answer = test.accepts(table.bytes(id)) ? 2 : 1;
      decided[id] = answer;
    }
    if (answer === 2) matched.add(owners === undefined ? i : owners[i]!);
  }
}

/** @param entries that matter; undefined = all. */
function markNumbers(
  vector: Vector,
  test: Extract<EntryTest, { kind: 'number' }>,
  entries: Int32Array | undefined,
  matched: Bitset,
): void {
  const { count, owners, type, num, base, exact } = vector;
  if (num === undefined) return;
  const types = typeof type === 'number' ? undefined : type;
  if (types === undefined && !acceptsType(test, type as ValueType)) return;
  const { integer } = test;
  // Subtracting in integers keeps times exact: they are stored as base + small number.
  const wanted = integer === undefined ? test.value - Number(base) : Number(integer - base);
  const wantedExact = exactlyWanted(integer, base, wanted, exact);
  if (types === undefined && wantedExact === undefined && entries === undefined) {
    return markPlain(vector, num, wanted, test, matched);
  }
  const length = entries?.length ?? count;
  for (let k = 0; k < length; k++) {
    const i = entries === undefined ? k : entries[k]!;
    if (types !== undefined && !acceptsType(test, types[i] as ValueType)) continue;
    let order = compareNumbers(num[i]!, wanted);
    if (order === 0 && wantedExact !== undefined) order = compareNumbers(integerAt(vector, i), wantedExact);
    if (acceptsOrder(test, order)) matched.add(owners === undefined ? i : owners[i]!);
  }
}

/** The constant in full, where doubles may be equal although the integers are not. */
function exactlyWanted(
  integer: bigint | undefined,
  base: bigint,
  wanted: number,
  exact: BigInt64Array | undefined,
): bigint | undefined {
  const isDecided = integer === undefined || (exact === undefined && Number.isSafeInteger(wanted));
  return isDecided ? undefined : integer - base;
}

/** An entry that is an integer, without base. */
function integerAt({ exact, num }: Vector, entry: number): bigint | number {
  const value = num![entry]!;
  return exact?.[entry] ?? (Number.isInteger(value) ? BigInt(value) : value);
}

/** As markNumbers where all are of one type and doubles decide. */
function markPlain(
  { count, owners }: Vector,
  num: NumberArray,
  wanted: number,
  { less, equal, greater }: Extract<EntryTest, { kind: 'number' }>,
  matched: Bitset,
): void {
  const { words } = matched;
  const unordered = less && greater && !equal; // NaN differs from everything
  for (let i = 0; i < count; i++) {
    const value = num[i]!;
    if (value < wanted ? less : value > wanted ? greater : value === wanted ? equal : unordered) {
      const owner = owners === undefined ? i : owners[i]!;
      words[owner >>> 5]! |= 1 << (owner & 31);
    }
  }
}

/** NaN when either is. */
function compareNumbers(a: number | bigint, b: number | bigint): number {
  return a < b ? -1 : a > b ? 1 : a === b ? 0 : Number.NaN;
}

function acceptsOrder(
  { less, equal, greater }: Extract<EntryTest, { kind: 'number' }>,
  order: number,
): boolean {
  if (order < 0) return less;
  if (order > 0) return greater;
  // NaN differs from everything
  return order === 0 ? equal : less && greater && !equal;
}

function acceptsType(test: Extract<EntryTest, { kind: 'number' }>, type: ValueType): boolean {
  if (test.type !== undefined) return type === test.type;
  return type === ValueType.int || type === ValueType.float || type === ValueType.duration;
}

/** Does one entry pass? */
export function entryAccepted(vector: Vector, entry: number, test: EntryTest): boolean {
  const type = (typeof vector.type === 'number' ? vector.type : vector.type[entry]!) as ValueType;
  const { str, table, num, base, exact } = vector;
  switch (test.kind) {
    case 'never':
      return false;
    case 'exists':
      return type !== ValueType.nil;
    case 'bytes':
      if (type !== test.type || str === undefined || table === undefined) return false;
      return test.accepts(table.bytes(str[entry]!));
    case 'number': {
      if (num === undefined || !acceptsType(test, type)) return false;
      const { integer, value } = test;
      const wanted = integer === undefined ? value - Number(base) : Number(integer - base);
      const order = compareNumbers(num[entry]!, wanted);
      const wantedExact = exactlyWanted(integer, base, wanted, exact);
      const isClose = order === 0 && wantedExact !== undefined;
      return acceptsOrder(test, isClose ? compareNumbers(integerAt(vector, entry), wantedExact) : order);
    }
  }
}
