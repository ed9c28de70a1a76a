// The values of a field in a row group, each (nearly) once: straight from dictionaries where every value is
// in one, else from the column. Small enough to stay in the cache.
import type { Numbers } from '../../parquet/decode/numbers.ts';
import { type Field, fieldKey, type Vector } from '../../traceql/source.ts';
import type { StoredColumn } from './block-columns.ts';
import { genericParts } from './generic-vector.ts';
import type { GroupColumns } from './group-columns.ts';
import { fieldColumns } from './row-vectors.ts';
import { surelyDictionary } from './found-strings.ts';
import { storedPart } from './stored-vector.ts';
import { type VectorPart, vectorBytes, vectorOf } from './vector-parts.ts';

export async function distinctVector(
  group: GroupColumns,
  field: Field,
  signal?: AbortSignal,
): Promise<Vector> {
  const { cache } = group.file;
  const key = group.cacheKey(`x/${fieldKey(field)}`);
  const cached = cache.get<Vector>(key);
  if (cached !== undefined) return cached;
  const { owner, stored, scope, name } = fieldColumns(group, field);
  const parts: VectorPart[] = [];
  for (const column of stored) {
    const part = (await dictionaryPart(group, column, signal)) ?? (await valuesPart(group, column, signal));
    if (part !== undefined) parts.push(part);
  }
  if (scope !== undefined) {
    const request = { scope, name, equals: undefined, types: undefined };
    parts.push(...(await genericParts(group, request, signal)).map(uniquePart));
  }
  const vector = vectorOf(owner, parts);
  cache.set(key, vector, vectorBytes(vector));
  return vector;
}

/** All entries of the dictionary of a column whose values are all in it; undefined when that is not known. */
async function dictionaryPart(
  group: GroupColumns,
  { column, type }: StoredColumn,
  signal?: AbortSignal,
): Promise<VectorPart | undefined> {
  if (!group.hasValues(column) || !surelyDictionary(group, column)) return undefined;
  const dictionary = await group.dictionary(column, signal);
  if (dictionary === undefined) return undefined;
  const none = { owners: undefined, type, isElement: undefined } as const;
  if ('numbers' in dictionary) {
    const { numbers } = dictionary;
    return { ...none, count: numbers.num.length, ids: undefined, table: undefined, numbers };
  }
  const table = dictionary.strings.owned();
  const ids = Int32Array.from({ length: table.size }, (_, id) => id);
  return { ...none, count: table.size, ids, table, numbers: undefined };
}

async function valuesPart(
  group: GroupColumns,
  column: StoredColumn,
  signal?: AbortSignal,
): Promise<VectorPart | undefined> {
  const part = await storedPart(group, column, undefined, signal);
  return part && uniquePart(part);
}

/** The same part with each string id and each number once. */
function uniquePart(part: VectorPart): VectorPart {
  const none = { owners: undefined, type: part.type, isElement: undefined } as const;
  if (part.ids === undefined || part.table === undefined) {
    const numbers = part.numbers && uniqueNumbers(part.numbers);
    return { ...none, count: numbers?.num.length ?? 0, ids: undefined, table: undefined, numbers };
  }
  const ids = uniqueIds(part.ids, part.table.size);
  return { ...none, count: ids.length, ids, table: part.table, numbers: undefined };
}

function uniqueIds(ids: Int32Array, size: number): Int32Array {
  const used = new Uint8Array(size);
  let count = 0;
  for (let i = 0; i < ids.length; i++) {
    count += 1 - used[ids[i]];
    used[ids[i]] = 1;
  }
  const unique = new Int32Array(count);
  for (let id = 0, next = 0; id < size; id++) if (used[id] === 1) unique[next++] = id;
  return unique;
}

function uniqueNumbers({ num, base, exact }: Numbers): Numbers {
  if (exact !== undefined) {
    const unique = BigInt64Array.from(new Set(exact));
    return { num: Float64Array.from(unique, Number), base, exact: unique };
  }
  return { num: Float64Array.from(new Set(num)), base, exact };
}
