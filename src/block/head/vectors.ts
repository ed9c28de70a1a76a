// Vectors of the engine made from columns of a head.
import { lowerBound } from '../../lib/lower-bound.ts';
import type { NumberArray } from '../../lib/narrow-numbers.ts';
import { type Owner, type StringTable, ValueType, type Vector } from '../../traceql/source.ts';
import type { HeadReader } from './reader.ts';

/** What has grown once has room for a quarter more. */
const ROOM = 1.25;

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

  /** The same with other strings of its own. */
  with(more: readonly Uint8Array[]): HeadStrings {
    return new HeadStrings(this.reader, more);
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
  num: NumberArray,
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

/** Gathers entries of mixed types. Owners must ascend. What `finish` has returned stays what it is. */
export class VectorBuilder {
  private readonly owner: Owner;
  private count = 0;
  private owners: Int32Array;
  /** Of all entries while there is no `types`. */
  private type: ValueType = ValueType.nil;
  private types: Uint8Array | undefined;
  private elements: Uint8Array | undefined;
  private str: Int32Array | undefined;
  private num: Float64Array | undefined;
  private exact: BigInt64Array | undefined;

  constructor(owner: Owner, capacity: number) {
    this.owner = owner;
    this.owners = new Int32Array(capacity);
  }

  get sizeBytes(): number {
    const { owners, types, elements, str, num, exact } = this;
    return [owners, types, elements, str, num, exact].reduce(
      (sum, array) => sum + (array?.byteLength ?? 0),
      0,
    );
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
        const type = this.types?.[i] ?? this.type;
        if (type === ValueType.int || type === ValueType.bool) this.exact[i] = BigInt(this.num![i]!);
      }
    }
    if (this.exact !== undefined) this.exact[this.count - 1] = value;
  }

  /** Makes room for so many more at once. */
  reserve(more: number): void {
    const needed = this.count + more;
    if (needed > this.owners.length) this.grow(this.count === 0 ? needed : Math.ceil(needed * ROOM));
  }

  /** The entries of owners below `end`. */
  finish(table: StringTable, end = Infinity): Vector {
    const { owners } = this;
    const count =
      this.count > 0 && owners[this.count - 1]! >= end ? lowerBound(this.owned(), end) : this.count;
    if (count === 0) return emptyVector(this.owner);
    return {
      owner: this.owner,
      count,
      owners: owners.subarray(0, count),
      type: this.types?.subarray(0, count) ?? this.type,
      str: this.str?.subarray(0, count),
      table: this.str === undefined ? undefined : table,
      num: this.num?.subarray(0, count),
      base: 0n,
      exact: this.exact?.subarray(0, count),
      isElement: this.elements?.subarray(0, count),
    };
  }

  private owned(): Int32Array {
    return this.owners.subarray(0, this.count);
  }

  private add(owner: number, type: ValueType, isElement: boolean): number {
    if (this.count === this.owners.length) this.grow(Math.max(64, this.count * 2));
    const i = this.count++;
    this.owners[i] = owner;
    if (this.types !== undefined) this.types[i] = type;
    else if (i === 0) this.type = type;
    else if (type !== this.type) {
      this.types = new Uint8Array(this.owners.length).fill(this.type, 0, i);
      this.types[i] = type;
    }
    if (isElement) this.elements ??= new Uint8Array(this.owners.length);
    if (isElement) this.elements![i] = 1;
    return i;
  }

  private grow(size: number): void {
    this.owners = resized(this.owners, new Int32Array(size));
    if (this.types !== undefined) this.types = resized(this.types, new Uint8Array(size));
    if (this.elements !== undefined) this.elements = resized(this.elements, new Uint8Array(size));
    if (this.str !== undefined) this.str = resized(this.str, new Int32Array(size));
    if (this.num !== undefined) this.num = resized(this.num, new Float64Array(size));
    if (this.exact !== undefined) {
      const exact = new BigInt64Array(size);
      exact.set(this.exact);
      this.exact = exact;
    }
  }
}

export function resized<T extends Int32Array | Uint8Array | Float64Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
