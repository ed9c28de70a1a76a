// Joins blocks of the backend: has one block made of several, uploads it, and marks those that it replaces.
// Which blocks, and when, is for others to say.
import { randomUUID } from 'node:crypto';
import type { CompactResult } from '../block/compact/compact.ts';
import type { BlockMeta } from '../block/meta.ts';
import { TempoError } from '../lib/errors.ts';
import type { ObjectStore } from '../objectstore/objectstore.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Blocklist } from './blocklist.ts';
import type { CompactionJob } from './compaction-messages.ts';
import { type CompactionMetrics, createCompactionMetrics } from './compaction-metrics.ts';
import { writeCompactedMark } from './retention.ts';
import { uploadBlock } from './upload-block.ts';

export interface BlockJoinerOptions {
  readonly blocklist: Blocklist;
  readonly backend: ObjectStore;
  /** Where new blocks are before they are uploaded. */
  readonly scratch: ObjectStore;
  readonly scratchPath: string;
  readonly thread: {
    run(job: CompactionJob): Promise<CompactResult>;
    rest(): void;
    finish(): Promise<void>;
    abandon(): Promise<void>;
    stop(): Promise<void>;
  };
  /** Most bytes of a trace, 0 = any. */
  readonly traceBytesMaxOf: (tenant: string) => number;
  /** The new block is complete. */
  readonly onCompacted: (meta: BlockMeta, inputs: readonly BlockMeta[]) => void;
  /** Spans were left out. */
  readonly discarded: (tenant: string, reason: string, spans: number) => void;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly nowMs: () => number;
  readonly newBlockId?: () => string;
}

export interface JoinOptions {
  /** Aborted = the new block is not wanted any more; without effect once it is uploaded. */
  readonly signal?: AbortSignal;
  /** The new block is made, and nobody sees it yet: what rejects gives it up. */
  readonly beforeUpload?: () => Promise<void>;
  /** The new block is there, and its inputs are not marked yet. */
  readonly beforeMarks?: (meta: BlockMeta) => Promise<void>;
}

/**
 * After inputs of so many bytes the thread that compacts ends, before the new block is uploaded: what it
 * holds and what is sent would be too much together. The next one compiles its code again, a second of CPU.
 */
const LARGE_BYTES = 256 << 20;

const TOO_LARGE = 'trace_too_large_to_compact';

export class BlockJoiner {
  readonly metrics: CompactionMetrics;
  private readonly options: BlockJoinerOptions;
  /** Inputs that are replaced, but not marked in the backend yet. */
  private readonly unmarked = new Map<string, BlockMeta>();
  private turn: Promise<unknown> = Promise.resolve();
  private prepared: Promise<void> | undefined;

  constructor(options: BlockJoinerOptions) {
    this.options = options;
    this.metrics = createCompactionMetrics(options.metrics);
  }

  /** Deletes what a process left that ended in the middle. */
  prepare(): Promise<void> {
    this.prepared ??= this.clear();
    return this.prepared;
  }

  private async clear(): Promise<void> {
    const { scratch } = this.options;
    for (const tenant of await scratch.listFolders('')) await scratch.deleteFolder(tenant);
  }

  /** One after another: a call waits for those before it. Rejects when the inputs stay as they are. */
  join(tenant: string, inputs: readonly BlockMeta[], options: JoinOptions = {}): Promise<CompactResult> {
    const turn = this.turn.then(() => this.joinNow(tenant, inputs, options));
    this.turn = turn.catch(() => undefined);
    return turn;
  }

  /** A block holds what the inputs hold, by an earlier attempt; or another does in its place. */
  async replace(meta: BlockMeta, isLive: boolean, inputs: readonly BlockMeta[]): Promise<void> {
    const { blocklist, nowMs, onCompacted } = this.options;
    if (isLive) onCompacted(meta, inputs);
    else {
      for (const input of inputs) {
        blocklist.compacted({ meta: input, compactedMs: nowMs(), isReplaced: true });
      }
    }
    for (const input of inputs) this.unmarked.set(input.blockId, input);
    await this.mark();
  }

  /** No work is near: memory is given back soon. */
  rest(): void {
    this.options.thread.rest();
  }

  /** What is under way fails. */
  async stop(): Promise<void> {
    await this.options.thread.stop();
    await this.turn;
  }

  /** Blocks that are replaced, but not marked so. */
  get unmarkedBlocks(): number {
    return this.unmarked.size;
  }

  /** Marks inputs that are replaced. One that fails is tried again: queries do not read it any more. */
  async mark(): Promise<void> {
    const { backend, blocklist, logger } = this.options;
    for (const [blockId, meta] of this.unmarked) {
      try {
        // retention may have deleted it meanwhile
        if (blocklist.isReplaced(meta.tenantId, blockId)) await writeCompactedMark(backend, meta);
        this.unmarked.delete(blockId);
      } catch (err) {
        if (err instanceof TempoError && err.code === 'not_found') {
          this.unmarked.delete(blockId); // another process did it
          continue;
        }
        this.metrics.failed();
        logger.error('block cannot be marked compacted', { tenant: meta.tenantId, block: blockId, err });
      }
    }
  }

  private async joinNow(
    tenant: string,
    inputs: readonly BlockMeta[],
    options: JoinOptions,
  ): Promise<CompactResult> {
    const { logger, nowMs, scratch, newBlockId = randomUUID } = this.options;
    const begin = nowMs();
    const blockId = newBlockId();
    try {
      const result = await this.make(tenant, inputs, blockId, options);
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
      return result;
    } finally {
      await scratch.deleteFolder(tenant);
    }
  }

  private async make(
    tenant: string,
    inputs: readonly BlockMeta[],
    blockId: string,
    { signal, beforeUpload, beforeMarks }: JoinOptions,
  ): Promise<CompactResult> {
    const { traceBytesMaxOf, onCompacted, discarded } = this.options;
    const job = { inputs, blockId, traceBytesMax: traceBytesMaxOf(tenant) };
    const result = await this.run(job, signal);
    await beforeUpload?.();
    await this.upload(result.meta);
    onCompacted(result.meta, inputs);
    this.count(result, inputs);
    if (result.cutSpans > 0) discarded(tenant, TOO_LARGE, result.cutSpans);
    await beforeMarks?.(result.meta);
    for (const meta of inputs) this.unmarked.set(meta.blockId, meta);
    await this.mark();
    return result;
  }

  private async run(job: CompactionJob, signal: AbortSignal | undefined): Promise<CompactResult> {
    const { thread } = this.options;
    const abandon = (): void => void thread.abandon();
    const isWanted = (): boolean => signal === undefined || !signal.aborted;
    if (!isWanted()) throw noLongerWanted();
    signal?.addEventListener('abort', abandon, { once: true });
    try {
      return await thread.run(job);
    } catch (err) {
      throw isWanted() ? err : noLongerWanted();
    } finally {
      signal?.removeEventListener('abort', abandon);
      if (sizeOf(job.inputs) >= LARGE_BYTES) await thread.finish();
    }
  }

  private async upload(meta: BlockMeta): Promise<void> {
    const { backend, scratch, scratchPath } = this.options;
    try {
      await uploadBlock(meta, { local: scratch, localPath: scratchPath, backend });
    } catch (err) {
      await backend.deleteFolder(`${meta.tenantId}/${meta.blockId}`);
      throw err;
    }
  }

  private count(result: CompactResult, inputs: readonly BlockMeta[]): void {
    const { metrics } = this;
    const { meta } = result;
    const level = String(meta.compactionLevel - 1);
    const replication_factor = String(meta.replicationFactor);
    metrics.compacted(level, inputs.length);
    metrics.bytesWritten.inc({ level }, meta.sizeBytes);
    metrics.objectsWritten.inc({ level }, meta.totalObjects);
    metrics.objectsCombined.inc({ level }, result.combined);
    metrics.spansCombined.inc({ replication_factor }, result.duplicateSpans);
    metrics.spansDeduped.inc({ replication_factor }, result.duplicateSpans);
  }
}

function sizeOf(blocks: readonly BlockMeta[]): number {
  return blocks.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

function noLongerWanted(): TempoError {
  return new TempoError('cancelled', 'the new block is not wanted any more');
}
