// Starts a thread, where the system lets one start: when it has none left, that is told as any failure that
// may be over later.
import { Worker, type WorkerOptions } from 'node:worker_threads';
import { TempoError } from './errors.ts';

export type StartThread = (url: URL, options: WorkerOptions & { readonly name: string }) => Worker;

/** The system lets no thread start: nothing is said of the work that it was for. */
export class NoThreadError extends TempoError {
  constructor(name: string, cause: unknown) {
    super('unavailable', `the system lets no ${name} thread start`, cause);
  }
}

/** Throws NoThreadError. */
export const startThread: StartThread = (url, options) => {
  try {
    return new Worker(url, options);
  } catch (err) {
    const isRefused = err instanceof Error && 'code' in err && err.code === 'ERR_WORKER_INIT_FAILED';
    throw isRefused ? new NoThreadError(options.name, err) : err;
  }
};
