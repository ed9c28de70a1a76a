// From cut heads to blocks in the backend: the log records around each block, the writer, the uploads and the
// expiry.
import type { BlockMeta } from '../../block/meta.ts';
import { FrameType, type RangeRecord } from '../../store/log/frame.ts';
import type { OpenedLog } from '../../store/log/open.ts';
import type { Logger } from '../../telemetry/log.ts';
import { BlockTask, type Step } from './block-task.ts';
import type { BlockWriter, DedicatedColumnsOf } from './block-writer.ts';
import type { Head, Heads } from './heads.ts';
import type { LocalBlock, LocalBlocks } from './local-blocks.ts';
import type { IngesterMetrics } from './metrics.ts';

export interface BlockPipelineOptions {
  readonly opened: OpenedLog;
  readonly heads: Heads;
  readonly blocks: LocalBlocks;
  readonly writer: BlockWriter;
  readonly logger: Logger;
  readonly metrics: IngesterMetrics;
  readonly nowMs: () => number;
  /** Blocks go to the backend. */
  readonly uploads: boolean;
  /** Attributes that have a column in the blocks of a tenant; undefined = the usual ones. */
  readonly dedicatedColumnsOf: DedicatedColumnsOf;
  readonly onUploaded: (meta: BlockMeta) => void;
  /** The memory of a head is free. */
  readonly onReleased: (bytes: number, blockId: string) => void;
}

export class BlockPipeline {
  private readonly options: BlockPipelineOptions;
  private readonly tasks = new Set<BlockTask>();

  constructor(options: BlockPipelineOptions) {
    this.options = options;
  }

  get length(): number {
    return this.tasks.size;
  }

  /** A head that no builder fills any more. */
  cut(head: Head): void {
    const record: RangeRecord = {
      tenant: head.tenant,
      blockId: head.blockId,
      fromSequence: head.fromSequence,
      toSequence: head.toSequence!,
    };
    const { log } = this.options.opened;
    const recordDone: Step = {
      name: 'record a complete block',
      run: async () => {
        await log.record(FrameType.completed, record);
        this.recorded(head);
      },
    };
    if (head.spanCount === 0) {
      head.state = 'complete';
      this.options.onReleased(head.usedBytes, head.blockId);
      this.start(head.tenant, head.blockId, [recordDone]);
      return;
    }
    let block: LocalBlock | undefined;
    this.start(head.tenant, head.blockId, [
      { name: 'record a cut', run: () => log.record(FrameType.cut, record) },
      { name: 'write block', run: async () => void (block = await this.write(head)) },
      recordDone,
      { name: 'upload block', run: () => this.upload(block!) },
    ]);
  }

  /** A complete block of an earlier process that is not in the backend yet. */
  takeOver(block: LocalBlock): void {
    const { tenantId, blockId } = block.meta;
    this.start(tenantId, blockId, [{ name: 'upload block', run: () => this.upload(block) }]);
  }

  /** Resolves when all blocks under way are complete and uploaded; rejects at the first failure. */
  async finished(tenant: string | undefined): Promise<void> {
    const wanted = [...this.tasks].filter((task) => tenant === undefined || task.tenant === tenant);
    await Promise.all(wanted.map((task) => task.finished()));
  }

  stop(): void {
    for (const task of this.tasks) task.stop();
  }

  private start(tenant: string, blockId: string, steps: readonly Step[]): void {
    const { logger, metrics } = this.options;
    const failed = (tries: number): void => {
      metrics.failedFlushes.inc();
      metrics.flushFailed.inc();
      metrics.flushRetries.inc();
      if (tries > 1) metrics.flushFailedRetries.inc();
    };
    const task = new BlockTask({ tenant, blockId, steps, logger, failed });
    this.tasks.add(task);
    void task.run().then(() => this.tasks.delete(task));
  }

  private async write(head: Head): Promise<LocalBlock> {
    const { writer, blocks, logger, onReleased, nowMs, uploads, dedicatedColumnsOf } = this.options;
    const { tenant, blockId, sab } = head;
    const started = nowMs();
    try {
      const meta = await writer.write({ tenant, blockId, sab, dedicatedColumns: dedicatedColumnsOf(tenant) });
      // From here on the block answers instead of the head.
      head.state = 'complete';
      onReleased(head.usedBytes, blockId);
      logger.info('block is complete', {
        tenant,
        block: blockId,
        spans: head.spanCount,
        traces: meta.totalObjects,
        bytes: meta.sizeBytes,
        duration_ms: nowMs() - started,
      });
      return blocks.add(meta, uploads ? undefined : nowMs());
    } catch (err) {
      await blocks.removeUnfinished(tenant, blockId);
      throw err;
    }
  }

  private recorded(head: Head): void {
    const { heads, opened } = this.options;
    const covered = heads.recorded(head);
    if (covered === undefined) return;
    const { segments, log } = opened;
    segments.cover(head.tenant, covered);
    void log.deleteCovered().then(() => heads.logBegins(segments.firstSequence));
  }

  private async upload(block: LocalBlock): Promise<void> {
    const { blocks, metrics, nowMs, uploads, onUploaded } = this.options;
    if (!uploads) return;
    const started = nowMs();
    const state = await blocks.upload(block);
    metrics.flushDuration.observe((nowMs() - started) / 1000);
    metrics.flushSize.observe(block.meta.sizeBytes);
    metrics.blocksFlushed.inc();
    // Of what was compacted since, others know which block has its spans.
    if (state === 'live') onUploaded(block.meta);
    block.safeSinceMs = nowMs();
  }
}
