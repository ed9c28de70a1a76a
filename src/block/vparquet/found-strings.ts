// Where wanted strings stand in the dictionary of a column. That is kept: a dictionary of megabytes, which
// does not stay in the cache, need not be decompressed again for a value that was asked for before.
import type { StringFinder } from '../../parquet/column-reader.ts';
import { EMPTY_TABLE } from '../../parquet/decode/byte-table.ts';
import type { GroupColumns } from './group-columns.ts';

/** Wanted strings of more bytes together are looked up each time. */
const KEPT_BYTES_MAX = 4096;
const ENTRY_BYTES = 300;

const latin1 = new TextDecoder('latin1');

/** Ids of the strings that were wanted. */
class FoundStrings implements StringFinder {
  readonly size: number;
  readonly sizeBytes: number;
  private readonly ids: ReadonlyMap<string, readonly number[]>;

  constructor(strings: StringFinder, wanted: readonly Uint8Array[]) {
    this.size = strings.size;
    this.ids = new Map(wanted.map((value) => [latin1.decode(value), strings.find(value)]));
    let bytes = ENTRY_BYTES;
    for (const [text, ids] of this.ids) bytes += 100 + text.length * 3 + ids.length * 8;
    this.sizeBytes = bytes;
  }

  find(wanted: Uint8Array): readonly number[] {
    return this.ids.get(latin1.decode(wanted)) ?? [];
  }
}

/** The strings of a column's dictionary, or at least which of them are the `wanted` ones. */
export async function foundStrings(
  group: GroupColumns,
  name: string,
  wanted: readonly Uint8Array[],
  signal?: AbortSignal,
): Promise<StringFinder> {
  const isKept = surelyDictionary(group, name) && totalBytes(wanted) <= KEPT_BYTES_MAX;
  const key = group.cacheKey(`f/${name}/${wanted.map((value) => keyText(value)).join('')}`);
  const { cache } = group.file;
  const known = isKept ? cache.get<FoundStrings>(key) : undefined;
  if (known !== undefined) return known;
  const dictionary = await group.dictionary(name, signal);
  const strings = dictionary !== undefined && 'strings' in dictionary ? dictionary.strings : EMPTY_TABLE;
  if (!isKept) return strings;
  const found = new FoundStrings(strings, wanted);
  cache.set(key, found, found.sizeBytes + key.length * 2);
  return found;
}

/** True when the dictionary alone tells that the column has none of the strings. */
export function dictionaryLacks(
  group: GroupColumns,
  name: string,
  strings: StringFinder,
  wanted: readonly Uint8Array[],
): boolean {
  return (
    strings.size > 0 &&
    surelyDictionary(group, name) &&
    wanted.every((value) => strings.find(value).length === 0)
  );
}

/** Every value is in the dictionary. */
export function surelyDictionary(group: GroupColumns, name: string): boolean {
  const encodings = group.chunk(name)?.pageEncodings;
  return (
    encodings !== undefined && encodings.every((e) => e === 'RLE_DICTIONARY' || e === 'PLAIN_DICTIONARY')
  );
}

/** With its length, so that no two lists of strings have the same text. */
function keyText(value: Uint8Array): string {
  return `${value.length}:${latin1.decode(value)}`;
}

function totalBytes(values: readonly Uint8Array[]): number {
  return values.reduce((sum, { length }) => sum + length, 0);
}
