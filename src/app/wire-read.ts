// Constructs what answers queries: the querier and the query-frontend.
import type { RecentTraces } from '../contracts/recent-traces.ts';
import { splitTenants } from '../model/tenant.ts';
import { HOSTNAME } from '../config/shared-blocks.ts';
import type { Querier } from '../contracts/query.ts';
import type { Service } from '../lib/service.ts';
import { ExternalTraces, FrontendLinks, LocalQuerier } from '../modules/querier/index.ts';
import { QuerierStreams, QueryFrontend, QueryQueue, RemoteQuerier } from '../modules/query-frontend/index.ts';
import type { Store } from '../store/store.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Admission } from './admission.ts';
import type { Caches } from './caches.ts';
import type { TempoConfig } from './config.ts';
import { grpcClientOptions } from './grpc-client-options.ts';
import type { ModuleName } from './graph.ts';
import { injectRequest } from './inject-request.ts';
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

/** Queries wait so long while no querier is connected. */
const QUERIERS_WAIT_MS = 15_000;
/** For what is under way when a process stops. */
const STOP_GRACE_MS = 3000;
const LOOKUP_MS_MIN = 100;
/** Of connections to query-frontends. */
const KEEPALIVE_MS = 20_000;
const KEEPALIVE_TIMEOUT_MS = 10_000;

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

/** The services of both; in one process they have nothing to start: their work is done in requests. */
export function addReads(
  parts: Parts,
  order: readonly ModuleName[],
  openQuerier: () => Querier,
): { readonly querier: Service | undefined; readonly 'query-frontend': Service | undefined } {
  const hasFrontend = order.includes('query-frontend');
  if (order.includes('ingester') && !order.includes('querier')) {
    // Queriers of other processes ask it for what is recent.
    createFrontend(parts, openQuerier()).registerQuerierMethods(parts.grpcMethods);
  }
  if (!order.includes('querier')) {
    return { querier: undefined, 'query-frontend': hasFrontend ? addLoneFrontend(parts) : undefined };
  }
  const querier = openQuerier();
  if (!hasFrontend) return { querier: addLoneQuerier(parts, querier), 'query-frontend': undefined };
  addFrontend(parts, querier).registerQuerierMethods(parts.grpcMethods);
  return { querier: undefined, 'query-frontend': undefined };
}

/** What clients may ask; its routes are on the server before that listens. */
function addFrontend(parts: Parts, querier: Querier): QueryFrontend {
  const frontend = createFrontend(parts, querier);
  frontend.registerRoutes(parts.server.app);
  frontend.registerMethods(parts.grpcMethods);
  return frontend;
}

/** A query-frontend without a querier: those of other processes do what is asked. */
function addLoneFrontend(parts: Parts): Service {
  const { config, grpcMethods, logger, metrics, sharedBytes } = parts;
  const { maxOutstandingPerTenant, maxRetries } = config.queryFrontend;
  const queue = new QueryQueue({
    tenantLengthMax: maxOutstandingPerTenant,
    triesMax: 1 + Math.max(0, maxRetries),
    queriersWaitMs: QUERIERS_WAIT_MS,
    metrics,
  });
  const streams = new QuerierStreams(queue, logger.child({ module: 'query-frontend' }));
  streams.registerMethods(grpcMethods);
  addFrontend(
    parts,
    new RemoteQuerier({ queue, answerBytesMax: Math.floor(sharedBytes * RESULTS_SHARE), metrics }),
  );
  return {
    name: 'query-frontend',
    start: () => Promise.resolve(),
    stop: async () => {
      await queue.close(Math.min(config.server.gracefulShutdownTimeoutMs, STOP_GRACE_MS));
      streams.close();
    },
    readiness: () =>
      queue.clientCount > 0
        ? undefined
        : 'Query Frontend not ready: not ready: number of queriers connected to query-frontend is 0',
  };
}

/** A querier without a query-frontend: those of other processes say what to do. */
function addLoneQuerier(parts: Parts, querier: Querier): FrontendLinks {
  const { config, logger, server } = parts;
  const { frontendWorker: worker, maxConcurrentQueries } = config.querier;
  const { grpcClientConfig: client } = worker;
  createFrontend(parts, querier).registerQuerierRoutes(server.app);
  return new FrontendLinks({
    address: worker.frontendAddress,
    lookupMs: Math.max(LOOKUP_MS_MIN, worker.dnsLookupDurationMs),
    concurrentMax: worker.matchMaxConcurrent ? maxConcurrentQueries : undefined,
    parallelism: worker.parallelism,
    clientId: worker.id === '' ? `${HOSTNAME}-${process.pid}` : worker.id,
    client: {
      ...grpcClientOptions(client),
      reconnectMs: { min: client.backoffConfig.minPeriodMs, max: client.backoffConfig.maxPeriodMs },
      keepaliveMs: { time: KEEPALIVE_MS, timeout: KEEPALIVE_TIMEOUT_MS },
    },
    sendMessageBytesMax: client.maxSendMsgSize,
    backoffMs: { min: client.backoffConfig.minPeriodMs, max: client.backoffConfig.maxPeriodMs },
    graceMs: STOP_GRACE_MS,
    querier,
    http: (request, signal) => injectRequest(server.app, request, signal),
    logger: logger.child({ module: 'querier' }),
  });
}

function createFrontend({ config, logger, metrics, overrides }: Parts, querier: Querier): QueryFrontend {
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
  return new QueryFrontend({
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
}
