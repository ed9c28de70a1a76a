// Loads one attribute of a head as a vector: finds its entries by key, then their owners.
import type { Bitset } from '../../lib/bitset.ts';
import { IntList } from '../../lib/int-list.ts';
import type { Owner, Vector } from '../../traceql/source.ts';
import { ValueType } from '../../traceql/source.ts';
import { Tag } from '../../model/otlp/encode.ts';
import { AttrType, FIRST } from './layout.ts';
import type { HeadReader } from './reader.ts';
import type { VecReader } from './vec.ts';
import { HeadStrings, VectorBuilder, emptyVector } from './vectors.ts';
import { WIRE_PADDING, WireReader, word32 } from './wire.ts';

/** Attributes of one kind of owner: those of owner i are [starts[i], starts[i + 1]). */
export interface AttributeStore {
  readonly owner: Owner;
  readonly starts: VecReader;
  readonly keys: VecReader;
  readonly values: VecReader;
}

/** What is wanted of a store. */
export interface AttributeQuery {
  /** Id in the key dictionary, -1 = no such key. */
  readonly key: number;
  /** Only these strings (by id; arrays are not looked into), or all values. */
  readonly strings: ReadonlySet<number> | undefined;
  /** Only these owners, ascending, or all. */
  readonly owners: Int32Array | undefined;
}

const scratch = new Float64Array(1);
const scratchWords = new Int32Array(scratch.buffer);

export function attributeVector(
  reader: HeadReader,
  store: AttributeStore,
  query: AttributeQuery,
  strings: HeadStrings,
): Vector {
  if (query.key < 0) return emptyVector(store.owner);
  const hits = query.owners === undefined ? hitsOfAll(store, query) : hitsOf(store, query, query.owners);
  if (hits.length === 0) return emptyVector(store.owner);
  return new Loader(reader, store, hits.length, strings).load(hits);
}

/** All attributes of some owners, or of all: for each key of the dictionary the vector of its values. */
export function attributeVectors(
  reader: HeadReader,
  store: AttributeStore,
  owners: Bitset,
  strings: HeadStrings,
): ReadonlyMap<number, Vector> {
  const hits = new Map<number, IntList>();
  const { starts, keys } = store;
  let lastKey = -1;
  let last = new IntList(0);
  for (let owner = owners.next(0); owner >= 0 && owner < starts.count; owner = owners.next(owner + 1)) {
    const end = owner + 1 < starts.count ? starts.get(owner + 1) : keys.count;
    for (let i = starts.get(owner); i < end; i++) {
      const key = keys.get(i) >>> 4;
      if (key !== lastKey) {
        const known = hits.get(key);
        last = known ?? new IntList();
        lastKey = key;
        if (known === undefined) hits.set(key, last);
      }
      last.push(i);
    }
  }
  const vectors = new Map<number, Vector>();
  for (const [key, list] of hits) {
    vectors.set(key, new Loader(reader, store, list.length, strings).load(list.view()));
  }
  return vectors;
}

/** Indexes of the wanted attributes, ascending. */
class Hits {
  private list = new Int32Array(1024);
  private count = 0;

  push(index: number): void {
    if (this.count === this.list.length) {
      const grown = new Int32Array(this.list.length * 2);
      grown.set(this.list);
      this.list = grown;
    }
    this.list[this.count++] = index;
  }

  finish(): Int32Array {
    return this.list.subarray(0, this.count);
  }
}

function hitsOfAll(store: AttributeStore, query: AttributeQuery): Int32Array {
  const hits = new Hits();
  const { keys, values } = store;
  for (let k = 0; k < keys.chunks.length; k++) {
    const first = (FIRST << k) - FIRST;
    const count = Math.min(FIRST << k, keys.count - first);
    const chunk = keys.chunks[k] as Int32Array;
    if (query.strings === undefined) scanKeys(chunk, count, first, query.key, hits);
    else scanStrings(chunk, values.chunks[k] as Int32Array, count, first, query.key, query.strings, hits);
  }
  return hits.finish();
}

function scanKeys(keys: Int32Array, count: number, first: number, key: number, hits: Hits): void {
  for (let i = 0; i < count; i++) if (keys[i]! >>> 4 === key) hits.push(first + i);
}

function scanStrings(
  keys: Int32Array,
  values: Int32Array,
  count: number,
  first: number,
  key: number,
  wanted: ReadonlySet<number>,
  hits: Hits,
): void {
  const stringKey = (key << 4) | AttrType.string;
  const arrayKey = (key << 4) | AttrType.stringArray;
  const only = wanted.size === 1 ? [...wanted][0]! : -1;
  for (let i = 0; i < count; i++) {
    const word = keys[i]!;
    if (word === stringKey) {
      if (only >= 0 ? values[i] === only : wanted.has(values[i]!)) hits.push(first + i);
    } else if (word === arrayKey) {
      hits.push(first + i);
    }
  }
}

function hitsOf(store: AttributeStore, query: AttributeQuery, owners: Int32Array): Int32Array {
  const hits = new Hits();
  const { starts, keys, values } = store;
  const { key, strings } = query;
  const stringKey = (key << 4) | AttrType.string;
  const arrayKey = (key << 4) | AttrType.stringArray;
  for (let o = 0; o < owners.length; o++) {
    const owner = owners[o]!;
    const end = owner + 1 < starts.count ? starts.get(owner + 1) : keys.count;
    for (let i = starts.get(owner); i < end; i++) {
      const word = keys.get(i);
      if (word >>> 4 !== key) continue;
      const isWanted =
        strings === undefined || word === arrayKey || (word === stringKey && strings.has(values.get(i)));
      if (isWanted) hits.push(i);
    }
  }
  return hits.finish();
}

class Loader {
  private readonly reader: HeadReader;
  private readonly store: AttributeStore;
  private readonly out: VectorBuilder;
  private readonly strings: HeadStrings;
  private readonly elementStrings: Uint8Array[] = [];
  private owner = 0; // of the last hit

  constructor(reader: HeadReader, store: AttributeStore, capacity: number, strings: HeadStrings) {
    this.reader = reader;
    this.store = store;
    this.out = new VectorBuilder(store.owner, capacity);
    this.strings = strings;
  }

  load(hits: Int32Array): Vector {
    const { keys, values } = this.store;
    const { wide } = this.reader.vecs;
    const { out } = this;
    for (let h = 0; h < hits.length; h++) {
      const i = hits[h]!;
      const value = values.get(i);
      this.owner = this.ownerOf(i);
      const { owner } = this;
      switch (keys.get(i) & 15) {
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
          this.elements(owner, this.reader.str(value));
          break;
        default: // values that a query cannot name
      }
    }
    const table =
      this.elementStrings.length === 0 ? this.strings : new HeadStrings(this.reader, this.elementStrings);
    return out.finish(table);
  }

  /**
   * The last owner whose attributes begin at or before `index`: found by doubling steps from the
   * previous one.
   */
  private ownerOf(index: number): number {
    const { starts } = this.store;
    let low = this.owner;
    let step = 1;
    while (low + step < starts.count && starts.get(low + step) <= index) {
      low += step;
      step *= 2;
    }
    let high = Math.min(low + step, starts.count); // starts[high] > index
    while (low + 1 < high) {
      const middle = (low + high) >>> 1;
      if (starts.get(middle) <= index) low = middle;
      else high = middle;
    }
    return low;
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
        const id = this.strings.size + this.elementStrings.length;
        this.elementStrings.push(b.subarray(wire.next, wire.next + length));
        this.out.string(owner, id, isElement);
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
