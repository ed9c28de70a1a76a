// Digests of the spans of each trace of a row group, from the ids and kinds of its spans. They take 12 bytes
// a trace and stay in the thread's cache, unlike the columns that they come from.
import { readNumbers, readStrings } from '../../parquet/column-reader.ts';
import { addToDigest, DIGEST_WORDS } from '../stored-spans.ts';
import { INTRINSICS } from './block-columns.ts';
import type { GroupColumns } from './group-columns.ts';
import { loadSpanTree } from './span-tree.ts';

const SPAN_ID_BYTES = 8;

/** DIGEST_WORDS a row. */
export async function spanDigests(group: GroupColumns, signal?: AbortSignal): Promise<Int32Array> {
  const key = group.cacheKey('digests');
  const cached = group.file.cache.get<Int32Array>(key);
  if (cached !== undefined) return cached;
  const { spanTrace } = await loadSpanTree(group, signal);
  const idName = INTRINSICS['span:id'].column;
  const kindName = INTRINSICS['span:kind'].column;
  const idPages = await group.pages(idName, false, signal);
  const { ids, table } = readStrings(idPages, await group.dictionary(idName, signal));
  const kindPages = await group.pages(kindName, false, signal);
  const kinds = readNumbers(kindPages, await group.dictionary(kindName, signal));
  if (ids.length !== spanTrace.length) throw group.damaged(idName, 'has not one id a span');
  if (kinds.num.length !== spanTrace.length) throw group.damaged(kindName, 'has not one kind a span');
  const base = Number(kinds.base);
  const digests = new Int32Array(group.rowCount * DIGEST_WORDS);
  for (let i = 0; i < spanTrace.length; i++) {
    const bytes = table.bufferOf(ids[i]);
    const start = table.offset(ids[i]);
    const length = Math.min(table.length(ids[i]), SPAN_ID_BYTES);
    let low = 0;
    let high = 0;
    for (let k = 0; k < length; k++) {
      if (k < 4) low |= bytes[start + k] << (8 * k);
      else high |= bytes[start + k] << (8 * (k - 4));
    }
    addToDigest(digests, spanTrace[i] * DIGEST_WORDS, low, high, base + kinds.num[i]);
  }
  group.file.cache.set(key, digests, digests.byteLength);
  return digests;
}
