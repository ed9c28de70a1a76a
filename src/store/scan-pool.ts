// The scan threads and the queue in front of them. A job goes to the thread that has likely cached its
// columns, unless that one is busier than another.
import { type ErrorCode, TempoError } from '../lib/errors.ts';
import { noteReleasedBytes } from '../lib/garbage.ts';
import { workerUrl } from '../lib/worker-url.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Counter, Metrics } from '../telemetry/metrics.ts';
import { crashedResult } from './crashed-job.ts';
import type { FromScanWorker, ScanJob, ScanResult, ScanWorkerData } from './scan-job.ts';
import { type Pending, ScanThread } from './scan-thread.ts';

export interface ScanPoolOptions {
  readonly threads: number;
  /** Jobs waiting over all threads; more are refused. */
  readonly queueLengthMax: number;
  readonly workerData: ScanWorkerData;
  /** JavaScript heap of one thread: a job that needs more ends its thread, not the process. */
  readonly heapBytesMax: number;
  /** The code of the threads, in place of the usual one. */
  readonly worker?: URL;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export interface RunOptions {
  /** Jobs with equal affinity prefer the same thread. */
  readonly affinity?: number;
  readonly signal?: AbortSignal | undefined;
}

/** Until whoever handles the head right now has let go of it. */
const RELEASE_DELAY_MS = 1000;

/** Jobs given to a thread at once: the next one is there when it finishes one. */
const IN_FLIGHT_MAX = 2;

/** Threads that a job may end before it is given up. */
const CRASHES_MAX = 2;

export class ScanPool {
  private readonly options: ScanPoolOptions;
  private readonly threads: ScanThread[] = [];
  private readonly jobs: Counter;
  private readonly cpuSeconds: Counter;
  private readonly restarts: Counter;
  private nextId = 1;
  private stopped = false;

  constructor(options: ScanPoolOptions) {
    this.options = options;
    const { metrics } = options;
    this.jobs = metrics.counter('tempo_scan_jobs_total', 'Jobs of scan threads.', ['kind', 'result']);
    this.cpuSeconds = metrics.counter('tempo_scan_cpu_seconds_total', 'CPU time of scan jobs.', ['kind']);
    this.restarts = metrics.counter('tempo_scan_thread_restarts_total', 'Scan threads that ended unasked.');
    metrics.gauge('tempo_scan_queue_length', 'Jobs waiting for or running in scan threads.', [], (gauge) =>
      gauge.set(this.load()),
    );
  }

  start(): void {
    const { threads, workerData, heapBytesMax, worker } = this.options;
    for (let i = 0; i < threads; i++) {
      const thread = new ScanThread({
        url: worker ?? workerUrl('scan-worker', import.meta.url),
        workerData,
        heapBytesMax,
        received: (message) => this.received(thread, message),
        ended: (err) => this.ended(thread, err),
        started: () => this.feed(thread),
      });
      this.threads.push(thread);
    }
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await Promise.all(
      this.threads.map((thread) => {
        for (const pending of thread.takeAll()) pending.reject(stopping());
        return thread.stop();
      }),
    );
  }

  run(job: ScanJob, { affinity, signal }: RunOptions = {}): Promise<ScanResult> {
    if (this.stopped) return Promise.reject(stopping());
    if (signal?.aborted) return Promise.reject(cancelled());
    if (this.load() >= this.options.queueLengthMax) {
      return Promise.reject(new TempoError('resource_exhausted', 'job queue full'));
    }
    return new Promise((resolve, reject) => {
      const thread = this.choose(affinity);
      const pending: Pending = { id: this.nextId++, job, resolve, reject, thread, crashes: 0 };
      thread.waiting.push(pending);
      signal?.addEventListener('abort', () => this.cancel(pending), { once: true });
      this.feed(thread);
    });
  }

  /** A head has become a block: the threads and this one give its memory back. */
  headReleased(bytes: number): void {
    setTimeout(() => {
      noteReleasedBytes(bytes);
      for (const thread of this.threads) thread.send({ kind: 'released', bytes });
    }, RELEASE_DELAY_MS).unref();
  }

  private load(): number {
    return this.threads.reduce((sum, thread) => sum + thread.load, 0);
  }

  /** A thread that is down is chosen only when all are. */
  private choose(affinity: number | undefined): ScanThread {
    const running = this.threads.filter((thread) => thread.isAlive);
    const threads = running.length > 0 ? running : this.threads;
    const idle = threads.reduce((best, thread) => (thread.load < best.load ? thread : best));
    const liked = affinity === undefined ? idle : this.threads[affinity % this.threads.length]!;
    return liked.isAlive && liked.load <= idle.load + IN_FLIGHT_MAX ? liked : idle;
  }

  private feed(thread: ScanThread): void {
    while (thread.isAlive && thread.inFlight.size < IN_FLIGHT_MAX) {
      const pending = thread.waiting.shift();
      if (pending === undefined) return;
      thread.inFlight.set(pending.id, pending);
      thread.send({ kind: 'job', id: pending.id, job: pending.job });
    }
  }

  private cancel(pending: Pending): void {
    const { thread } = pending;
    const at = thread.waiting.indexOf(pending);
    if (at >= 0) thread.waiting.splice(at, 1);
    else if (thread.inFlight.has(pending.id)) thread.send({ kind: 'cancel', id: pending.id });
    else return;
    pending.reject(cancelled());
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

  /** Its jobs go to other threads; the one that was running may have ended it. */
  private ended(thread: ScanThread, err: unknown): void {
    this.restarts.inc();
    const { logger } = this.options;
    const [running] = thread.inFlight.values();
    logger.error('scan thread ended, another takes its place', { job: running?.job.kind, err });
    if (running !== undefined) running.crashes++;
    for (const pending of thread.takeAll()) {
      if (pending.crashes >= CRASHES_MAX) {
        this.giveUp(pending);
        continue;
      }
      pending.thread = this.choose(undefined);
      pending.thread.waiting.push(pending);
      this.feed(pending.thread);
    }
  }

  private giveUp({ job, resolve, reject }: Pending): void {
    this.jobs.inc({ kind: job.kind, result: 'crashed' });
    const result = crashedResult(job);
    if (result === undefined) reject(new TempoError('internal', 'the job ended its scan threads'));
    else resolve(result);
  }
}

function stopping(): TempoError {
  return new TempoError('unavailable', 'the server is stopping');
}

function cancelled(): TempoError {
  return new TempoError('cancelled', 'the request was cancelled');
}
