// The scan threads, and who runs next in them. A job goes to the thread that has likely cached its columns,
// unless that one is busier than another.
import type { MessagePort } from 'node:worker_threads';
import { type ErrorCode, requestCancelled, StoppingError, TempoError } from '../lib/errors.ts';
import { noteReleasedBytes } from '../lib/garbage.ts';
import type { Pressure } from '../lib/pressure.ts';
import { workerUrl } from '../lib/worker-url.ts';
import type { StartThread } from '../lib/start-thread.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { tenantLabel } from '../telemetry/tenant-label.ts';
import { newCancelFlag, raise } from './cancel-flag.ts';
import { crashedResult } from './crashed-job.ts';
import { JobQueue, QueryTurn } from './job-queue.ts';
import { ScanMetrics } from './metrics.ts';
import type { FromScanWorker, ScanJob, ScanResult, ScanWorkerData } from './scan-job.ts';
import { type Pending, ScanThread } from './scan-thread.ts';

export interface ScanPoolOptions {
  readonly threads: number;
  /** Jobs waiting for or running in all threads; more are refused. */
  readonly queueLengthMax: number;
  /** Jobs of one tenant that may wait. */
  readonly tenantQueueLengthMax: number;
  /** `query_frontend.max_batch_size`: jobs are handed over one by one, this is for metrics. */
  readonly batchSizeMax: number;
  readonly workerData: ScanWorkerData;
  /** A port to the backend for each thread, where that is in a thread of its own. */
  readonly connect?: (() => MessagePort | undefined) | undefined;
  /** JavaScript heap of one thread: a job that needs more ends its thread, not the process. */
  readonly heapBytesMax: number;
  /** The code of the threads, in place of the usual one. */
  readonly worker?: URL;
  readonly startThread?: StartThread;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export interface RunOptions {
  /** Whose job it is. */
  readonly tenant: string;
  /** Of the query that it belongs to; without one it is a query of its own. */
  readonly turn?: QueryTurn | undefined;
  /** Jobs with equal affinity prefer the same thread. */
  readonly affinity?: number;
  readonly signal?: AbortSignal | undefined;
  /** Time that the job may take in a thread, not in the queue; 0 = as long as it takes. */
  readonly limitMs?: number;
}

/** Until whoever handles the head right now has let go of it. */
const RELEASE_DELAY_MS = 1000;

/** Jobs given to a thread at once: the next one is there when it finishes one. */
const IN_FLIGHT_MAX = 2;

const TIMER_MS_MAX = 0x7fffffff;

const CACHE_STEPS = 4;

/** Threads that a job may end before it is given up. */
const CRASHES_MAX = 2;

export class ScanPool {
  private readonly options: ScanPoolOptions;
  private readonly threads: ScanThread[] = [];
  private readonly queue: JobQueue;
  private readonly metrics: ScanMetrics;
  /** Jobs in all threads at a time. */
  private inFlightMax = Infinity;
  /** Of their caches what scan threads may use beside answers. */
  private cacheShare = 1;
  private nextId = 1;
  private searches = 0;
  private stopped = false;

  constructor(options: ScanPoolOptions) {
    this.options = options;
    const { metrics, batchSizeMax, queueLengthMax, threads } = options;
    this.queue = new JobQueue(threads);
    this.metrics = new ScanMetrics(metrics, batchSizeMax);
    metrics.gauge('tempo_scan_queue_length', 'Jobs waiting for or running in scan threads.', [], (gauge) =>
      gauge.set(this.load),
    );
    metrics.gauge('tempo_value_filter_held_bytes', 'Value filters in memory of scan threads.', [], (gauge) =>
      gauge.set(this.threads.reduce((sum, { filterBytes }) => sum + filterBytes, 0)),
    );
    metrics.gauge(
      'tempo_head_columns_held_bytes',
      'Columns of heads in memory of scan threads.',
      [],
      (gauge) => gauge.set(this.threads.reduce((sum, { headBytes }) => sum + headBytes, 0)),
    );
    metrics.gauge('tempodb_work_queue_length', 'Jobs waiting for scan threads.', [], (gauge) =>
      gauge.set(this.queue.length),
    );
    metrics.gauge('tempodb_work_queue_max', 'Jobs that may wait.').set(queueLengthMax);
    metrics.gauge('tempo_query_frontend_connected_clients', 'Scan threads that are alive.', [], (gauge) =>
      gauge.set(this.threads.filter(({ isAlive }) => isAlive).length),
    );
    metrics.gauge(
      'tempo_querier_inflight_search_requests',
      'Searches of parts of the data that wait or run.',
      [],
      (gauge) => gauge.set(this.searches),
    );
  }

  /** The first job does it too. */
  start(): void {
    if (this.stopped || this.threads.length > 0) return;
    const { threads, workerData, heapBytesMax, connect, worker, startThread } = this.options;
    for (let i = 0; i < threads; i++) {
      const thread = new ScanThread({
        url: worker ?? workerUrl('scan-worker', import.meta.url),
        workerData,
        heapBytesMax,
        connect,
        received: (message) => this.received(thread, message),
        ended: (err) => this.ended(thread, err),
        started: () => this.feed(thread),
        refused: (err) => this.refused(err),
        startThread,
      });
      this.threads.push(thread);
    }
    for (const thread of this.threads) thread.start();
  }

  /** The backend is elsewhere from now on. */
  reconnect(): void {
    for (const thread of this.threads) thread.connect();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await Promise.all(
      this.threads.map((thread, lane) => {
        const waiting = this.queue.takeLane(lane);
        for (const pending of waiting) this.left(pending);
        for (const pending of [...waiting, ...thread.takeAll()]) {
          pending.over();
          pending.reject(stopping());
        }
        return thread.stop();
      }),
    );
  }

  async run(job: ScanJob, options: RunOptions): Promise<ScanResult> {
    if (job.kind !== 'search') return this.enqueue(job, options);
    this.searches++;
    try {
      return await this.enqueue(job, options);
    } finally {
      this.searches--;
    }
  }

  private enqueue(job: ScanJob, options: RunOptions): Promise<ScanResult> {
    const { tenant, turn = new QueryTurn(), affinity, signal, limitMs = 0 } = options;
    if (this.stopped) return Promise.reject(stopping());
    if (signal?.aborted) return Promise.reject(requestCancelled());
    this.start();
    const refusal = this.refusal();
    if (refusal !== undefined) return Promise.reject(refusal);
    const { queueLengthMax, tenantQueueLengthMax } = this.options;
    if (this.load >= queueLengthMax || this.queue.lengthOf(tenant) >= tenantQueueLengthMax) {
      this.metrics.discarded.inc({ user: tenantLabel(tenant) });
      return Promise.reject(new TempoError('resource_exhausted', 'job queue full'));
    }
    return new Promise((resolve, reject) => {
      const queuedAtMs = performance.now();
      const pending: Pending = {
        id: this.nextId++,
        job,
        tenant,
        turn,
        queuedAtMs,
        resolve,
        reject,
        limitMs,
        thread: undefined,
        timer: undefined,
        crashes: 0,
        over: () => {},
        cancelled: newCancelFlag(),
      };
      const lane = this.choose(affinity);
      this.wait(pending, lane);
      if (signal !== undefined) this.listen(pending, signal);
      this.feed(this.threads[lane]!);
    });
  }

  /** A head has become a block: the threads and this one give its memory back. */
  headReleased(bytes: number, blockId: string): void {
    setTimeout(() => {
      noteReleasedBytes(bytes);
      for (const thread of this.threads) thread.send({ kind: 'released', bytes, blockId });
    }, RELEASE_DELAY_MS).unref();
  }

  /** Of the caches of all threads. */
  get cachedBytes(): number {
    return this.threads.reduce((sum, thread) => sum + thread.cachedBytes, 0);
  }

  /** Memory that answers take: caches give way to them, but for a quarter. */
  yieldCaches(bytes: number): void {
    const { cacheBytes } = this.options.workerData;
    const share = cacheShare(bytes, cacheBytes * this.threads.length);
    if (share === this.cacheShare) return;
    this.cacheShare = share;
    for (const thread of this.threads) thread.send({ kind: 'cacheShare', share });
  }

  /** While memory is short caches shrink, and one job runs at a time. */
  setPressure(pressure: Pressure): void {
    this.inFlightMax = pressure === 'calm' ? Infinity : 1;
    for (const thread of this.threads) {
      thread.send({ kind: 'pressure', pressure });
      this.feed(thread);
    }
  }

  /** Ends a job when its caller gives up, and lets go of the caller when it is over. */
  private listen(pending: Pending, signal: AbortSignal): void {
    const onAbort = (): void => this.cancel(pending, requestCancelled());
    signal.addEventListener('abort', onAbort, { once: true });
    pending.over = () => signal.removeEventListener('abort', onAbort);
  }

  /** Jobs that wait or run. */
  get load(): number {
    return this.queue.length + this.inFlight();
  }

  private loadOf(lane: number): number {
    return this.queue.laneLength(lane) + this.threads[lane]!.inFlight.size;
  }

  /** A thread that is down is chosen only when all are. */
  private choose(affinity: number | undefined): number {
    const lanes = this.threads.map((_, lane) => lane);
    const running = lanes.filter((lane) => this.threads[lane]!.isAlive);
    const idle = (running.length > 0 ? running : lanes).reduce((best, lane) =>
      this.loadOf(lane) < this.loadOf(best) ? lane : best,
    );
    const liked = affinity === undefined ? idle : affinity % this.threads.length;
    const isFree = this.threads[liked]!.isAlive && this.loadOf(liked) <= this.loadOf(idle) + IN_FLIGHT_MAX;
    return isFree ? liked : idle;
  }

  private inFlight(): number {
    return this.threads.reduce((sum, { inFlight }) => sum + inFlight.size, 0);
  }

  private feed(thread: ScanThread): void {
    while (thread.isAlive && thread.inFlight.size < IN_FLIGHT_MAX && this.inFlight() < this.inFlightMax) {
      const pending = this.nextFor(thread);
      if (pending === undefined) return;
      this.left(pending);
      pending.thread = thread;
      this.metrics.queueSeconds.observe((performance.now() - pending.queuedAtMs) / 1000);
      this.metrics.batchSize.observe(1);
      thread.inFlight.set(pending.id, pending);
      const { id, job, cancelled } = pending;
      thread.send({ kind: 'job', id, job, cancelled });
      this.limit(pending);
    }
  }

  /**
   * A thread with nothing to do takes what waits for one that is busy or down. Behind a job that runs goes
   * none of a heavy query: whatever comes meanwhile would wait for both.
   */
  private nextFor(thread: ScanThread): Pending | undefined {
    const isBusy = thread.inFlight.size > 0;
    const own = this.queue.take(this.threads.indexOf(thread), isBusy);
    if (own !== undefined || isBusy) return own;
    const lanes = this.threads.map((_, lane) => lane);
    const longest = lanes.reduce((a, b) => (this.queue.laneLength(b) > this.queue.laneLength(a) ? b : a));
    return this.queue.take(longest);
  }

  private wait(pending: Pending, lane: number): void {
    pending.thread = undefined;
    this.queue.add(pending, lane);
    this.metrics.queueLength.inc({ user: tenantLabel(pending.tenant) });
  }

  private left({ tenant }: Pending): void {
    this.metrics.queueLength.dec({ user: tenantLabel(tenant) });
  }

  /** A thread has one job less: when few may run, it is the next one's turn. */
  private feedAfter(thread: ScanThread): void {
    if (this.inFlightMax === Infinity) return this.feed(thread);
    const { threads } = this;
    const at = threads.indexOf(thread) + 1;
    for (const next of [...threads.slice(at), ...threads.slice(0, at)]) this.feed(next);
  }

  /** It has begun, or is the next. */
  private limit(pending: Pending): void {
    const { limitMs } = pending;
    clearTimeout(pending.timer);
    if (limitMs <= 0 || limitMs > TIMER_MS_MAX) return;
    pending.timer = setTimeout(() => this.cancel(pending, overdue()), limitMs).unref();
  }

  private cancel(pending: Pending, reason: TempoError): void {
    clearTimeout(pending.timer);
    const { thread } = pending;
    if (this.queue.remove(pending)) this.left(pending);
    else if (thread?.inFlight.has(pending.id) === true) {
      raise(pending.cancelled);
      thread.send({ kind: 'cancel', id: pending.id });
    } else return;
    pending.over();
    pending.reject(reason);
  }

  private received(thread: ScanThread, message: FromScanWorker): void {
    const pending = thread.inFlight.get(message.id);
    thread.inFlight.delete(message.id);
    if (message.kind === 'done') {
      thread.cachedBytes = message.cachedBytes;
      thread.filterBytes = message.filterBytes;
      thread.headBytes = message.headBytes;
      this.metrics.filtered(message.filters);
      pending?.turn.cost(message.cpuMicros / 1000);
    }
    this.feedAfter(thread);
    if (pending === undefined) return;
    clearTimeout(pending.timer);
    pending.over();
    const { kind } = pending.job;
    this.metrics.jobs.inc({ kind, result: message.kind });
    this.metrics.executed.inc();
    this.metrics.retries.observe(pending.crashes);
    if (message.kind === 'done') {
      this.metrics.cpuSeconds.inc({ kind }, message.cpuMicros / 1e6);
      pending.resolve(message.result);
    } else pending.reject(new TempoError(message.code as ErrorCode, message.message));
  }

  /** Its jobs go to other threads; the one that was running may have ended it. */
  private ended(thread: ScanThread, err: unknown): void {
    this.metrics.restarts.inc();
    const { logger } = this.options;
    const [running] = thread.inFlight.values();
    logger.error('scan thread ended, another takes its place', { job: running?.job.kind, err });
    if (running !== undefined) running.crashes++;
    for (const pending of thread.takeAll()) {
      clearTimeout(pending.timer);
      if (pending.crashes >= CRASHES_MAX) {
        this.giveUp(pending);
        continue;
      }
      this.wait(pending, this.choose(undefined));
    }
    for (const pending of this.queue.takeLane(this.threads.indexOf(thread))) {
      this.queue.add(pending, this.choose(undefined));
    }
    for (const other of this.threads) this.feed(other);
  }

  /** Why there is no thread, and none that is about to start. */
  private refusal(): Error | undefined {
    return this.threads.every(({ refusal }) => refusal !== undefined) ? this.threads[0]?.refusal : undefined;
  }

  /** Nobody knows when one may start: whoever waits is told why, if there is no other. */
  private refused(err: Error): void {
    this.options.logger.error('scan thread cannot be started', { err });
    if (this.refusal() === undefined) return;
    for (const lane of this.threads.keys()) {
      for (const pending of this.queue.takeLane(lane)) {
        this.left(pending);
        pending.over();
        pending.reject(err);
      }
    }
  }

  private giveUp({ job, crashes, resolve, reject, over }: Pending): void {
    over();
    this.metrics.jobs.inc({ kind: job.kind, result: 'crashed' });
    this.metrics.retries.observe(crashes - 1);
    const result = crashedResult(job);
    if (result === undefined) reject(new TempoError('internal', 'the job ended its scan threads'));
    else resolve(result);
  }
}

/** In steps, so that threads are not told all the time. */
function cacheShare(takenBytes: number, cacheBytes: number): number {
  if (cacheBytes === 0) return 1;
  const left = 1 - takenBytes / cacheBytes;
  return Math.max(1, Math.ceil(left * CACHE_STEPS)) / CACHE_STEPS;
}

function stopping(): TempoError {
  return new StoppingError('the server is stopping');
}

function overdue(): TempoError {
  return new TempoError('deadline_exceeded', 'context deadline exceeded');
}
