// A bound on what is kept on disk: above it the oldest blocks go, whatever the retention says. For machines
// whose disk is not ours alone.
import { type BlockMeta, META_NAME } from '../block/meta.ts';
import type { ObjectStore } from '../objectstore/objectstore.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Blocklist } from './blocklist.ts';

export interface SizeCapOptions {
  readonly store: ObjectStore;
  readonly blocklist: Blocklist;
  readonly logger: Logger;
  /** 0 = no bound. */
  readonly sizeBytesMax: number;
  /** What counts too and is not in the backend: the log, blocks that wait for their upload. */
  readonly otherBytes: number;
}

/** Bytes of all blocks in the backend, compacted and unfinished ones included until they are deleted. */
export function storedBytes(blocklist: Blocklist): number {
  return blocklist.tenants().reduce((sum, tenant) => {
    const { live, compacted, unfinished } = blocklist.tenant(tenant);
    const metas = [...live.values(), ...[...compacted.values()].map(({ meta }) => meta)];
    const left = [...unfinished.values()].map(({ left: size }) => size?.sizeBytes ?? 0);
    return sum + [...metas.map(({ sizeBytes }) => sizeBytes), ...left].reduce((a, b) => a + b, 0);
  }, 0);
}

/** @returns how many blocks were deleted. One that fails is tried again next time. */
export async function applySizeCap(options: SizeCapOptions): Promise<{ deleted: number; failed: number }> {
  const { blocklist, logger, sizeBytesMax, otherBytes } = options;
  const result = { deleted: 0, failed: 0 };
  if (sizeBytesMax <= 0) return result;
  let excess = otherBytes + storedBytes(blocklist) - sizeBytesMax;
  if (excess <= 0) return result;
  for (const meta of oldestFirst(blocklist)) {
    if (excess <= 0) break;
    const { tenantId: tenant, blockId: block, sizeBytes: size_bytes } = meta;
    try {
      await deleteBlock(options, meta);
    } catch (err) {
      logger.error('block cannot be deleted to make room', { tenant, block, err });
      result.failed++;
      continue;
    }
    excess -= size_bytes;
    result.deleted++;
    const last = new Date(meta.endSec * 1000).toISOString();
    logger.warn('oldest block is deleted to make room', { tenant, block, size_bytes, last });
  }
  if (excess > 0) {
    logger.warn('more is kept than may be, and no block is left to delete', { excess_bytes: excess });
  }
  return result;
}

/** Blocks that are compacted are of no use any more; then by the time of their last span. */
function oldestFirst(blocklist: Blocklist): readonly BlockMeta[] {
  const all = blocklist.tenants().map((tenant) => blocklist.tenant(tenant));
  const byEnd = (a: BlockMeta, b: BlockMeta): number => a.endSec - b.endSec;
  const compacted = all.flatMap((blocks) => [...blocks.compacted.values()].map(({ meta }) => meta));
  const live = all.flatMap((blocks) => [...blocks.live.values()]);
  return [...compacted.toSorted(byEnd), ...live.toSorted(byEnd)];
}

/** The meta goes first: a folder without it is no block. */
async function deleteBlock({ store, blocklist }: SizeCapOptions, meta: BlockMeta): Promise<void> {
  const folder = `${meta.tenantId}/${meta.blockId}`;
  await store.delete(`${folder}/${META_NAME}`);
  blocklist.deleted(meta.tenantId, meta.blockId);
  await store.deleteFolder(folder);
}
