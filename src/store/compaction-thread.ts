// The main thread's end of the thread that compacts: one job at a time. The thread is there while jobs are,
// and a while longer.
import type { MessagePort, Worker } from 'node:worker_threads';
import type { CompactResult } from '../block/compact/compact.ts';
import { TempoError } from '../lib/errors.ts';
import { type StartThread, startThread } from '../lib/start-thread.ts';
import { workerUrl } from '../lib/worker-url.ts';
import type {
  CompactionJob,
  CompactionWorkerData,
  FromCompactionWorker,
  ToCompactionWorker,
} from './compaction-messages.ts';

/** Columns are not in the heap: what is there is little. */
const HEAP_MIB_MAX = 512;
/** How long a thread without a job stays: the next one would compile its code again, a second of CPU. */
const IDLE_MS = 2 * 60_000;

interface Running {
  readonly id: number;
  readonly worker: Worker;
  readonly done: PromiseWithResolvers<CompactResult>;
}

export class CompactionThread {
  private readonly workerData: CompactionWorkerData;
  private readonly connect: () => MessagePort | undefined;
  private readonly startThread: StartThread;
  private readonly idleMs: number;
  private idle: NodeJS.Timeout | undefined;
  private worker: Worker | undefined;
  private running: Running | undefined;
  private nextId = 1;
  private isStopped = false;

  /** @param connect a port to the backend, where that is not a folder. */
  constructor(
    workerData: CompactionWorkerData,
    connect: () => MessagePort | undefined,
    start: StartThread = startThread,
    idleMs = IDLE_MS,
  ) {
    this.workerData = workerData;
    this.connect = connect;
    this.startThread = start;
    this.idleMs = idleMs;
  }

  /** Resolves when the new block is complete in the scratch folder. */
  run(job: CompactionJob): Promise<CompactResult> {
    if (this.isStopped) return Promise.reject(new TempoError('unavailable', 'the compactor is stopping'));
    if (this.running !== undefined) return Promise.reject(new Error('a block is being compacted'));
    this.awake();
    const isRemote = this.workerData.backendPath === '';
    const port = isRemote ? this.connect() : undefined;
    if (isRemote && port === undefined) {
      return Promise.reject(new TempoError('unavailable', 'the object store cannot be asked at the moment'));
    }
    let worker: Worker;
    try {
      worker = this.worker ??= this.spawn();
    } catch (err) {
      port?.close();
      return Promise.reject(err as Error);
    }
    const done = Promise.withResolvers<CompactResult>();
    this.running = { id: this.nextId++, worker, done };
    const message: ToCompactionWorker = { id: this.running.id, job, port };
    worker.postMessage(message, port === undefined ? [] : [port]);
    return done.promise;
  }

  /** No job is near: the thread ends, unless one comes soon. */
  rest(): void {
    if (this.running !== undefined || this.worker === undefined) return;
    this.idle ??= setTimeout(() => void this.end(), this.idleMs).unref();
  }

  /** The thread gives its memory back, now. The next job starts another. */
  async finish(): Promise<void> {
    if (this.running === undefined) await this.end();
  }

  /** The job that is under way fails. */
  async abandon(): Promise<void> {
    await this.end();
  }

  async stop(): Promise<void> {
    this.isStopped = true;
    await this.end();
  }

  private awake(): void {
    clearTimeout(this.idle);
    this.idle = undefined;
  }

  private async end(): Promise<void> {
    this.awake();
    const { worker } = this;
    this.worker = undefined;
    await worker?.terminate();
  }

  private spawn(): Worker {
    const worker = this.startThread(workerUrl('compaction-worker', import.meta.url), {
      workerData: this.workerData,
      name: 'compaction',
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB_MAX },
    });
    let cause: unknown;
    worker.on('message', (message: FromCompactionWorker) => this.received(message));
    worker.on('error', (err) => (cause = err));
    worker.on('exit', () => this.exited(worker, cause));
    return worker;
  }

  private received(message: FromCompactionWorker): void {
    const { running } = this;
    if (running?.id !== message.id) return;
    this.running = undefined;
    if (message.kind === 'compacted') running.done.resolve(message.result);
    else running.done.reject(new TempoError(message.code, message.message));
  }

  private exited(worker: Worker, cause: unknown): void {
    if (this.worker === worker) this.worker = undefined;
    const { running } = this;
    // One that was at rest may end while the next is at work.
    if (running?.worker !== worker) return;
    this.running = undefined;
    running.done.reject(new TempoError('unavailable', 'the thread that compacts ended', cause));
  }
}
