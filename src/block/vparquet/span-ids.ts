// Ids and kinds of all spans of a row group as numbers, for work that compares them.
import { SPAN_ID_BYTES } from '../../model/ids.ts';
import { readNumbers, readStrings } from '../../parquet/column-reader.ts';
import type { ByteTable } from '../../parquet/decode/byte-table.ts';
import type { GroupColumns } from './group-columns.ts';

/** Two words a span, the first with the lower bytes; 0,0 where there is no id. */
export async function readSpanIds(
  group: GroupColumns,
  name: string,
  spanCount: number,
  signal?: AbortSignal,
): Promise<Int32Array> {
  return group.lend(async (scratch) => {
    const pages = await group.pages(name, scratch, signal);
    const { ids, table } = readStrings(pages, await group.dictionary(name, signal));
    if (ids.length !== spanCount) throw group.damaged(name, 'has not one id a span');
    return idWords(ids, table);
  });
}

export function idWords(ids: Int32Array, table: ByteTable): Int32Array {
  const words = new Int32Array(2 * ids.length);
  for (let i = 0; i < ids.length; i++) {
    const bytes = table.bufferOf(ids[i]);
    const start = table.offset(ids[i]);
    const length = Math.min(table.length(ids[i]), SPAN_ID_BYTES);
    for (let k = 0; k < length; k++) words[2 * i + (k >> 2)] |= bytes[start + k] << (8 * (k & 3));
  }
  return words;
}

/** OTLP numbers. */
export async function readKinds(
  group: GroupColumns,
  name: string,
  spanCount: number,
  signal?: AbortSignal,
): Promise<Int32Array> {
  const { num, base } = await group.lend(async (scratch) => {
    const pages = await group.pages(name, scratch, signal);
    return readNumbers(pages, await group.dictionary(name, signal));
  });
  if (num.length !== spanCount) throw group.damaged(name, 'has not one kind a span');
  const offset = Number(base);
  const kinds = new Int32Array(spanCount);
  for (let i = 0; i < spanCount; i++) kinds[i] = num[i] + offset;
  return kinds;
}
