// The main thread's end of one scan thread: its jobs, and a new thread when it ends unasked. Threads that end
// again and again without finishing a job are started ever later.
import type { MessagePort, Worker } from 'node:worker_threads';
import { type StartThread, startThread } from '../lib/start-thread.ts';
import type { CancelFlag } from './cancel-flag.ts';
import type { QueryTurn } from './job-queue.ts';
import type { FromScanWorker, ScanJob, ScanResult, ScanWorkerData, ToScanWorker } from './scan-job.ts';

export interface Pending {
  readonly id: number;
  readonly job: ScanJob;
  /** Whose it is. */
  readonly tenant: string;
  /** Of the query that it belongs to. */
  readonly turn: QueryTurn;
  readonly queuedAtMs: number;
  readonly resolve: (result: ScanResult) => void;
  readonly reject: (err: Error) => void;
  /** Time in a thread; 0 = as long as it takes. */
  readonly limitMs: number;
  /** Where it runs; undefined while it waits. */
  thread: ScanThread | undefined;
  /** Ends it when its time is over. */
  timer: NodeJS.Timeout | undefined;
  /** Raised when nobody waits for it any more. */
  readonly cancelled: CancelFlag;
  /** Threads that ended while they ran it. */
  crashes: number;
  /** To be called when it is answered: nobody has to tell it any more that its caller gave up. */
  over: () => void;
}

export interface ScanThreadOptions {
  readonly url: URL;
  readonly workerData: ScanWorkerData;
  readonly heapBytesMax: number;
  /** A port to the backend, where that is in a thread of its own. */
  readonly connect?: (() => MessagePort | undefined) | undefined;
  readonly received: (message: FromScanWorker) => void;
  /** The thread is gone; another is on its way. */
  readonly ended: (cause: unknown) => void;
  readonly started: () => void;
  /** The system lets it not start; that is tried again. */
  readonly refused: (cause: Error) => void;
  readonly startThread?: StartThread | undefined;
}

const RESTART_FIRST_MS = 100;
const RESTART_MAX_MS = 30_000;
const MIB = 1024 * 1024;

export class ScanThread {
  /** In the order in which they run. */
  readonly inFlight = new Map<number, Pending>();
  /** Of its cache, as it said last. */
  cachedBytes = 0;
  /** Of these in value filters. */
  filterBytes = 0;
  /** And in columns of heads. */
  headBytes = 0;
  private readonly options: ScanThreadOptions;
  /** Why it could not start; undefined = it could, or is about to try. */
  refusal: Error | undefined;
  private worker: Worker | undefined;
  private timer: NodeJS.Timeout | undefined;
  private failures = 0;
  private stopped = false;

  constructor(options: ScanThreadOptions) {
    this.options = options;
  }

  /** Called once; the thread sees to the times after it. */
  start(): void {
    const { started, refused } = this.options;
    try {
      this.spawn();
    } catch (err) {
      this.refusal = err as Error;
      this.startLater();
      return refused(this.refusal);
    }
    this.refusal = undefined;
    started();
  }

  get isAlive(): boolean {
    return this.worker !== undefined;
  }

  send(message: ToScanWorker): void {
    this.worker?.postMessage(message);
  }

  /** It is given a port to the backend. */
  connect(): void {
    const port = this.options.connect?.();
    if (port === undefined) return;
    this.worker?.postMessage({ kind: 'backend', port } satisfies ToScanWorker, [port]);
  }

  /** Its jobs are somebody else's from now on, the one that ran first. */
  takeAll(): Pending[] {
    const all = [...this.inFlight.values()];
    this.inFlight.clear();
    return all;
  }

  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.worker?.terminate();
  }

  private spawn(): void {
    const { url, workerData, heapBytesMax, startThread: start = startThread } = this.options;
    const worker = start(url, {
      workerData,
      name: 'scan',
      resourceLimits: { maxOldGenerationSizeMb: Math.ceil(heapBytesMax / MIB) },
    });
    let cause: unknown;
    worker.on('message', (message: FromScanWorker) => {
      this.failures = 0;
      this.options.received(message);
    });
    worker.on('error', (err) => (cause = err));
    worker.on('exit', () => this.exited(cause));
    this.worker = worker;
    this.connect();
  }

  private exited(cause: unknown): void {
    this.worker = undefined;
    this.cachedBytes = 0;
    this.filterBytes = 0;
    this.headBytes = 0;
    if (this.stopped) return;
    this.startLater();
    this.options.ended(cause);
  }

  private startLater(): void {
    const delayMs = Math.min(RESTART_FIRST_MS * 2 ** this.failures, RESTART_MAX_MS);
    this.failures++;
    this.timer = setTimeout(() => this.start(), delayMs);
  }
}
