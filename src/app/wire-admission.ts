// Constructs what refuses work when the memory of the process or the disk runs short.
import path from 'node:path';
import { requestBodies } from '../lib/byte-ledger.ts';
import { collectGarbage } from '../lib/garbage.ts';
import type { Ingester } from '../modules/ingester/index.ts';
import { bodyThreads } from '../rpc/body-threads.ts';
import type { Store } from '../store/store.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { Admission } from './admission.ts';
import { DiskGuard } from './disk-guard.ts';
import { MemoryGuard } from './memory-guard.ts';
import type { Parts } from './wire-parts.ts';

/** Share of the memory for bodies of requests, and the least: one large message must pass. */
const BODIES_SHARE = 0.15;
const BODIES_BYTES_MIN = 64 * 1024 * 1024;
const BODIES_BYTES_MAX = 512 * 1024 * 1024;
/** What of the cache for parts of an object store is kept while memory is short. */
const TIGHT_CACHE_SHARE = 0.25;

/** What waits there is bounded by what bodies of requests may take together. */
function showBodyThreads(metrics: Metrics): void {
  metrics.gauge(
    'tempo_body_jobs',
    'Bodies of requests that wait for the threads that inflate them and read JSON, or are in these.',
    [],
    (gauge) => gauge.set(bodyThreads.jobs),
  );
}

export function createAdmission(parts: Parts, store: Store, ingester: Ingester | undefined): Admission {
  const { budgetBytes, sharedBytes, config, logger, metrics } = parts;
  showBodyThreads(metrics);
  const { wal, local } = config.storage.trace;
  requestBodies.bytesMax = clamp(sharedBytes * BODIES_SHARE, BODIES_BYTES_MIN, BODIES_BYTES_MAX);
  const memory = new MemoryGuard({
    budgetBytes,
    parts: {
      heads: () => ingester?.headBytes ?? 0,
      log_ring: () => ingester?.ringBytes ?? 0,
      request_bodies: () => requestBodies.bytesHeld,
      scan_caches: () => store.pool.cachedBytes,
      backend_cache: () => store.remote?.cachedBytes ?? 0,
    },
    filling: ['heads', 'log_ring', 'request_bodies'],
    areQueriesRunning: () => store.pool.load > 0,
    tell: (pressure) => {
      ingester?.setPressure(pressure);
      store.pool.setPressure(pressure);
      store.remote?.limitCache(pressure === 'calm' ? 1 : TIGHT_CACHE_SHARE);
      if (pressure !== 'calm') collectGarbage();
    },
    logger: logger.child({ module: 'memory' }),
    metrics,
  });
  const isLocal = config.storage.trace.backend === 'local';
  const paths = [path.resolve(wal.path), ...(isLocal ? [path.resolve(local.path)] : [])];
  const disk = new DiskGuard({ paths, minFreeBytes: wal.minFree, metrics });
  return new Admission(memory, disk, metrics);
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(Math.max(Math.floor(value), least), most);
}
