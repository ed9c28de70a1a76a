// Threads for bodies that are too much work for the main thread: what Node cannot inflate on its own threads,
// and JSON. They start with the first such body and end when none has come for a while, so that their heaps
// are given back.
import { availableParallelism } from 'node:os';
import type { Worker } from 'node:worker_threads';
import { type ErrorCode, TempoError } from '../lib/errors.ts';
import { NoThreadError, type StartThread, startThread } from '../lib/start-thread.ts';
import { workerUrl } from '../lib/worker-url.ts';

export type BodyJob =
  | {
      readonly kind: 'inflate';
      readonly encoding: string;
      readonly bytes: Uint8Array;
      readonly sizeMax: number;
    }
  /** Snappy in its framed form. */
  | { readonly kind: 'frame'; readonly bytes: Uint8Array }
  | { readonly kind: 'otlpJson'; readonly bytes: Uint8Array };

export type BodyResult =
  | { readonly kind: 'done'; readonly bytes: Uint8Array }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly message: string };

interface Pending {
  readonly job: BodyJob;
  readonly resolve: (bytes: Uint8Array) => void;
  readonly reject: (err: Error) => void;
}

const THREADS_MAX = 2;
const IDLE_MS = 10_000;
/** Of one thread: JSON of 20 MiB takes about 300 MiB, and what takes more than this is refused. */
const HEAP_MIB_MAX = 1024;

class BodyThread {
  pending: Pending | undefined;
  /** It takes no more jobs. */
  isEnding = false;
  readonly #worker: Worker;
  readonly #ended: (thread: BodyThread) => void;
  readonly #idle: (thread: BodyThread) => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(worker: Worker, idle: (thread: BodyThread) => void, ended: (thread: BodyThread) => void) {
    this.#idle = idle;
    this.#ended = ended;
    this.#worker = worker;
    this.#worker.on('message', (result: BodyResult) => this.#finish(result));
    this.#worker.on('error', (err: Error) => this.#fail(err));
    this.#worker.on('exit', () => {
      this.#fail(new Error('it has ended'));
      this.#ended(this);
    });
    this.#worker.unref();
  }

  /** Takes a job while it has none. Its bytes are copied: what they lie in may be used again by others. */
  run(pending: Pending): void {
    clearTimeout(this.#timer);
    this.pending = pending;
    this.#worker.ref();
    const bytes = new Uint8Array(pending.job.bytes);
    this.#worker.postMessage({ ...pending.job, bytes } satisfies BodyJob, [bytes.buffer]);
  }

  #stop(): void {
    this.isEnding = true;
    void this.#worker.terminate();
  }

  #finish(result: BodyResult): void {
    const { pending } = this;
    this.pending = undefined;
    this.#worker.unref();
    this.#timer = setTimeout(() => this.#stop(), IDLE_MS).unref();
    if (result.kind === 'done') pending?.resolve(result.bytes);
    else pending?.reject(new TempoError(result.code, result.message));
    this.#idle(this);
  }

  #fail(err: Error): void {
    this.isEnding = true;
    clearTimeout(this.#timer);
    const isFull = 'code' in err && err.code === 'ERR_WORKER_OUT_OF_MEMORY';
    const refusal = isFull
      ? new TempoError('too_large', 'the body needs too much memory to be read', err)
      : new TempoError('internal', `body thread failed: ${err.message}`, err);
    this.pending?.reject(refusal);
    this.pending = undefined;
  }
}

export class BodyThreads {
  readonly #startThread: StartThread;
  readonly #threads = new Set<BodyThread>();
  /** Bounded by what receivers let all their requests hold. */
  readonly #waiting: Pending[] = [];

  constructor(start: StartThread = startThread) {
    this.#startThread = start;
  }

  /** Those that wait, and those in threads. */
  get jobs(): number {
    let running = 0;
    for (const thread of this.#threads) if (thread.pending !== undefined) running++;
    return this.#waiting.length + running;
  }

  /** Resolves with bytes of the caller's own. Rejects with TempoError. */
  run(job: BodyJob): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ job, resolve, reject });
      this.#feed();
    });
  }

  #feed(): void {
    while (this.#waiting.length > 0) {
      const thread = this.#idleThread();
      if (thread === undefined) return;
      thread.run(this.#waiting.shift()!);
    }
  }

  #idleThread(): BodyThread | undefined {
    for (const thread of this.#threads) {
      if (thread.pending === undefined && !thread.isEnding) return thread;
    }
    if (this.#threads.size >= Math.min(THREADS_MAX, availableParallelism())) return undefined;
    const worker = this.#newWorker();
    if (worker === undefined) return undefined;
    const thread = new BodyThread(
      worker,
      () => this.#feed(),
      (ended) => {
        this.#threads.delete(ended);
        this.#feed();
      },
    );
    this.#threads.add(thread);
    return thread;
  }

  /** undefined = the system lets none start: who waits then has the threads there are, or is refused. */
  #newWorker(): Worker | undefined {
    try {
      return this.#startThread(workerUrl('body-worker', import.meta.url), {
        name: 'body',
        resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB_MAX },
      });
    } catch (err) {
      const isRefused = err instanceof NoThreadError;
      const isAnyLeft = [...this.#threads].some(({ isEnding }) => !isEnding);
      if (isRefused && isAnyLeft) return undefined;
      const refusal = isRefused ? err : new TempoError('internal', 'no body thread can be started', err);
      for (const { reject } of this.#waiting.splice(0)) reject(refusal);
      return undefined;
    }
  }
}

export const bodyThreads = new BodyThreads();
