// The main thread's end of the thread of the object store: starts it, starts it again when it ends unasked,
// and hands out ports to it. Its calls are those of any store.
import { MessageChannel, type MessagePort, type Worker } from 'node:worker_threads';
import type { CacheReports } from '../cache/cache-metrics.ts';
import type { CacheSettings } from '../cache/settings.ts';
import { TempoError } from '../lib/errors.ts';
import { type StartThread, startThread } from '../lib/start-thread.ts';
import { workerUrl } from '../lib/worker-url.ts';
import type { Logger } from '../telemetry/log.ts';
import type { BackendMetrics } from './backend-metrics.ts';
import { PortStore } from './port-store.ts';
import type { BackendSettings } from './settings.ts';
import type { StoreReport, StoreWorkerData, ToStoreWorker } from './store-messages.ts';

export interface RemoteStoreOptions {
  readonly settings: BackendSettings;
  readonly logger: Logger;
  readonly metrics: BackendMetrics;
  /** Outside the process, and where what they count goes. */
  readonly caches?: OuterCacheOptions | undefined;
  /** The code of the thread, in place of the usual one. */
  readonly worker?: URL;
  readonly startThread?: StartThread;
}

export interface OuterCacheOptions {
  readonly settings: readonly CacheSettings[];
  readonly reports: CacheReports;
}

const RESTART_FIRST_MS = 100;
const RESTART_MAX_MS = 30_000;

export class RemoteStore extends PortStore {
  private readonly options: RemoteStoreOptions;
  private readonly listeners: (() => void)[] = [];
  private worker: Worker | undefined;
  private timer: NodeJS.Timeout | undefined;
  private failures = 0;
  private isStopped = false;
  /** Of the thread, as it said last. */
  cachedBytes = 0;

  constructor(options: RemoteStoreOptions) {
    super();
    this.options = options;
    options.metrics.watchCache(() => this.cachedBytes);
  }

  /** Starts the thread, too. */
  override async prepare(): Promise<void> {
    const failed = this.spawn();
    await Promise.race([failed, super.prepare()]);
    failed.catch(() => this.again());
  }

  /** A port for a thread of its own; there is none before `prepare` and while the thread is down. */
  connect(): MessagePort | undefined {
    if (this.worker === undefined) return undefined;
    const { port1, port2 } = new MessageChannel();
    this.tell({ kind: 'connect', port: port2 }, [port2]);
    return port1;
  }

  /** Called when all who hold a port need another. */
  onRestart(listener: () => void): void {
    this.listeners.push(listener);
  }

  /** The cache takes that share of its bytes from now on. */
  limitCache(share: number): void {
    this.tell({ kind: 'cacheShare', share });
  }

  async stop(): Promise<void> {
    this.isStopped = true;
    clearTimeout(this.timer);
    this.detach();
    await this.worker?.terminate();
  }

  /** The end of the thread follows, and its cause. */
  protected override disconnected(): void {}

  private tell(message: ToStoreWorker, transfer: MessagePort[] = []): void {
    this.worker?.postMessage(message, transfer);
  }

  /** @returns a promise that rejects when the thread ends, or cannot start. */
  private async spawn(): Promise<never> {
    const { settings, caches, worker: code, startThread: start = startThread } = this.options;
    const data: StoreWorkerData = { settings, caches: caches?.settings ?? [] };
    const worker = start(code ?? workerUrl('store-worker', import.meta.url), {
      workerData: data,
      name: 'objectstore',
    });
    this.worker = worker;
    const port = this.connect();
    if (port !== undefined) this.attach(port);
    worker.on('message', (report: StoreReport) => this.reported(report));
    return new Promise((_, reject) => {
      let cause: Error | undefined;
      worker.on('error', (err) => (cause = err as Error));
      worker.on('exit', () => {
        this.worker = undefined;
        this.cachedBytes = 0;
        // First, as it tells why.
        reject(cause ?? new TempoError('unavailable', 'the thread of the object store ended'));
        this.detach();
      });
    });
  }

  private reported(report: StoreReport): void {
    this.failures = 0;
    this.cachedBytes = report.cacheBytes;
    const { metrics, caches, logger } = this.options;
    for (const folder of report.distrusted) {
      logger.warn('parts of a block are damaged, it is read past the caches', { block: folder });
    }
    for (const reason of report.detours) {
      logger.warn('reads of objects take about twice the CPU from now on', { reason });
    }
    metrics.add(report);
    for (const each of report.caches) caches?.reports.add(each);
  }

  private again(): void {
    if (this.isStopped) return;
    const delayMs = Math.min(RESTART_FIRST_MS * 2 ** this.failures++, RESTART_MAX_MS);
    this.options.logger.error('the thread of the object store ended, another takes its place', {
      delay_ms: delayMs,
    });
    this.timer = setTimeout(() => {
      this.spawn().catch((err: unknown) => {
        this.options.logger.error('the thread of the object store failed', { err });
        this.again();
      });
      for (const listener of this.listeners) listener();
    }, delayMs);
  }
}
