// The compactor: joins the blocks of each tenant in the backend, so that there are few, and takes the joined
// ones out. Works on one job at a time and begins none while memory is short. Several share the jobs.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type BlockMeta, META_NAME } from '../../block/meta.ts';
import { TempoError } from '../../lib/errors.ts';
import type { Service } from '../../lib/service.ts';
import type { ObjectStore } from '../../objectstore/objectstore.ts';
import type { BlockJoiner } from '../../store/block-joiner.ts';
import type { Blocklist } from '../../store/blocklist.ts';
import { allCompactionJobs, type CompactionLimits, jobKey } from '../../store/compaction-select.ts';
import { absentAsUndefined } from '../../store/read-meta.ts';
import { RestingBlocks } from '../../store/resting-blocks.ts';
import type { Logger } from '../../telemetry/log.ts';

/** Several compactors have one backend. */
interface Share {
  /** Whether a job is this process's. */
  readonly owns: (jobKey: string) => boolean;
  /** Where the inputs of a job are looked for: others may have joined them since the last poll. */
  readonly backend: ObjectStore;
}

export interface CompactorOptions {
  readonly blocklist: Blocklist;
  readonly joiner: BlockJoiner;
  /** undefined = all jobs are this process's. */
  readonly share?: Share | undefined;
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

interface Job {
  readonly key: string;
  readonly inputs: readonly BlockMeta[];
}

/** How often it is looked whether a job that is under way is still this process's. */
const LOOK_MS = 1000;

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
      joiner.rest();
    } catch (err) {
      joiner.metrics.failed();
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
      const job = await this.nextJob(tenant);
      if (job === undefined) return;
      const reason = refusal(job.inputs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
      if (reason !== undefined) {
        if (!this.isRefusalTold) logger.warn('blocks are not compacted now', { tenant, reason });
        this.isRefusalTold = true;
        return;
      }
      await this.attempt(tenant, job);
    }
  }

  private async nextJob(tenant: string): Promise<Job | undefined> {
    const { blocklist, limitsOf, nowMs, outstanding, share } = this.options;
    const limits = limitsOf(tenant);
    if (limits === undefined) {
      outstanding.set(tenant, 0);
      return undefined;
    }
    const now = nowMs();
    const isOwn = (meta: BlockMeta): boolean => share?.owns(jobKey(meta, limits, now)) ?? true;
    const live = [...blocklist.tenant(tenant).live.values()];
    const resting = live.filter(({ blockId }) => this.resting.has(blockId, now));
    const awake = live.filter(({ blockId }) => !this.resting.has(blockId, now));
    const jobs = (await allCompactionJobs(awake, limits, now)).filter(([first]) => isOwn(first!));
    outstanding.set(
      tenant,
      jobs.reduce((sum, inputs) => sum + inputs.length, resting.filter(isOwn).length),
    );
    const [inputs] = jobs;
    return inputs && { inputs, key: jobKey(inputs[0]!, limits, now) };
  }

  private async attempt(tenant: string, job: Job): Promise<void> {
    const { joiner, logger, nowMs, share } = this.options;
    const ids = job.inputs.map(({ blockId }) => blockId);
    try {
      if (share === undefined) await joiner.join(tenant, job.inputs);
      else await this.joinShared(tenant, job, share);
      this.resting.succeeded(ids);
    } catch (err) {
      if (this.isStopped) return;
      this.resting.failed(ids, err instanceof Error ? err.message : String(err), nowMs());
      if (err instanceof TempoError && err.code === 'cancelled') {
        logger.warn('blocks are left to another compactor', { tenant, inputs: ids.join(), err });
        return;
      }
      joiner.metrics.failed();
      logger.error('blocks cannot be compacted', { tenant, inputs: ids.join(), err });
    }
  }

  /** Gives the job up when it is another's meanwhile, and does nothing that another has done. */
  private async joinShared(tenant: string, { key, inputs }: Job, share: Share): Promise<void> {
    const lost = new AbortController();
    const look = setInterval(() => {
      if (!share.owns(key)) lost.abort();
    }, LOOK_MS);
    const check = async (): Promise<void> => {
      if (!share.owns(key)) throw new TempoError('cancelled', "the job is another compactor's meanwhile");
      const gone = await goneBlocks(share.backend, inputs);
      if (gone.length > 0) throw new TempoError('cancelled', `compacted by another: ${gone.join()}`);
    };
    try {
      await check();
      await this.options.joiner.join(tenant, inputs, { signal: lost.signal, beforeUpload: check });
    } finally {
      clearInterval(look);
    }
  }
}

/** Those that are no live blocks any more. */
async function goneBlocks(backend: ObjectStore, blocks: readonly BlockMeta[]): Promise<readonly string[]> {
  const gone: string[] = [];
  for (const { tenantId, blockId } of blocks) {
    const found = await absentAsUndefined(backend.stat(`${tenantId}/${blockId}/${META_NAME}`));
    if (found === undefined) gone.push(blockId);
  }
  return gone;
}
