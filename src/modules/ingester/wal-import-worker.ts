// The thread that takes WAL folders of Grafana Tempo over, one after the other, while the process starts.
import { parentPort, workerData } from 'node:worker_threads';
import { LocalStore } from '../../objectstore/local.ts';
import type { FromImportWorker } from './messages.ts';
import { type ImportJob, type ImportSettings, WalImport } from './wal-import.ts';

const port = parentPort;
if (port === null) throw new Error('wal-import-worker runs only as a worker thread');
const settings = workerData as ImportSettings;
const store = new LocalStore(settings.walPath);

async function answer(job: ImportJob): Promise<FromImportWorker> {
  try {
    return { kind: 'imported', report: await new WalImport(settings, store, job).run() };
  } catch (err) {
    return { kind: 'failed', message: reason(err) };
  }
}

function reason(err: unknown): string {
  if (!(err instanceof Error)) return String(err);
  return err.cause instanceof Error ? `${err.message}: ${reason(err.cause)}` : err.message;
}

port.on('message', (job: ImportJob) => {
  void answer(job).then((message) => port.postMessage(message));
});
