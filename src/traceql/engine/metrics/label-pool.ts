// Values of labels under one numbering for all sources of a job. A value is the bytes of its OTLP AnyValue,
// so that 1 and "1" differ; number 0 is the absent value.
import { ByteWriter } from '../../../lib/byte-writer.ts';
import { formatNanos } from '../../../lib/duration.ts';
import type { KindName, StatusName } from '../../ast.ts';
import { type StringTable, ValueType, type Vector } from '../../source.ts';
import { decodeText } from '../../regex.ts';
import { KIND_NUMBERS, STATUS_NUMBERS } from '../entry-test.ts';
import { idText } from '../json.ts';
import { integerAt, isElementAt, typeAt } from '../value-reader.ts';
import { labelValue } from './result-series.ts';

const STATUS_NAMES = Object.keys(STATUS_NUMBERS) as StatusName[];
const KIND_NAMES = Object.keys(KIND_NUMBERS) as KindName[];
/** Integers below it are numbered without hashing. */
const SMALL_MAX = 1024;
const encoder = new TextEncoder();

export const NO_VALUE = 0;

export class LabelPool {
  /** By number. */
  readonly values: Uint8Array[] = [new Uint8Array(0)];
  private readonly ids = new Map<string, number>();
  private readonly numbers = new Map<ValueType, NumberIds>();
  private readonly byTable = new WeakMap<StringTable, Int32Array>();
  private nilText = -1;
  private emptyText = -1;

  /** The number of a value given as AnyValue. */
  idOf(value: Uint8Array): number {
    const key = keyOf(value);
    let id = this.ids.get(key);
    if (id === undefined) {
      id = this.values.length;
      this.ids.set(key, id);
      this.values.push(value);
    }
    return id;
  }

  /** The string that stands for what has no value of its own: absent ones, and arrays. */
  get nilTextId(): number {
    if (this.nilText < 0) this.nilText = this.idOf(textValue('nil'));
    return this.nilText;
  }

  get emptyTextId(): number {
    if (this.emptyText < 0) this.emptyText = this.idOf(textValue(''));
    return this.emptyText;
  }

  /** Of a value that is a string. */
  textOf(id: number): string {
    const value = labelValue(this.values[id]!);
    return value.type === 'string' ? decodeText(value.text) : '';
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
      ids[k] = id === 0 ? this.stringId(table, known, text) : id;
    }
  }

  /** What is known of a table: the number of each of its strings, 0 = not asked yet. */
  private knownOf(table: StringTable): Int32Array {
    let known = this.byTable.get(table);
    if (known === undefined) this.byTable.set(table, (known = new Int32Array(table.size)));
    return known;
  }

  private stringId(table: StringTable, known: Int32Array, text: number): number {
    const id = this.idOf(stringValue(table.bytes(text)));
    known[text] = id;
    return id;
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
        return known[text] || this.stringId(table, known, text);
      }
      case ValueType.bytes:
        return this.idOf(textValue(idText(vector.table!.bytes(vector.str![entry]!))));
      default:
        return this.numberId(vector, entry, type);
    }
  }

  private numberId(vector: Vector, entry: number, type: ValueType): number {
    let known = this.numbers.get(type);
    if (known === undefined) this.numbers.set(type, (known = new NumberIds()));
    const isExact = vector.exact !== undefined && type !== ValueType.float;
    const number = isExact ? integerAt(vector, entry) : Number(vector.base) + vector.num![entry]!;
    let id = known.get(number);
    if (id === undefined) {
      id = this.idOf(numberValue(type, number));
      known.set(number, id);
    }
    return id;
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

/** Bytes as a key of maps. */
function keyOf(bytes: Uint8Array): string {
  let key = '';
  for (let i = 0; i < bytes.length; i++) key += String.fromCharCode(bytes[i]!);
  return key;
}

export function textValue(text: string): Uint8Array {
  return stringValue(encoder.encode(text));
}

function stringValue(text: Uint8Array): Uint8Array {
  const out = new ByteWriter(text.length + 6);
  out.u8(0x0a);
  out.varint(text.length);
  out.raw(text);
  return out.copy();
}

export function doubleValue(number: number): Uint8Array {
  const bytes = new Uint8Array(9);
  bytes[0] = 0x21;
  new DataView(bytes.buffer).setFloat64(1, number, true);
  return bytes;
}

function intValue(number: bigint): Uint8Array {
  const out = new ByteWriter(11);
  out.u8(0x18);
  let rest = BigInt.asUintN(64, number);
  for (; rest > 127n; rest >>= 7n) out.u8(Number(rest & 127n) | 128);
  out.u8(Number(rest));
  return out.copy();
}

function numberValue(type: ValueType, number: number | bigint): Uint8Array {
  switch (type) {
    case ValueType.bool:
      return Uint8Array.of(0x10, number === 0 ? 0 : 1);
    case ValueType.int:
      return intValue(BigInt(number));
    case ValueType.duration:
      return textValue(formatNanos(BigInt(number)));
    case ValueType.status:
      return textValue(STATUS_NAMES[Number(number)] ?? 'unset');
    case ValueType.kind:
      return textValue(KIND_NAMES[Number(number)] ?? 'unspecified');
    default:
      return doubleValue(Number(number));
  }
}
