// A block writer thread that ends at the head named `fatal`, and calls all others written.
import { parentPort } from 'node:worker_threads';
import type { ToBlockWorker } from '../../src/modules/ingester/messages.ts';

const port = parentPort!;

port.on('message', ({ id, job }: ToBlockWorker) => {
  if (job.blockId === 'fatal') process.exit(1);
  port.postMessage({ kind: 'written', id, meta: { blockId: job.blockId } });
});
