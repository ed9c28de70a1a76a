// Finds out which blocks the backend holds: lists each tenant, reads the metas it has not seen. Writes the
// tenant indexes.
import { hash } from 'node:crypto';
import { type BlockMeta, COMPACTED_META_NAME, isBlockId, META_NAME } from '../block/meta.ts';
import { eachConcurrently } from '../lib/concurrent.ts';
import { TempoError } from '../lib/errors.ts';
import type { ObjectStore } from '../objectstore/objectstore.ts';
import type { Logger } from '../telemetry/log.ts';
import { type Blocklist, type CompactedBlock, NONE, type TenantBlocks, tenantBlocks } from './blocklist.ts';
import { EmptyTenants } from './empty-tenants.ts';
import { absentAsUndefined, readMeta } from './read-meta.ts';
import { INDEX_JSON, INDEX_PROTO, tenantIndexJson, tenantIndexProto } from './tenant-index.ts';
import { measureUnfinished, type UnfinishedBlock } from './unfinished.ts';

export interface PollerOptions {
  readonly store: ObjectStore;
  readonly blocklist: Blocklist;
  readonly logger: Logger;
  /** Of one tenant. */
  readonly concurrency: number;
  readonly tenantConcurrency: number;
  /** An index is written again when it is that old, though the blocks are the same; 0 = never. */
  readonly indexAgeMsMax?: number;
  /** Age from which what lies in the folder of a tenant without blocks is deleted; 0 = it stays. */
  readonly leftoversMs?: number;
  readonly nowMs: () => number;
}

/** An index that was written. */
interface WrittenIndex {
  /** Hash of its blocks: an unchanged list is not written again. */
  readonly state: string;
  readonly atMs: number;
}

type Found =
  | { readonly kind: 'live'; readonly meta: BlockMeta }
  | { readonly kind: 'compacted'; readonly block: CompactedBlock }
  | { readonly kind: 'unreadable'; readonly reason: string }
  | { readonly kind: 'unfinished' }
  | undefined;

/** Which meta a block was listed with; '' = none. */
type MetaName = typeof META_NAME | typeof COMPACTED_META_NAME | '';

/** Indexes that are written at once: each waits for the disk several times. */
const INDEXES_AT_ONCE = 4;

/** Of a tenant in one poll, while others compact its blocks. */
const LISTINGS_MAX = 4;

export class Poller {
  private readonly options: PollerOptions;
  /** By tenant. */
  private readonly written = new Map<string, WrittenIndex>();
  private readonly empty: EmptyTenants;
  /** Tenants without a block, as of the last poll. */
  private emptyTenants: readonly string[] = [];

  constructor(options: PollerOptions) {
    const { store, logger, leftoversMs = 0, nowMs } = options;
    this.options = options;
    this.empty = new EmptyTenants({ store, logger, leftoversMs, nowMs });
  }

  /** One pass over all tenants. A tenant that fails keeps its previous list; the failed ones are returned. */
  async poll(): Promise<readonly string[]> {
    const { blocklist, logger, tenantConcurrency } = this.options;
    blocklist.beginPoll();
    const polled = new Map<string, TenantBlocks>();
    const failed: string[] = [];
    const empty: string[] = [];
    await eachConcurrently(await this.listTenants(), tenantConcurrency, async (tenant) => {
      try {
        const blocks = await this.pollTenant(tenant, blocklist.tenant(tenant));
        if (isEmpty(blocks)) empty.push(tenant);
        else polled.set(tenant, blocks);
      } catch (err) {
        logger.error('polling a tenant failed', { tenant, err });
        failed.push(tenant);
        polled.set(tenant, blocklist.isKnown(tenant) ? blocklist.tenant(tenant) : unlisted(err));
      }
    });
    blocklist.replace(polled);
    for (const tenant of this.written.keys()) if (!polled.has(tenant)) this.written.delete(tenant);
    for (const tenant of this.empty.known()) if (!empty.includes(tenant)) this.empty.forget(tenant);
    this.emptyTenants = empty;
    return failed;
  }

  /**
   * Writes the indexes of tenants whose blocks are others than they were, and deletes those of tenants that
   * have none. A process that begins writes all of them, so nobody should wait for it: also on a disk that
   * takes no more, blocks are answered.
   * @param isOurs asked before each; another process may have written those that are not.
   * @returns tenants whose index could not be written.
   */
  async writeIndexes(isOurs: (tenant: string) => boolean): Promise<readonly string[]> {
    const { blocklist, logger } = this.options;
    const failed: string[] = [];
    const tenants = new Set([...blocklist.tenants(), ...this.emptyTenants]);
    await eachConcurrently(tenants, INDEXES_AT_ONCE, async (tenant) => {
      if (!isOurs(tenant)) return void this.written.delete(tenant);
      const blocks = blocklist.tenant(tenant);
      // What it has nobody knows now: an index that is there may be right.
      if (blocks.unlisted !== undefined) return;
      try {
        if (isEmpty(blocks)) {
          await this.empty.clean(tenant);
          return;
        }
        this.empty.forget(tenant);
        await this.writeIndex(tenant, blocks);
      } catch (err) {
        logger.error('tenant index cannot be written', { tenant, err });
        failed.push(tenant);
      }
    });
    return failed;
  }

  private async listTenants(): Promise<string[]> {
    const { store, blocklist } = this.options;
    try {
      return await store.listFolders('');
    } catch (err) {
      blocklist.pollFailed(messageOf(err));
      throw err;
    }
  }

  /**
   * A block that lost its meta while blocks were listed may be replaced by one that was not there when its
   * turn came: then the list is made again, until nothing changes under it. Where something always does,
   * blocks that were replaced meanwhile are still read, together with what replaces them.
   */
  private async pollTenant(tenant: string, known: TenantBlocks): Promise<TenantBlocks> {
    const beganMs = this.options.nowMs();
    const first = await this.listTenant(tenant, known, beganMs);
    if (isSteady(known, first)) return first;
    let before = first;
    for (let pass = 1; pass < LISTINGS_MAX; pass++) {
      const found = await this.listTenant(tenant, before, beganMs);
      if (isSteady(before, found)) return found;
      before = found;
    }
    return stillRead(first, before);
  }

  private async listTenant(tenant: string, known: TenantBlocks, beganMs: number): Promise<TenantBlocks> {
    const { store } = this.options;
    const metas = await this.listMetas(tenant);
    const names = metas === undefined ? await store.listFolders(tenant) : [...metas.keys()];
    const ids = names.filter(isBlockId);
    const live = new Map<string, BlockMeta>();
    const compacted = new Map<string, CompactedBlock>();
    const unreadable = new Map<string, string>();
    const unfinished = new Map<string, UnfinishedBlock>();
    const visit = async (blockId: string): Promise<void> => {
      const found = await this.find(tenant, blockId, known, metas?.get(blockId));
      if (found?.kind === 'live') live.set(blockId, found.meta);
      if (found?.kind === 'compacted') compacted.set(blockId, found.block);
      if (found?.kind === 'unreadable') unreadable.set(blockId, found.reason);
      if (found?.kind !== 'unfinished') return;
      const before = known.unfinished.get(blockId);
      unfinished.set(blockId, await this.unfinished(`${tenant}/${blockId}`, before, beganMs));
    };
    await eachConcurrently(ids, Math.min(ids.length, this.options.concurrency), visit);
    return tenantBlocks({ live, compacted, unreadable, unfinished });
  }

  /** What has been there since an earlier poll is measured once. */
  private async unfinished(
    folder: string,
    before: UnfinishedBlock | undefined,
    beganMs: number,
  ): Promise<UnfinishedBlock> {
    if (before === undefined) return { sinceMs: beganMs, left: undefined };
    if (before.left !== undefined || before.sinceMs >= beganMs) return before;
    return { ...before, left: await measureUnfinished(this.options.store, folder) };
  }

  /** Which blocks there are, and with which meta, where the store tells that at once, else undefined. */
  private async listMetas(tenant: string): Promise<ReadonlyMap<string, MetaName> | undefined> {
    const keys = await this.options.store.listTree?.(tenant);
    if (keys === undefined) return undefined;
    const metas = new Map<string, MetaName>();
    for (const key of keys) {
      const [blockId = '', name, deeper] = key.split('/');
      if (deeper !== undefined || name === undefined) continue;
      if (name === META_NAME) metas.set(blockId, name);
      else if (name === COMPACTED_META_NAME && metas.get(blockId) !== META_NAME) metas.set(blockId, name);
      else if (!metas.has(blockId)) metas.set(blockId, '');
    }
    return metas;
  }

  /** @param listed the meta that it was seen to have; undefined = look. */
  private async find(
    tenant: string,
    blockId: string,
    known: TenantBlocks,
    listed: MetaName | undefined,
  ): Promise<Found> {
    const compacted = known.compacted.get(blockId);
    const key = `${tenant}/${blockId}/${META_NAME}`;
    if (compacted !== undefined) {
      // Somebody may have given it its meta back; whoever has replaced it here is about to take that away.
      const isLive = listed === undefined ? await this.exists(key) : listed === META_NAME;
      if (!isLive || compacted.isReplaced === true) return { kind: 'compacted', block: compacted };
      return { kind: 'live', meta: compacted.meta };
    }
    if (listed === '') return { kind: 'unfinished' };
    const meta = known.live.get(blockId);
    // A known live block may have been compacted by another process meanwhile.
    const isThere =
      listed === undefined ? meta !== undefined && (await this.exists(key)) : listed === META_NAME;
    if (meta !== undefined && isThere) return { kind: 'live', meta };
    const live =
      meta === undefined && listed !== COMPACTED_META_NAME ? await this.metaOf(tenant, blockId) : undefined;
    if (live !== undefined) return typeof live === 'string' ? unreadable(live) : { kind: 'live', meta: live };
    const oldKey = `${tenant}/${blockId}/${COMPACTED_META_NAME}`;
    const old = await this.metaOf(tenant, blockId, COMPACTED_META_NAME);
    if (old === undefined) return { kind: 'unfinished' };
    if (typeof old === 'string') return undefined;
    const { modifiedMs } = await this.options.store.stat(oldKey);
    return { kind: 'compacted', block: { meta: old, compactedMs: modifiedMs } };
  }

  private async exists(key: string): Promise<boolean> {
    return (await absentAsUndefined(this.options.store.stat(key))) !== undefined;
  }

  /** undefined when there is none, the reason when there is one that cannot be read. */
  private async metaOf(
    tenant: string,
    blockId: string,
    name: string = META_NAME,
  ): Promise<BlockMeta | string | undefined> {
    const key = `${tenant}/${blockId}/${name}`;
    try {
      return (await readMeta(this.options.store, tenant, blockId, name))?.meta;
    } catch (err) {
      if (!(err instanceof TempoError) || err.code !== 'block_corrupt') throw err;
      this.options.logger.error('block meta cannot be read', { key, err });
      return `${key}: ${messageOf(err)}`;
    }
  }

  private async writeIndex(tenant: string, blocks: TenantBlocks): Promise<void> {
    const ids = [...blocks.live.keys(), '/', ...blocks.compacted.keys()].sort().join();
    const state = hash('sha1', ids, 'base64');
    const { indexAgeMsMax = 0, nowMs } = this.options;
    const now = nowMs();
    const before = this.written.get(tenant);
    const isOld = before !== undefined && indexAgeMsMax > 0 && now - before.atMs >= indexAgeMsMax;
    if (before?.state === state && !isOld) return;
    await this.options.store.write(`${tenant}/${INDEX_PROTO}`, tenantIndexProto(blocks, now));
    await this.options.store.write(`${tenant}/${INDEX_JSON}`, tenantIndexJson(blocks, now));
    this.written.set(tenant, { state, atMs: now });
  }
}

/** Of a tenant whose blocks were never listed. */
function unlisted(err: unknown): TenantBlocks {
  return { ...NONE, unlisted: messageOf(err) };
}

function isEmpty({ live, compacted, unreadable, unfinished }: TenantBlocks): boolean {
  return live.size + compacted.size + unreadable.size + unfinished.size === 0;
}

/** Has no block lost its meta? */
function isSteady(before: TenantBlocks, { live, compacted, unfinished }: TenantBlocks): boolean {
  for (const blockId of compacted.keys()) if (!before.compacted.has(blockId)) return false;
  for (const blockId of unfinished.keys()) if (!before.unfinished.has(blockId)) return false;
  for (const blockId of before.live.keys()) if (!live.has(blockId) && !compacted.has(blockId)) return false;
  return true;
}

/** The last list, with the blocks that have lost their meta since the first one. */
function stillRead(first: TenantBlocks, last: TenantBlocks): TenantBlocks {
  const live = new Map(last.live);
  const compacted = new Map(last.compacted);
  const unfinished = new Map(last.unfinished);
  for (const [blockId, { meta }] of last.compacted) {
    if (first.compacted.has(blockId)) continue;
    compacted.delete(blockId);
    live.set(blockId, meta);
  }
  for (const [blockId, meta] of first.live) if (unfinished.delete(blockId)) live.set(blockId, meta);
  return tenantBlocks({ ...last, live, compacted, unfinished });
}

function messageOf(err: unknown): string {
  return err instanceof Error ? err.message : String(err);
}

function unreadable(reason: string): Found {
  return { kind: 'unreadable', reason };
}
