// The heads that exist, as the main thread knows them: who can be scanned, and how far each tenant's frames
// are in complete blocks.
import type { RangeRecord } from '../../store/log/frame.ts';

export interface Head {
  readonly tenant: string;
  readonly blockId: string;
  readonly sab: SharedArrayBuffer;
  readonly fromSequence: number;
  /** Set when it is cut. */
  toSequence: number | undefined;
  usedBytes: number;
  spanCount: number;
  /**
   * `live`: grows; `cut`: its block is being written; `complete`: its block takes its place;
   * `orphan`: its builder ended, another takes its frames in again.
   */
  state: 'live' | 'cut' | 'complete' | 'orphan';
  /** The completed record is in the log. */
  isRecorded: boolean;
}

export class Heads {
  /** By tenant, in the order of their frames. */
  private readonly byTenant = new Map<string, Head[]>();
  private readonly coveredTo = new Map<string, number>();
  private logFrom = 0;

  has(tenant: string): boolean {
    return this.byTenant.has(tenant);
  }

  begin(tenant: string, blockId: string, sab: SharedArrayBuffer, fromSequence: number): void {
    const head: Head = {
      tenant,
      blockId,
      sab,
      fromSequence,
      toSequence: undefined,
      usedBytes: 0,
      spanCount: 0,
      state: 'live',
      isRecorded: false,
    };
    const heads = this.byTenant.get(tenant);
    if (heads === undefined) this.byTenant.set(tenant, [head]);
    else heads.push(head);
  }

  /** Of tenants without a head is kept how far their frames are in blocks, while the log has any of them. */
  forget(tenants: ReadonlySet<string>): void {
    for (const tenant of tenants) if (this.byTenant.get(tenant)?.length === 0) this.byTenant.delete(tenant);
  }

  /** The log has no frames any more before this one. */
  logBegins(sequence: number): void {
    if (sequence <= this.logFrom) return;
    this.logFrom = sequence;
    for (const [tenant, covered] of this.coveredTo) if (covered < sequence) this.coveredTo.delete(tenant);
  }

  find(tenant: string, blockId: string): Head | undefined {
    return this.byTenant.get(tenant)?.find((head) => head.blockId === blockId);
  }

  /** Heads that must be scanned: those without a complete block. */
  scannable(tenant: string): Head[] {
    return (this.byTenant.get(tenant) ?? []).filter((head) => head.state !== 'complete');
  }

  /**
   * Its frames need the log no more. Answers up to where the tenant's frames are in complete blocks, when
   * that has grown.
   */
  recorded(head: Head): number | undefined {
    head.isRecorded = true;
    const heads = this.byTenant.get(head.tenant) ?? [];
    let covered: number | undefined;
    while (heads[0]?.isRecorded === true) covered = heads.shift()!.toSequence;
    if (covered !== undefined) this.coveredTo.set(head.tenant, covered);
    return covered;
  }

  /**
   * Frames that a new builder must not take in again: they are in blocks, or in heads that are being written.
   */
  takenRanges(): RangeRecord[] {
    const ranges: RangeRecord[] = [];
    for (const [tenant, toSequence] of this.coveredTo) {
      ranges.push({ tenant, blockId: '', fromSequence: 0, toSequence });
    }
    for (const heads of this.byTenant.values()) {
      for (const { tenant, blockId, fromSequence, toSequence } of heads) {
        if (toSequence !== undefined) ranges.push({ tenant, blockId, fromSequence, toSequence });
      }
    }
    return ranges;
  }

  /** Memory of heads that are no blocks yet. */
  cutBytes(): number {
    let sum = 0;
    for (const heads of this.byTenant.values()) {
      for (const head of heads) if (head.state === 'cut') sum += head.usedBytes;
    }
    return sum;
  }

  /** The builder has ended: its live heads grow no more, and no block will be made of them. */
  orphanLive(): void {
    for (const heads of this.byTenant.values()) {
      for (const head of heads) if (head.state === 'live') head.state = 'orphan';
    }
  }

  /** Forgets them, once their frames are in other heads. */
  dropOrphans(): void {
    for (const [tenant, heads] of this.byTenant) {
      this.byTenant.set(
        tenant,
        heads.filter((head) => head.state !== 'orphan'),
      );
    }
  }
}
