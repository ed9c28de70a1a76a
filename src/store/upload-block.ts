// Copies a block from a local folder into the backend. Its meta comes last, once the data is there whole:
// until then nobody takes it for a block.
import { type BlockMeta, COMPACTED_META_NAME, META_NAME } from '../block/meta.ts';
import { TempoError } from '../lib/errors.ts';
import type { ObjectStore } from '../objectstore/objectstore.ts';

export interface UploadPlaces {
  readonly local: ObjectStore;
  /** The folder of `local`. */
  readonly localPath: string;
  readonly backend: ObjectStore;
}

/** @param ours what lies beside the block and is no part of it. */
export async function uploadBlock(
  { tenantId, blockId, sizeBytes }: BlockMeta,
  { local, localPath, backend }: UploadPlaces,
  ours: readonly string[] = [],
): Promise<void> {
  const folder = `${tenantId}/${blockId}`;
  const copy = (name: string): Promise<void> =>
    backend.writeFile(`${folder}/${name}`, `${localPath}/${folder}/${name}`);
  for (const name of await local.listObjects(folder)) {
    if (name !== META_NAME && !ours.includes(name)) await copy(name);
  }
  const stored = await backend.stat(`${folder}/data.parquet`);
  if (stored.sizeBytes !== sizeBytes) {
    const sizes = `${stored.sizeBytes} bytes in place of ${sizeBytes}`;
    throw new TempoError('block_corrupt', `block ${blockId} has ${sizes} in the backend`);
  }
  await copy(META_NAME);
}

/** What became of a block that got into the backend. */
export type UploadedState = 'live' | 'compacted';

/**
 * What an earlier attempt came to: the block is there whole, or was joined with others since. Then nothing
 * may be written into its folder, which somebody may be about to delete. undefined = it is not there.
 */
export async function findUploaded(
  { tenantId, blockId, sizeBytes }: BlockMeta,
  { local, backend }: Pick<UploadPlaces, 'local' | 'backend'>,
  ours: readonly string[] = [],
): Promise<UploadedState | undefined> {
  const folder = `${tenantId}/${blockId}`;
  const stored = new Set(await backend.listObjects(folder));
  if (stored.has(COMPACTED_META_NAME)) return 'compacted';
  const names = (await local.listObjects(folder)).filter((name) => !ours.includes(name));
  if (!stored.has(META_NAME) || !names.every((name) => stored.has(name))) return undefined;
  const { sizeBytes: storedBytes } = await backend.stat(`${folder}/data.parquet`);
  return storedBytes === sizeBytes ? 'live' : undefined;
}
