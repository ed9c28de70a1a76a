// The compactor: joins the blocks of each tenant in the backend, so that there are few, and takes the joined
// ones out. Works on one job at a time and begins none while memory is short.
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { BlockMeta } from '../../block/meta.ts';
import type { Service } from '../../lib/service.ts';
import type { BlockJoiner } from '../../store/block-joiner.ts';
import type { Blocklist } from '../../store/blocklist.ts';
import { allCompactionJobs, type CompactionLimits } from '../../store/compaction-select.ts';
import { RestingBlocks } from '../../store/resting-blocks.ts';
import type { Logger } from '../../telemetry/log.ts';

export interface CompactorOptions {
  readonly blocklist: Blocklist;
  readonly joiner: BlockJoiner;
  /** Blocks that wait, by tenant: is kept up to date for a metric. */
  readonly outstanding: Map<string, number>;
  readonly cycleMs: number;
  readonly tenantTimeMsMax: number;
  /** undefined = nothing of the tenant is compacted. */
  readonly limitsOf: (tenant: string) => CompactionLimits | undefined;
  /** Why a job over so many bytes should not begin now. */
  readonly refusal: (sizeBytes: number) => string | undefined;
  readonly logger: Logger;
  readonly nowMs: () => number;
}

/** So many cycles pass without the blocks of a job that failed. */
const REST_CYCLES = 2;

export class Compactor implements Service {
  readonly name = 'compactor';
  private readonly options: CompactorOptions;
  private readonly resting: RestingBlocks;
  private timer: NodeJS.Timeout | undefined;
  private working: Promise<void> = Promise.resolve();
  private isStopped = false;
  /** In this pass. */
  private isRefusalTold = false;

  constructor(options: CompactorOptions) {
    this.options = options;
    this.resting = new RestingBlocks(REST_CYCLES * options.cycleMs);
  }

  async start(): Promise<void> {
    await this.options.joiner.prepare();
    this.schedule();
  }

  async stop(): Promise<void> {
    this.isStopped = true;
    clearTimeout(this.timer);
    await this.options.joiner.stop();
    await this.working;
  }

  private schedule(): void {
    if (this.isStopped) return;
    this.timer = setTimeout(() => {
      this.working = this.pass().finally(() => this.schedule());
    }, this.options.cycleMs);
  }

  /** Goes over all tenants once. Never rejects: what failed is tried again. */
  async pass(): Promise<void> {
    const { blocklist, joiner, logger } = this.options;
    try {
      await joiner.mark();
      const tenants = new Set(blocklist.tenants().toSorted());
      this.forget(tenants);
      this.isRefusalTold = false;
      for (const tenant of tenants) {
        await this.compactTenant(tenant);
        await nextTurn(); // there may be many tenants
      }
      await joiner.rest();
    } catch (err) {
      joiner.metrics.errors.inc();
      logger.error('compaction failed', { err });
    }
  }

  /** What is kept of tenants that have no blocks, and of blocks that were left alone long ago. */
  private forget(tenants: ReadonlySet<string>): void {
    const { outstanding, nowMs } = this.options;
    for (const tenant of outstanding.keys()) if (!tenants.has(tenant)) outstanding.delete(tenant);
    this.resting.forget(nowMs());
  }

  private async compactTenant(tenant: string): Promise<void> {
    const { nowMs, tenantTimeMsMax, refusal, logger } = this.options;
    const endMs = nowMs() + tenantTimeMsMax;
    while (!this.isStopped && nowMs() < endMs) {
      const inputs = await this.nextJob(tenant);
      if (inputs === undefined) return;
      const reason = refusal(inputs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
      if (reason !== undefined) {
        if (!this.isRefusalTold) logger.warn('blocks are not compacted now', { tenant, reason });
        this.isRefusalTold = true;
        return;
      }
      await this.attempt(tenant, inputs);
    }
  }

  private async nextJob(tenant: string): Promise<readonly BlockMeta[] | undefined> {
    const { blocklist, limitsOf, nowMs, outstanding } = this.options;
    const limits = limitsOf(tenant);
    const now = nowMs();
    const live = [...blocklist.tenant(tenant).live.values()];
    const awake = live.filter(({ blockId }) => !this.resting.has(blockId, now));
    const jobs = limits === undefined ? [] : await allCompactionJobs(awake, limits, now);
    const resting = limits === undefined ? 0 : live.length - awake.length;
    outstanding.set(
      tenant,
      jobs.reduce((sum, inputs) => sum + inputs.length, resting),
    );
    return jobs[0];
  }

  private async attempt(tenant: string, inputs: readonly BlockMeta[]): Promise<void> {
    const { joiner, logger, nowMs } = this.options;
    const ids = inputs.map(({ blockId }) => blockId);
    try {
      await joiner.join(tenant, inputs);
      this.resting.succeeded(ids);
    } catch (err) {
      if (this.isStopped) return;
      joiner.metrics.errors.inc();
      this.resting.failed(ids, err instanceof Error ? err.message : String(err), nowMs());
      logger.error('blocks cannot be compacted', { tenant, inputs: ids.join(), err });
    }
  }
}
