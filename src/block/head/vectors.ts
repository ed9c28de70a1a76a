// Vectors of the engine made from columns of a head.
import { type Owner, type StringTable, ValueType, type Vector } from '../../traceql/source.ts';
import type { HeadReader } from './reader.ts';

const EMPTY_INTS = new Int32Array(0);
/** High words below this keep a 64-bit number exact as a double. */
const EXACT_HIGH = 0x20_0000;

/** The string dictionary of a snapshot, and after its ids strings of its own (elements of arrays). */
export class HeadStrings implements StringTable {
  private readonly reader: HeadReader;
  private readonly dictionarySize: number;
  private readonly more: readonly Uint8Array[];

  constructor(reader: HeadReader, more: readonly Uint8Array[] = []) {
    this.reader = reader;
    this.dictionarySize = reader.vecs.strLength.count;
    this.more = more;
  }

  get size(): number {
    return this.dictionarySize + this.more.length;
  }

  bytes(id: number): Uint8Array {
    return id < this.dictionarySize ? this.reader.str(id) : this.more[id - this.dictionarySize]!;
  }
}

/** Ids of a fixed width, one after another; an all-zero one is empty when `zeroIsEmpty`. */
export class IdTable implements StringTable {
  readonly size: number;
  private readonly ids: Uint8Array;
  private readonly words: Int32Array;
  private readonly width: number;
  private readonly zeroIsEmpty: boolean;

  /** @param words little-endian, `width` bytes an id. */
  constructor(words: Int32Array, width: number, zeroIsEmpty = false) {
    this.words = words;
    this.ids = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
    this.width = width;
    this.size = this.ids.length / width;
    this.zeroIsEmpty = zeroIsEmpty;
  }

  bytes(id: number): Uint8Array {
    const at = id * this.width;
    if (this.zeroIsEmpty && this.words[at / 4] === 0 && this.words[at / 4 + 1] === 0)
      return this.ids.subarray(0, 0);
    return this.ids.subarray(at, at + this.width);
  }
}

export function emptyVector(owner: Owner): Vector {
  return {
    owner,
    count: 0,
    owners: EMPTY_INTS,
    type: ValueType.nil,
    str: undefined,
    table: undefined,
    num: undefined,
    base: 0n,
    exact: undefined,
    isElement: undefined,
  };
}

/** One string or id for each of `owners` (undefined = for every owner). */
export function stringVector(
  owner: Owner,
  owners: Int32Array | undefined,
  str: Int32Array,
  table: StringTable,
  type: ValueType = ValueType.string,
): Vector {
  return { ...emptyVector(owner), count: str.length, owners, type, str, table };
}

/** One number for each of `owners`. */
export function numberVector(
  owner: Owner,
  owners: Int32Array | undefined,
  num: Float64Array,
  type: ValueType,
): Vector {
  return { ...emptyVector(owner), count: num.length, owners, type, num };
}

/** One 64-bit number for each of `owners`, from pairs of words, less `base`: signed. */
export function pairVector(
  owner: Owner,
  owners: Int32Array | undefined,
  pairs: Int32Array,
  type: ValueType,
  baseLow = 0,
  baseHigh = 0,
): Vector {
  const count = pairs.length / 2;
  const num = new Float64Array(count);
  let isExact = true;
  for (let i = 0; i < count; i++) {
    const low = pairs[2 * i]!;
    const borrow = low >>> 0 < baseLow >>> 0 ? 1 : 0;
    const high = (pairs[2 * i + 1]! - baseHigh - borrow) | 0;
    if (high >= EXACT_HIGH || high < -EXACT_HIGH) isExact = false;
    num[i] = high * 0x1_0000_0000 + ((low - baseLow) >>> 0);
  }
  const base = wordsToBigint(baseLow, baseHigh);
  if (isExact) return { ...emptyVector(owner), count, owners, type, num, base };
  const exact = new BigInt64Array(count);
  for (let i = 0; i < count; i++) exact[i] = wordsToBigint(pairs[2 * i]!, pairs[2 * i + 1]!) - base;
  return { ...emptyVector(owner), count, owners, type, num, base, exact };
}

/** An unsigned 64-bit number. */
export function wordsToBigint(low: number, high: number): bigint {
  return BigInt(high >>> 0) * 0x1_0000_0000n + BigInt(low >>> 0);
}

/** Gathers entries of mixed types. Owners must ascend. */
export class VectorBuilder {
  private readonly owner: Owner;
  private count = 0;
  private owners: Int32Array;
  private types: Uint8Array;
  private elements: Uint8Array;
  private str: Int32Array | undefined;
  private num: Float64Array | undefined;
  private exact: BigInt64Array | undefined;
  private hasElements = false;

  constructor(owner: Owner, capacity: number) {
    this.owner = owner;
    this.owners = new Int32Array(capacity);
    this.types = new Uint8Array(capacity);
    this.elements = new Uint8Array(capacity);
  }

  string(owner: number, id: number, isElement: boolean): void {
    const i = this.add(owner, ValueType.string, isElement);
    this.str ??= new Int32Array(this.owners.length);
    this.str[i] = id;
  }

  number(owner: number, type: ValueType, value: number, isElement: boolean): void {
    const i = this.add(owner, type, isElement);
    this.num ??= new Float64Array(this.owners.length);
    this.num[i] = value;
    if (this.exact !== undefined && type !== ValueType.float) this.exact[i] = BigInt(value);
  }

  int64(owner: number, low: number, high: number, isElement: boolean): void {
    const value = BigInt.asIntN(64, wordsToBigint(low, high));
    const inexact = BigInt(Number(value)) !== value;
    this.number(owner, ValueType.int, Number(value), isElement);
    if (inexact && this.exact === undefined) {
      this.exact = new BigInt64Array(this.owners.length);
      for (let i = 0; i < this.count; i++) {
        if (this.types[i] === ValueType.int || this.types[i] === ValueType.bool)
          this.exact[i] = BigInt(this.num![i]!);
      }
    }
    if (this.exact !== undefined) this.exact[this.count - 1] = value;
  }

  finish(table: StringTable): Vector {
    const { count, types } = this;
    if (count === 0) return emptyVector(this.owner);
    const first = types[0]! as ValueType;
    let isMixed = false;
    for (let i = 1; i < count && !isMixed; i++) isMixed = types[i] !== first;
    return {
      owner: this.owner,
      count,
      owners: this.owners.subarray(0, count),
      type: isMixed ? types.subarray(0, count) : first,
      str: this.str?.subarray(0, count),
      table: this.str === undefined ? undefined : table,
      num: this.num?.subarray(0, count),
      base: 0n,
      exact: this.exact?.subarray(0, count),
      isElement: this.hasElements ? this.elements.subarray(0, count) : undefined,
    };
  }

  private add(owner: number, type: ValueType, isElement: boolean): number {
    if (this.count === this.owners.length) this.grow();
    const i = this.count++;
    this.owners[i] = owner;
    this.types[i] = type;
    if (isElement) {
      this.elements[i] = 1;
      this.hasElements = true;
    }
    return i;
  }

  private grow(): void {
    const size = Math.max(64, this.owners.length * 2);
    this.owners = resized(this.owners, new Int32Array(size));
    this.types = resized(this.types, new Uint8Array(size));
    this.elements = resized(this.elements, new Uint8Array(size));
    if (this.str !== undefined) this.str = resized(this.str, new Int32Array(size));
    if (this.num !== undefined) this.num = resized(this.num, new Float64Array(size));
    if (this.exact !== undefined) {
      const exact = new BigInt64Array(size);
      exact.set(this.exact);
      this.exact = exact;
    }
  }
}

function resized<T extends Int32Array | Uint8Array | Float64Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
