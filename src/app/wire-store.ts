// Constructs the store: the backend, its blocklist, and the threads that scan heads and blocks.
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { Store } from '../store/store.ts';
import type { Caches } from './caches.ts';
import { blockRetention, upkeepOf } from './compaction-settings.ts';
import { indexOwner } from '../store/tenant-index.ts';
import type { ModuleName } from './graph.ts';
import { configuredStore } from './object-stores.ts';
import type { Parts } from './wire-parts.ts';
import type { WorkShares } from './wire-shares.ts';

/** Share of the memory in which scan threads together keep decoded parts of blocks. */
const SCAN_CACHE_SHARE = 0.1;
/** And for parts of blocks of an object store, as they are stored there. */
const BACKEND_CACHE_SHARE = 0.08;
/** Share of the memory that the heaps of scan threads may take together, and the least of one. */
const SCAN_HEAP_SHARE = 0.3;
const SCAN_HEAP_BYTES_MIN = 256 * 1024 * 1024;
/** One a core, and at least so many, as far as each has so much of the memory. */
const SCAN_THREADS_MIN = 2;
const SCAN_THREAD_BYTES = 160 * 1024 * 1024;
/** Of the age at which readers do not believe an index: when it is written again. */
const INDEX_AGE_SHARE = 0.5;
/** Modules that write into the backend. */
const WRITERS: ReadonlySet<ModuleName> = new Set([
  'ingester',
  'compactor',
  'backend-scheduler',
  'backend-worker',
]);

/** And those that need to know what is in it. */
const READERS: ReadonlySet<ModuleName> = new Set([
  'querier',
  'compactor',
  'backend-scheduler',
  'backend-worker',
]);

export function createStore(
  { sharedBytes, config, logger, metrics, backendMetrics, overrides }: Parts,
  caches: Caches,
  order: readonly ModuleName[],
  shares: WorkShares,
): Store {
  const upkeep = upkeepOf(order, config.compactor.disabled);
  const share = upkeep === 'compactor' ? shares.compactor : shares.worker;
  const { trace } = config.storage;
  const storeLogger = logger.child({ module: 'store' });
  const cacheBytes = config.cache.inProcess || Math.floor(sharedBytes * BACKEND_CACHE_SHARE);
  const isWriter = order.some((name) => WRITERS.has(name));
  const outer = { caches: caches.forBlocks, isWriter };
  const parts = { logger: storeLogger, metrics: backendMetrics, cacheBytes, ...outer };
  const { store: objectStore, remote, path: backendPath } = configuredStore(trace, parts);
  const threads = scanThreads(sharedBytes);
  const store = new Store({
    objectStore,
    remote,
    logger: storeLogger,
    metrics,
    blocklistPollMs: trace.blocklistPollMs,
    blocklistPollConcurrency: Math.max(1, trace.blocklistPollConcurrency),
    blocklistPollTenantConcurrency: Math.max(0, trace.blocklistPollTenantConcurrency),
    retention: upkeep === 'none' ? undefined : blockRetention(config, overrides, upkeep),
    retainsAtPolls: upkeep === 'compactor',
    // Workers apply retention by jobs, each to all blocks.
    ownsBlock: (blockId) => upkeep !== 'compactor' || (shares.compactor?.owns(blockId) ?? true),
    ownsIndex: upkeep === 'none' ? () => false : indexOwner(share, trace.blocklistPollTenantIndexBuilders),
    // Readers that take an old index for none must not find it old between two polls.
    indexAgeMsMax: trace.blocklistPollStaleTenantIndexMs * INDEX_AGE_SHARE,
    leftoversMs: trace.emptyTenantDeletionEnabled ? trace.emptyTenantDeletionAgeMs : 0,
    sizeBytesMax: remote === undefined && upkeep !== 'none' ? trace.local.maxBytes : 0,
    polls: order.some((name) => READERS.has(name)),
    scanThreads: order.includes('querier') || order.includes('ingester') ? threads : 0,
    scanQueueLengthMax: trace.pool.queueDepth,
    scanTenantQueueLengthMax: config.queryFrontend.maxOutstandingPerTenant,
    scanHeapBytesMax: Math.max(SCAN_HEAP_BYTES_MIN, (sharedBytes * SCAN_HEAP_SHARE) / threads),
    scanBatchSizeMax: config.queryFrontend.maxBatchSize,
    scanWorkerData: {
      localBlocksPath: path.resolve(trace.wal.path, 'blocks'),
      backendPath,
      cacheBytes: Math.floor((sharedBytes * SCAN_CACHE_SHARE) / threads),
      cached: caches.cachedParts,
    },
    nowMs: Date.now,
  });
  // Others may have changed much while the ring settled.
  share?.onBegin(() => store.pollNow());
  return store;
}

export function scanThreads(sharedBytes: number, cores = availableParallelism()): number {
  const fitting = Math.floor(sharedBytes / SCAN_THREAD_BYTES);
  return Math.max(1, Math.min(Math.max(SCAN_THREADS_MIN, cores), fitting));
}
