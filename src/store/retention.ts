// Makes room: blocks older than the retention are marked compacted, and compacted ones are deleted a while
// later.
import { type BlockMeta, COMPACTED_META_NAME, META_NAME } from '../block/meta.ts';
import { TempoError } from '../lib/errors.ts';
import type { ObjectStore } from '../objectstore/objectstore.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Blocklist, CompactedBlock } from './blocklist.ts';

export interface RetentionTimes {
  /** Nothing of the tenant is marked or deleted. */
  readonly isOff: (tenant: string) => boolean;
  /** 0 = keep for ever. */
  readonly blockMsOf: (tenant: string) => number;
  /** How long a compacted block stays, for queries that have begun. */
  readonly compactedMs: number;
}

export interface RetentionOptions {
  readonly store: ObjectStore;
  readonly blocklist: Blocklist;
  readonly logger: Logger;
  readonly times: RetentionTimes;
  /** Whether the block is for this process to look after. */
  readonly owns: (blockId: string) => boolean;
  readonly nowMs: () => number;
}

export interface RetentionResult {
  readonly marked: number;
  readonly deleted: number;
  readonly failed: number;
}

/** One pass over all tenants. A block that fails is tried again at the next pass. */
export async function applyRetention(options: RetentionOptions): Promise<RetentionResult> {
  const { blocklist, logger, times, owns } = options;
  const result = { marked: 0, deleted: 0, failed: 0 };
  const attempt = async (tenant: string, block: string, work: () => Promise<void>): Promise<boolean> => {
    try {
      await work();
      return true;
    } catch (err) {
      // Others have marked it, which the next poll shows.
      if (err instanceof TempoError && err.code === 'not_found') return false;
      logger.error('retention of a block failed', { tenant, block, err });
      result.failed++;
      return false;
    }
  };
  for (const tenant of blocklist.tenants()) {
    if (times.isOff(tenant)) continue;
    const blocks = blocklist.tenant(tenant);
    for (const block of expiredCompacted(blocks.compacted.values(), options)) {
      const id = block.meta.blockId;
      if (!owns(id)) continue;
      if (!(await attempt(tenant, id, () => deleteBlock(options, tenant, id)))) continue;
      result.deleted++;
      logger.info('block is deleted', { tenant, block: id });
    }
    for (const meta of expired(blocks.live.values(), times.blockMsOf(tenant), options.nowMs())) {
      const id = meta.blockId;
      if (!owns(id)) continue;
      if (!(await attempt(tenant, id, () => markCompacted(options, meta)))) continue;
      result.marked++;
      const last = new Date(meta.endSec * 1000).toISOString();
      logger.info('block is older than block_retention', { tenant, block: id, last });
    }
  }
  return result;
}

function expired(blocks: Iterable<BlockMeta>, retentionMs: number, nowMs: number): BlockMeta[] {
  if (retentionMs === 0) return [];
  const limitSec = (nowMs - retentionMs) / 1000;
  return [...blocks].filter((meta) => meta.endSec < limitSec);
}

function expiredCompacted(blocks: Iterable<CompactedBlock>, options: RetentionOptions): CompactedBlock[] {
  const limitMs = options.nowMs() - options.times.compactedMs;
  return [...blocks].filter((block) => block.compactedMs < limitMs);
}

async function markCompacted(options: RetentionOptions, meta: BlockMeta): Promise<void> {
  await writeCompactedMark(options.store, meta);
  options.blocklist.compacted({ meta, compactedMs: options.nowMs() });
}

/** The block is none any more: its meta gets another name. */
export async function writeCompactedMark(store: ObjectStore, meta: BlockMeta): Promise<void> {
  const folder = `${meta.tenantId}/${meta.blockId}`;
  await store.copy(`${folder}/${META_NAME}`, `${folder}/${COMPACTED_META_NAME}`);
  await store.delete(`${folder}/${META_NAME}`);
}

async function deleteBlock(options: RetentionOptions, tenant: string, blockId: string): Promise<void> {
  await options.store.deleteFolder(`${tenant}/${blockId}`);
  options.blocklist.deleted(tenant, blockId);
}
