// The thread of the object store: the SDK, its sockets, the hashing of what is uploaded, and the cache of
// what was read. The main thread and the scan threads ask it over ports.
import { parentPort, workerData } from 'node:worker_threads';
import { byRole, openOuterCache } from '../cache/outer-cache.ts';
import { CachedStore } from './cached-store.ts';
import { observeHttp } from './observe-http.ts';
import { openBackend } from './open-bucket.ts';
import { serveStore } from './serve-store.ts';
import type { StoreReport, StoreWorkerData, ToStoreWorker } from './store-messages.ts';

const REPORT_MS = 500;

const port = parentPort;
if (port === null) throw new Error('store-worker runs only as a worker thread');

const { settings, caches } = workerData as StoreWorkerData;
let requests: [string, number, number][] = [];
let hedged = 0;
let retries = 0;
let distrusted: string[] = [];
let detours: string[] = [];
observeHttp((method, status, seconds) => void requests.push([method, status, seconds]));
const outer = caches.map((cache) => openOuterCache(cache));
const store = new CachedStore(
  await openBackend(settings, {
    onHedge: () => void hedged++,
    onRetry: () => void retries++,
    onDetour: (reason) => void detours.push(reason),
  }),
  settings.cacheBytes,
  byRole(outer),
  (folder) => void distrusted.push(folder),
);

port.on('message', (message: ToStoreWorker) => {
  if (message.kind === 'connect') serveStore(store, message.port);
  else store.limitCache(message.share);
});

let told = { hits: 0, misses: 0, sizeBytes: 0 };
setInterval(() => {
  const { hits, misses, sizeBytes } = store.cache;
  const isNew = hits !== told.hits || misses !== told.misses || sizeBytes !== told.sizeBytes;
  const counted = requests.length + distrusted.length + detours.length + hedged + retries + outer.length;
  if (!isNew && counted === 0) return;
  const report: StoreReport = {
    requests,
    hedged,
    retries,
    cacheHits: hits - told.hits,
    cacheMisses: misses - told.misses,
    cacheBytes: sizeBytes,
    distrusted,
    detours,
    caches: outer.map((cache) => cache.report()),
  };
  port.postMessage(report);
  told = { hits, misses, sizeBytes };
  requests = [];
  distrusted = [];
  detours = [];
  hedged = 0;
  retries = 0;
}, REPORT_MS);
