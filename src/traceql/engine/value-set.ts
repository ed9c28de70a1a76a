// Distinct values of fields as the tag values API names them: a type and a text. Sets of several sources are
// merged in one order, so that an answer that is cut is always the same.
import { printFloat } from '../print.ts';
import { decodeText } from '../regex.ts';
import { ValueType, type Vector } from '../source.ts';
import type { Bitset } from '../../lib/bitset.ts';
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
    const seen = new Uint8Array(vector.table?.size ?? 0);
    const numbers = new Map<ValueType, Set<number>>();
    for (let i = 0; i < vector.count; i++) {
      if (owners !== undefined && !owners.has(vector.owners === undefined ? i : vector.owners[i]!)) continue;
      const type = (typeof vector.type === 'number' ? vector.type : vector.type[i]!) as ValueType;
      if (type === ValueType.string) {
        const id = vector.str![i]!;
        if (seen[id] === 1) continue;
        seen[id] = 1;
        const bytes = vector.table!.bytes(id);
        if (this.isBehind(bytes)) continue;
        const value = decodeText(bytes);
        this.addString(value, value.length === bytes.length ? bytes.length : byteLength(value));
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

  /** In order, as many as have at most `bytesMax` bytes together. */
  ordered(bytesMax: number): OrderedValues {
    const types = [...this.byType].map(([type, values]) => ({ type, values: sorted(type, [...values]) }));
    if (this.strings.size > 0) types.push({ type: 'string', values: [...this.strings.keys()].sort() });
    return cut(types.sort(byType), bytesMax);
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

/** The values of several answers, each once. What each of them left out is behind what is taken here. */
export function mergeValues(parts: readonly OrderedValues[], bytesMax: number): OrderedValues {
  if (parts.length === 1) return parts[0]!;
  const byName = new Map<TagValueType, string[][]>();
  for (const { type, values } of parts.flatMap((part) => part.types)) {
    byName.set(type, [...(byName.get(type) ?? []), [...values]]);
  }
  const types = [...byName].map(([type, lists]) => ({
    type,
    values: lists.length === 1 ? lists[0]! : sorted(type, [...new Set(lists.flat())]),
  }));
  const merged = cut(types.sort(byType), bytesMax);
  return { types: merged.types, isCut: merged.isCut || parts.some((part) => part.isCut) };
}

function byType(a: TypedValues, b: TypedValues): number {
  return a.type < b.type ? -1 : 1;
}

function sorted(type: TagValueType, values: string[]): string[] {
  if (type === 'int') return values.sort((a, b) => Number(a) - Number(b) || byInteger(a, b));
  return type === 'float' ? values.sort((a, b) => Number(a) - Number(b)) : values.sort();
}

/** Of integers that a double does not tell apart. */
function byInteger(a: string, b: string): number {
  const difference = BigInt(a) - BigInt(b);
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

function cut(types: readonly TypedValues[], bytesMax: number): OrderedValues {
  let left = bytesMax;
  const kept: TypedValues[] = [];
  for (const { type, values } of types) {
    let count = 0;
    while (count < values.length && left >= byteLength(values[count]!)) left -= byteLength(values[count++]!);
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
