// Values of one attribute in the generic columns of a scope (Key, Value, ValueInt, ...) over a whole row
// group. The value side is asked first where strings are wanted, else the keys; levels are only ever seen
// as bits.
import { type BitRank, Selector } from '../../lib/bit-rank.ts';
import type { Bitset } from '../../lib/bitset.ts';
import { IntList } from '../../lib/int-list.ts';
import type { ColumnPages } from '../../parquet/column-pages.ts';
import { corrupt } from '../../parquet/corrupt.ts';
import {
  compactStrings,
  type Dictionary,
  stringsOf,
  findStrings,
  findValues,
  isDictionaryPage,
  pickKnown,
  pickNumbers,
  pickStrings,
  readStrings,
  ValueCursor,
} from '../../parquet/column-reader.ts';
import type { ByteTable } from '../../parquet/decode/byte-table.ts';
import { type AttributeScope, ValueType } from '../../traceql/source.ts';
import { SCOPE_OWNER, SCOPE_PREFIX } from './block-columns.ts';
import type { GroupColumns } from './group-columns.ts';
import { dictionaryLacks, foundStrings } from './found-strings.ts';
import { elements, ownerBegins } from './stored-vector.ts';
import type { VectorPart } from './vector-parts.ts';

/** Value columns beside Key, and the type of what they hold. */
export const TYPED_COLUMNS: readonly (readonly [string, ValueType])[] = [
  ['Value', ValueType.string],
  ['ValueInt', ValueType.int],
  ['ValueDouble', ValueType.float],
  ['ValueBool', ValueType.bool],
];

/** The column of string values of a scope. */
export function valueColumn(scope: AttributeScope): string {
  return `${SCOPE_PREFIX[scope]}Attrs.Value`;
}

const utf8 = new TextEncoder();
const NOTHING = new Int32Array(0);

/** Every value is an index into the dictionary. */
function isIndexed({ pages }: ColumnPages): boolean {
  return pages.every((page) => page.valueCount === 0 || isDictionaryPage(page));
}

export interface AttributeRequest {
  readonly scope: AttributeScope;
  readonly name: string;
  readonly equals: readonly Uint8Array[] | undefined;
  readonly types: readonly ValueType[] | undefined;
}

/** One part for each type that occurs. */
export async function genericParts(
  group: GroupColumns,
  request: AttributeRequest,
  signal?: AbortSignal,
): Promise<VectorPart[]> {
  const { scope, name, equals } = request;
  const keyName = `${SCOPE_PREFIX[scope]}Attrs.Key`;
  if (!group.hasValues(keyName)) return [];
  const keyDictionary = await group.dictionary(keyName, signal);
  const key = utf8.encode(name);
  const keyStrings = stringsOf(keyDictionary);
  if (dictionaryLacks(group, keyName, keyStrings, [key])) return [];
  if (equals !== undefined) {
    const keys =
      keyDictionary !== undefined && 'strings' in keyDictionary ? keyDictionary.strings : undefined;
    const part = await equalPart(group, scope, key, keys, equals, signal);
    if (part !== 'unknown') return part === undefined ? [] : [part];
  }
  const attributes = await loadKeys(group, scope, signal);
  const entries = entriesOf(group, request, attributes, key, keyDictionary);
  return entries.length === 0 ? [] : typedParts(group, attributes, entries, request, signal);
}

/** Entries of the key column with the key: small enough to stay in the cache, and looked for again. */
function entriesOf(
  group: GroupColumns,
  { scope, name }: AttributeRequest,
  attributes: AttributeKeys,
  key: Uint8Array,
  dictionary: Dictionary | undefined,
): Int32Array {
  const { cache } = group.file;
  const cacheKey = group.cacheKey(`k/${scope}.${name}`);
  let entries = cache.get<Int32Array>(cacheKey);
  if (entries === undefined) {
    entries = attributes.entriesOf(key, dictionary);
    cache.set(cacheKey, entries, entries.buffer.byteLength + 200);
  }
  return entries;
}

/** An attribute has its value in one of the columns: when all are found, the others are not read. */
async function typedParts(
  group: GroupColumns,
  attributes: AttributeKeys,
  entries: Int32Array,
  request: AttributeRequest,
  signal?: AbortSignal,
): Promise<VectorPart[]> {
  const { scope, equals, types } = request;
  const prefix = `${SCOPE_PREFIX[scope]}Attrs.`;
  const parts: VectorPart[] = [];
  const names = [`${prefix}Key`];
  let missing = entries.length;
  for (const [suffix, type] of TYPED_COLUMNS) {
    const column = prefix + suffix;
    if (missing === 0) break;
    if (!group.hasValues(column) || (equals !== undefined && type !== ValueType.string)) continue;
    if (types !== undefined && !types.includes(type)) continue;
    names.push(column);
    const pages = await group.pages(column, 'kept', signal);
    const typed = typedPart(attributes, entries, pages, await group.dictionary(column, signal), type);
    if (typed === undefined) continue;
    parts.push(typed.part);
    missing -= typed.attributeCount;
  }
  group.recount(names);
  return parts;
}

/** The Key column of a scope: an entry is an attribute, or an owner without attributes. */
export class AttributeKeys {
  readonly pages: ColumnPages;
  private readonly begins: BitRank | undefined;

  constructor(pages: ColumnPages, begins: BitRank | undefined) {
    this.pages = pages;
    this.begins = begins;
  }

  /** Entries (ascending) of some owners that are attributes. */
  entriesOfOwners(owners: Bitset): { readonly entries: Int32Array; readonly owners: Int32Array } {
    const { pages, begins } = this;
    const isAll = pages.valueCount === pages.entryCount;
    const values = isAll ? undefined : pages.valueBits();
    const selector = begins && new Selector(begins);
    const entries = new IntList();
    const owner = new IntList();
    for (let i = owners.next(0); i >= 0; i = owners.next(i + 1)) {
      const from = selector === undefined ? i : selector.at(i);
      const end = Math.min(begins === undefined ? i + 1 : begins.next(from + 1), pages.entryCount);
      for (let entry = from; entry < end; entry++) {
        if (values !== undefined && !values.get(entry)) continue;
        entries.push(entry);
        owner.push(i);
      }
    }
    return { entries: entries.view(), owners: owner.view() };
  }

  /** The owner of an entry. */
  ownerOf(entry: number): number {
    return this.begins === undefined ? entry : this.begins.rank(entry + 1) - 1;
  }

  /** Position, among the keys, of the key of an entry that is an attribute. */
  positionOf(entry: number): number {
    const { pages } = this;
    return pages.valueCount === pages.entryCount ? entry : pages.valueBits().rank(entry);
  }

  /** Entries (ascending) with this key. */
  entriesOf(key: Uint8Array, dictionary: Dictionary | undefined): Int32Array {
    const positions = this.positionsOf(key, dictionary);
    const { pages } = this;
    if (pages.valueCount === pages.entryCount) return positions;
    const selector = new Selector(pages.valueBits());
    return positions.map((position) => selector.at(position));
  }

  private positionsOf(key: Uint8Array, dictionary: Dictionary | undefined): Int32Array {
    const { pages } = this;
    const strings = dictionary !== undefined && 'strings' in dictionary ? dictionary.strings : undefined;
    if (strings !== undefined && isIndexed(pages)) {
      const wanted = strings.find(key);
      return wanted.length === 0 ? NOTHING : findValues(pages, wanted, strings.size);
    }
    const { ids, table } = readStrings(pages, dictionary);
    const wanted = new Set(table.find(key));
    const positions: number[] = [];
    ids.forEach((id, i) => {
      if (wanted.has(id)) positions.push(i);
    });
    return Int32Array.from(positions);
  }
}

export async function loadKeys(
  group: GroupColumns,
  scope: AttributeScope,
  signal?: AbortSignal,
): Promise<AttributeKeys> {
  const pages = await group.pages(`${SCOPE_PREFIX[scope]}Attrs.Key`, 'kept', signal);
  return new AttributeKeys(pages, ownerBegins(group, pages, SCOPE_OWNER[scope]));
}

/**
 * Lines the entries of a value column up with those of Key: they are the same, unless an array takes
 * several entries of the value column.
 */
export class ValueEntries {
  private readonly starts: BitRank | undefined;
  private readonly selector: Selector | undefined;
  private readonly keyEntries: number;

  constructor(keys: ColumnPages, values: ColumnPages) {
    this.keyEntries = keys.entryCount;
    const aligned = values.entryCount === keys.entryCount;
    this.starts = aligned ? undefined : values.repetitionBits(0, keys.leaf.maxRepetition);
    this.selector = this.starts === undefined ? undefined : new Selector(this.starts);
  }

  /** The first entry of an attribute; attributes are asked in ascending order. */
  first(keyEntry: number): number {
    return this.selector === undefined ? keyEntry : this.selector.at(keyEntry);
  }

  /** The entry behind an attribute that begins at `first`. */
  end(first: number): number {
    return this.starts === undefined ? first + 1 : this.starts.next(first + 1);
  }

  keyEntryOf(entry: number): number {
    const keyEntry = this.starts === undefined ? entry : this.starts.rank(entry + 1) - 1;
    if (keyEntry < 0 || keyEntry >= this.keyEntries) throw corrupt('a value belongs to no attribute');
    return keyEntry;
  }
}

interface TypedPart {
  readonly part: VectorPart;
  /** Attributes that have a value here. */
  readonly attributeCount: number;
}

function typedPart(
  keys: AttributeKeys,
  entries: Int32Array,
  pages: ColumnPages,
  dictionary: Dictionary | undefined,
  type: ValueType,
): TypedPart | undefined {
  const lines = new ValueEntries(keys.pages, pages);
  const values = pages.valueBits();
  let positions = new Int32Array(entries.length);
  let attributeOf = new Int32Array(entries.length); // ordinal in `entries`
  let count = 0;
  let attributeCount = 0;
  for (let i = 0; i < entries.length; i++) {
    const begin = lines.first(entries[i]);
    const first = values.rank(begin);
    const end = values.rank(lines.end(begin));
    if (count + end - first > positions.length) {
      positions = grown(positions, count + end - first);
      attributeOf = grown(attributeOf, count + end - first);
    }
    if (end > first) attributeCount++;
    for (let position = first; position < end; position++) {
      positions[count] = position;
      attributeOf[count++] = i;
    }
  }
  if (count === 0) return undefined;
  positions = positions.subarray(0, count);
  attributeOf = attributeOf.subarray(0, count);
  const isElement = elements(attributeOf);
  const owners = new Int32Array(count);
  for (let i = 0; i < count; i++) owners[i] = keys.ownerOf(entries[attributeOf[i]]);
  if (type === ValueType.string) {
    const { ids, table } = compactStrings(pickStrings(pages, dictionary, positions));
    return { attributeCount, part: { count, owners, type, ids, table, numbers: undefined, isElement } };
  }
  const numbers = pickNumbers(pages, dictionary, positions);
  return {
    attributeCount,
    part: { count, owners, type, ids: undefined, table: undefined, numbers, isElement },
  };
}

function grown(items: Int32Array, needed: number): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(Math.max(needed, items.length * 2));
  larger.set(items);
  return larger;
}

/**
 * Strings that are among `equals`: the dictionary of values says whether there are any, their indices say
 * where, and only there keys are looked at. 'unknown' when the columns are not made for this.
 */
async function equalPart(
  group: GroupColumns,
  scope: AttributeScope,
  key: Uint8Array,
  keys: ByteTable | undefined,
  equals: readonly Uint8Array[],
  signal?: AbortSignal,
): Promise<VectorPart | undefined | 'unknown'> {
  const prefix = `${SCOPE_PREFIX[scope]}Attrs.`;
  const name = `${prefix}Value`;
  if (!group.hasValues(name)) return undefined;
  const strings = await foundStrings(group, name, equals, signal);
  if (dictionaryLacks(group, name, strings, equals)) return undefined;
  const pages = await group.pages(name, 'kept', signal);
  const attributes = await loadKeys(group, scope, signal);
  if (keys === undefined || !isIndexed(attributes.pages)) return 'unknown';
  const keyIds = keys.find(key);
  const positions = keyIds.length === 0 ? NOTHING : findStrings(pages, strings, equals);
  const lines = new ValueEntries(attributes.pages, pages);
  const values = pages.valueBits();
  const keyCursor = new ValueCursor(attributes.pages, keys.size);
  const found = new Int32Array(positions.length);
  const owners = new Int32Array(positions.length);
  const flags = new Uint8Array(positions.length);
  let count = 0;
  for (const position of positions) {
    const entry = lines.keyEntryOf(values.select(position));
    if (keyCursor.idAt(attributes.positionOf(entry)) !== keyIds[0]) continue;
    found[count] = position;
    owners[count] = attributes.ownerOf(entry);
    const begin = lines.first(entry);
    const several = values.rank(lines.end(begin)) - values.rank(begin) > 1;
    flags[count++] = several ? 1 : 0;
  }
  group.recount([name, `${prefix}Key`]);
  if (count === 0) return undefined;
  const { ids, table } = pickKnown(pages, strings, found.subarray(0, count), equals);
  const isElement = flags.includes(1) ? flags.subarray(0, count) : undefined;
  const type = ValueType.string;
  return { count, owners: owners.subarray(0, count), type, ids, table, numbers: undefined, isElement };
}
