// The main thread's end of the thread that takes WAL folders over: one at a time.
import type { Worker } from 'node:worker_threads';
import { TempoError } from '../../lib/errors.ts';
import { startThread } from '../../lib/start-thread.ts';
import { workerUrl } from '../../lib/worker-url.ts';
import type { FromImportWorker } from './messages.ts';
import type { ImportJob, ImportReport, ImportSettings } from './wal-import.ts';

/** What ended the thread: the folder in work is not to blame alone, but it is not tried again. */
export class ImportThreadEnded extends Error {}

export class WalImportThread {
  private readonly settings: ImportSettings;
  private worker: Worker | undefined;
  private stopped = false;

  constructor(settings: ImportSettings) {
    this.settings = settings;
  }

  /**
   * Resolves when the blocks are complete and synced. Rejects with TempoError when they cannot be written,
   * with ImportThreadEnded when the thread does not live through it.
   */
  async run(job: ImportJob): Promise<ImportReport> {
    if (this.stopped) throw new TempoError('unavailable', 'the ingester is stopping');
    const worker = (this.worker ??= this.spawn());
    const answer = await new Promise<FromImportWorker>((resolve, reject) => {
      let cause: unknown;
      const received = (message: FromImportWorker): void => {
        worker.off('error', failed);
        worker.off('exit', ended);
        resolve(message);
      };
      const failed = (err: unknown): void => void (cause = err);
      const ended = (): void => {
        this.worker = undefined;
        reject(
          this.stopped
            ? new TempoError('unavailable', 'the ingester is stopping')
            : new ImportThreadEnded('the thread that reads it ended', { cause }),
        );
      };
      worker.once('message', received);
      worker.on('error', failed);
      worker.once('exit', ended);
      worker.postMessage(job);
    });
    if (answer.kind === 'imported') return answer.report;
    throw new TempoError('unavailable', `wal folder ${job.folder}: ${answer.message}`);
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await this.worker?.terminate();
  }

  private spawn(): Worker {
    return startThread(workerUrl('wal-import-worker', import.meta.url), {
      workerData: this.settings,
      name: 'wal-import',
    });
  }
}
