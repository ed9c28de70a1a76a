// Values of one stored column (an intrinsic, or an attribute with a column of its own) over a whole row
// group.
import { BitRank } from '../../lib/bit-rank.ts';
import type { ColumnPages } from '../../parquet/column-pages.ts';
import {
  type Dictionary,
  findStrings,
  pickKnown,
  readNumbers,
  readStrings,
  type StringFinder,
} from '../../parquet/column-reader.ts';
import { EvenTable } from '../../parquet/decode/even-table.ts';
import type { Owner } from '../../traceql/source.ts';
import { COUNTING_COLUMN, OWNER_DEPTH, SPAN, type StoredColumn } from './block-columns.ts';
import { dictionaryLacks, foundStrings, surelyDictionary } from './found-strings.ts';
import type { GroupColumns } from './group-columns.ts';
import type { VectorPart } from './vector-parts.ts';

/** Nearly always of one length, where those of parents are empty for roots. */
const EVEN_COLUMN = `${SPAN}SpanID`;

/** Undefined when there is no value. With `equals` strings that are none of these are left out. */
export async function storedPart(
  group: GroupColumns,
  stored: StoredColumn,
  equals: readonly Uint8Array[] | undefined,
  signal?: AbortSignal,
): Promise<VectorPart | undefined> {
  const { column: name } = stored;
  if (!group.hasValues(name)) return undefined;
  if (equals === undefined || group.chunk(name)?.leaf.type !== 'BYTE_ARRAY') {
    const dictionary = await group.dictionary(name, signal);
    return group.lend(async (scratch) => {
      // strings that are in no dictionary stay in their pages, but for ids, which are copied
      const isDecoded =
        group.chunk(name)?.leaf.type !== 'BYTE_ARRAY' ||
        surelyDictionary(group, name) ||
        name === EVEN_COLUMN;
      const pages = await group.pages(name, isDecoded ? scratch : 'own', signal);
      return wholePart(group, stored, pages, dictionary);
    });
  }
  const strings = await foundStrings(group, name, equals, signal);
  if (dictionaryLacks(group, name, strings, equals)) return undefined;
  const pages = await group.pages(name, 'kept', signal);
  const part = equalPart(group, stored, pages, strings, equals);
  group.recount([name]);
  return part;
}

function wholePart(
  group: GroupColumns,
  { column, owner, type }: StoredColumn,
  pages: ColumnPages,
  dictionary: Dictionary | undefined,
): VectorPart {
  const { owners, isElement } = ownersOfValues(group, pages, owner);
  const count = pages.valueCount;
  if (pages.leaf.type === 'BYTE_ARRAY') {
    const { ids, table: read } = readStrings(pages, dictionary);
    const even = column === EVEN_COLUMN ? EvenTable.of(ids, read) : undefined;
    const strings = even ?? { ids, table: read.owned() };
    return { count, owners, type, ...strings, numbers: undefined, isElement };
  }
  const numbers = readNumbers(pages, dictionary);
  return { count, owners, type, ids: undefined, table: undefined, numbers, isElement };
}

function equalPart(
  group: GroupColumns,
  { owner, type }: StoredColumn,
  pages: ColumnPages,
  strings: StringFinder,
  equals: readonly Uint8Array[],
): VectorPart | undefined {
  const positions = findStrings(pages, strings, equals);
  const count = positions.length;
  if (count === 0) return undefined;
  const { ids, table } = pickKnown(pages, strings, positions, equals);
  const { leaf, entryCount, valueCount } = pages;
  const values = valueCount === entryCount ? undefined : pages.valueBits();
  const begins = ownerBegins(group, pages, owner);
  const depth = OWNER_DEPTH[owner];
  const owners = new Int32Array(count);
  const isElement = leaf.maxRepetition > depth ? new Uint8Array(count) : undefined;
  for (let i = 0; i < count; i++) {
    const entry = values === undefined ? positions[i] : values.select(positions[i]);
    const at = begins === undefined ? entry : begins.rank(entry + 1) - 1;
    owners[i] = at;
    if (isElement !== undefined && begins !== undefined) {
      isElement[i] = begins.select(at + 1) - begins.select(at) > 1 ? 1 : 0;
    }
  }
  return { count, owners, type, ids, table, numbers: undefined, isElement };
}

/**
 * One bit an entry of a column: the entry is the first of an owner that exists. Undefined when every entry
 * is one, so that entry i belongs to owner i.
 */
export function ownerBegins(group: GroupColumns, pages: ColumnPages, owner: Owner): BitRank | undefined {
  const depth = OWNER_DEPTH[owner];
  const { leaf, entryCount } = pages;
  if (leaf.maxRepetition <= depth && entryCount === ownerCount(group, owner)) return undefined;
  const begins = leaf.maxRepetition <= depth ? undefined : pages.repetitionBits(0, depth);
  // where no entry is null, none lacks its owner
  if (begins !== undefined && pages.valueCount === entryCount) return begins;
  const exist = pages.definitionBits(depth, leaf.maxDefinition);
  return begins === undefined ? exist : BitRank.and(begins, exist);
}

/** How many owners the row group has; -1 = not known from the footer. */
function ownerCount(group: GroupColumns, owner: Owner): number {
  return owner === 'trace' ? group.rowCount : group.valueCount(COUNTING_COLUMN[owner]);
}

interface ValueOwners {
  readonly owners: Int32Array | undefined;
  readonly isElement: Uint8Array | undefined;
}

/** The owner of each value; undefined when value i belongs to owner i. */
export function ownersOfValues(group: GroupColumns, pages: ColumnPages, owner: Owner): ValueOwners {
  const depth = OWNER_DEPTH[owner];
  const { leaf, entryCount, valueCount } = pages;
  const { maxDefinition, maxRepetition } = leaf;
  if (maxRepetition <= depth && maxDefinition === depth) {
    const expected = ownerCount(group, owner);
    if (expected >= 0 && expected !== valueCount)
      throw group.damaged(pages.name, 'has not one value for each owner');
    return { owners: undefined, isElement: undefined };
  }
  const def = pages.definitionLevels();
  const owners = new Int32Array(valueCount);
  let count = 0;
  let at = -1;
  if (maxRepetition <= depth) {
    for (let e = 0; e < entryCount; e++) {
      const level = def[e];
      if (level >= depth) at++;
      if (level === maxDefinition && count < valueCount) owners[count++] = at;
    }
    if (count !== valueCount) throw group.damaged(pages.name, 'has not the values that it states');
    return { owners, isElement: undefined };
  }
  const rep = pages.repetitionLevels();
  for (let e = 0; e < entryCount; e++) {
    if (rep[e] <= depth && def[e] >= depth) at++;
    if (def[e] === maxDefinition && count < valueCount) owners[count++] = at;
  }
  if (count !== valueCount) throw group.damaged(pages.name, 'has not the values that it states');
  return { owners, isElement: elements(owners) };
}

/** 1 for values whose owner has several; undefined when none has. */
export function elements(owners: Int32Array): Uint8Array | undefined {
  let isElement: Uint8Array | undefined;
  for (let i = 1; i < owners.length; i++) {
    if (owners[i] !== owners[i - 1]) continue;
    isElement ??= new Uint8Array(owners.length);
    isElement[i - 1] = 1;
    isElement[i] = 1;
  }
  return isElement;
}
