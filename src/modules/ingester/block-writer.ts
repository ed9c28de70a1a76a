// The main thread's end of the block writer thread: one head after another becomes a block.
import { Worker } from 'node:worker_threads';
import type { BlockMeta } from '../../block/meta.ts';
import { TempoError } from '../../lib/errors.ts';
import { workerUrl } from '../../lib/worker-url.ts';
import type { FromBlockWorker, ToBlockWorker, WriteJob } from './messages.ts';

export interface BlockWriter {
  /** Resolves when the block is complete and synced in the local folder. */
  write(job: WriteJob): Promise<BlockMeta>;
  stop(): Promise<void>;
}

/** @param workerData what the thread is told when it begins. */
export class BlockWriterThread implements BlockWriter {
  private readonly workerData: unknown;
  private readonly pending = new Map<number, PromiseWithResolvers<BlockMeta>>();
  private worker: Worker | undefined;
  private nextId = 1;
  private stopped = false;

  constructor(workerData: unknown) {
    this.workerData = workerData;
  }

  write(job: WriteJob): Promise<BlockMeta> {
    if (this.stopped) return Promise.reject(new TempoError('unavailable', 'the ingester is stopping'));
    const done = Promise.withResolvers<BlockMeta>();
    const id = this.nextId++;
    this.pending.set(id, done);
    this.worker ??= this.spawn();
    this.worker.postMessage({ id, job } satisfies ToBlockWorker);
    return done.promise;
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await this.worker?.terminate();
  }

  private spawn(): Worker {
    const worker = new Worker(workerUrl('block-worker', import.meta.url), {
      workerData: this.workerData,
      name: 'block-writer',
    });
    let cause: unknown;
    worker.on('message', (message: FromBlockWorker) => this.received(message));
    worker.on('error', (err) => (cause = err));
    worker.on('exit', () => this.exited(cause));
    return worker;
  }

  private received(message: FromBlockWorker): void {
    const done = this.pending.get(message.id);
    this.pending.delete(message.id);
    if (message.kind === 'written') done?.resolve(message.meta);
    else done?.reject(new TempoError('internal', message.message));
  }

  /** What it was given fails; the next block starts another thread. */
  private exited(cause: unknown): void {
    this.worker = undefined;
    for (const done of this.pending.values()) {
      done.reject(new TempoError('internal', 'block writer thread ended', cause));
    }
    this.pending.clear();
  }
}
