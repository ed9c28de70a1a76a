// Reads the meta of a block, under whichever of its names.
import { isBlockId, META_NAME } from '../block/meta.ts';
import { metaOfFolder, type StoredMeta } from '../block/meta-json.ts';
import { TempoError } from '../lib/errors.ts';
import type { ObjectStore } from '../objectstore/objectstore.ts';

/**
 * undefined = there is none. Rejects with `block_corrupt` where there is one that cannot be read, or is that
 * of another block.
 */
export async function readMeta(
  store: ObjectStore,
  tenant: string,
  blockId: string,
  name: string = META_NAME,
): Promise<StoredMeta | undefined> {
  if (!isBlockId(blockId)) throw new TempoError('invalid_argument', `${blockId} is no id of a block`);
  const bytes = await absentAsUndefined(store.read(`${tenant}/${blockId}/${name}`));
  return bytes === undefined ? undefined : metaOfFolder(bytes, tenant, blockId);
}

export async function absentAsUndefined<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (err) {
    if (err instanceof TempoError && err.code === 'not_found') return undefined;
    throw err;
  }
}
