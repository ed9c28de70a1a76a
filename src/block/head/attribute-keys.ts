// Which attribute keys the owners of a head have: of all of them, or of some.
import type { Bitset } from '../../lib/bitset.ts';
import type { AttributeStore } from './attribute-vector.ts';
import { FIRST } from './layout.ts';
import type { HeadReader } from './reader.ts';

/** Ids in the key dictionary, ascending. */
export function attributeKeys(
  reader: HeadReader,
  store: AttributeStore,
  owners: Bitset | undefined,
): number[] {
  const seen = new Uint8Array(reader.vecs.keyLength.count);
  if (owners === undefined) markAll(store, seen);
  else markOf(store, owners, seen);
  const ids: number[] = [];
  for (let id = 0; id < seen.length; id++) if (seen[id] === 1) ids.push(id);
  return ids;
}

function markAll({ keys }: AttributeStore, seen: Uint8Array): void {
  for (let k = 0; k < keys.chunks.length; k++) {
    const chunk = keys.chunks[k] as Int32Array;
    const count = Math.min(FIRST << k, keys.count - ((FIRST << k) - FIRST));
    for (let i = 0; i < count; i++) seen[chunk[i]! >>> 4] = 1;
  }
}

function markOf({ starts, keys }: AttributeStore, owners: Bitset, seen: Uint8Array): void {
  for (let owner = owners.next(0); owner >= 0 && owner < starts.count; owner = owners.next(owner + 1)) {
    const end = owner + 1 < starts.count ? starts.get(owner + 1) : keys.count;
    for (let i = starts.get(owner); i < end; i++) seen[keys.get(i) >>> 4] = 1;
  }
}
