// Values of one attribute in the generic columns of a scope (Key, Value, ValueInt, ...) over a whole row group. The
// value side is asked first where strings are wanted, else the keys; levels are only ever seen as bits.
import type { BitRank } from '../../lib/bit-rank.ts';
import type { ColumnPages } from '../../parquet/column-pages.ts';
import { corrupt } from '../../parquet/corrupt.ts';
import {
  type Dictionary, findValues, isDictionaryPage, pickNumbers, pickStrings, readStrings, ValueCursor,
} from '../../parquet/column-reader.ts';
import type { ByteTable } from '../../parquet/decode/byte-table.ts';
import { type AttributeScope, ValueType } from '../../traceql/source.ts';
import { SCOPE_OWNER, SCOPE_PREFIX } from './block-columns.ts';
import type { GroupColumns } from './group-columns.ts';
import { elements, ownerBegins, surelyDictionary } from './stored-vector.ts';
import type { VectorPart } from './vector-parts.ts';

/** Value columns beside Key, and the type of what they hold. */
export const TYPED_COLUMNS: readonly (readonly [string, ValueType])[] = [
  ['Value', ValueType.string],
  ['ValueInt', ValueType.int],
  ['ValueDouble', ValueType.float],
  ['ValueBool', ValueType.bool],
];

const utf8 = new TextEncoder();

/** One part for each type that occurs. */
export async function genericParts(
  group: GroupColumns, scope: AttributeScope, name: string, equals: readonly Uint8Array[] | undefined,
  signal?: AbortSignal,
): Promise<VectorPart[]> {
  const prefix = `${SCOPE_PREFIX[scope]}Attrs.`;
  const keyName = `${prefix}Key`;
  if (!group.hasValues(keyName)) return [];
  const keyDictionary = await group.dictionary(keyName, signal);
  const keys = keyDictionary !== undefined && 'strings' in keyDictionary ? keyDictionary.strings : undefined;
  const key = utf8.encode(name);
  if (keys !== undefined && surelyDictionary(group, keyName) && keys.find(key).length === 0) return [];
  if (equals !== undefined) {
    const part = await equalPart(group, scope, key, keys, equals, signal);
    if (part !== 'unknown') return part === undefined ? [] : [part];
  }
  const attributes = await loadKeys(group, scope, signal);
  const entries = attributes.entriesOf(key, keyDictionary);
  const parts: VectorPart[] = [];
  if (entries.length === 0) return parts;
  const names = [keyName];
  for (const [suffix, type] of TYPED_COLUMNS) {
    const column = prefix + suffix;
    if (!group.hasValues(column) || (equals !== undefined && type !== ValueType.string)) continue;
    names.push(column);
    const pages = await group.pages(column, true, signal);
    const dictionary = await group.dictionary(column, signal);
    const part = typedPart(attributes, entries, pages, dictionary, type);
    if (part !== undefined) parts.push(part);
  }
  group.recount(names);
  return parts;
}

/** The Key column of a scope: an entry is an attribute, or an owner without attributes. */
class AttributeKeys {
  readonly pages: ColumnPages;
  private readonly begins: BitRank | undefined;

  constructor(pages: ColumnPages, begins: BitRank | undefined) {
    this.pages = pages;
    this.begins = begins;
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
    const bits = pages.valueBits();
    return positions.map((position) => bits.select(position));
  }

  private positionsOf(key: Uint8Array, dictionary: Dictionary | undefined): Int32Array {
    const { pages } = this;
    const strings = dictionary !== undefined && 'strings' in dictionary ? dictionary.strings : undefined;
    if (strings !== undefined && pages.pages.every((page) => page.valueCount === 0 || isDictionaryPage(page))) {
      const wanted = strings.find(key);
      return wanted.length === 0 ? new Int32Array(0) : findValues(pages, wanted, strings.size);
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

async function loadKeys(group: GroupColumns, scope: AttributeScope, signal?: AbortSignal): Promise<AttributeKeys> {
  const pages = await group.pages(`${SCOPE_PREFIX[scope]}Attrs.Key`, true, signal);
  return new AttributeKeys(pages, ownerBegins(group, pages, SCOPE_OWNER[scope]));
}

/**
 * Lines the entries of a value column up with those of Key: they are the same, unless an array takes several entries
 * of the value column.
 */
class ValueEntries {
  private readonly starts: BitRank | undefined;
  private readonly keyEntries: number;

  constructor(keys: ColumnPages, values: ColumnPages) {
    this.keyEntries = keys.entryCount;
    const aligned = values.entryCount === keys.entryCount;
    this.starts = aligned ? undefined : values.repetitionBits(0, keys.leaf.maxRepetition);
  }

  first(keyEntry: number): number {
    return this.starts === undefined ? keyEntry : this.starts.select(keyEntry);
  }

  keyEntryOf(entry: number): number {
    const keyEntry = this.starts === undefined ? entry : this.starts.rank(entry + 1) - 1;
    if (keyEntry < 0 || keyEntry >= this.keyEntries) throw corrupt('a value belongs to no attribute');
    return keyEntry;
  }
}

function typedPart(
  keys: AttributeKeys, entries: Int32Array, pages: ColumnPages, dictionary: Dictionary | undefined, type: ValueType,
): VectorPart | undefined {
  const lines = new ValueEntries(keys.pages, pages);
  const values = pages.valueBits();
  let positions = new Int32Array(entries.length);
  let attributeOf = new Int32Array(entries.length); // ordinal in `entries`
  let count = 0;
  for (let i = 0; i < entries.length; i++) {
    const first = values.rank(lines.first(entries[i]));
    const end = values.rank(lines.first(entries[i] + 1));
    if (count + end - first > positions.length) {
      positions = grown(positions, count + end - first);
      attributeOf = grown(attributeOf, count + end - first);
    }
    for (let position = first; position < end; position++) {
      positions[count] = position;
      attributeOf[count++] = i;
    }
  }
  if (count === 0) return undefined;
  positions = positions.subarray(0, count);
  attributeOf = attributeOf.subarray(0, count);
  const isElement = elements(attributeOf);
  const owners = attributeOf.map((i) => keys.ownerOf(entries[i]));
  if (type === ValueType.string) {
    const { ids, table } = pickStrings(pages, dictionary, positions);
    return { count, owners, type, ids, table, numbers: undefined, isElement };
  }
  const numbers = pickNumbers(pages, dictionary, positions);
  return { count, owners, type, ids: undefined, table: undefined, numbers, isElement };
}

function grown(items: Int32Array, needed: number): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(Math.max(needed, items.length * 2));
  larger.set(items);
  return larger;
}

/**
 * Strings that are among `equals`: the dictionary of values says whether there are any, their indices say where, and
 * only there keys are looked at. 'unknown' when the columns are not made for this.
 */
async function equalPart(
  group: GroupColumns, scope: AttributeScope, key: Uint8Array, keys: ByteTable | undefined,
  equals: readonly Uint8Array[], signal?: AbortSignal,
): Promise<VectorPart | undefined | 'unknown'> {
  const prefix = `${SCOPE_PREFIX[scope]}Attrs.`;
  const name = `${prefix}Value`;
  if (!group.hasValues(name)) return undefined;
  const dictionary = await group.dictionary(name, signal);
  const strings = dictionary !== undefined && 'strings' in dictionary ? dictionary.strings : undefined;
  if (strings === undefined || keys === undefined) return 'unknown';
  const wanted = equals.flatMap((value) => strings.find(value));
  if (wanted.length === 0 && surelyDictionary(group, name)) return undefined;
  const pages = await group.pages(name, true, signal);
  const attributes = await loadKeys(group, scope, signal);
  const indexed = [pages, attributes.pages].every((column) =>
    column.pages.every((page) => page.valueCount === 0 || isDictionaryPage(page)),
  );
  if (!indexed) return 'unknown';
  const keyIds = keys.find(key);
  if (wanted.length === 0 || keyIds.length === 0) return undefined;
  const positions = findValues(pages, wanted, strings.size);
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
    const several = values.rank(lines.first(entry + 1)) - values.rank(lines.first(entry)) > 1;
    flags[count++] = several ? 1 : 0;
  }
  group.recount([name, `${prefix}Key`]);
  if (count === 0) return undefined;
  const { ids, table } = pickStrings(pages, dictionary, found.subarray(0, count));
  const isElement = flags.includes(1) ? flags.subarray(0, count) : undefined;
  const type = ValueType.string;
  return { count, owners: owners.subarray(0, count), type, ids, table, numbers: undefined, isElement };
}
