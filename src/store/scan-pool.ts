// The scan threads and the queue in front of them. A job goes to the thread that has likely cached its
// columns, unless that one is busier than another.
import { Worker } from 'node:worker_threads';
import { type ErrorCode, TempoError } from '../lib/errors.ts';
import { noteReleasedBytes } from '../lib/garbage.ts';
import { workerUrl } from '../lib/worker-url.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Counter, Metrics } from '../telemetry/metrics.ts';
import type { FromScanWorker, ScanJob, ScanResult, ScanWorkerData, ToScanWorker } from './scan-job.ts';

export interface ScanPoolOptions {
  readonly threads: number;
  /** Jobs waiting over all threads; more are refused. */
  readonly queueLengthMax: number;
  readonly workerData: ScanWorkerData;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export interface RunOptions {
  /** Jobs with equal affinity prefer the same thread. */
  readonly affinity?: number;
  readonly signal?: AbortSignal | undefined;
}

interface Pending {
  readonly id: number;
  readonly job: ScanJob;
  readonly resolve: (result: ScanResult) => void;
  readonly reject: (err: Error) => void;
}

/** Until whoever handles the head right now has let go of it. */
const RELEASE_DELAY_MS = 1000;

/** Pause before a thread takes the place of one that crashed; its jobs wait. */
const RESPAWN_MS = 500;

/** Jobs given to a thread at once: the next one is there when it finishes one. */
const IN_FLIGHT_MAX = 2;

class ScanThread {
  worker: Worker;
  readonly waiting: Pending[] = [];
  readonly inFlight = new Map<number, Pending>();
  isAlive = true;

  constructor(worker: Worker) {
    this.worker = worker;
  }

  get load(): number {
    return this.waiting.length + this.inFlight.size;
  }
}

export class ScanPool {
  private readonly options: ScanPoolOptions;
  private readonly threads: ScanThread[] = [];
  private readonly jobs: Counter;
  private readonly cpuSeconds: Counter;
  private nextId = 1;
  private stopped = false;

  constructor(options: ScanPoolOptions) {
    this.options = options;
    const { metrics } = options;
    this.jobs = metrics.counter('tempo_scan_jobs_total', 'Jobs of scan threads.', ['kind', 'result']);
    this.cpuSeconds = metrics.counter('tempo_scan_cpu_seconds_total', 'CPU time of scan jobs.', ['kind']);
    metrics.gauge('tempo_scan_queue_length', 'Jobs waiting for or running in scan threads.', [], (gauge) =>
      gauge.set(this.load()),
    );
  }

  start(): void {
    for (let i = 0; i < this.options.threads; i++) {
      const thread = new ScanThread(this.spawn());
      this.listen(thread);
      this.threads.push(thread);
    }
  }

  async stop(): Promise<void> {
    this.stopped = true;
    for (const thread of this.threads) {
      for (const pending of [...thread.waiting, ...thread.inFlight.values()]) pending.reject(stopping());
      thread.waiting.length = 0;
      thread.inFlight.clear();
    }
    await Promise.all(this.threads.map((thread) => thread.worker.terminate()));
  }

  run(job: ScanJob, { affinity, signal }: RunOptions = {}): Promise<ScanResult> {
    if (this.stopped) return Promise.reject(stopping());
    if (signal?.aborted) return Promise.reject(cancelled());
    if (this.load() >= this.options.queueLengthMax) {
      return Promise.reject(new TempoError('resource_exhausted', 'job queue full'));
    }
    return new Promise((resolve, reject) => {
      const thread = this.choose(affinity);
      const pending: Pending = { id: this.nextId++, job, resolve, reject };
      thread.waiting.push(pending);
      signal?.addEventListener('abort', () => this.cancel(thread, pending), { once: true });
      this.feed(thread);
    });
  }

  /** A head has become a block: the threads and this one give its memory back. */
  headReleased(bytes: number): void {
    setTimeout(() => {
      noteReleasedBytes(bytes);
      for (const { worker } of this.threads) {
        worker.postMessage({ kind: 'released', bytes } satisfies ToScanWorker);
      }
    }, RELEASE_DELAY_MS).unref();
  }

  private load(): number {
    return this.threads.reduce((sum, thread) => sum + thread.load, 0);
  }

  private choose(affinity: number | undefined): ScanThread {
    const idle = this.threads.reduce((best, thread) => (thread.load < best.load ? thread : best));
    const liked = affinity === undefined ? idle : this.threads[affinity % this.threads.length]!;
    return liked.load <= idle.load + IN_FLIGHT_MAX ? liked : idle;
  }

  private feed(thread: ScanThread): void {
    while (thread.isAlive && thread.inFlight.size < IN_FLIGHT_MAX) {
      const pending = thread.waiting.shift();
      if (pending === undefined) return;
      thread.inFlight.set(pending.id, pending);
      thread.worker.postMessage({ kind: 'job', id: pending.id, job: pending.job } satisfies ToScanWorker);
    }
  }

  private cancel(thread: ScanThread, pending: Pending): void {
    const at = thread.waiting.indexOf(pending);
    if (at >= 0) thread.waiting.splice(at, 1);
    else if (thread.inFlight.has(pending.id)) {
      thread.worker.postMessage({ kind: 'cancel', id: pending.id } satisfies ToScanWorker);
    } else return;
    pending.reject(cancelled());
  }

  private spawn(): Worker {
    return new Worker(workerUrl('scan-worker', import.meta.url), {
      workerData: this.options.workerData,
      name: 'scan',
    });
  }

  private listen(thread: ScanThread): void {
    thread.worker.on('message', (message: FromScanWorker) => this.received(thread, message));
    thread.worker.on('error', (err) => this.crashed(thread, err));
  }

  private received(thread: ScanThread, message: FromScanWorker): void {
    const pending = thread.inFlight.get(message.id);
    thread.inFlight.delete(message.id);
    this.feed(thread);
    if (pending === undefined) return;
    const { kind } = pending.job;
    this.jobs.inc({ kind, result: message.kind });
    if (message.kind === 'done') {
      this.cpuSeconds.inc({ kind }, message.cpuMicros / 1e6);
      pending.resolve(message.result);
    } else pending.reject(new TempoError(message.code as ErrorCode, message.message));
  }

  /** The jobs it held fail; a new thread takes its place. */
  private crashed(thread: ScanThread, err: unknown): void {
    this.options.logger.error('scan thread crashed', { err });
    for (const pending of thread.inFlight.values()) {
      this.jobs.inc({ kind: pending.job.kind, result: 'crashed' });
      pending.reject(new TempoError('internal', 'scan thread crashed', err));
    }
    thread.inFlight.clear();
    thread.isAlive = false;
    // A thread that cannot even start must not be tried in a loop.
    setTimeout(() => {
      if (this.stopped) return;
      thread.worker = this.spawn();
      thread.isAlive = true;
      this.listen(thread);
      this.feed(thread);
    }, RESPAWN_MS);
  }
}

function stopping(): TempoError {
  return new TempoError('unavailable', 'the server is stopping');
}

function cancelled(): TempoError {
  return new TempoError('cancelled', 'the request was cancelled');
}
