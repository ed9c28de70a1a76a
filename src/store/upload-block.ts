// Copies a block from a local folder into the backend. Its meta comes last, once the data is there whole:
// until then nobody takes it for a block.
import { type BlockMeta, META_NAME } from '../block/meta.ts';
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
