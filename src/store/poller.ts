// Finds out which blocks the backend holds: lists each tenant, reads the metas it has not seen, writes the
// tenant index.
import { metaFromJson } from '../block/meta-json.ts';
import type { BlockMeta } from '../block/meta.ts';
import { TempoError } from '../lib/errors.ts';
import type { ObjectStore } from '../objectstore/objectstore.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Blocklist, CompactedBlock, TenantBlocks } from './blocklist.ts';
import { INDEX_JSON, INDEX_PROTO, tenantIndexJson, tenantIndexProto } from './tenant-index.ts';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export interface PollerOptions {
  readonly store: ObjectStore;
  readonly blocklist: Blocklist;
  readonly logger: Logger;
  readonly concurrency: number;
  readonly nowMs: () => number;
}

type Found =
  | { readonly kind: 'live'; readonly meta: BlockMeta }
  | { readonly kind: 'compacted'; readonly block: CompactedBlock }
  | undefined;

export class Poller {
  private readonly options: PollerOptions;
  /** Index content last written, by tenant: an unchanged list is not written again. */
  private readonly written = new Map<string, string>();

  constructor(options: PollerOptions) {
    this.options = options;
  }

  /** One pass over all tenants. A tenant that fails keeps its previous list; the failures are returned. */
  async poll(): Promise<{ readonly failedTenants: readonly string[] }> {
    const { store, blocklist, logger } = this.options;
    blocklist.beginPoll();
    const polled = new Map<string, TenantBlocks>();
    const failedTenants: string[] = [];
    for (const tenant of await store.listFolders('')) {
      try {
        const blocks = await this.pollTenant(tenant, blocklist.tenant(tenant));
        if (blocks.live.size + blocks.compacted.size === 0) continue;
        polled.set(tenant, blocks);
        await this.writeIndex(tenant, blocks);
      } catch (err) {
        logger.error('polling a tenant failed', { tenant, err });
        failedTenants.push(tenant);
        polled.set(tenant, blocklist.tenant(tenant));
      }
    }
    blocklist.replace(polled);
    return { failedTenants };
  }

  private async pollTenant(tenant: string, known: TenantBlocks): Promise<TenantBlocks> {
    const ids = (await this.options.store.listFolders(tenant)).filter((name) => UUID.test(name));
    const live = new Map<string, BlockMeta>();
    const compacted = new Map<string, CompactedBlock>();
    const visit = async (blockId: string): Promise<void> => {
      const found = await this.find(tenant, blockId, known);
      if (found?.kind === 'live') live.set(blockId, found.meta);
      if (found?.kind === 'compacted') compacted.set(blockId, found.block);
    };
    for (let i = 0; i < ids.length; i += this.options.concurrency) {
      await Promise.all(ids.slice(i, i + this.options.concurrency).map(visit));
    }
    return { live, compacted };
  }

  private async find(tenant: string, blockId: string, known: TenantBlocks): Promise<Found> {
    const compacted = known.compacted.get(blockId);
    if (compacted !== undefined) return { kind: 'compacted', block: compacted };
    const meta = known.live.get(blockId) ?? (await this.readMeta(`${tenant}/${blockId}/meta.json`));
    // A known live block may have been compacted by another process meanwhile.
    if (
      meta !== undefined &&
      (!known.live.has(blockId) || (await this.exists(`${tenant}/${blockId}/meta.json`)))
    ) {
      return { kind: 'live', meta };
    }
    const key = `${tenant}/${blockId}/meta.compacted.json`;
    const old = await this.readMeta(key);
    if (old === undefined) return undefined;
    const { modifiedMs } = await this.options.store.stat(key);
    return { kind: 'compacted', block: { meta: old, compactedMs: modifiedMs } };
  }

  private async exists(key: string): Promise<boolean> {
    return (await absentAsUndefined(this.options.store.stat(key))) !== undefined;
  }

  /** undefined when there is none, or none that can be read (reported: the block stays out of the list). */
  private async readMeta(key: string): Promise<BlockMeta | undefined> {
    const bytes = await absentAsUndefined(this.options.store.read(key));
    if (bytes === undefined) return undefined;
    try {
      return metaFromJson(bytes);
    } catch (err) {
      this.options.logger.error('block meta cannot be read', { key, err });
      return undefined;
    }
  }

  private async writeIndex(tenant: string, blocks: TenantBlocks): Promise<void> {
    const state = [...blocks.live.keys(), '/', ...blocks.compacted.keys()].sort().join();
    if (this.written.get(tenant) === state) return;
    const now = this.options.nowMs();
    await this.options.store.write(`${tenant}/${INDEX_PROTO}`, tenantIndexProto(blocks, now));
    await this.options.store.write(`${tenant}/${INDEX_JSON}`, tenantIndexJson(blocks, now));
    this.written.set(tenant, state);
  }
}

async function absentAsUndefined<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (err) {
    if (err instanceof TempoError && err.code === 'not_found') return undefined;
    throw err;
  }
}
