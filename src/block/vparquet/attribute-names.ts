// Names of the attributes of a row group: from the dictionary of the key column and from the columns that
// hold one attribute each. Only names of some owners need the values themselves.
import type { Bitset } from '../../lib/bitset.ts';
import type { ColumnPages } from '../../parquet/column-pages.ts';
import { type Dictionary, readStrings, ValueCursor } from '../../parquet/column-reader.ts';
import type { ByteTable } from '../../parquet/decode/byte-table.ts';
import type { AttributeScope, Owner } from '../../traceql/source.ts';
import { SCOPE_OWNER, SCOPE_PREFIX } from './block-columns.ts';
import type { GroupColumns } from './group-columns.ts';
import { surelyDictionary } from './found-strings.ts';
import { ownerBegins, ownersOfValues } from './stored-vector.ts';

const utf8 = new TextDecoder();

/** Names in no order, each once. */
export async function attributeNames(
  group: GroupColumns,
  scope: AttributeScope,
  owners: Bitset | undefined,
  signal?: AbortSignal,
): Promise<readonly string[]> {
  if (owners !== undefined) return [...new Set(await namesOf(group, scope, owners, signal))];
  const { cache } = group.file;
  const key = group.cacheKey(`n/${scope}`);
  let names = cache.get<readonly string[]>(key);
  if (names === undefined) {
    names = [...new Set(await namesOfAll(group, scope, signal))];
    cache.set(key, names, 100 + names.reduce((sum, name) => sum + 2 * name.length + 30, 0));
  }
  return names;
}

async function namesOfAll(
  group: GroupColumns,
  scope: AttributeScope,
  signal?: AbortSignal,
): Promise<string[]> {
  const columns = group.file.columns.attributeColumns(scope);
  const names = columns.filter(({ column }) => group.hasValues(column)).map(({ name }) => name);
  const keyName = keyColumn(scope);
  if (!group.hasValues(keyName)) return names;
  const dictionary = await group.dictionary(keyName, signal);
  if (dictionary !== undefined && 'strings' in dictionary && surelyDictionary(group, keyName)) {
    return names.concat(stringsOf(dictionary.strings));
  }
  const found = await group.lend(async (scratch) => {
    const { ids, table } = readStrings(await group.pages(keyName, scratch, signal), dictionary);
    const used = new Uint8Array(table.size);
    for (let i = 0; i < ids.length; i++) used[ids[i]] = 1;
    return stringsOf(table, used);
  });
  return names.concat(found);
}

async function namesOf(
  group: GroupColumns,
  scope: AttributeScope,
  owners: Bitset,
  signal?: AbortSignal,
): Promise<string[]> {
  const names: string[] = [];
  const owner = SCOPE_OWNER[scope];
  for (const { name, column } of group.file.columns.attributeColumns(scope)) {
    if (group.hasValues(column) && (await isWithin(group, column, owner, owners, signal))) names.push(name);
  }
  const keyName = keyColumn(scope);
  if (!group.hasValues(keyName)) return names;
  const pages = await group.pages(keyName, 'kept', signal);
  const dictionary = await group.dictionary(keyName, signal);
  const found =
    dictionary !== undefined && 'strings' in dictionary && surelyDictionary(group, keyName)
      ? keysWithin(group, pages, dictionary.strings, owner, owners)
      : anyKeysWithin(group, pages, dictionary, owner, owners);
  group.recount([keyName]);
  return names.concat(found);
}

/** Has one of the owners a value in the column? */
async function isWithin(
  group: GroupColumns,
  column: string,
  owner: Owner,
  owners: Bitset,
  signal?: AbortSignal,
): Promise<boolean> {
  const pages = await group.pages(column, 'kept', signal);
  group.recount([column]);
  if (ownerBegins(group, pages, owner) === undefined) {
    const { words } = pages.valueBits();
    const shared = Math.min(words.length, owners.words.length);
    for (let w = 0; w < shared; w++) if ((words[w] & owners.words[w]!) !== 0) return true;
    return false;
  }
  const of = ownersOfValues(group, pages, owner).owners;
  for (let i = 0; i < pages.valueCount; i++) if (owners.has(of === undefined ? i : of[i])) return true;
  return false;
}

/** Keys of the owners: only their entries are looked at. */
function keysWithin(
  group: GroupColumns,
  pages: ColumnPages,
  table: ByteTable,
  owner: Owner,
  owners: Bitset,
): string[] {
  const used = new Uint8Array(table.size);
  const first = ownerBegins(group, pages, owner)?.positions();
  const values = pages.valueCount === pages.entryCount ? undefined : pages.valueBits();
  const cursor = new ValueCursor(pages, table.size);
  for (let i = owners.next(0); i >= 0; i = owners.next(i + 1)) {
    const end = first === undefined ? i + 1 : first[i + 1];
    for (let e = first === undefined ? i : first[i]; e < end; e++) {
      if (values === undefined) used[cursor.idAt(e)] = 1;
      else if (values.get(e)) used[cursor.idAt(values.rank(e))] = 1;
    }
  }
  return stringsOf(table, used);
}

function anyKeysWithin(
  group: GroupColumns,
  pages: ColumnPages,
  dictionary: Dictionary | undefined,
  owner: Owner,
  owners: Bitset,
): string[] {
  const { ids, table } = readStrings(pages, dictionary);
  const of = ownersOfValues(group, pages, owner).owners;
  const used = new Uint8Array(table.size);
  for (let i = 0; i < ids.length; i++) if (owners.has(of === undefined ? i : of[i])) used[ids[i]] = 1;
  return stringsOf(table, used);
}

function keyColumn(scope: AttributeScope): string {
  return `${SCOPE_PREFIX[scope]}Attrs.Key`;
}

function stringsOf(table: ByteTable, used?: Uint8Array): string[] {
  const strings: string[] = [];
  for (let id = 0; id < table.size; id++) {
    if (used === undefined || used[id] === 1) strings.push(utf8.decode(table.bytes(id)));
  }
  return strings;
}
