// Metrics and log lines of caches outside the process, from what they report: Tempo's names, then our own.
import { exponentialBuckets } from '../lib/exponential-buckets.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { CacheReport } from './outer-cache.ts';

export interface CacheReports {
  add(report: CacheReport): void;
}

/** Failures come in crowds: one line tells of those of so long. */
const LOG_PAUSE_MS = 30_000;

export function createCacheReports(
  metrics: Metrics,
  logger: Logger,
  nowMs: () => number = () => performance.now(),
): CacheReports {
  const seconds = createDurations(metrics);
  const servers = metrics.gauge('tempo_memcache_client_servers', 'Known servers of a memcached cache.', [
    'name',
  ]);
  const skipped = metrics.counter(
    'tempo_memcache_client_set_skip_total',
    'Values that were not sent to memcached since they are larger than max_item_size.',
    ['name'],
  );
  const queued = metrics.gauge(
    'tempo_cache_background_queue_length',
    'Values that wait to be written to a cache.',
    ['name'],
  );
  const dropped = metrics.counter(
    'tempo_cache_dropped_background_writes_total',
    'Values that were not written to a cache: too many waited, or its server had failed a moment ago.',
    ['name'],
  );
  const queuedBytes = metrics.gauge(
    'tempo_cache_background_queue_bytes',
    'Bytes of the values that wait to be written to a cache.',
    ['name'],
  );
  const lookups = metrics.counter(
    'tempo_cache_lookups_total',
    'What was looked for in a cache: hit, miss, error, or skipped, as its server had failed.',
    ['name', 'role', 'result'],
  );
  const log = failureLog(logger, nowMs);
  return {
    add: (report) => {
      const { name } = report;
      for (const [method, status_code, taken] of report.requests) {
        seconds[report.kind].observe({ name, method, status_code: String(status_code) }, taken);
      }
      for (const [role, result, count] of report.lookups) lookups.inc({ name, role, result }, count);
      if (report.kind === 'memcached') {
        servers.set({ name }, report.servers);
        skipped.inc({ name }, report.tooLarge);
      }
      queued.set({ name }, report.queueLength);
      queuedBytes.set({ name }, report.queueBytes);
      dropped.inc({ name }, report.dropped);
      log(report);
    },
  };
}

function createDurations(metrics: Metrics): Record<CacheReport['kind'], ReturnType<Metrics['histogram']>> {
  const buckets = exponentialBuckets(0.000016, 4, 8);
  const labels = ['name', 'method', 'status_code'];
  return {
    memcached: metrics.histogram(
      'tempo_memcache_request_duration_seconds',
      'Time of requests to memcached.',
      buckets,
      labels,
    ),
    redis: metrics.histogram(
      'tempo_rediscache_request_duration_seconds',
      'Time of requests to redis.',
      buckets,
      labels,
    ),
  };
}

function failureLog(logger: Logger, nowMs: () => number): (report: CacheReport) => void {
  const told = new Map<string, { atMs: number; untold: number }>();
  return ({ name, failures, lastFailure }) => {
    if (failures === 0) return;
    const before = told.get(name) ?? { atMs: -Infinity, untold: 0 };
    const untold = before.untold + failures;
    const isTime = nowMs() - before.atMs >= LOG_PAUSE_MS;
    told.set(name, isTime ? { atMs: nowMs(), untold: 0 } : { ...before, untold });
    if (isTime)
      logger.warn('a cache failed, the data is read without it', {
        cache: name,
        failures: untold,
        err: lastFailure,
      });
  };
}
