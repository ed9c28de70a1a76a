// Tenants whose last block is gone: their indexes go too, so that nobody lists them for ever. What else lies
// in their folders goes only where that is asked for, and never a folder, which somebody may be filling.
import { INDEX_JSON, INDEX_PROTO } from './tenant-index.ts';
import type { ObjectStore } from '../objectstore/objectstore.ts';
import type { Logger } from '../telemetry/log.ts';

export interface EmptyTenantOptions {
  readonly store: ObjectStore;
  readonly logger: Logger;
  /** Age from which other objects of such a tenant are deleted; 0 = they stay. */
  readonly leftoversMs: number;
  readonly nowMs: () => number;
}

export class EmptyTenants {
  private readonly options: EmptyTenantOptions;
  /** Whose indexes are gone. */
  private readonly withoutIndex = new Set<string>();

  constructor(options: EmptyTenantOptions) {
    this.options = options;
  }

  /** The tenant has blocks, or is not there any more. */
  forget(tenant: string): void {
    this.withoutIndex.delete(tenant);
  }

  /** @returns whom it knows. */
  known(): readonly string[] {
    return [...this.withoutIndex];
  }

  async clean(tenant: string): Promise<void> {
    const { store, logger, leftoversMs } = this.options;
    if (!this.withoutIndex.has(tenant)) {
      // The first block may have come since the poll, and its index from another process.
      if ((await store.listFolders(tenant)).length > 0) return;
      for (const name of [INDEX_PROTO, INDEX_JSON]) await store.delete(`${tenant}/${name}`);
      this.withoutIndex.add(tenant);
      logger.debug('a tenant without blocks has no index', { tenant });
    }
    if (leftoversMs > 0) await this.deleteLeftovers(tenant);
  }

  /** All of them or none: where one is young, somebody may be at work. */
  private async deleteLeftovers(tenant: string): Promise<void> {
    const { store, logger, leftoversMs, nowMs } = this.options;
    const limitMs = nowMs() - leftoversMs;
    if ((await store.listFolders(tenant)).length > 0) return;
    const names = await store.listObjects(tenant);
    for (const name of names) {
      const { modifiedMs } = await store.stat(`${tenant}/${name}`);
      if (modifiedMs > limitMs) return;
    }
    for (const name of names) await store.delete(`${tenant}/${name}`);
    if (names.length > 0)
      logger.info('a tenant without blocks is deleted', { tenant, objects: names.length });
  }
}
