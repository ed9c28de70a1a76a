// Folders of blocks without a meta: uploads that are under way, or that a crash ended. What is old enough is
// deleted; until then it counts among what is kept.
import { META_NAME } from '../block/meta.ts';
import type { ObjectStore } from '../objectstore/objectstore.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Blocklist } from './blocklist.ts';

/** What uploads left in a folder. */
export interface Left {
  readonly sizeBytes: number;
  /** Of the newest object; Infinity = it is not ours. */
  readonly modifiedMs: number;
}

export interface UnfinishedBlock {
  /** When it was seen first. */
  readonly sinceMs: number;
  /** undefined = it was seen once, and may grow. */
  readonly left: Left | undefined;
}

/** Nobody uploads a block for so long without a pause. */
export const UNFINISHED_MS = 24 * 60 * 60 * 1000;

/** What uploads of blocks leave; a folder with anything else in it belongs to somebody else. */
const OF_A_BLOCK = /^(data|data\.parquet|index|value-filter|bloom-\d+)$/;

const NOT_OURS: Left = { sizeBytes: 0, modifiedMs: Infinity };

export async function measureUnfinished(store: ObjectStore, folder: string): Promise<Left> {
  const names = await store.listObjects(folder);
  if (names.length === 0 || !names.every((name) => OF_A_BLOCK.test(name))) return NOT_OURS;
  if ((await store.listFolders(folder)).length > 0) return NOT_OURS;
  let sizeBytes = 0;
  let modifiedMs = -Infinity;
  for (const name of names) {
    const info = await store.stat(`${folder}/${name}`);
    sizeBytes += info.sizeBytes;
    // a store that does not tell says 0 or nothing
    modifiedMs = Math.max(modifiedMs, info.modifiedMs > 0 ? info.modifiedMs : Infinity);
  }
  return { sizeBytes, modifiedMs };
}

export interface UnfinishedOptions {
  readonly store: ObjectStore;
  readonly blocklist: Blocklist;
  readonly logger: Logger;
  /** Whether the block is for this process to look after. */
  readonly owns: (blockId: string) => boolean;
  readonly nowMs: () => number;
}

/** Deletes what is old enough. What fails is tried again at the next pass. */
export async function deleteUnfinished(
  options: UnfinishedOptions,
): Promise<{ readonly deleted: number; readonly failed: number }> {
  const { store, blocklist, logger, owns, nowMs } = options;
  const result = { deleted: 0, failed: 0 };
  const limitMs = nowMs() - UNFINISHED_MS;
  for (const tenant of blocklist.tenants()) {
    for (const [block, { left, sinceMs }] of blocklist.tenant(tenant).unfinished) {
      // files that are being copied are not seen, and linked ones are as old as their source
      if (left === undefined || Math.max(left.modifiedMs, sinceMs) > limitMs || !owns(block)) continue;
      try {
        const { modifiedMs, sizeBytes: size_bytes } = await measureUnfinished(store, `${tenant}/${block}`);
        if (modifiedMs > limitMs) continue;
        await store.deleteFolder(`${tenant}/${block}`);
        blocklist.deleted(tenant, block);
        result.deleted++;
        const facts = { tenant, block, missing: META_NAME, size_bytes };
        logger.warn('block that was never finished is deleted', facts);
      } catch (err) {
        logger.error('block that was never finished cannot be deleted', { tenant, block, err });
        result.failed++;
      }
    }
  }
  return result;
}
