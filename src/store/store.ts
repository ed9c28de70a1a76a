// Read and write over all blocks of all tenants: the backend, what it holds, its upkeep, and the threads
// that scan it.
import type { BlockMeta } from '../block/meta.ts';
import type { Service } from '../lib/service.ts';
import type { ObjectStore } from '../objectstore/objectstore.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Counter, Gauge, Histogram, Metrics } from '../telemetry/metrics.ts';
import { Blocklist } from './blocklist.ts';
import { Poller } from './poller.ts';
import { applyRetention } from './retention.ts';
import { applySizeCap, storedBytes } from './size-cap.ts';
import { ScanPool } from './scan-pool.ts';
import type { ScanWorkerData } from './scan-job.ts';

export interface StoreOptions {
  readonly objectStore: ObjectStore;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly blocklistPollMs: number;
  readonly blocklistPollConcurrency: number;
  readonly blockRetentionMs: number;
  readonly compactedBlockRetentionMs: number;
  /** Most that is kept on disk; 0 = no bound. */
  readonly sizeBytesMax: number;
  readonly scanThreads: number;
  readonly scanQueueLengthMax: number;
  /** JavaScript heap of one scan thread. */
  readonly scanHeapBytesMax: number;
  readonly scanWorkerData: ScanWorkerData;
  readonly nowMs: () => number;
}

/** Node's timers run at once when they are to wait longer. */
const TIMER_MS_MAX = 2 ** 31 - 1;

export class Store implements Service {
  readonly name = 'store';
  readonly objectStore: ObjectStore;
  readonly blocklist = new Blocklist();
  readonly pool: ScanPool;
  private readonly options: StoreOptions;
  private readonly poller: Poller;
  private readonly pollSeconds: Histogram;
  private readonly pollErrors: Counter;
  private readonly retentionMarked: Counter;
  private readonly retentionDeleted: Counter;
  private readonly retentionErrors: Counter;
  private readonly sizeDeleted: Counter;
  private otherBytes: () => number = () => 0;
  private timer: NodeJS.Timeout | undefined;
  private upkeep: Promise<void> = Promise.resolve();
  private stopped = false;

  constructor(options: StoreOptions) {
    this.options = options;
    this.objectStore = options.objectStore;
    const { logger, metrics } = options;
    this.pool = new ScanPool({
      threads: options.scanThreads,
      queueLengthMax: options.scanQueueLengthMax,
      heapBytesMax: options.scanHeapBytesMax,
      workerData: options.scanWorkerData,
      logger,
      metrics,
    });
    this.poller = new Poller({
      store: options.objectStore,
      blocklist: this.blocklist,
      logger,
      concurrency: options.blocklistPollConcurrency,
      nowMs: options.nowMs,
    });
    const pollBuckets = [0.001, 0.01, 0.1, 1, 10, 60];
    this.pollSeconds = metrics.histogram(
      'tempodb_blocklist_poll_duration_seconds',
      'Time of one poll of the backend.',
      pollBuckets,
    );
    this.pollErrors = metrics.counter('tempodb_blocklist_poll_errors_total', 'Polls that failed.', [
      'tenant',
    ]);
    this.retentionMarked = metrics.counter(
      'tempodb_retention_marked_for_deletion_total',
      'Blocks marked for deletion.',
    );
    this.retentionDeleted = metrics.counter('tempodb_retention_deleted_total', 'Blocks deleted.');
    this.retentionErrors = metrics.counter('tempodb_retention_errors_total', 'Failures of retention.');
    this.sizeDeleted = metrics.counter(
      'tempodb_size_deleted_blocks_total',
      'Blocks deleted because more than max_bytes was kept.',
    );
    metrics.gauge('tempodb_size_bytes', 'What is kept: blocks, the log, blocks not uploaded yet.', [], (g) =>
      g.set(this.keptBytes()),
    );
    metrics.gauge('tempodb_size_limit_bytes', 'Most that is kept, 0 = no bound.').set(options.sizeBytesMax);
    metrics.gauge('tempodb_blocklist_length', 'Blocks of a tenant.', ['tenant'], (gauge) =>
      this.lengths(gauge),
    );
  }

  async start(): Promise<void> {
    await this.options.objectStore.prepare();
    this.pool.start();
    await this.tick();
    this.schedule();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.pool.stop();
    await this.upkeep;
  }

  /** A block is complete in the backend: queries see it at once. */
  blockUploaded(meta: BlockMeta): void {
    this.blocklist.added(meta);
    if (this.options.sizeBytesMax > 0) this.upkeep = this.upkeep.then(() => this.makeRoom());
  }

  /** What counts beside the blocks of the backend. */
  countAlso(bytes: () => number): void {
    this.otherBytes = bytes;
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
    this.sizeDeleted.inc(deleted);
    this.retentionErrors.inc(failed);
  }

  private schedule(): void {
    if (this.stopped) return;
    const afterMs = Math.min(this.options.blocklistPollMs, TIMER_MS_MAX);
    this.timer = setTimeout(() => {
      this.upkeep = this.upkeep.then(() => this.tick()).finally(() => this.schedule());
    }, afterMs);
  }

  /** Polls, then applies retention. Never rejects: what failed is tried again at the next tick. */
  private async tick(): Promise<void> {
    const { logger } = this.options;
    const begin = performance.now();
    try {
      const { failedTenants } = await this.poller.poll();
      for (const tenant of failedTenants) this.pollErrors.inc({ tenant });
      this.pollSeconds.observe((performance.now() - begin) / 1000);
      const { objectStore: store, blocklist } = this;
      const { blockRetentionMs, compactedBlockRetentionMs, nowMs } = this.options;
      const retention = { store, blocklist, logger, blockRetentionMs, compactedBlockRetentionMs, nowMs };
      const { marked, deleted, failed } = await applyRetention(retention);
      this.retentionMarked.inc(marked);
      this.retentionDeleted.inc(deleted);
      this.retentionErrors.inc(failed);
      await this.makeRoom();
    } catch (err) {
      this.pollErrors.inc({ tenant: '' });
      logger.error('polling the backend failed', { err });
    }
  }

  private lengths(gauge: Gauge): void {
    gauge.reset();
    for (const tenant of this.blocklist.tenants()) {
      gauge.set({ tenant }, this.blocklist.tenant(tenant).live.size);
    }
  }
}
