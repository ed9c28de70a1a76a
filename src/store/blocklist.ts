// The blocks that exist in the backend, by tenant, as of the last poll plus what happened in this process
// since.
import type { BlockMeta } from '../block/meta.ts';
import type { TimeRange } from '../contracts/recent-traces.ts';
import type { ErrorCode } from '../lib/errors.ts';
import type { UnfinishedBlock } from './unfinished.ts';

export interface CompactedBlock {
  readonly meta: BlockMeta;
  readonly compactedMs: number;
  /** This process joined it with others to a block that is known: nothing is missing without it. */
  readonly isReplaced?: boolean;
}

export interface TenantBlocks {
  readonly live: ReadonlyMap<string, BlockMeta>;
  readonly compacted: ReadonlyMap<string, CompactedBlock>;
  /** Blocks whose meta cannot be read, with the reason: whatever time they cover, answers lack them. */
  readonly unreadable: ReadonlyMap<string, string>;
  /** Folders without a meta. */
  readonly unfinished: ReadonlyMap<string, UnfinishedBlock>;
  /** Why it is not known what the backend holds; only until it is listed for the first time. */
  readonly unlisted?: string | undefined;
}

interface Gap {
  readonly code: ErrorCode;
  readonly reason: string;
}

/** Shared by all tenants that have nothing there: most have neither compacted nor unreadable blocks. */
const NOTHING: ReadonlyMap<string, never> = new Map<string, never>();
export const NONE: TenantBlocks = {
  live: NOTHING,
  compacted: NOTHING,
  unreadable: NOTHING,
  unfinished: NOTHING,
};

/** Blocks of a tenant; sets without an entry take no memory. */
export function tenantBlocks(blocks: TenantBlocks): TenantBlocks {
  return {
    live: orNothing(blocks.live),
    compacted: orNothing(blocks.compacted),
    unreadable: orNothing(blocks.unreadable),
    unfinished: orNothing(blocks.unfinished),
    unlisted: blocks.unlisted,
  };
}

function orNothing<T>(map: ReadonlyMap<string, T>): ReadonlyMap<string, T> {
  return map.size === 0 ? NOTHING : map;
}

type Change =
  | { readonly kind: 'added'; readonly meta: BlockMeta }
  | { readonly kind: 'compacted'; readonly block: CompactedBlock }
  | { readonly kind: 'deleted'; readonly blockId: string };

export class Blocklist {
  private tenantsById = new Map<string, TenantBlocks>();
  /** Changes since the running poll began: its listing may be older than they are. */
  private readonly changes = new Map<string, Change[]>();
  private isPolling = false;
  private wasListed = false;
  /** Of tenants that are not known. */
  private others = NONE;

  tenants(): string[] {
    return [...this.tenantsById.keys()];
  }

  isKnown(tenant: string): boolean {
    return this.tenantsById.has(tenant);
  }

  tenant(tenant: string): TenantBlocks {
    return this.tenantsById.get(tenant) ?? this.others;
  }

  /** Live blocks whose time overlaps the range (a block of one instant at the edge counts). */
  overlapping(tenant: string, range: TimeRange): BlockMeta[] {
    const { startSec, endSec } = range;
    return [...this.tenant(tenant).live.values()].filter(
      (meta) =>
        (endSec === undefined || meta.startSec <= endSec) &&
        (startSec === undefined || meta.endSec >= startSec),
    );
  }

  /** Why answers may lack something, whatever they read. */
  gaps(tenant: string): readonly Gap[] {
    const { unreadable, unlisted } = this.tenant(tenant);
    const gaps: Gap[] = [...unreadable].map(([block, reason]) => ({
      code: 'block_corrupt',
      reason: `block ${block} could not be read: ${reason}`,
    }));
    if (unlisted === undefined) return gaps;
    const reason = `the blocks of the backend are not known yet: ${unlisted}`;
    return [...gaps, { code: 'unavailable', reason }];
  }

  /** One that is known to be compacted stays so: a poll may hear of that before its uploader tells. */
  added(meta: BlockMeta): void {
    this.record(meta.tenantId, { kind: 'added', meta });
  }

  compacted(block: CompactedBlock): void {
    this.record(block.meta.tenantId, { kind: 'compacted', block });
  }

  /** A block takes the place of others: nobody sees both, or neither. */
  replaced(meta: BlockMeta, inputs: readonly BlockMeta[], compactedMs: number): void {
    this.added(meta);
    for (const input of inputs) this.compacted({ meta: input, compactedMs, isReplaced: true });
  }

  /** True of a block whose spans are all in one that took its place here. */
  isReplaced(tenant: string, blockId: string): boolean {
    return this.tenant(tenant).compacted.get(blockId)?.isReplaced === true;
  }

  deleted(tenant: string, blockId: string): void {
    this.record(tenant, { kind: 'deleted', blockId });
  }

  /** To be called before listing begins, so that later changes survive `replace`. */
  beginPoll(): void {
    this.changes.clear();
    this.isPolling = true;
  }

  /** The backend could not be listed: until it is, nobody knows what is in it. */
  pollFailed(reason: string): void {
    if (!this.wasListed) this.others = { ...NONE, unlisted: reason };
  }

  /** Takes over what a poll found. */
  replace(polled: ReadonlyMap<string, TenantBlocks>): void {
    this.wasListed = true;
    this.others = NONE;
    this.tenantsById = new Map(polled);
    for (const [tenant, changes] of this.changes) for (const change of changes) this.apply(tenant, change);
    this.changes.clear();
    this.isPolling = false;
  }

  private record(tenant: string, change: Change): void {
    if (this.isPolling) {
      const earlier = this.changes.get(tenant);
      if (earlier === undefined) this.changes.set(tenant, [change]);
      else earlier.push(change);
    }
    this.apply(tenant, change);
  }

  private apply(tenant: string, change: Change): void {
    const before = this.tenant(tenant);
    const live = new Map(before.live);
    const compacted = new Map(before.compacted);
    const unreadable = new Map(before.unreadable);
    const unfinished = new Map(before.unfinished);
    switch (change.kind) {
      case 'added':
        if (!compacted.has(change.meta.blockId)) live.set(change.meta.blockId, change.meta);
        unfinished.delete(change.meta.blockId);
        break;
      case 'compacted':
        live.delete(change.block.meta.blockId);
        compacted.set(change.block.meta.blockId, change.block);
        break;
      case 'deleted':
        live.delete(change.blockId);
        compacted.delete(change.blockId);
        unreadable.delete(change.blockId);
        unfinished.delete(change.blockId);
        break;
    }
    this.tenantsById.set(tenant, tenantBlocks({ ...before, live, compacted, unreadable, unfinished }));
  }
}
