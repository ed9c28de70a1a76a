// The complete blocks in the ingester's own folder, laid out as in the backend plus a `flushed` marker: they
// answer queries until they have been in the backend for long enough.
import { metaOfFolder } from '../../block/meta-json.ts';
import { type BlockMeta, META_NAME } from '../../block/meta.ts';
import type { TimeRange } from '../../contracts/recent-traces.ts';
import { eachConcurrently } from '../../lib/concurrent.ts';
import { TempoError } from '../../lib/errors.ts';
import type { ObjectStore } from '../../objectstore/objectstore.ts';
import { findUploaded, type UploadedState, uploadBlock } from '../../store/upload-block.ts';
import type { Logger } from '../../telemetry/log.ts';

export interface LocalBlock {
  readonly meta: BlockMeta;
  /** Scans that have it open. */
  readers: number;
  /** Since when it may be deleted, apart from the waiting time; undefined = the only copy. */
  safeSinceMs: number | undefined;
  /** Its time is up: it is there for the scans that have it open, and no more for others. */
  isExpired: boolean;
  /** An earlier attempt, perhaps of an earlier process, may have put it into the backend. */
  mayBeUploaded: boolean;
}

export interface LocalBlocksOptions {
  /** Over `<wal.path>/blocks`. */
  readonly store: ObjectStore;
  /** The same folder. */
  readonly path: string;
  readonly backend: ObjectStore;
  readonly completeBlockTimeoutMs: number;
  readonly logger: Logger;
  readonly nowMs: () => number;
}

const FLUSHED = 'flushed';
/** Whose blocks are taken over at the same time. */
const TENANTS_AT_ONCE = 8;

export class LocalBlocks {
  private readonly options: LocalBlocksOptions;
  private readonly byTenant = new Map<string, Map<string, LocalBlock>>();

  constructor(options: LocalBlocksOptions) {
    this.options = options;
  }

  has(tenant: string): boolean {
    return this.byTenant.has(tenant);
  }

  find(tenant: string, blockId: string): LocalBlock | undefined {
    return this.byTenant.get(tenant)?.get(blockId);
  }

  add(meta: BlockMeta, safeSinceMs?: number): LocalBlock {
    const block: LocalBlock = { meta, readers: 0, safeSinceMs, isExpired: false, mayBeUploaded: false };
    const blocks = this.byTenant.get(meta.tenantId);
    if (blocks === undefined) this.byTenant.set(meta.tenantId, new Map([[meta.blockId, block]]));
    else blocks.set(meta.blockId, block);
    return block;
  }

  /** Of the blocks that are in no backend yet. */
  waitingBytes(): number {
    let sum = 0;
    for (const blocks of this.byTenant.values()) {
      for (const { meta, safeSinceMs } of blocks.values())
        if (safeSinceMs === undefined) sum += meta.sizeBytes;
    }
    return sum;
  }

  /** Without those whose time is up, else a tenant that is always asked for would never get rid of them. */
  overlapping(tenant: string, { startSec, endSec }: TimeRange): LocalBlock[] {
    return [...(this.byTenant.get(tenant)?.values() ?? [])].filter(
      ({ meta, isExpired }) =>
        !isExpired &&
        (endSec === undefined || meta.startSec <= endSec) &&
        (startSec === undefined || meta.endSec >= startSec),
    );
  }

  /**
   * Takes over what an earlier process left; removes what it did not finish. Answers the blocks not uploaded
   * yet.
   */
  async takeOver(): Promise<LocalBlock[]> {
    const { store, logger } = this.options;
    const waiting: LocalBlock[] = [];
    await eachConcurrently(await store.listFolders(''), TENANTS_AT_ONCE, async (tenant) => {
      for (const blockId of await store.listFolders(tenant)) {
        const folder = `${tenant}/${blockId}`;
        const names = await store.listObjects(folder);
        if (!names.includes(META_NAME)) {
          logger.info('unfinished block is removed', { tenant, block: blockId });
          await store.deleteFolder(folder);
          continue;
        }
        const block = await this.takeOverBlock(tenant, blockId, names.includes(FLUSHED));
        if (block?.safeSinceMs === undefined && block !== undefined) waiting.push(block);
      }
    });
    return waiting;
  }

  private async takeOverBlock(
    tenant: string,
    blockId: string,
    isFlushed: boolean,
  ): Promise<LocalBlock | undefined> {
    const { store, logger } = this.options;
    const folder = `${tenant}/${blockId}`;
    try {
      const { meta } = metaOfFolder(await store.read(`${folder}/${META_NAME}`), tenant, blockId);
      const block = this.add(meta, isFlushed ? await this.flushedAtMs(folder) : undefined);
      block.mayBeUploaded = true;
      return block;
    } catch (err) {
      logger.error('local block cannot be read, it is left where it is', { tenant, block: blockId, err });
      return undefined;
    }
  }

  private async flushedAtMs(folder: string): Promise<number> {
    const text = new TextDecoder().decode(await this.options.store.read(`${folder}/${FLUSHED}`));
    const ms = Date.parse(text);
    return Number.isNaN(ms) ? this.options.nowMs() : ms;
  }

  /** Whether the folder holds a finished block. */
  async isComplete(tenant: string, blockId: string): Promise<boolean> {
    try {
      await this.options.store.stat(`${tenant}/${blockId}/${META_NAME}`);
      return true;
    } catch (err) {
      if (err instanceof TempoError && err.code === 'not_found') return false;
      throw err;
    }
  }

  /**
   * Copies the block to the backend, its meta last, once its data is there whole, and marks it.
   * @returns what it is there: an earlier attempt may have been joined with others since.
   */
  async upload(block: LocalBlock): Promise<UploadedState> {
    const { store, backend, path, nowMs } = this.options;
    const { meta } = block;
    const folder = `${meta.tenantId}/${meta.blockId}`;
    const places = { local: store, localPath: path, backend };
    const isAgain = block.mayBeUploaded;
    block.mayBeUploaded = true;
    let state = isAgain ? await findUploaded(meta, places, [FLUSHED]) : undefined;
    if (state === undefined) {
      await uploadBlock(meta, places, [FLUSHED]);
      // What an earlier attempt left, or what goes to make room, may just have been deleted under it.
      state = isAgain ? await findUploaded(meta, places, [FLUSHED]) : 'live';
    }
    if (state === undefined) {
      const what = `block ${meta.blockId} lost objects in the backend while it was uploaded`;
      throw new TempoError('unavailable', what);
    }
    await store.write(`${folder}/${FLUSHED}`, new TextEncoder().encode(new Date(nowMs()).toISOString()));
    return state;
  }

  /** Removes what a failed attempt to write a block has left. */
  removeUnfinished(tenant: string, blockId: string): Promise<void> {
    return this.options.store.deleteFolder(`${tenant}/${blockId}`);
  }

  /** Deletes the blocks whose time is up once nobody reads them; answers how many. */
  async deleteExpired(): Promise<number> {
    const { store, logger, completeBlockTimeoutMs, nowMs } = this.options;
    const limitMs = nowMs() - completeBlockTimeoutMs;
    let deleted = 0;
    for (const [tenant, blocks] of this.byTenant) {
      for (const [blockId, block] of blocks) {
        if (block.safeSinceMs === undefined || block.safeSinceMs > limitMs) continue;
        block.isExpired = true;
        if (block.readers > 0) continue;
        blocks.delete(blockId);
        const folder = `${tenant}/${blockId}`;
        try {
          // Without its meta it is an unfinished block, whatever is still there when the process dies
          // meanwhile.
          await store.delete(`${folder}/${META_NAME}`);
          await store.deleteFolder(folder);
          deleted++;
        } catch (err) {
          logger.error('local block cannot be deleted', { tenant, block: blockId, err });
        }
      }
      if (blocks.size === 0) this.byTenant.delete(tenant);
    }
    return deleted;
  }
}
