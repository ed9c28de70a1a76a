// Distinct values of fields as the tag values API names them: a type and a text. Sets of several sources are
// merged in one order, so that an answer that is cut is always the same.
import { printFloat } from '../print.ts';
import { decodeText } from '../regex.ts';
import { ValueType, type Vector } from '../source.ts';
import { Bitset } from '../../lib/bitset.ts';
import { atOnce, type Sliced } from '../../lib/slices.ts';
import { integerAt } from './value-reader.ts';

export type TagValueType = 'bool' | 'float' | 'int' | 'keyword' | 'string';

/** Values of one type in their order: numbers by size, the others by text. */
export interface TypedValues {
  readonly type: TagValueType;
  readonly values: readonly string[];
}

export interface OrderedValues {
  /** By type, each type once. */
  readonly types: readonly TypedValues[];
  /** There were more than `bytesMax` bytes: what is here is the beginning of them. */
  readonly isCut: boolean;
}

const TYPE_NAMES: Partial<Record<ValueType, TagValueType>> = {
  [ValueType.string]: 'string',
  [ValueType.bool]: 'bool',
  [ValueType.int]: 'int',
  [ValueType.float]: 'float',
  [ValueType.duration]: 'int',
  [ValueType.status]: 'int',
  [ValueType.kind]: 'int',
};

/** Strings are thinned out when they have so many times the bytes that an answer may have. */
const THIN_OUT_AT = 4;
/** Lead bytes of UTF-8 below this come in the order of UTF-16. */
const ORDERED_LEAD_MAX = 0xed;
/** Values between two places where merging may be interrupted. */
const VALUES_A_STEP = 2048;

const encoder = new TextEncoder();

export class ValueSet {
  private readonly byType = new Map<TagValueType, Set<string>>();
  /** With their bytes. */
  private strings = new Map<string, number>();
  private readonly bytesMax: number;
  private stringBytes = 0;
  /** Strings behind it are beyond `bytesMax` bytes, whatever comes; it is so itself. */
  private lastString: string | undefined;
  private lastBytes: Uint8Array | undefined;

  /** @param bytesMax that `ordered` will be asked for at most. */
  constructor(bytesMax = Infinity) {
    this.bytesMax = bytesMax;
  }

  add(type: TagValueType, value: string): void {
    if (type === 'string') {
      this.addString(value, byteLength(value));
      return;
    }
    const values = this.byType.get(type);
    if (values === undefined) this.byType.set(type, new Set([value]));
    else values.add(value);
  }

  private addString(value: string, bytes: number): void {
    if (this.lastString !== undefined && value > this.lastString) return;
    const { size } = this.strings;
    this.strings.set(value, bytes);
    if (this.strings.size === size) return;
    this.stringBytes += bytes;
    if (this.stringBytes > this.bytesMax * THIN_OUT_AT) this.thinOut();
  }

  /** Keeps the first strings, up to the one that goes beyond the limit. */
  private thinOut(): void {
    const last = firstBeyond(this.strings, this.bytesMax);
    const kept = new Map<string, number>();
    this.stringBytes = 0;
    for (const [value, bytes] of this.strings) {
      if (value > last) continue;
      kept.set(value, bytes);
      this.stringBytes += bytes;
    }
    this.strings = kept;
    this.lastString = last;
    this.lastBytes = encoder.encode(last);
  }

  /** Surely behind the last string that matters; said without making a text of the bytes. */
  private isBehind(bytes: Uint8Array): boolean {
    const last = this.lastBytes;
    if (last === undefined) return false;
    const shared = Math.min(bytes.length, last.length);
    for (let i = 0; i < shared; i++) {
      if (bytes[i] !== last[i]) return bytes[i]! > last[i]! && last[i]! <= ORDERED_LEAD_MAX;
    }
    return bytes.length > last.length;
  }

  /** With `owners` only what belongs to these. */
  addVector(vector: Vector, owners?: Bitset): void {
    if (owners !== undefined && vector.type === ValueType.string) return this.addStringsOf(vector, owners);
    const seen = new Uint8Array(vector.table?.size ?? 0);
    const numbers = new Map<ValueType, Set<number>>();
    for (let i = 0; i < vector.count; i++) {
      if (owners !== undefined && !owners.has(vector.owners === undefined ? i : vector.owners[i]!)) continue;
      const type = (typeof vector.type === 'number' ? vector.type : vector.type[i]!) as ValueType;
      if (type === ValueType.string) {
        const id = vector.str![i]!;
        if (seen[id] === 1) continue;
        seen[id] = 1;
        this.addBytes(vector.table!.bytes(id));
        continue;
      }
      const name = TYPE_NAMES[type];
      if (name === undefined) continue;
      if (vector.exact === undefined || type === ValueType.float) {
        let known = numbers.get(type);
        if (known === undefined) numbers.set(type, (known = new Set()));
        const number = vector.num![i]!;
        if (known.has(number)) continue;
        known.add(number);
      }
      this.add(name, numberText(vector, i, type));
    }
  }

  /** As `addVector` where all are strings: each entry of the table is looked at once. */
  private addStringsOf({ count, owners: ownerOf, str, table }: Vector, owners: Bitset): void {
    if (count === 0 || str === undefined || table === undefined) return;
    const used = new Bitset(table.size);
    if (ownerOf === undefined) used.addTargets(owners, str);
    else for (let i = 0; i < count; i++) if (owners.has(ownerOf[i]!)) used.add(str[i]!);
    for (let id = used.next(0); id >= 0; id = used.next(id + 1)) this.addBytes(table.bytes(id));
  }

  private addBytes(bytes: Uint8Array): void {
    if (this.isBehind(bytes)) return;
    const value = decodeText(bytes);
    this.addString(value, value.length === bytes.length ? bytes.length : byteLength(value));
  }

  /** In order, as many as have at most `bytesMax` bytes together. */
  ordered(bytesMax: number): OrderedValues {
    const types = [...this.byType].map(([type, values]) => ({ type, values: sorted(type, [...values]) }));
    if (this.strings.size > 0) types.push({ type: 'string', values: [...this.strings.keys()].sort() });
    return atOnce(cut(types.sort(byType), bytesMax));
  }
}

/** In order, the first string with which they have more than `bytesMax` bytes; they must have more. */
function firstBeyond(strings: ReadonlyMap<string, number>, bytesMax: number): string {
  let candidates = [...strings.keys()];
  let left = bytesMax;
  for (;;) {
    const pivot = candidates[candidates.length >>> 1]!;
    const before = candidates.filter((value) => value < pivot);
    const bytes = before.reduce((sum, value) => sum + strings.get(value)!, 0);
    if (bytes > left) {
      candidates = before;
      continue;
    }
    left -= bytes + strings.get(pivot)!;
    if (left < 0) return pivot;
    candidates = candidates.filter((value) => value > pivot);
  }
}

function numberText(vector: Vector, entry: number, type: ValueType): string {
  if (type === ValueType.bool) return vector.num![entry] === 0 ? 'false' : 'true';
  if (type === ValueType.float) return printFloat(Number(vector.base) + vector.num![entry]!);
  return String(integerAt(vector, entry));
}

export function mergeValues(parts: readonly OrderedValues[], bytesMax: number): OrderedValues {
  return atOnce(mergingValues(parts, bytesMax));
}

/** The values of several answers, each once. What each of them left out is behind what is taken here. */
export function* mergingValues(parts: readonly OrderedValues[], bytesMax: number): Sliced<OrderedValues> {
  if (parts.length === 1) return parts[0]!;
  const byName = new Map<TagValueType, (readonly string[])[]>();
  for (const { types } of parts) {
    for (const { type, values } of types) {
      const lists = byName.get(type);
      if (lists === undefined) byName.set(type, [values]);
      else lists.push(values);
    }
  }
  const types: TypedValues[] = [];
  for (const [type, lists] of byName) types.push({ type, values: yield* mergeLists(lists, ORDERS[type]) });
  const merged = yield* cut(types.sort(byType), bytesMax);
  return { types: merged.types, isCut: merged.isCut || parts.some((part) => part.isCut) };
}

/** The texts of all types in the order of texts, each once. */
export function* textsOf(types: readonly TypedValues[]): Sliced<readonly string[]> {
  const lists: (readonly string[])[] = [];
  for (const { type, values } of types) {
    if (ORDERS[type] === byText) {
      lists.push(values);
      continue;
    }
    for (let at = 0; at < values.length; at += VALUES_A_STEP) {
      lists.push(values.slice(at, at + VALUES_A_STEP).sort());
      yield;
    }
  }
  return lists.length === 0 ? [] : yield* mergeLists(lists, byText);
}

/** Lists in order become one: two and two, so that no value is looked at more often than needed. */
function* mergeLists(lists: readonly (readonly string[])[], compare: Compare): Sliced<readonly string[]> {
  let left = lists;
  while (left.length > 1) {
    const next: (readonly string[])[] = [];
    for (let i = 0; i < left.length; i += 2) {
      const other = left[i + 1];
      next.push(other === undefined ? left[i]! : yield* mergeTwo(left[i]!, other, compare));
    }
    left = next;
  }
  return left[0]!;
}

function* mergeTwo(a: readonly string[], b: readonly string[], compare: Compare): Sliced<string[]> {
  const out: string[] = [];
  let i = 0;
  let j = 0;
  for (;;) {
    const stepEnd = out.length + VALUES_A_STEP;
    while (out.length < stepEnd && i < a.length && j < b.length) {
      const order = compare(a[i]!, b[j]!);
      out.push(order <= 0 ? a[i++]! : b[j]!);
      if (order >= 0) j++;
    }
    while (out.length < stepEnd && i < a.length) out.push(a[i++]!);
    while (out.length < stepEnd && j < b.length) out.push(b[j++]!);
    if (i === a.length && j === b.length) return out;
    yield;
  }
}

function byType(a: TypedValues, b: TypedValues): number {
  return a.type < b.type ? -1 : 1;
}

/** In the order of the type: what is equal is the same text. */
type Compare = (a: string, b: string) => number;

const ORDERS: Readonly<Record<TagValueType, Compare>> = {
  bool: byText,
  float: (a, b) => byNumber(floatOf(a), floatOf(b)) || byText(a, b),
  int: (a, b) => Number(a) - Number(b) || byInteger(a, b),
  keyword: byText,
  string: byText,
};

function sorted(type: TagValueType, values: string[]): string[] {
  const order = ORDERS[type];
  return order === byText ? values.sort() : values.sort(order);
}

function byText(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}

/** Of integers that a double does not tell apart. */
function byInteger(a: string, b: string): number {
  const difference = BigInt(a) - BigInt(b);
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

/** NaN is behind all others. */
function byNumber(a: number, b: number): number {
  return a < b ? -1 : a > b ? 1 : Number(Number.isNaN(a)) - Number(Number.isNaN(b));
}

/** Of what `printFloat` prints. */
function floatOf(text: string): number {
  return text === '+Inf' ? Infinity : text === '-Inf' ? -Infinity : Number(text);
}

function* cut(types: readonly TypedValues[], bytesMax: number): Sliced<OrderedValues> {
  let left = bytesMax;
  const kept: TypedValues[] = [];
  for (const { type, values } of types) {
    let count = 0;
    for (; count < values.length; count++) {
      const bytes = byteLength(values[count]!);
      if (left < bytes) break;
      left -= bytes;
      if (count % VALUES_A_STEP === 0) yield;
    }
    if (count > 0)
      kept.push(count === values.length ? { type, values } : { type, values: values.slice(0, count) });
    if (count < values.length) return { types: kept, isCut: true };
  }
  return { types: kept, isCut: false };
}

function byteLength(text: string): number {
  let bytes = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    bytes += unit < 0x80 ? 1 : unit < 0x800 ? 2 : unit >= 0xd800 && unit < 0xe000 ? 2 : 3;
  }
  return bytes;
}
