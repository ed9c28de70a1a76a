// Digests of the spans of each trace of a row group, from the ids and kinds of its spans. They take 12 bytes
// a trace and stay in the thread's cache, unlike the columns that they come from.
import { addToDigest, DIGEST_WORDS } from '../stored-spans.ts';
import { INTRINSICS } from './block-columns.ts';
import type { GroupColumns } from './group-columns.ts';
import { readKinds, readSpanIds } from './span-ids.ts';
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
