// A system that lets no thread start for a while: nothing that a test may do to itself makes it so, as limits
// of threads do not bind root.
import { Worker } from 'node:worker_threads';
import { NoThreadError, type StartThread } from '../../src/lib/start-thread.ts';

export class FewThreads {
  /** Threads that were asked for and did not start. */
  refused = 0;
  /** How many do not start from now on. */
  left: number;

  constructor(left = Infinity) {
    this.left = left;
  }

  readonly start: StartThread = (url, options) => {
    if (this.left <= 0) return new Worker(url, options);
    this.left--;
    this.refused++;
    throw new NoThreadError(options.name, new Error('EAGAIN'));
  };
}
