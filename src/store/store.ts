// Read and write over all blocks of all tenants: the backend, what it holds, its upkeep, and the threads
// that scan it.
import type { BlockMeta } from '../block/meta.ts';
import type { Service } from '../lib/service.ts';
import type { ObjectStore } from '../objectstore/objectstore.ts';
import type { RemoteStore } from '../objectstore/remote-store.ts';
import type { Logger } from '../telemetry/log.ts';
import { type Counter, Metrics } from '../telemetry/metrics.ts';
import { Blocklist } from './blocklist.ts';
import { createStoreMetrics, type StoreMetrics } from './metrics.ts';
import { Poller } from './poller.ts';
import { applyRetention, type RetentionTimes } from './retention.ts';
import { applySizeCap, storedBytes } from './size-cap.ts';
import { ScanPool } from './scan-pool.ts';
import { deleteUnfinished } from './unfinished.ts';
import type { ScanWorkerData } from './scan-job.ts';

export interface StoreOptions {
  readonly objectStore: ObjectStore;
  /** The same, where it is in a thread of its own. */
  readonly remote?: RemoteStore | undefined;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** False = nobody of this process asks for the blocks of the backend. */
  readonly polls: boolean;
  readonly blocklistPollMs: number;
  readonly blocklistPollConcurrency: number;
  /** 0 = a few. */
  readonly blocklistPollTenantConcurrency: number;
  /** undefined = no block is deleted for its age. */
  readonly retention: RetentionTimes | undefined;
  /** Retention is applied at each poll, and not only when it is asked for. */
  readonly retainsAtPolls: boolean;
  /** Whether retention of the block is for this process to apply. */
  readonly ownsBlock: (blockId: string) => boolean;
  /** Whether the index of the tenant is for this process to write, for others to read. */
  readonly ownsIndex: (tenant: string) => boolean;
  /** An index is written again when it is that old; 0 = when the blocks are others. */
  readonly indexAgeMsMax: number;
  /** Age from which what lies in the folder of a tenant without blocks is deleted; 0 = it stays. */
  readonly leftoversMs: number;
  /** Most that is kept on disk; 0 = no bound. */
  readonly sizeBytesMax: number;
  readonly scanThreads: number;
  readonly scanQueueLengthMax: number;
  readonly scanTenantQueueLengthMax: number;
  /** JavaScript heap of one scan thread. */
  readonly scanHeapBytesMax: number;
  readonly scanBatchSizeMax: number;
  readonly scanWorkerData: ScanWorkerData;
  readonly nowMs: () => number;
}

const TENANTS_AT_ONCE = 8;

/** Node's timers run at once when they are to wait longer. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** Until blocks are known, searches find what is recent and no more: the next poll is soon, then later. */
const FIRST_PAUSE_MS = 1000;
/** Where nothing could be listed. Single tenants that fail are no reason to list all of them so often. */
const BLIND_PAUSE_MS_MAX = 30_000;

export class Store implements Service {
  readonly name = 'store';
  readonly objectStore: ObjectStore;
  readonly blocklist = new Blocklist();
  readonly pool: ScanPool;
  /** The backend, where it is in a thread of its own. */
  readonly remote: RemoteStore | undefined;
  private readonly options: StoreOptions;
  private readonly poller: Poller;
  private readonly metrics: StoreMetrics;
  private otherBytes: () => number = () => 0;
  private polled: () => void = () => undefined;
  private timer: NodeJS.Timeout | undefined;
  private upkeep: Promise<void> = Promise.resolve();
  private stopped = false;
  /** Of what is in the backend, what polls have found out so far. */
  private known: 'nothing' | 'some' | 'all' = 'nothing';
  /** Before the next poll, until all is known. */
  private pauseMs = FIRST_PAUSE_MS;

  constructor(options: StoreOptions) {
    this.options = options;
    this.objectStore = options.objectStore;
    this.remote = options.remote;
    const { logger, metrics, remote } = options;
    this.pool = new ScanPool({
      threads: options.scanThreads,
      queueLengthMax: options.scanQueueLengthMax,
      tenantQueueLengthMax: options.scanTenantQueueLengthMax,
      heapBytesMax: options.scanHeapBytesMax,
      batchSizeMax: options.scanBatchSizeMax,
      workerData: options.scanWorkerData,
      connect: remote === undefined ? undefined : () => remote.connect(),
      logger,
      // Who scans nothing has nothing to tell of it: others may have metrics of these names.
      metrics: options.scanThreads > 0 ? metrics : new Metrics(),
    });
    remote?.onRestart(() => this.pool.reconnect());
    this.poller = new Poller({
      store: options.objectStore,
      blocklist: this.blocklist,
      logger,
      concurrency: options.blocklistPollConcurrency,
      tenantConcurrency: options.blocklistPollTenantConcurrency || TENANTS_AT_ONCE,
      indexAgeMsMax: options.indexAgeMsMax,
      leftoversMs: options.leftoversMs,
      nowMs: options.nowMs,
    });
    this.metrics = createStoreMetrics(metrics, this.blocklist, options.ownsIndex);
    metrics.gauge('tempodb_size_bytes', 'What is kept: blocks, the log, blocks not uploaded yet.', [], (g) =>
      g.set(this.keptBytes()),
    );
    metrics.gauge('tempodb_size_limit_bytes', 'Most that is kept, 0 = no bound.').set(options.sizeBytesMax);
  }

  async start(): Promise<void> {
    await this.options.objectStore.prepare();
    if (!this.options.polls) return;
    await this.tick();
    this.upkeep = this.writeIndexes();
    this.schedule();
  }

  /** Scan threads come last: loading their code would hold up the other threads. */
  allStarted(): void {
    this.pool.start();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.pool.stop();
    await this.upkeep;
    await this.remote?.stop();
  }

  /** A block is complete in the backend: queries see it at once. */
  blockUploaded(meta: BlockMeta): void {
    if (!this.options.polls) return;
    this.blocklist.added(meta);
    if (this.options.sizeBytesMax > 0) this.upkeep = this.upkeep.then(() => this.makeRoom());
  }

  /** A block is complete in the backend that holds what the inputs hold: queries see it in their place. */
  blockCompacted(meta: BlockMeta, inputs: readonly BlockMeta[]): void {
    this.blocklist.replaced(meta, inputs, this.options.nowMs());
    if (this.options.sizeBytesMax > 0) this.upkeep = this.upkeep.then(() => this.makeRoom());
  }

  /** What counts beside the blocks of the backend. */
  countAlso(bytes: () => number): void {
    this.otherBytes = bytes;
  }

  /** Calls back after each poll. */
  onPolled(listener: () => void): void {
    this.polled = listener;
  }

  /** Applies retention once. @returns how many blocks failed. */
  retainNow(): Promise<number> {
    const retained = this.upkeep.then(async () => {
      const failed = await this.retain();
      await this.makeRoom();
      return failed;
    });
    this.upkeep = retained.then(
      () => undefined,
      () => undefined, // told to whoever asked for it
    );
    return retained;
  }

  /** Polls now, beside the polls that are due. */
  pollNow(): void {
    this.upkeep = this.upkeep.then(() => this.tick()).then(() => this.writeIndexes());
  }

  private keptBytes(): number {
    return storedBytes(this.blocklist) + this.otherBytes();
  }

  /** Never rejects. */
  private async makeRoom(): Promise<void> {
    const { objectStore: store, blocklist } = this;
    const { logger, sizeBytesMax } = this.options;
    const otherBytes = this.otherBytes();
    const { deleted, failed } = await applySizeCap({ store, blocklist, logger, sizeBytesMax, otherBytes });
    this.metrics.sizeDeleted.inc(deleted);
    this.metrics.retentionErrors.inc(failed);
  }

  private schedule(): void {
    if (this.stopped) return;
    const afterMs = this.nextPollMs();
    this.pauseMs = afterMs * 2;
    this.timer = setTimeout(() => {
      this.upkeep = this.upkeep
        .then(() => this.tick())
        .then(() => this.writeIndexes())
        .finally(() => this.schedule());
    }, afterMs);
  }

  /** From one poll to the next. */
  private nextPollMs(): number {
    const pollMs = Math.min(this.options.blocklistPollMs, TIMER_MS_MAX);
    if (this.known === 'all') return pollMs;
    return Math.min(this.pauseMs, this.known === 'some' ? pollMs : Math.min(pollMs, BLIND_PAUSE_MS_MAX));
  }

  /** @returns how many blocks failed. */
  private async retain(): Promise<number> {
    const { objectStore: store, blocklist, metrics } = this;
    const { logger, nowMs, retention: times, ownsBlock: owns } = this.options;
    if (times === undefined) return 0;
    const begin = performance.now();
    const { marked, deleted, failed } = await applyRetention({
      store,
      blocklist,
      logger,
      times,
      nowMs,
      owns,
    });
    metrics.retentionSeconds.observe((performance.now() - begin) / 1000);
    metrics.retentionMarked.inc(marked);
    metrics.retentionDeleted.inc(deleted);
    metrics.retentionErrors.inc(failed);
    const unfinished = await deleteUnfinished({ store, blocklist, logger, nowMs, owns });
    metrics.unfinishedDeleted.inc(unfinished.deleted);
    metrics.retentionErrors.inc(unfinished.failed);
    return failed + unfinished.failed;
  }

  /** Polls, then applies retention. Never rejects: what failed is tried again at the next tick. */
  private async tick(): Promise<void> {
    const { logger } = this.options;
    const { metrics } = this;
    const begin = performance.now();
    try {
      const failed = await this.poller.poll();
      if (this.known !== 'all') this.known = failed.length === 0 ? 'all' : 'some';
      for (const tenant of failed) this.countError(metrics.pollErrors, tenant);
      metrics.pollSeconds.observe((performance.now() - begin) / 1000);
      this.polled();
      if (!this.options.retainsAtPolls) return;
      await this.retain();
      await this.makeRoom();
    } catch (err) {
      metrics.pollErrors.inc({ tenant: '' });
      logger.error('polling the backend failed, it is tried again', { delay_ms: this.nextPollMs(), err });
    }
  }

  private countError(errors: Counter, tenant: string): void {
    this.options.metrics.tenants.seen(tenant);
    errors.inc({ tenant });
  }

  /** Never rejects. */
  private async writeIndexes(): Promise<void> {
    const { ownsIndex } = this.options;
    const failed = await this.poller.writeIndexes((tenant) => !this.stopped && ownsIndex(tenant));
    for (const tenant of failed) this.countError(this.metrics.indexErrors, tenant);
  }
}
