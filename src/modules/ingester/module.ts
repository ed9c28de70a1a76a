// The ingester: pushes go into the log, builders make heads of it, heads become blocks, blocks go to the
// backend. This file ties the parts together; each does its work in a file of its own.
import { setTimeout as pause } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';
import type { BlockMeta } from '../../block/meta.ts';
import type { PushRequest, PushResult, Pusher } from '../../contracts/push.ts';
import type {
  Flusher,
  RecentSources,
  RecentTraces,
  SourceRef,
  TimeRange,
} from '../../contracts/recent-traces.ts';
import { TempoError } from '../../lib/errors.ts';
import type { Pressure } from '../../lib/pressure.ts';
import type { Service } from '../../lib/service.ts';
import type { StartThread } from '../../lib/start-thread.ts';
import { LocalStore } from '../../objectstore/local.ts';
import type { ObjectStore } from '../../objectstore/objectstore.ts';
import type { AttributeLimits } from '../../overrides/attribute-limits.ts';
import type { LogFiles } from '../../store/log/files.ts';
import { FrameType } from '../../store/log/frame.ts';
import type { SyncMode } from '../../store/log/log.ts';
import { openLog, type OpenedLog, type ReplayPlan } from '../../store/log/open.ts';
import { coveredRanges, recordsOf } from '../../store/log/recover.ts';
import { logFormatOf } from '../../store/log/segment.ts';
import type { Logger } from '../../telemetry/log.ts';
import type { Metrics } from '../../telemetry/metrics.ts';
import { BlockPipeline } from './block-pipeline.ts';
import {
  blockSettings,
  type BlockWriter,
  BlockWriterThread,
  type NewBlockConfig,
  type DedicatedColumnsOf,
} from './block-writer.ts';
import { BuilderMessages } from './builder-messages.ts';
import { BuilderThread } from './builder-thread.ts';
import type { IngesterConfig } from './config.ts';
import { Departure, flushBeforeStop, type RingPlace } from './departure.ts';
import { Heads } from './heads.ts';
import { LocalBlocks } from './local-blocks.ts';
import { createIngesterMetrics, type IngesterMetrics, noteOddTraces, showRing } from './metrics.ts';
import { registerIngesterRoutes } from './routes.ts';
import { Takeover } from './takeover.ts';
import { TraceLimiter, type TraceLimits } from './trace-limiter.ts';

export interface IngesterOptions {
  readonly config: Pick<
    IngesterConfig,
    | 'maxBlockBytes'
    | 'maxBlockDurationMs'
    | 'completeBlockTimeoutMs'
    | 'flushCheckPeriodMs'
    | 'flushAllOnShutdown'
    | 'flushObjectStorage'
    | 'traceIdlePeriodMs'
    | 'traceLivePeriodMs'
  >;
  readonly limits: (tenant: string) => TraceLimits;
  /** Answers with the same object until they change. */
  readonly attributeLimits: () => AttributeLimits;
  /** `storage.trace.wal`. */
  readonly wal: {
    readonly path: string;
    readonly sync: SyncMode;
    readonly ingestionTimeRangeSlackMs: number;
    /** Of new segments; one that is not known counts as 1. */
    readonly logFormat?: number;
  };
  /** `storage.trace.block`. */
  readonly block: NewBlockConfig;
  /** Of a tenant in place of those of `block`. */
  readonly dedicatedColumnsOf?: DedicatedColumnsOf;
  readonly backend: ObjectStore;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** A block has just come into the backend. */
  readonly onUploaded: (meta: BlockMeta) => void;
  /** Memory of a head that became a block: whoever scanned it drops it now. */
  readonly onHeadReleased: (bytes: number, blockId: string) => void;
  /** Ends the process (for /shutdown). */
  readonly requestShutdown: () => void;
  /** Its place in a ring; undefined = it is the only ingester there is. */
  readonly ring?: RingPlace | undefined;
  /** Where there is none: shows its state among rings of other modules; undefined = there are no others. */
  readonly showState?: ((stateNow: () => string | undefined) => void) | undefined;
  /** Whether it leaves the ring at every stop. */
  readonly unregistersOnShutdown?: boolean;
  /** Its share of limits that are meant for all ingesters together; 0 = unknown. */
  readonly globalShare?: () => number;
  /** Memory of all heads. */
  readonly headBytesMax: number;
  readonly log?: LogTuning;
  /** Instead of a thread of its own. */
  readonly blockWriter?: BlockWriter;
  readonly nowMs?: () => number;
}

/** What tests turn. */
interface LogTuning {
  readonly ringBytes?: number;
  readonly ringWaitMs?: number;
  readonly segmentBytes?: number;
  readonly syncIntervalMs?: number;
  /** Size of the log above which the heads are cut that hold its oldest segment. */
  readonly sizeBytesMax?: number;
  readonly files?: LogFiles;
  /** The code of the builder thread. */
  readonly builderWorker?: URL;
  /** Of the builder. */
  readonly startThread?: StartThread;
}

export interface Ingester extends Service, Pusher, RecentTraces, Flusher {
  /** Memory of all heads. */
  readonly headBytes: number;
  /** Bytes of the log ring in use. */
  readonly ringBytes: number;
  setPressure(pressure: Pressure): void;
  stopTakesMs(): number;
  registerRoutes(app: FastifyInstance): void;
  /** What only this process has on disk: the log, and blocks that wait for their upload. */
  diskBytes(): number;
}

const MIB = 1024 * 1024;
const LOG_DEFAULTS = {
  ringBytes: 64 * MIB,
  ringWaitMs: 10_000,
  segmentBytes: 64 * MIB,
  syncIntervalMs: 100,
  sizeBytesMax: 4096 * MIB,
};
const FRESHNESS_WAIT_MS = 1000;
/** For the uploads of a process that does not come back. */
const FLUSH_AT_STOP_MS_MAX = 300_000;

export function createIngester(options: IngesterOptions): Ingester {
  return new LocalIngester(options);
}

interface Running {
  readonly opened: OpenedLog;
  readonly builder: BuilderThread;
  readonly pipeline: BlockPipeline;
  readonly timer: NodeJS.Timeout;
}

class LocalIngester implements Ingester {
  readonly name = 'ingester';
  private readonly options: IngesterOptions;
  private readonly dedicatedColumnsOf: DedicatedColumnsOf;
  private readonly tuning: typeof LOG_DEFAULTS & Pick<LogTuning, 'files' | 'builderWorker' | 'startThread'>;
  private readonly logger: Logger;
  private readonly metrics: IngesterMetrics;
  private readonly nowMs: () => number;
  private readonly heads = new Heads();
  private readonly blocks: LocalBlocks;
  private readonly writer: BlockWriter;
  private readonly traceLimiter: TraceLimiter;
  private readonly done: PushResult = { rejected: [] };
  private readonly messages: BuilderMessages;
  private readonly takeover: Takeover;
  private running: Running | undefined;
  private state: IngesterState = 'new';
  private isDraining = false;
  private readonly departure: Departure;

  constructor(options: IngesterOptions) {
    this.options = options;
    this.tuning = { ...LOG_DEFAULTS, ...options.log };
    this.logger = options.logger.child({ module: 'ingester' });
    this.nowMs = options.nowMs ?? Date.now;
    this.departure = new Departure(options.wal.path, { ...options, logger: this.logger });
    this.metrics = createIngesterMetrics(options.metrics);
    const { traceIdlePeriodMs, traceLivePeriodMs } = options.config;
    this.traceLimiter = new TraceLimiter({
      limits: options.limits,
      traceIdlePeriodMs,
      traceLivePeriodMs,
      globalShare: options.globalShare ?? (() => 1),
      nowMs: options.nowMs ?? (() => performance.now()),
    });
    this.messages = new BuilderMessages({
      heads: this.heads,
      metrics: this.metrics,
      logger: this.logger,
      isStarting: () => this.state === 'starting',
      onCut: (head) => {
        this.traceLimiter.headCut(head.tenant);
        this.running!.pipeline.cut(head);
      },
      onDamage: ({ path, report }) => this.running?.opened.damage.report(path, report, false),
    });
    options.metrics.tenants.onForget((tenants) => {
      this.heads.forget(tenants);
      for (const tenant of tenants) if (!this.heads.has(tenant)) this.traceLimiter.headCut(tenant);
      this.running?.opened.log.forget(tenants);
    });
    const path = `${options.wal.path}/blocks`;
    this.writer =
      options.blockWriter ??
      new BlockWriterThread({
        workerData: { path, ...blockSettings(options.block) },
        odd: (tenant, odd) => noteOddTraces(this.metrics, tenant, odd),
        ended: (err) => {
          this.metrics.blockWriterRestarts.inc();
          this.logger.error('block writer thread ended, another takes its place', { err });
        },
      });
    this.blocks = new LocalBlocks({
      store: new LocalStore(path),
      path,
      backend: options.backend,
      completeBlockTimeoutMs: options.config.completeBlockTimeoutMs,
      logger: this.logger,
      nowMs: this.nowMs,
    });
    this.dedicatedColumnsOf = options.dedicatedColumnsOf ?? (() => undefined);
    this.takeover = new Takeover({
      walPath: options.wal.path,
      block: blockSettings(options.block),
      dedicatedColumnsOf: this.dedicatedColumnsOf,
      maxBlockBytes: options.config.maxBlockBytes,
      headBytesMax: options.headBytesMax,
      logger: this.logger,
      replayErrors: this.metrics.replayErrors,
      nowMs: this.nowMs,
    });
    options.metrics.gauge(
      'tempo_ingester_flush_queue_length',
      'Blocks being written or uploaded.',
      [],
      (gauge) => gauge.set(this.running?.pipeline.length ?? 0),
    );
    const { showState = (stateNow) => showRing(options.metrics, stateNow) } = options;
    if (options.ring === undefined) showState(() => RING_STATES[this.state]);
  }

  async start(): Promise<void> {
    this.state = 'starting';
    const { options, logger, nowMs } = this;
    const started = nowMs();
    const opened = await openLog({
      ...this.tuning,
      ...options.wal,
      format: logFormatOf(options.wal.logFormat),
      logger,
      metrics: options.metrics,
      nowMs,
      onDamage: () => this.metrics.replayErrors.inc({ tenant: '' }),
      handOver: (sequence, image) => this.running?.builder.handOver(sequence, image),
      isComplete: (cut) => this.blocks.isComplete(cut.tenant, cut.blockId),
    });
    this.departure.restore();
    await this.takeover.run().catch(async (err: unknown) => {
      await opened.close();
      throw err;
    });
    const running = this.begin(opened);
    this.running = running;
    for (const block of await this.blocks.takeOver()) running.pipeline.takeOver(block);
    for (const cut of opened.unrecorded) {
      opened.log
        .record(FrameType.completed, cut)
        .catch((err: unknown) =>
          logger.error('complete block cannot be recorded', { block: cut.blockId, err }),
        );
    }
    await running.builder.start(opened.replay, 0);
    await opened.log.deleteCovered();
    this.state = 'running';
    logger.info('ingester is ready', { duration_ms: nowMs() - started, segments: opened.segments.count });
  }

  private begin(opened: OpenedLog): Running {
    const { options, heads, blocks, logger, metrics, nowMs } = this;
    const { maxBlockBytes, maxBlockDurationMs, flushCheckPeriodMs, flushObjectStorage } = options.config;
    const builder = new BuilderThread({
      memory: opened.memory,
      ring: opened.ring,
      settings: {
        maxBlockBytes,
        maxBlockDurationMs,
        headBytesMax: options.headBytesMax,
        timeSlackMs: options.wal.ingestionTimeRangeSlackMs,
        traceIdleMs: options.config.traceIdlePeriodMs,
      },
      attributeLimits: options.attributeLimits,
      quarantinePath: `${options.wal.path}/quarantine`,
      worker: this.tuning.builderWorker,
      startThread: this.tuning.startThread,
      logger,
      handle: (message) => this.messages.handle(message),
      ended: () => this.metrics.builderRestarts.inc(),
      restart: () => this.builderEnded(opened),
    });
    const pipeline = new BlockPipeline({
      opened,
      heads,
      blocks,
      writer: this.writer,
      logger,
      metrics,
      nowMs,
      uploads: flushObjectStorage,
      dedicatedColumnsOf: this.dedicatedColumnsOf,
      onUploaded: options.onUploaded,
      onReleased: (bytes, blockId) => {
        builder.send({ kind: 'released', bytes });
        options.onHeadReleased(bytes, blockId);
      },
    });
    const timer = setInterval(() => void this.housekeeping(), flushCheckPeriodMs).unref();
    return { opened, builder, pipeline, timer };
  }

  async stop(): Promise<void> {
    const { running } = this;
    await this.takeover.stop();
    if (running === undefined || this.state === 'stopping' || this.state === 'stopped') return;
    const wasRunning = this.state === 'running';
    this.state = 'stopping';
    const { opened, builder, pipeline, timer } = running;
    await opened.log.refusePushes();
    if (wasRunning && this.flushesAtStop) {
      if (await flushBeforeStop(() => this.flushAll(undefined), this.logger)) this.departure.done();
    }
    this.state = 'stopped';
    clearInterval(timer);
    pipeline.stop();
    await Promise.all([builder.stop(), this.writer.stop()]);
    await opened.close();
  }

  stopTakesMs(): number {
    return this.flushesAtStop ? FLUSH_AT_STOP_MS_MAX : 0;
  }

  private get flushesAtStop(): boolean {
    return this.options.config.flushAllOnShutdown || this.departure.isLast || this.isDraining;
  }

  /** Flushes all, and in a ring takes no more pushes before. A stop meanwhile waits for that. */
  async drain(): Promise<void> {
    this.isDraining = true;
    const { ring } = this.options;
    ring?.onShutdown({ unregister: true });
    await ring?.leave();
    if (ring !== undefined) await this.running?.opened.log.refusePushes();
    if (this.state === 'running') await this.flush();
  }

  readiness(): string | undefined {
    if (this.running?.builder.cannotBegin === true) return 'Ingester not ready: its builder thread ends';
    return this.state === 'running' ? undefined : `Ingester not ready: ${this.state}`;
  }

  async push(request: PushRequest): Promise<PushResult> {
    if (this.state !== 'running') throw new TempoError('unavailable', `ingester is ${this.state}`);
    const { tenant, traces } = request;
    if (traces === undefined) return this.append(tenant, request.body, request.spanCount);
    const rest = this.traceLimiter.admit(tenant, request.body, traces, request.namesRejected);
    if (rest?.spanCount === 0) return rest;
    const { body, spanCount } = rest ?? request;
    try {
      await this.append(tenant, body, spanCount);
    } catch (err) {
      this.traceLimiter.release(tenant, body);
      throw err;
    }
    return rest ?? this.done;
  }

  diskBytes(): number {
    return (this.running?.opened.segments.sizeBytes ?? 0) + this.blocks.waitingBytes();
  }

  private async append(tenant: string, body: Uint8Array, spanCount: number): Promise<PushResult> {
    const { opened, builder } = this.running!;
    builder.tellLimits();
    await opened.log.push(tenant, body, spanCount);
    this.metrics.bytesReceived.inc({ tenant, data_type: 'trace' }, body.length);
    return this.done;
  }

  async recentSources(tenant: string, range: TimeRange): Promise<RecentSources> {
    // Whoever asks goes on without it: of what it still has nothing would be scanned.
    if (this.running === undefined || this.state === 'stopped') {
      throw new TempoError('unavailable', `ingester is ${this.state}`);
    }
    const complete = await this.untilConsumed(this.running, FRESHNESS_WAIT_MS);
    const sources: SourceRef[] = this.heads
      .scannable(tenant)
      .map(({ blockId, sab }) => ({ kind: 'head', blockId, sab }));
    const blocks = this.blocks.overlapping(tenant, range);
    for (const block of blocks) {
      block.readers++;
      sources.push({ kind: 'block', meta: block.meta, location: 'local' });
    }
    let isReleased = false;
    const release = (): void => {
      if (isReleased) return;
      isReleased = true;
      for (const block of blocks) block.readers--;
    };
    return { sources, complete, release };
  }

  flush(tenant?: string): Promise<void> {
    if (this.state !== 'running') {
      return Promise.reject(new TempoError('unavailable', `ingester is ${this.state}`));
    }
    return this.flushAll(tenant);
  }

  private async flushAll(tenant: string | undefined): Promise<void> {
    const running = this.running!;
    if (!(await this.untilConsumed(running, Infinity))) {
      throw new TempoError('unavailable', `ingester is ${this.state}`);
    }
    if (tenant !== undefined && !this.heads.has(tenant) && !this.blocks.has(tenant)) {
      throw new TempoError('not_found', `tenant ${tenant} is not known`);
    }
    await running.builder.flush(tenant);
    await running.pipeline.finished(tenant);
  }

  get headBytes(): number {
    return this.messages.headBytes;
  }

  get ringBytes(): number {
    return this.running?.opened.ring.usedBytes ?? 0;
  }

  setPressure(pressure: Pressure): void {
    this.running?.builder.send({ kind: 'pressure', pressure });
  }

  registerRoutes(app: FastifyInstance): void {
    const { requestShutdown } = this.options;
    const { departure, logger } = this;
    registerIngesterRoutes(app, { ingester: this, departure, requestShutdown, logger });
  }

  /** Waits until what was acknowledged before the call is in heads that are known here. */
  private async untilConsumed({ opened, builder }: Running, waitMs: number): Promise<boolean> {
    const { ring } = opened;
    const position = ring.published;
    // Nothing is late before the thread has begun, however long the machine takes to begin it.
    if (!builder.hasBegun) await builder.begun();
    const deadlineMs = performance.now() + waitMs;
    const isSeen = (): boolean => ring.consumed >= position && builder.isCaughtUp;
    while (!isSeen() && performance.now() < deadlineMs && this.state !== 'stopped') {
      const leftMs = Math.min(deadlineMs - performance.now(), FRESHNESS_WAIT_MS);
      if (ring.consumed < position) await ring.progress(leftMs);
      else await Promise.race([builder.caughtUp(), pause(leftMs, undefined, { ref: false })]);
    }
    builder.drain();
    return isSeen();
  }

  /** The live heads of the builder that ended answer queries until another has taken in their frames. */
  private builderEnded(opened: OpenedLog): { replay: ReplayPlan; pendingBytes: number } {
    this.heads.orphanLive();
    const covered = coveredRanges([...recordsOf(opened.replay.covered), ...this.heads.takenRanges()]);
    const paths = opened.segments.list().map((segment) => segment.path);
    const untilSequence = Math.max(opened.replay.untilSequence, opened.ring.consumedSequence);
    return { replay: { paths, covered, untilSequence }, pendingBytes: this.heads.cutBytes() };
  }

  private async housekeeping(): Promise<void> {
    this.traceLimiter.sweep();
    const deleted = await this.blocks.deleteExpired();
    this.metrics.blocksCleared.inc(deleted);
    const { running } = this;
    if (running === undefined || this.state !== 'running') return;
    const { segments } = running.opened;
    if (segments.sizeBytes <= this.tuning.sizeBytesMax) return;
    for (const tenant of segments.holders()) running.builder.send({ kind: 'flush', id: 0, tenant });
  }
}

type IngesterState = 'new' | 'starting' | 'running' | 'stopping' | 'stopped';

/** What a ring would say of this one ingester. */
const RING_STATES: Readonly<Record<IngesterState, string | undefined>> = {
  new: 'PENDING',
  starting: 'JOINING',
  running: 'ACTIVE',
  stopping: 'LEAVING',
  stopped: undefined,
};
