// The main thread's end of the block writer thread: one head after another becomes a block.
import type { Worker } from 'node:worker_threads';
import type { BlockMeta, DedicatedColumn } from '../../block/meta.ts';
import type { OddTraces } from '../../block/vparquet/trace-rows.ts';
import { TempoError } from '../../lib/errors.ts';
import { type StartThread, startThread } from '../../lib/start-thread.ts';
import { workerUrl } from '../../lib/worker-url.ts';
import type { BlockConfig } from '../../store/config.ts';
import type { BlockWorkerData, FromBlockWorker, ToBlockWorker, WriteJob } from './messages.ts';

/** The keys of `storage.trace.block` that say how blocks are written. */
export type NewBlockConfig = Pick<
  BlockConfig,
  | 'version'
  | 'bloomFilterFalsePositive'
  | 'bloomFilterShardSizeBytes'
  | 'parquetDedicatedColumns'
  | 'valueFilterMaxBytes'
> &
  Partial<Pick<BlockConfig, 'parquetCompression'>>;

export type DedicatedColumnsOf = (tenant: string) => readonly DedicatedColumn[] | undefined;

export interface BlockWriter {
  /** Resolves when the block is complete and synced in the local folder. */
  write(job: WriteJob): Promise<BlockMeta>;
  stop(): Promise<void>;
}

interface Pending {
  readonly id: number;
  readonly job: WriteJob;
  readonly done: PromiseWithResolvers<BlockMeta>;
}

export interface BlockWriterOptions {
  /** What the thread is told when it begins. */
  readonly workerData: unknown;
  /** How many traces of a block that was written are not whole. */
  readonly odd: (tenant: string, odd: OddTraces) => void;
  /** The thread ended unasked. */
  readonly ended: (cause: unknown) => void;
  /** The code of the thread, in place of the usual one. */
  readonly worker?: URL;
  readonly startThread?: StartThread;
}

/** The thread has one head at a time, so that one which ends it takes no other with it. */
export class BlockWriterThread implements BlockWriter {
  private readonly options: BlockWriterOptions;
  private readonly waiting: Pending[] = [];
  private running: Pending | undefined;
  private worker: Worker | undefined;
  private nextId = 1;
  private stopped = false;

  constructor(options: BlockWriterOptions) {
    this.options = options;
  }

  write(job: WriteJob): Promise<BlockMeta> {
    if (this.stopped) return Promise.reject(stopping());
    const done = Promise.withResolvers<BlockMeta>();
    this.waiting.push({ id: this.nextId++, job, done });
    this.next();
    return done.promise;
  }

  async stop(): Promise<void> {
    this.stopped = true;
    for (const { done } of this.waiting.splice(0)) done.reject(stopping());
    await this.worker?.terminate();
  }

  private next(): void {
    while (this.running === undefined) {
      const pending = this.waiting.shift();
      if (pending === undefined) return;
      const { id, job, done } = pending;
      try {
        this.worker ??= this.spawn();
      } catch (err) {
        // Whoever wants the block tries again.
        done.reject(err);
        continue;
      }
      this.running = pending;
      this.worker.postMessage({ id, job } satisfies ToBlockWorker);
    }
  }

  private spawn(): Worker {
    const { worker: url, workerData, startThread: start = startThread } = this.options;
    const worker = start(url ?? workerUrl('block-worker', import.meta.url), {
      workerData,
      name: 'block-writer',
    });
    let cause: unknown;
    worker.on('message', (message: FromBlockWorker) => this.received(message));
    worker.on('error', (err) => (cause = err));
    worker.on('exit', () => this.exited(cause));
    return worker;
  }

  private received(message: FromBlockWorker): void {
    const { running } = this;
    if (running?.id !== message.id) return;
    this.running = undefined;
    if (message.kind === 'written') {
      this.options.odd(running.job.tenant, message.odd);
      running.done.resolve(message.meta);
    } else running.done.reject(new TempoError('internal', message.message));
    this.next();
  }

  /** The head it had fails, and is tried again later; the next one starts another thread. */
  private exited(cause: unknown): void {
    this.worker = undefined;
    const { running } = this;
    this.running = undefined;
    if (!this.stopped) this.options.ended(cause);
    running?.done.reject(
      this.stopped ? stopping() : new TempoError('internal', 'block writer thread ended', cause),
    );
    if (!this.stopped) this.next();
  }
}

/** What of the configuration the thread is told. */
export function blockSettings(block: NewBlockConfig): Omit<BlockWorkerData, 'path'> {
  const { version, bloomFilterFalsePositive, bloomFilterShardSizeBytes, parquetDedicatedColumns } = block;
  return {
    format: version === 'vParquet5' ? version : 'vParquet4',
    dedicatedColumns: parquetDedicatedColumns,
    bloom: { falsePositive: bloomFilterFalsePositive, shardSizeBytes: bloomFilterShardSizeBytes },
    valueFilterBytesMax: block.valueFilterMaxBytes,
    compression: block.parquetCompression,
  };
}

function stopping(): TempoError {
  return new TempoError('unavailable', 'the ingester is stopping');
}
