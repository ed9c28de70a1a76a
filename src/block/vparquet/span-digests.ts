// Digests of the spans of each trace of a row group, from the ids and kinds of its spans. They take 12 bytes
// a trace and stay in the thread's cache, unlike the columns that they come from, and unlike the digest of a
// single row.
import { pickNumbers, pickStrings } from '../../parquet/column-reader.ts';
import { addToDigest, DIGEST_WORDS, type TraceDigest } from '../stored-spans.ts';
import { INTRINSICS } from './block-columns.ts';
import type { GroupColumns } from './group-columns.ts';
import { idWords, readKinds, readSpanIds } from './span-ids.ts';
import { loadSpanTree } from './span-tree.ts';

/** DIGEST_WORDS a row. */
export async function spanDigests(group: GroupColumns, signal?: AbortSignal): Promise<Int32Array> {
  const key = group.cacheKey('digests');
  const cached = group.file.cache.get<Int32Array>(key);
  if (cached !== undefined) return cached;
  const { spanTrace } = await loadSpanTree(group, signal);
  const ids = await readSpanIds(group, INTRINSICS['span:id'].column, spanTrace.length, signal);
  const kinds = await readKinds(group, INTRINSICS['span:kind'].column, spanTrace.length, signal);
  const digests = new Int32Array(group.rowCount * DIGEST_WORDS);
  for (let i = 0; i < spanTrace.length; i++) {
    addToDigest(digests, spanTrace[i] * DIGEST_WORDS, ids[2 * i], ids[2 * i + 1], kinds[i]);
  }
  group.file.cache.set(key, digests, digests.byteLength);
  return digests;
}

/** Of one row, of which no more than its pages is read. */
export async function rowDigest(
  group: GroupColumns,
  row: number,
  signal?: AbortSignal,
): Promise<TraceDigest> {
  const rows = Int32Array.of(row);
  const [idName, kindName] = [INTRINSICS['span:id'].column, INTRINSICS['span:kind'].column];
  return group.lend(async (scratch) => {
    const columns = await group.rows([idName, kindName], rows, scratch, signal);
    const [idRows, kindRows] = [columns.get(idName)!, columns.get(kindName)!];
    const { ids, table } = pickStrings(idRows.pages, idRows.dictionary(), idRows.slice.positions);
    const { num, base } = pickNumbers(kindRows.pages, kindRows.dictionary(), kindRows.slice.positions);
    if (ids.length !== num.length) throw group.damaged(kindName, 'has not one kind a span');
    const idsAsWords = idWords(ids, table);
    const words = new Int32Array(DIGEST_WORDS);
    const offset = Number(base);
    for (let i = 0; i < ids.length; i++) {
      addToDigest(words, 0, idsAsWords[2 * i], idsAsWords[2 * i + 1], num[i] + offset);
    }
    const distinct = new Set(new BigInt64Array(idsAsWords.buffer));
    return { words, hasRepeats: distinct.size < ids.length };
  });
}
