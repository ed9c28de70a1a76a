// The compactor: joins the blocks of each tenant in the backend, so that there are few, and takes the joined
// ones out. Works on one job at a time and begins none while memory is short.
import { randomUUID } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { CompactResult } from '../../block/compact/compact.ts';
import { type BlockMeta, META_NAME } from '../../block/meta.ts';
import { TempoError } from '../../lib/errors.ts';
import type { Service } from '../../lib/service.ts';
import type { ObjectStore } from '../../objectstore/objectstore.ts';
import type { Blocklist } from '../../store/blocklist.ts';
import { type CompactionLimits, compactionJobs } from '../../store/compaction-select.ts';
import { writeCompactedMark } from '../../store/retention.ts';
import type { Logger } from '../../telemetry/log.ts';
import type { Metrics } from '../../telemetry/metrics.ts';
import type { CompactionJob } from './messages.ts';
import { type CompactorMetrics, createCompactorMetrics } from './metrics.ts';

export interface CompactorOptions {
  readonly blocklist: Blocklist;
  readonly backend: ObjectStore;
  /** Where new blocks are before they are uploaded. */
  readonly scratch: ObjectStore;
  readonly scratchPath: string;
  readonly thread: {
    run(job: CompactionJob): Promise<CompactResult>;
    rest(): Promise<void>;
    stop(): Promise<void>;
  };
  readonly cycleMs: number;
  readonly tenantTimeMsMax: number;
  /** undefined = nothing of the tenant is compacted. */
  readonly limitsOf: (tenant: string) => CompactionLimits | undefined;
  /** Most bytes of a trace, 0 = any. */
  readonly traceBytesMaxOf: (tenant: string) => number;
  /** Why a job over so many bytes should not begin now. */
  readonly refusal: (sizeBytes: number) => string | undefined;
  /** The new block is complete. */
  readonly onCompacted: (meta: BlockMeta, inputs: readonly BlockMeta[]) => void;
  /** Spans were left out. */
  readonly discarded: (tenant: string, reason: string, spans: number) => void;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly nowMs: () => number;
}

/** A block of a job that failed is left alone for a cycle, then for twice as long each time. */
const REST_MS_MAX = 60 * 60 * 1000;
const TOO_LARGE = 'trace_too_large_to_compact';

interface Failed {
  readonly failures: number;
  readonly untilMs: number;
}

export class Compactor implements Service {
  readonly name = 'compactor';
  private readonly options: CompactorOptions;
  private readonly metrics: CompactorMetrics;
  private readonly outstanding = new Map<string, number>();
  /** By block id. */
  private readonly failed = new Map<string, Failed>();
  /** Inputs that are replaced, but not marked in the backend yet. */
  private readonly unmarked = new Map<string, BlockMeta>();
  private timer: NodeJS.Timeout | undefined;
  private working: Promise<void> = Promise.resolve();
  private isStopped = false;
  /** In this pass. */
  private isRefusalTold = false;

  constructor(options: CompactorOptions) {
    this.options = options;
    this.metrics = createCompactorMetrics(options.metrics, () => this.outstanding);
  }

  async start(): Promise<void> {
    const { scratch } = this.options;
    // What a process left that ended in the middle.
    for (const tenant of await scratch.listFolders('')) await scratch.deleteFolder(tenant);
    this.schedule();
  }

  async stop(): Promise<void> {
    this.isStopped = true;
    clearTimeout(this.timer);
    await this.options.thread.stop();
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
    const { blocklist, thread, logger } = this.options;
    try {
      await this.markAgain();
      const tenants = new Set(blocklist.tenants().toSorted());
      this.forget(tenants);
      this.isRefusalTold = false;
      for (const tenant of tenants) {
        await this.compactTenant(tenant);
        await nextTurn(); // choosing takes a while where a tenant has many blocks
      }
      await thread.rest();
    } catch (err) {
      this.metrics.errors.inc();
      logger.error('compaction failed', { err });
    }
  }

  /** What is kept of tenants that have no blocks, and of blocks that were left alone long ago. */
  private forget(tenants: ReadonlySet<string>): void {
    const { outstanding, failed } = this;
    for (const tenant of outstanding.keys()) if (!tenants.has(tenant)) outstanding.delete(tenant);
    const limitMs = this.options.nowMs() - REST_MS_MAX;
    for (const [blockId, { untilMs }] of failed) if (untilMs < limitMs) failed.delete(blockId);
  }

  private async compactTenant(tenant: string): Promise<void> {
    const { nowMs, tenantTimeMsMax, refusal, logger } = this.options;
    const endMs = nowMs() + tenantTimeMsMax;
    while (!this.isStopped && nowMs() < endMs) {
      const inputs = this.nextJob(tenant);
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

  private nextJob(tenant: string): readonly BlockMeta[] | undefined {
    const { blocklist, limitsOf, nowMs } = this.options;
    const limits = limitsOf(tenant);
    const now = nowMs();
    const isResting = ({ blockId }: BlockMeta): boolean => (this.failed.get(blockId)?.untilMs ?? 0) > now;
    const live = [...blocklist.tenant(tenant).live.values()];
    const awake = live.filter((meta) => !isResting(meta));
    const jobs = limits === undefined ? [] : [...compactionJobs(awake, limits, now)];
    const resting = limits === undefined ? 0 : live.length - awake.length;
    this.outstanding.set(
      tenant,
      jobs.reduce((sum, inputs) => sum + inputs.length, resting),
    );
    return jobs[0];
  }

  private async attempt(tenant: string, inputs: readonly BlockMeta[]): Promise<void> {
    const { logger, nowMs } = this.options;
    const begin = nowMs();
    const blockId = randomUUID();
    try {
      const result = await this.compact(tenant, inputs, blockId);
      for (const meta of inputs) this.failed.delete(meta.blockId);
      logger.info('blocks are compacted', {
        tenant,
        block: blockId,
        inputs: inputs.map((meta) => meta.blockId).join(),
        compaction_level: result.meta.compactionLevel,
        traces: result.meta.totalObjects,
        spans: result.spans,
        duplicate_spans: result.duplicateSpans,
        size_bytes: result.meta.sizeBytes,
        duration_ms: nowMs() - begin,
      });
    } catch (err) {
      if (this.isStopped) return;
      this.metrics.errors.inc();
      for (const meta of blamed(inputs, err)) this.failed.set(meta.blockId, this.failedAgain(meta));
      logger.error('blocks cannot be compacted', {
        tenant,
        inputs: inputs.map((meta) => meta.blockId).join(),
        err,
      });
    } finally {
      await this.options.scratch.deleteFolder(tenant);
    }
  }

  private failedAgain({ blockId }: BlockMeta): Failed {
    const { cycleMs, nowMs } = this.options;
    const failures = (this.failed.get(blockId)?.failures ?? 0) + 1;
    return { failures, untilMs: nowMs() + Math.min(REST_MS_MAX, cycleMs * 2 ** failures) };
  }

  private async compact(
    tenant: string,
    inputs: readonly BlockMeta[],
    blockId: string,
  ): Promise<CompactResult> {
    const { thread, traceBytesMaxOf, onCompacted, discarded } = this.options;
    const result = await thread.run({ inputs, blockId, traceBytesMax: traceBytesMaxOf(tenant) });
    await this.upload(result.meta);
    onCompacted(result.meta, inputs);
    this.count(result, inputs);
    if (result.cutSpans > 0) discarded(tenant, TOO_LARGE, result.cutSpans);
    for (const meta of inputs) this.unmarked.set(meta.blockId, meta);
    await this.markAgain();
    return result;
  }

  /** The meta comes last, once the rest is there as it should be. */
  private async upload({ tenantId, blockId, sizeBytes }: BlockMeta): Promise<void> {
    const { backend, scratch, scratchPath } = this.options;
    const folder = `${tenantId}/${blockId}`;
    try {
      for (const name of await scratch.listObjects(folder)) {
        if (name !== META_NAME)
          await backend.writeFile(`${folder}/${name}`, `${scratchPath}/${folder}/${name}`);
      }
      const stored = await backend.stat(`${folder}/data.parquet`);
      if (stored.sizeBytes !== sizeBytes) {
        const sizes = `${stored.sizeBytes} bytes in place of ${sizeBytes}`;
        throw new TempoError('block_corrupt', `block ${blockId} has ${sizes} in the backend`);
      }
      await backend.write(`${folder}/${META_NAME}`, await scratch.read(`${folder}/${META_NAME}`));
    } catch (err) {
      await backend.deleteFolder(folder);
      throw err;
    }
  }

  /** Marks inputs that are replaced. One that fails is tried again: queries do not read it any more. */
  private async markAgain(): Promise<void> {
    const { backend, blocklist, logger } = this.options;
    for (const [blockId, meta] of this.unmarked) {
      try {
        // retention may have deleted it meanwhile
        if (blocklist.isReplaced(meta.tenantId, blockId)) await writeCompactedMark(backend, meta);
        this.unmarked.delete(blockId);
      } catch (err) {
        this.metrics.errors.inc();
        logger.error('block cannot be marked compacted', { tenant: meta.tenantId, block: blockId, err });
      }
    }
  }

  private count(result: CompactResult, inputs: readonly BlockMeta[]): void {
    const { metrics } = this;
    const { meta } = result;
    const level = String(meta.compactionLevel - 1);
    const replication_factor = String(meta.replicationFactor);
    metrics.blocks.inc({ level }, inputs.length);
    metrics.bytesWritten.inc({ level }, meta.sizeBytes);
    metrics.objectsWritten.inc({ level }, meta.totalObjects);
    metrics.objectsCombined.inc({ level }, result.combined);
    metrics.spansCombined.inc({ replication_factor }, result.duplicateSpans);
    metrics.spansDeduped.inc({ replication_factor }, result.duplicateSpans);
  }
}

/** Those that an error names; the others may be compacted without them. */
function blamed(inputs: readonly BlockMeta[], err: unknown): readonly BlockMeta[] {
  const message = err instanceof Error ? err.message : '';
  const named = inputs.filter(({ blockId }) => message.includes(blockId));
  return named.length > 0 ? named : inputs;
}
