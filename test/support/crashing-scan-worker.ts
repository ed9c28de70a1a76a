// A scan thread that ends, or is busy, at jobs whose query asks for it, and answers all others with nothing
// found.
import { parentPort } from 'node:worker_threads';
import { followFlag } from '../../src/store/cancel-flag.ts';
import { packFound } from '../../src/store/pack.ts';
import type { ToScanWorker } from '../../src/store/scan-job.ts';

const port = parentPort!;
const heap: unknown[] = [];
let turn = Promise.resolve();

port.on('message', (message: ToScanWorker) => {
  if (message.kind !== 'job') return;
  const { id, job, cancelled } = message;
  turn = turn.then(async () => {
    await new Promise((resolve) => setImmediate(resolve));
    if (job.kind === 'search' && job.query === 'forever') return;
    if (job.kind === 'search' && job.query === 'busy') {
      const signal = followFlag(new AbortController(), cancelled);
      try {
        for (;;) signal.throwIfAborted();
      } catch {
        port.postMessage({ kind: 'failed', id, code: 'cancelled', message: 'as asked' });
        return;
      }
    }
    if (job.kind === 'search' && job.query === 'throw') throw new Error('as asked');
    if (job.kind === 'search' && job.query === 'exit') process.exit(3);
    while (job.kind === 'search' && job.query === 'memory')
      heap.push(Array.from({ length: 1000 }, (_, i) => [i]));
    const counts = { inspectedTraces: 1, inspectedSpans: 0, inspectedBytes: 0 };
    const none = { found: packFound([], 'json'), combined: new Uint8Array(0), failures: [] };
    port.postMessage({
      kind: 'done',
      id,
      result: { kind: 'search', ...counts, ...none },
      cpuMicros: 1,
      cachedBytes: 0,
      filterBytes: 0,
      filters: { skipped: 0, passed: 0, unusable: 0, bytesRead: 0 },
    });
  });
});
