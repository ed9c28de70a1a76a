// Values of labels under one numbering for all sources of a job; number 0 is the absent value. A value is a
// byte for its type and bytes whose order is that of the values, so that 1 and "1" differ.
import { ByteWriter } from '../../../lib/byte-writer.ts';
import { formatNanos } from '../../../lib/duration.ts';
import { type StringTable, ValueType, type Vector } from '../../source.ts';
import { kindName, statusName } from '../enum-names.ts';
import { idText } from '../json.ts';
import { integerAt, isElementAt, typeAt } from '../value-reader.ts';
import { LABEL_TYPE, sortableDouble, sortableInt } from './label-value.ts';

/** Integers below it are numbered without hashing. */
const SMALL_MAX = 1024;
const CAPACITY_MIN = 256;
const encoder = new TextEncoder();

export const NO_VALUE = 0;

export class LabelPool {
  count = 1;
  private readonly arena = new ByteWriter(4096);
  /** Value i is at [ends[i - 1], ends[i]) of the arena. */
  private ends = new Int32Array(CAPACITY_MIN);
  /** Hash table of numbers; 0 = free. At least half of it is free. */
  private slots = new Int32Array(2 * CAPACITY_MIN);
  private readonly numbers = new Map<ValueType, NumberIds>();
  private readonly byTable = new WeakMap<StringTable, Int32Array>();
  private readonly texts = new Map<string, number>();

  /** Bytes of all values. */
  get sizeBytes(): number {
    return this.arena.length;
  }

  /** A view, valid until the next value comes. */
  bytes(id: number): Uint8Array {
    return this.arena.bytes.subarray(this.ends[id - 1], this.ends[id]);
  }

  /** The order of two values: by type, then by size or as text. */
  compare(a: number, b: number): number {
    if (a === b) return 0;
    const { ends } = this;
    const { bytes } = this.arena;
    let left = ends[a - 1]!;
    let right = ends[b - 1]!;
    const leftEnd = ends[a]!;
    const rightEnd = ends[b]!;
    while (left < leftEnd && right < rightEnd) {
      const difference = bytes[left++]! - bytes[right++]!;
      if (difference !== 0) return difference;
    }
    return leftEnd - left - (rightEnd - right);
  }

  /** The number of a value of another pool. */
  idOf(value: Uint8Array): number {
    this.arena.raw(value);
    return this.intern();
  }

  idOfText(text: string): number {
    let id = this.texts.get(text);
    if (id === undefined) this.texts.set(text, (id = this.idOfString(encoder.encode(text))));
    return id;
  }

  /** @param id 16 bytes. */
  idOfTraceId(id: Uint8Array): number {
    return this.idOfText(idText(id));
  }

  idOfDouble(value: number): number {
    this.arena.u8(LABEL_TYPE.double);
    // -0 is 0
    this.arena.raw(sortableDouble(value + 0));
    return this.intern();
  }

  /** The string that stands for what has no value of its own: absent ones, and arrays. */
  get nilTextId(): number {
    return this.idOfText('nil');
  }

  private idOfString(text: Uint8Array): number {
    this.arena.u8(LABEL_TYPE.string);
    this.arena.raw(text);
    return this.intern();
  }

  /** Numbers what stands at the end of the arena; what is there already goes away again. */
  private intern(): number {
    const { arena, ends, slots } = this;
    const start = ends[this.count - 1]!;
    const { bytes, length } = arena;
    let hash = 0x811c9dc5;
    for (let i = start; i < length; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
    const mask = slots.length - 1;
    let at = (hash ^ (hash >>> 15)) & mask;
    for (let id = slots[at]!; id !== 0; id = slots[at]!) {
      if (this.isEqual(id, start, length)) {
        arena.length = start;
        return id;
      }
      at = (at + 1) & mask;
    }
    const id = this.count++;
    slots[at] = id;
    ends[id] = length;
    if (this.count === ends.length) this.grow();
    return id;
  }

  private isEqual(id: number, start: number, end: number): boolean {
    const { bytes } = this.arena;
    const from = this.ends[id - 1]!;
    if (this.ends[id]! - from !== end - start) return false;
    for (let i = start; i < end; i++) if (bytes[i] !== bytes[from + i - start]) return false;
    return true;
  }

  private grow(): void {
    const { arena } = this;
    const capacity = this.ends.length * 2;
    const ends = new Int32Array(capacity);
    ends.set(this.ends);
    this.ends = ends;
    const slots = new Int32Array(2 * capacity);
    const mask = slots.length - 1;
    for (let id = 1; id < this.count; id++) {
      let hash = 0x811c9dc5;
      for (let i = ends[id - 1]!; i < ends[id]!; i++) hash = Math.imul(hash ^ arena.bytes[i]!, 0x01000193);
      let at = (hash ^ (hash >>> 15)) & mask;
      while (slots[at] !== 0) at = (at + 1) & mask;
      slots[at] = id;
    }
    this.slots = slots;
  }

  /** Numbers of some entries of a vector, in their order; -1 among the entries = absent. */
  idsOf(vector: Vector, entries: Int32Array): Int32Array {
    const ids = new Int32Array(entries.length);
    const { str, table, type, isElement } = vector;
    if (type === ValueType.string && str !== undefined && table !== undefined && isElement === undefined) {
      this.stringIds(str, table, entries, ids);
      return ids;
    }
    for (let k = 0; k < entries.length; k++) if (entries[k]! >= 0) ids[k] = this.entryId(vector, entries[k]!);
    return ids;
  }

  private stringIds(str: Int32Array, table: StringTable, entries: Int32Array, ids: Int32Array): void {
    const known = this.knownOf(table);
    for (let k = 0; k < entries.length; k++) {
      const entry = entries[k]!;
      if (entry < 0) continue;
      const text = str[entry]!;
      const id = known[text]!;
      ids[k] = id === 0 ? (known[text] = this.idOfString(table.bytes(text))) : id;
    }
  }

  /** What is known of a table: the number of each of its strings, 0 = not asked yet. */
  private knownOf(table: StringTable): Int32Array {
    let known = this.byTable.get(table);
    if (known === undefined) this.byTable.set(table, (known = new Int32Array(table.size)));
    return known;
  }

  private entryId(vector: Vector, entry: number): number {
    if (isElementAt(vector, entry)) return this.nilTextId;
    const type = typeAt(vector, entry);
    switch (type) {
      case ValueType.nil:
        return NO_VALUE;
      case ValueType.string: {
        const table = vector.table!;
        const known = this.knownOf(table);
        const text = vector.str![entry]!;
        return known[text] || (known[text] = this.idOfString(table.bytes(text)));
      }
      case ValueType.bytes:
        return this.idOfString(encoder.encode(idText(vector.table!.bytes(vector.str![entry]!))));
      default:
        return this.numberId(vector, entry, type);
    }
  }

  private numberId(vector: Vector, entry: number, type: ValueType): number {
    let known = this.numbers.get(type);
    if (known === undefined) this.numbers.set(type, (known = new NumberIds()));
    const isWide = (vector.exact !== undefined || vector.base !== 0n) && type !== ValueType.float;
    const number = isWide ? integerAt(vector, entry) : vector.num![entry]!;
    let id = known.get(number);
    if (id === undefined) known.set(number, (id = this.idOfNumber(type, number)));
    return id;
  }

  private idOfNumber(type: ValueType, number: number | bigint): number {
    switch (type) {
      case ValueType.bool:
        this.arena.u8(LABEL_TYPE.bool);
        this.arena.u8(Number(number) === 0 ? 0 : 1);
        return this.intern();
      case ValueType.int:
        this.arena.u8(LABEL_TYPE.int);
        this.arena.raw(sortableInt(BigInt(number)));
        return this.intern();
      case ValueType.duration:
        return this.idOfText(formatNanos(BigInt(number)));
      case ValueType.status:
        return this.idOfText(statusName(Number(number)));
      case ValueType.kind:
        return this.idOfText(kindName(Number(number)));
      default:
        return this.idOfDouble(Number(number));
    }
  }
}

/** Integers that are asked for again and again stand in an array. */
class NumberIds {
  private readonly small = new Int32Array(SMALL_MAX);
  private readonly others = new Map<number | bigint, number>();

  get(number: number | bigint): number | undefined {
    if (typeof number === 'number' && isSmall(number)) return this.small[number] || undefined;
    return this.others.get(number);
  }

  set(number: number | bigint, id: number): void {
    if (typeof number === 'number' && isSmall(number)) this.small[number] = id;
    else this.others.set(number, id);
  }
}

function isSmall(number: number): boolean {
  return number >= 0 && number < SMALL_MAX && number === (number | 0);
}
