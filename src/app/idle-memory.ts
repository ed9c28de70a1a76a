// Gives memory back while the process has nothing to do. V8 collects when it allocates and glibc keeps what
// lies between blocks in use, so what a flood of tenants or a large scrape left would stay for good.
import type { Worker } from 'node:worker_threads';
import { collectGarbage } from '../lib/garbage.ts';
import { startThread } from '../lib/start-thread.ts';
import { workerUrl } from '../lib/worker-url.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Counter, Metrics } from '../telemetry/metrics.ts';

export interface IdleMemoryOptions {
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** CPU time of the process in microseconds, ever growing. */
  readonly cpuMicros?: () => number;
  /** Memory of the process. */
  readonly processBytes?: () => number;
  /** Starts the thread that has the allocator give memory back. */
  readonly startThread?: () => Worker;
}

const SAMPLE_MS = 1000;
/** So many samples one after another, */
const IDLE_SAMPLES = 5;
/** each with less than this share of a core, are an idle process. */
const IDLE_SHARE = 0.05;
/** What came on top since the last time, for it to be worth 50 ms of CPU. */
const GROWN_BYTES_MIN = 8 << 20;

export class IdleMemory {
  #cpuMicros: number;
  #idleSamples = 0;
  /** After the last time. */
  #leastBytes = 0;
  #isRunning = false;
  #worker: Worker | undefined;
  readonly #options: Required<IdleMemoryOptions>;
  readonly #timer: NodeJS.Timeout;
  readonly #given: Counter;

  constructor(options: IdleMemoryOptions) {
    this.#options = {
      cpuMicros: usedMicros,
      processBytes: () => process.memoryUsage.rss(),
      startThread: startAllocatorThread,
      ...options,
    };
    this.#cpuMicros = this.#options.cpuMicros();
    this.#given = options.metrics.counter(
      'tempo_memory_given_back_bytes_total',
      'Memory that the process gave back to the system while it had nothing to do.',
    );
    this.#timer = setInterval(() => void this.sample(), SAMPLE_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    void this.#worker?.terminate();
  }

  /** Looks once. */
  async sample(): Promise<void> {
    const { cpuMicros, processBytes } = this.#options;
    const usedMicros = cpuMicros() - this.#cpuMicros;
    this.#cpuMicros += usedMicros;
    this.#idleSamples = usedMicros < SAMPLE_MS * 1000 * IDLE_SHARE ? this.#idleSamples + 1 : 0;
    if (this.#idleSamples < IDLE_SAMPLES || this.#isRunning) return;
    const before = processBytes();
    this.#leastBytes = Math.min(this.#leastBytes, before);
    if (before - this.#leastBytes < GROWN_BYTES_MIN) return;
    this.#isRunning = true;
    try {
      collectGarbage();
      await this.#trim();
    } catch (err) {
      // No thread can be started now.
      this.#options.logger.debug('the allocator gives nothing back', { err: String(err) });
    } finally {
      this.#isRunning = false;
      this.#idleSamples = 0;
      this.#leastBytes = processBytes();
      this.#given.inc(Math.max(0, before - this.#leastBytes));
    }
  }

  #trim(): Promise<void> {
    const worker = this.#options.startThread();
    this.#worker = worker;
    return new Promise((resolve) => {
      // Another allocator than glibc's, or a Node without node:ffi.
      worker.on('error', (err) => {
        this.#options.logger.debug('the allocator gives nothing back', { err: String(err) });
      });
      worker.on('exit', () => {
        this.#worker = undefined;
        resolve();
      });
    });
  }
}

function usedMicros(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

function startAllocatorThread(): Worker {
  return startThread(workerUrl('allocator-worker', import.meta.url), {
    name: 'allocator',
    execArgv: ['--disable-warning=ExperimentalWarning'],
  });
}
