// Names of the attributes of a row group: from the dictionary of the key column and from the columns that
// hold one attribute each. Only names of some owners need the values themselves.
import type { Bitset } from '../../lib/bitset.ts';
import { readStrings } from '../../parquet/column-reader.ts';
import type { ByteTable } from '../../parquet/decode/byte-table.ts';
import { type AttributeScope, ValueType } from '../../traceql/source.ts';
import { SCOPE_OWNER, SCOPE_PREFIX } from './block-columns.ts';
import type { GroupColumns } from './group-columns.ts';
import { ownersOfValues, storedPart, surelyDictionary } from './stored-vector.ts';

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
  const { ids, table } = readStrings(await group.pages(keyName, false, signal), dictionary);
  const used = new Uint8Array(table.size);
  for (let i = 0; i < ids.length; i++) used[ids[i]] = 1;
  return names.concat(stringsOf(table, used));
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
    const part = await storedPart(group, { column, owner, type: ValueType.string }, undefined, signal);
    if (part !== undefined && hasAny(part.count, part.owners, owners)) names.push(name);
  }
  const keyName = keyColumn(scope);
  if (!group.hasValues(keyName)) return names;
  const pages = await group.pages(keyName, true, signal);
  const { ids, table } = readStrings(pages, await group.dictionary(keyName, signal));
  const of = ownersOfValues(group, pages, owner).owners;
  group.recount([keyName]);
  const used = new Uint8Array(table.size);
  for (let i = 0; i < ids.length; i++) if (owners.has(of === undefined ? i : of[i])) used[ids[i]] = 1;
  return names.concat(stringsOf(table, used));
}

function keyColumn(scope: AttributeScope): string {
  return `${SCOPE_PREFIX[scope]}Attrs.Key`;
}

function hasAny(count: number, of: Int32Array | undefined, owners: Bitset): boolean {
  for (let i = 0; i < count; i++) if (owners.has(of === undefined ? i : of[i])) return true;
  return false;
}

function stringsOf(table: ByteTable, used?: Uint8Array): string[] {
  const strings: string[] = [];
  for (let id = 0; id < table.size; id++) {
    if (used === undefined || used[id] === 1) strings.push(utf8.decode(table.bytes(id)));
  }
  return strings;
}
