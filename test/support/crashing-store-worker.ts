// A thread of an object store in memory that ends when it is asked for the object `crash`, without an answer.
import { parentPort } from 'node:worker_threads';
import { BucketStore } from '../../src/objectstore/bucket-store.ts';
import { serveStore } from '../../src/objectstore/serve-store.ts';
import type { StoreReport, ToStoreWorker } from '../../src/objectstore/store-messages.ts';
import { MemoryBucket } from './memory-bucket.ts';

class CrashingBucket extends MemoryBucket {
  override read(...args: Parameters<MemoryBucket['read']>): Promise<Uint8Array> {
    if (args[0] !== 'crash') return super.read(...args);
    setImmediate(() => process.exit(1));
    return new Promise(() => {});
  }
}

const bucket = new CrashingBucket();
const store = new BucketStore({
  bucket,
  prefix: '',
  retry: { attemptsMax: 1, firstDelayMs: 1, delayMsMax: 1 },
  hedge: { afterMs: 0, requestsMax: 1 },
  listConcurrency: 1,
  isWriter: true,
  onRetry: () => {},
  onHedge: () => {},
});
const report: StoreReport = {
  requests: [['GET', 206, 0.5]],
  hedged: 1,
  retries: 2,
  cacheHits: 3,
  cacheMisses: 4,
  cacheBytes: 5,
  distrusted: ['team/block'],
  detours: ['odd'],
  caches: [],
};
parentPort?.on('message', (message: ToStoreWorker) => {
  if (message.kind === 'connect') serveStore(store, message.port);
  else bucket.hang = message.share === 0;
});
parentPort?.postMessage(report);
