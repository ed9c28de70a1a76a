// Metrics of object stores over HTTP: Tempo's names, then our own.
import { exponentialBuckets } from '../lib/exponential-buckets.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { StoreReport } from './store-messages.ts';

export interface BackendMetrics {
  /** One more cache, by what it holds. */
  watchCache(bytes: () => number): void;
  add(report: StoreReport): void;
}

export function createBackendMetrics(metrics: Metrics): BackendMetrics {
  const caches: (() => number)[] = [];
  const seconds = metrics.histogram(
    'tempodb_backend_request_duration_seconds',
    'Time of requests to the object store.',
    exponentialBuckets(0.005, 4, 6),
    ['operation', 'status_code'],
  );
  const hedged = metrics.counter(
    'tempodb_backend_hedged_roundtrips_total',
    'Requests that were sent a second time because the first took long.',
  );
  const retries = metrics.counter('tempodb_backend_retries_total', 'Requests that were tried again.');
  const hits = metrics.counter('tempodb_backend_cache_hits_total', 'Reads of blocks answered from memory.');
  const misses = metrics.counter('tempodb_backend_cache_misses_total', 'Reads of blocks that went out.');
  const distrusted = metrics.counter(
    'tempodb_backend_cache_distrusted_total',
    'Times that parts of a block could not be decoded, and all of it was read past the caches.',
  );
  const detours = metrics.counter(
    'tempodb_backend_read_detours_total',
    'Times that reads of S3 were left to all of the SDK, which takes about twice the CPU.',
  );
  metrics.gauge('tempodb_backend_cache_bytes', 'Parts of blocks in memory, as stored.', [], (gauge) =>
    gauge.set(caches.reduce((sum, bytes) => sum + bytes(), 0)),
  );
  return {
    watchCache: (bytes) => void caches.push(bytes),
    add: (report) => {
      for (const [operation, status, taken] of report.requests) {
        seconds.observe({ operation, status_code: String(status) }, taken);
      }
      hedged.inc(report.hedged);
      retries.inc(report.retries);
      hits.inc(report.cacheHits);
      misses.inc(report.cacheMisses);
      distrusted.inc(report.distrusted.length);
      detours.inc(report.detours.length);
    },
  };
}
