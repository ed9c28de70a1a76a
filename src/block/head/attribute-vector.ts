// Loads one attribute of a head as a vector: finds its entries by key, then their owners.
import type { Bitset } from '../../lib/bitset.ts';
import { IntList } from '../../lib/int-list.ts';
import type { Owner, Vector } from '../../traceql/source.ts';
import { ValueType } from '../../traceql/source.ts';
import { Tag } from '../../model/otlp/encode.ts';
import { AttrType, FIRST } from './layout.ts';
import type { HeadColumns, WordsName } from './head-columns.ts';
import type { HeadReader } from './reader.ts';
import type { VecReader } from './vec.ts';
import { emptyVector, type HeadStrings, resized, stringVector, VectorBuilder } from './vectors.ts';
import { WIRE_PADDING, WireReader, word32 } from './wire.ts';

/** Attributes of one kind of owner: those of owner i are [starts[i], starts[i + 1]). */
export interface AttributeStore {
  readonly owner: Owner;
  readonly starts: VecReader;
  /** Of `starts`. */
  readonly startsName: WordsName;
  readonly keys: VecReader;
  readonly values: VecReader;
}

/** What is wanted of a store; others may come along where a column with them is kept. */
export interface AttributeQuery {
  /** Id in the key dictionary, -1 = no such key. */
  readonly key: number;
  /** Only these strings (by id; arrays are not looked into), or all values. */
  readonly strings: ReadonlySet<number> | undefined;
  /** Only these owners, ascending, or all. */
  readonly owners: Int32Array | undefined;
}

/** What a string of an array takes beside its bytes. */
const ELEMENT_BYTES = 100;

const scratch = new Float64Array(1);
const scratchWords = new Int32Array(scratch.buffer);

/** Of such a column a part is looked for where fewer owners are wanted than one in so many entries. */
const FEW_OWNERS = 16;

export function attributeVector(
  reader: HeadReader,
  store: AttributeStore,
  query: AttributeQuery,
  columns: HeadColumns,
  strings: HeadStrings,
): Vector {
  const { key, owners } = query;
  if (key < 0) return emptyVector(store.owner);
  const what = `${store.owner} attribute ${key}`;
  const kept = columns.kept<AttributeColumn>(what);
  const isPart = owners !== undefined && (kept === undefined || owners.length * FEW_OWNERS < kept.entries);
  if (isPart) return vectorOf(reader, store, hitsOf(store, query, owners), strings);
  const column = kept ?? new AttributeColumn(store.owner, key);
  if (column.extend(reader, store, columns)) columns.keep(what, column, column.sizeBytes);
  return column.vector(query.strings, strings, store.starts.count);
}

function vectorOf(reader: HeadReader, store: AttributeStore, hits: Hits, strings: HeadStrings): Vector {
  if (hits.count === 0) return emptyVector(store.owner);
  const loader = new Loader(store.owner, hits.count);
  loader.load(reader, hits);
  return loader.vector(strings);
}

/** All values of one attribute. It grows with its head. */
class AttributeColumn {
  private readonly key: number;
  private readonly loader: Loader;
  /** How many attributes of the head were looked at. */
  private seen = 0;
  private lastOwner = 0;

  constructor(owner: Owner, key: number) {
    this.key = key;
    this.loader = new Loader(owner, 0);
  }

  get entries(): number {
    return this.loader.entries;
  }

  get sizeBytes(): number {
    return this.loader.sizeBytes;
  }

  /** @returns whether the head had more. */
  extend(reader: HeadReader, store: AttributeStore, columns: HeadColumns): boolean {
    const { keys } = store;
    if (keys.count <= this.seen) return false;
    const hits = new Hits();
    scanKeys(store, this.seen, this.key, hits);
    this.seen = keys.count;
    this.lastOwner = replaceByOwners(hits, columns.words(store.startsName), this.lastOwner);
    this.loader.load(reader, hits);
    return true;
  }

  /** @param wanted only these strings; undefined = all values. */
  vector(wanted: ReadonlySet<number> | undefined, strings: HeadStrings, ownerCount: number): Vector {
    const all = this.loader.vector(strings, ownerCount);
    if (wanted === undefined || this.loader.hasOwnStrings) return all;
    return stringsAmong(all, wanted);
  }
}

/** The entries that are one of these strings. */
function stringsAmong(all: Vector, wanted: ReadonlySet<number>): Vector {
  const { count, owners, type, str, table } = all;
  if (str === undefined || owners === undefined || wanted.size === 0) return emptyVector(all.owner);
  const only = wanted.size === 1 ? [...wanted][0]! : -1;
  const found = new IntList();
  const ids = new IntList(only < 0 ? 64 : 0);
  for (let i = 0; i < count; i++) {
    const id = str[i]!;
    if (only >= 0 ? id !== only : !wanted.has(id)) continue;
    if (typeof type !== 'number' && type[i] !== ValueType.string) continue;
    found.push(owners[i]!);
    if (only < 0) ids.push(id);
  }
  if (found.length === 0) return emptyVector(all.owner);
  const some = only < 0 ? ids.view() : new Int32Array(found.length).fill(only);
  return stringVector(all.owner, found.view(), some, table!);
}

/** All attributes of some owners, or of all: for each key of the dictionary the vector of its values. */
export function attributeVectors(
  reader: HeadReader,
  store: AttributeStore,
  owners: Bitset,
  strings: HeadStrings,
): ReadonlyMap<number, Vector> {
  const hits = new Map<number, Hits>();
  const { starts, keys, values } = store;
  let lastKey = -1;
  let last = new Hits();
  for (let owner = owners.next(0); owner >= 0 && owner < starts.count; owner = owners.next(owner + 1)) {
    const end = owner + 1 < starts.count ? starts.get(owner + 1) : keys.count;
    for (let i = starts.get(owner); i < end; i++) {
      const word = keys.get(i);
      const key = word >>> 4;
      if (key !== lastKey) {
        const known = hits.get(key);
        last = known ?? new Hits();
        lastKey = key;
        if (known === undefined) hits.set(key, last);
      }
      last.push(owner, word & 15, values.get(i));
    }
  }
  const vectors = new Map<number, Vector>();
  for (const [key, some] of hits) vectors.set(key, vectorOf(reader, store, some, strings));
  return vectors;
}

/** Wanted attributes, ascending: whose they are (or, until that is known, where), their type and value. */
class Hits {
  at = new Int32Array(64);
  types = new Uint8Array(64);
  values = new Int32Array(64);
  count = 0;

  push(at: number, type: number, value: number): void {
    if (this.count === this.at.length) this.grow();
    const i = this.count++;
    this.at[i] = at;
    this.types[i] = type;
    this.values[i] = value;
  }

  private grow(): void {
    const size = this.count * 2;
    this.at = resized(this.at, new Int32Array(size));
    this.types = resized(this.types, new Uint8Array(size));
    this.values = resized(this.values, new Int32Array(size));
  }
}

/** Those with this key, from attribute `from` on. */
function scanKeys({ keys, values }: AttributeStore, from: number, key: number, hits: Hits): void {
  for (let k = 0; k < keys.chunks.length; k++) {
    const first = (FIRST << k) - FIRST;
    const end = Math.min(FIRST << k, keys.count - first);
    const begin = Math.max(0, from - first);
    if (begin < end) scanChunk(keys.chunks[k]!, values.chunks[k]!, begin, end, { first, key }, hits);
  }
}

function scanChunk(
  keys: Int32Array | Uint8Array,
  values: Int32Array | Uint8Array,
  begin: number,
  end: number,
  { first, key }: { readonly first: number; readonly key: number },
  hits: Hits,
): void {
  for (let i = begin; i < end; i++) {
    const word = keys[i]!;
    if (word >>> 4 === key) hits.push(first + i, word & 15, values[i]!);
  }
}

/**
 * Puts the owners of attributes in their place: the last ones whose attributes begin there or before.
 * @param owner not behind that of the first. @returns that of the last.
 */
function replaceByOwners({ at, count }: Hits, starts: Int32Array, owner: number): number {
  let low = owner;
  for (let h = 0; h < count; h++) {
    const index = at[h]!;
    let step = 1;
    while (low + step < starts.length && starts[low + step]! <= index) {
      low += step;
      step *= 2;
    }
    let high = Math.min(low + step, starts.length); // starts[high] > index
    while (low + 1 < high) {
      const middle = (low + high) >>> 1;
      if (starts[middle]! <= index) low = middle;
      else high = middle;
    }
    at[h] = low;
  }
  return low;
}

function hitsOf(store: AttributeStore, query: AttributeQuery, owners: Int32Array): Hits {
  const hits = new Hits();
  const { starts, keys, values } = store;
  const { key, strings } = query;
  for (let o = 0; o < owners.length; o++) {
    const owner = owners[o]!;
    const end = owner + 1 < starts.count ? starts.get(owner + 1) : keys.count;
    for (let i = starts.get(owner); i < end; i++) {
      const word = keys.get(i);
      if (word >>> 4 !== key) continue;
      const type = word & 15;
      const value = values.get(i);
      const isWanted =
        strings === undefined ||
        type === AttrType.stringArray ||
        (type === AttrType.string && strings.has(value));
      if (isWanted) hits.push(owner, type, value);
    }
  }
  return hits;
}

/** Makes entries of attributes. Strings that only arrays have are numbered -1, -2 and so on. */
class Loader {
  private readonly out: VectorBuilder;
  private readonly elementStrings: Uint8Array[] = [];
  private elementBytes = 0;
  entries = 0;

  constructor(owner: Owner, capacity: number) {
    this.out = new VectorBuilder(owner, capacity);
  }

  get hasOwnStrings(): boolean {
    return this.elementStrings.length > 0;
  }

  get sizeBytes(): number {
    return this.out.sizeBytes + this.elementBytes;
  }

  load(reader: HeadReader, { at, types, values, count }: Hits): void {
    const { wide } = reader.vecs;
    const { out } = this;
    out.reserve(count);
    this.entries += count;
    for (let h = 0; h < count; h++) {
      const owner = at[h]!;
      const value = values[h]!;
      switch (types[h]) {
        case AttrType.string:
          out.string(owner, value, false);
          break;
        case AttrType.bool:
          out.number(owner, ValueType.bool, value, false);
          break;
        case AttrType.int:
          out.number(owner, ValueType.int, value, false);
          break;
        case AttrType.int64:
          out.int64(owner, wide.get(value, 0), wide.get(value, 1), false);
          break;
        case AttrType.double:
          out.number(owner, ValueType.float, toDouble(wide.get(value, 0), wide.get(value, 1)), false);
          break;
        case AttrType.stringArray:
        case AttrType.boolArray:
        case AttrType.intArray:
        case AttrType.doubleArray:
          this.elements(owner, reader.str(value));
          break;
        default: // values that a query cannot name
      }
    }
  }

  /** Of owners below `end`. */
  vector(strings: HeadStrings, end = Infinity): Vector {
    const { elementStrings } = this;
    if (elementStrings.length === 0) return this.out.finish(strings, end);
    const vector = this.out.finish(strings.with(elementStrings), end);
    const str = vector.str?.map((id) => (id < 0 ? strings.size - 1 - id : id));
    return { ...vector, str };
  }

  /**
   * Entries of an array of scalars, from its AnyValue message (checked when it was taken in). One alone is
   * a plain value, as it is in a block.
   */
  private elements(owner: number, message: Uint8Array): void {
    const b = new Uint8Array(message.length + WIRE_PADDING);
    b.set(message);
    const wire = new WireReader();
    wire.varint(b, 1);
    let isAlone = true;
    for (let p = wire.next; p < message.length; ) {
      const isElement = b[p] === Tag.arrayValue.values;
      const next = wire.skip(b, p, message.length);
      if (next < 0) return;
      if (isElement) {
        wire.varint(b, p + 1);
        isAlone &&= next === message.length;
        this.element(owner, b, wire.next, next, wire, !isAlone);
      }
      p = next;
    }
  }

  private element(
    owner: number,
    b: Uint8Array,
    start: number,
    end: number,
    wire: WireReader,
    isElement: boolean,
  ): void {
    let last = start; // the last known field counts
    for (let p = start; p < end; ) {
      const tag = b[p]!;
      const known =
        tag === Tag.anyValue.string ||
        tag === Tag.anyValue.bool ||
        tag === Tag.anyValue.int ||
        tag === Tag.anyValue.double;
      if (known) last = p;
      p = wire.skip(b, p, end);
      if (p < 0) return;
    }
    switch (b[last]) {
      case Tag.anyValue.string: {
        const length = wire.varint(b, last + 1);
        this.elementStrings.push(b.subarray(wire.next, wire.next + length));
        this.elementBytes += length + ELEMENT_BYTES;
        this.out.string(owner, -this.elementStrings.length, isElement);
        break;
      }
      case Tag.anyValue.bool:
        wire.varint64(b, last + 1);
        this.out.number(owner, ValueType.bool, wire.low === 0 && wire.high === 0 ? 0 : 1, isElement);
        break;
      case Tag.anyValue.int:
        wire.varint64(b, last + 1);
        this.out.int64(owner, wire.low, wire.high, isElement);
        break;
      default:
        this.out.number(
          owner,
          ValueType.float,
          toDouble(word32(b, last + 1), word32(b, last + 5)),
          isElement,
        );
    }
  }
}

function toDouble(low: number, high: number): number {
  scratchWords[0] = low;
  scratchWords[1] = high;
  return scratch[0]!;
}
