// Constructs what answers queries: the querier and the query-frontend.
import type { RecentTraces } from '../contracts/recent-traces.ts';
import { splitTenants } from '../model/tenant.ts';
import { ExternalTraces, LocalQuerier } from '../modules/querier/index.ts';
import { QueryFrontend } from '../modules/query-frontend/index.ts';
import type { Store } from '../store/store.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Admission } from './admission.ts';
import type { Caches } from './caches.ts';
import type { TempoConfig } from './config.ts';
import { isMultitenant, type Parts } from './wire-parts.ts';
import { scanThreads } from './wire-store.ts';

/** Traces among which those in several blocks are looked for at a time: well under a second. */
const IDS_PER_JOB = 4_000_000;
/** Share of the memory for answers of searches that are made or sent. */
const RESULTS_SHARE = 0.12;
/** For what jobs of metrics queries answered, until it is one answer. */
const METRICS_PARTS_SHARE = 0.06;
/** For what is known about traces that lie in several blocks: four bytes for each copy. */
const SHARED_TRACES_SHARE = 0.02;

/** Where no ingester can be asked: blocks of the backend are all that there is. */
export const NOTHING_RECENT: RecentTraces = {
  recentSources: () => Promise.resolve({ sources: [], complete: true, release: () => undefined }),
};

export function createQuerier(
  { config, logger, metrics, sharedBytes }: Parts,
  store: Store,
  recent: RecentTraces,
  admission: Admission,
  caches: Caches,
): LocalQuerier {
  const { search, traceById, metrics: ofMetrics } = config.querier;
  return new LocalQuerier({
    blocklist: store.blocklist,
    admit: (tenant, signal) => admission.admitQuery(tenant, signal),
    pool: store.pool,
    recent,
    logger: logger.child({ module: 'querier' }),
    metrics,
    targetBytesPerJob: config.queryFrontend.search.targetBytesPerJob,
    scanThreads: scanThreads(),
    concurrentJobs: config.queryFrontend.search.concurrentJobs,
    metricsJobs: config.queryFrontend.metrics,
    samplesMax: ofMetrics.maxSamples,
    resultBytesMax: Math.floor(sharedBytes * RESULTS_SHARE),
    resultBytesTaken: (bytes) => store.pool.yieldCaches(bytes),
    metricsPartsBytesMax: Math.floor(sharedBytes * METRICS_PARTS_SHARE),
    idsPerJob: IDS_PER_JOB,
    sharedCacheBytes: Math.floor(sharedBytes * SHARED_TRACES_SHARE),
    resultCache: caches.results,
    jobLimitMs: (kind) => (kind === 'trace' ? traceById : search).queryTimeoutMs,
    nowMs: Date.now,
    external: externalTraces(config, metrics),
  });
}

function externalTraces(
  { querier, queryFrontend }: TempoConfig,
  metrics: Metrics,
): ExternalTraces | undefined {
  const { endpoint, timeoutMs } = querier.traceById.external;
  if (!queryFrontend.traceById.externalEnabled || endpoint === '') return undefined;
  return new ExternalTraces({ endpoint, timeoutMs, metrics });
}

/** Its routes are on the server before that listens. */
export function addFrontend(
  { config, grpcMethods, logger, metrics, overrides, server }: Parts,
  querier: LocalQuerier,
): void {
  const {
    search,
    metrics: ofMetrics,
    maxQueryExpressionSizeBytes,
    apiTimeoutMs,
    urlDenyList,
    logQueryRequestHeaders,
    maxGrpcStreamingPacketSize,
    queryEndCutoffMs,
  } = config.queryFrontend;
  const frontend = new QueryFrontend({
    querier,
    searchLimits: {
      defaultLimit: search.defaultResultLimit,
      limitMax: search.maxResultLimit,
      defaultSpansPerSpanSet: search.defaultSpansPerSpanSet,
      spansPerSpanSetMax: search.maxSpansPerSpanSet,
      durationMaxMs: search.maxDurationMs,
      queryBytesMax: maxQueryExpressionSizeBytes,
    },
    metricsLimits: {
      durationMaxMs: ofMetrics.maxDurationMs,
      intervalsMax: ofMetrics.maxIntervals,
      exemplarsMax: ofMetrics.maxExemplars,
      seriesMax: ofMetrics.maxResponseSeries,
    },
    metricsDurationMaxMs: (tenants) =>
      overrides.leastOf(splitTenants(tenants), ({ read }) => read.maxMetricsDurationMs),
    tagValueBytesMax: (tenants) =>
      overrides.leastOf(splitTenants(tenants), ({ read }) => read.maxBytesPerTagValuesQuery),
    searchDurationMaxMs: (tenants) =>
      overrides.leastOf(splitTenants(tenants), ({ read }) => read.maxSearchDurationMs),
    traceBytesMax: (tenants) =>
      overrides.leastOf(splitTenants(tenants), ({ global }) => global.maxBytesPerTrace),
    endCutoff: { cutoffMs: queryEndCutoffMs, sinceMs: search.queryBackendAfterMs },
    recentMs: search.queryIngestersUntilMs,
    nowMs: Date.now,
    multitenancyEnabled: isMultitenant(config),
    multiTenantQueriesEnabled: config.queryFrontend.multiTenantQueriesEnabled,
    httpApiPrefix: config.httpApiPrefix,
    apiTimeoutMs,
    urlDenyList,
    logHeaders: logQueryRequestHeaders,
    packetBytesMax: maxGrpcStreamingPacketSize,
    logger: logger.child({ module: 'query-frontend' }),
    metrics,
    objectives: {
      traces: config.queryFrontend.traceById,
      search,
      metadata: search.metadataSlo,
      metrics: ofMetrics,
    },
  });
  frontend.registerRoutes(server.app);
  frontend.registerMethods(grpcMethods);
}
