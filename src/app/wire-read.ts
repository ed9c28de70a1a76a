// Constructs what answers queries: the querier and the query-frontend.
import type { RecentTraces } from '../contracts/recent-traces.ts';
import { splitTenants, tenantsOfHeader } from '../model/tenant.ts';
import { HOSTNAME } from '../config/shared-blocks.ts';
import type { Querier } from '../contracts/query.ts';
import { systemClock } from '../lib/clock.ts';
import type { Service } from '../lib/service.ts';
import {
  addRecentMethods,
  ClosableQuerier,
  ExternalTraces,
  FrontendLinks,
  LocalQuerier,
  PatientQuerier,
  type QuerierOptions,
  RemoteRecents,
} from '../modules/querier/index.ts';
import {
  QuerierStreams,
  QueryFrontend,
  QueryQueue,
  RemoteQuerier,
  type RemoteQuerierOptions,
} from '../modules/query-frontend/index.ts';
import type { RingSnapshot } from '../ring/ring.ts';
import type { Store } from '../store/store.ts';
import { openGrpcClient } from '../rpc/grpc-client.ts';
import { Metrics } from '../telemetry/metrics.ts';
import type { Admission } from './admission.ts';
import type { Caches } from './caches.ts';
import { apiPrefixOf, type TempoConfig } from './config.ts';
import { grpcClientOptions } from './grpc-client-options.ts';
import type { ModuleName } from './graph.ts';
import { remoteAnswerBytesMax, resultBytesMax } from './memory-shares.ts';
import { injectRequest } from './inject-request.ts';
import type { WiredRings } from './wire-rings.ts';
import { isMultitenant, type Parts } from './wire-parts.ts';
import { scanThreads } from './wire-store.ts';

/** Traces among which those in several blocks are looked for at a time: well under a second. */
const IDS_PER_JOB = 4_000_000;
/** Share of the memory for what jobs of metrics queries answered, until it is one answer. */
const METRICS_PARTS_SHARE = 0.06;
/** For what is known about traces that lie in several blocks: four bytes for each copy. */
const SHARED_TRACES_SHARE = 0.02;

/** For what is known about the traces of ingesters: 44 bytes for each copy. */
const TRACE_TABLES_SHARE = 0.05;

/** Queries wait so long while no querier is connected. */
const QUERIERS_WAIT_MS = 15_000;
/** For what is under way when a process stops. */
const STOP_GRACE_MS = 3000;
const LOOKUP_MS_MIN = 100;
/** Of connections to query-frontends. */
const KEEPALIVE_MS = 20_000;
const KEEPALIVE_TIMEOUT_MS = 10_000;

/** Where no ingester can be asked: blocks of the backend are all that there is. */
const NOTHING_RECENT: RecentTraces = {
  recentSources: () => Promise.resolve({ sources: [], complete: true, release: () => undefined }),
};

/** What queries are answered from. */
export interface ReadParts {
  readonly store: Store;
  /** Of this process. */
  readonly ingester: RecentTraces | undefined;
  /** Whose ingesters are asked; undefined = that of this process is all there is. */
  readonly rings: WiredRings | undefined;
  readonly admission: Admission;
  readonly caches: Caches;
}

function createQuerier(
  { config, logger, metrics, sharedBytes }: Parts,
  { store, admission, caches }: ReadParts,
  recent: RecentTraces,
  poolOver?: QuerierOptions['poolOver'],
): LocalQuerier {
  const { metrics: ofMetrics } = config.querier;
  return new LocalQuerier({
    blocklist: store.blocklist,
    admit: (tenant, signal) => admission.admitQuery(tenant, signal),
    pool: store.pool,
    recent,
    poolOver,
    logger: logger.child({ module: 'querier' }),
    metrics,
    targetBytesPerJob: config.queryFrontend.search.targetBytesPerJob,
    scanThreads: scanThreads(sharedBytes),
    concurrentJobs: config.queryFrontend.search.concurrentJobs,
    metricsJobs: config.queryFrontend.metrics,
    samplesMax: ofMetrics.maxSamples,
    resultBytesMax: resultBytesMax(sharedBytes),
    resultBytesTaken: (bytes) => store.pool.yieldCaches(bytes),
    metricsPartsBytesMax: Math.floor(sharedBytes * METRICS_PARTS_SHARE),
    idsPerJob: IDS_PER_JOB,
    sharedCacheBytes: Math.floor(sharedBytes * SHARED_TRACES_SHARE),
    resultCache: caches.results,
    jobLimitMs: jobLimits(config),
    nowMs: Date.now,
    external: externalTraces(config, metrics),
  });
}

function jobLimits({ querier }: TempoConfig): QuerierOptions['jobLimitMs'] {
  return (kind) => (kind === 'trace' ? querier.traceById : querier.search).queryTimeoutMs;
}

function externalTraces(
  { querier, queryFrontend }: TempoConfig,
  metrics: Metrics,
): ExternalTraces | undefined {
  const { endpoint, timeoutMs } = querier.traceById.external;
  if (!queryFrontend.traceById.externalEnabled || endpoint === '') return undefined;
  return new ExternalTraces({ endpoint, timeoutMs, metrics });
}

/** The services of both; what has nothing to start does its work in requests. */
export function addReads(
  parts: Parts,
  order: readonly ModuleName[],
  read: ReadParts,
): { readonly querier: Service | undefined; readonly 'query-frontend': Service | undefined } {
  const { ingester, rings } = read;
  const hasFrontend = order.includes('query-frontend');
  if (!order.includes('querier')) {
    if (ingester !== undefined) {
      addOwnRecent(parts, read, ingester, { querier: createQuerier(parts, read, ingester), parts });
    }
    return { querier: undefined, 'query-frontend': hasFrontend ? addLoneFrontend(parts) : undefined };
  }
  const recents = rings === undefined ? undefined : createRecents(parts, rings);
  const local = createQuerier(parts, read, recents ?? ingester ?? NOTHING_RECENT, (pool) =>
    recents === undefined ? pool : recents.poolOver(pool),
  );
  const querier = recents === undefined ? local : new PatientQuerier(local);
  if (ingester !== undefined) {
    // The process's own query-frontend, if it has one, has the metrics of these names.
    const own = { ...parts, metrics: new Metrics() };
    addOwnRecent(parts, read, ingester, { querier: local.over(ingester), parts: own });
  }
  if (!hasFrontend) {
    const closable = new ClosableQuerier(querier);
    const links = addLoneQuerier(parts, closable);
    return { querier: loneQuerierService(closable, links, recents), 'query-frontend': undefined };
  }
  const querierService = recents && serviceOf(recents);
  return { querier: querierService, 'query-frontend': addFrontendOver(parts, querier) };
}

/** A query-frontend whose querier is in this process. */
function addFrontendOver(parts: Parts, querier: Querier): Service {
  const closable = new ClosableQuerier(querier);
  addFrontend(parts, closable);
  const { gracefulShutdownTimeoutMs } = parts.config.server;
  return {
    name: 'query-frontend',
    // The ring, the store and the ingester of the process are up.
    start: async () => closable.open(),
    stop: () => closable.close(Math.min(gracefulShutdownTimeoutMs, STOP_GRACE_MS)),
  };
}

/** What queriers of other processes ask of this one's ingester: ours by sessions, Tempo's by its methods. */
function addOwnRecent(
  parts: Parts,
  { store, admission }: ReadParts,
  ingester: RecentTraces,
  own: { readonly querier: Querier; readonly parts: Parts },
): void {
  const { config } = parts;
  const severalAllowed = config.queryFrontend.multiTenantQueriesEnabled;
  addRecentMethods(parts.grpcMethods, {
    recent: ingester,
    pool: store.pool,
    jobLimitMs: jobLimits(config),
    tenantsOf: (header) => {
      if (!isMultitenant(config)) return undefined;
      return splitTenants(tenantsOfHeader(header, true, severalAllowed));
    },
    admit: (tenant, signal) => admission.admitQuery(tenant, signal),
  });
  createFrontend(own.parts, own.querier).registerQuerierMethods(parts.grpcMethods);
}

/** Of the ingesters that the ring names. */
function createRecents(parts: Parts, rings: WiredRings): RemoteRecents {
  const { config, logger, metrics, sharedBytes } = parts;
  const { ring } = rings.ingesters;
  const { remoteTimeoutMs, grpcClientConfig: client } = config.ingesterClient;
  return new RemoteRecents({
    ingesters: (tenant) => shardOf(tenant, parts, ring.current).readers(Date.now()),
    known: () => ring.current.readers(Date.now()).asked,
    open: (address) =>
      openGrpcClient({
        ...grpcClientOptions(client, 'ingester_client.grpc_client_config'),
        address,
        reconnectMs: { min: client.connectBackoffBaseDelayMs, max: client.connectBackoffMaxDelayMs },
        keepaliveMs: { time: KEEPALIVE_MS, timeout: KEEPALIVE_TIMEOUT_MS },
      }),
    timeoutMs: remoteTimeoutMs,
    tableBytesMax: Math.floor(sharedBytes * TRACE_TABLES_SHARE),
    logger: logger.child({ module: 'querier' }),
    metrics,
  });
}

/** The ingesters that have, or had lately, what distributors take of the tenant. */
function shardOf(tenant: string, { config, overrides }: Parts, ring: RingSnapshot): RingSnapshot {
  const { shuffleShardingIngestersEnabled, shuffleShardingIngestersLookbackPeriodMs } = config.querier;
  if (!shuffleShardingIngestersEnabled) return ring;
  const sinceSec = Math.floor((Date.now() - shuffleShardingIngestersLookbackPeriodMs) / 1000);
  const shard = ring.shard(tenant, overrides.of(tenant).ingestion.tenantShardSize, { sinceSec });
  // All may be read-only for longer than that.
  return shard.instancesCount === 0 ? ring : shard;
}

function loneQuerierService(
  closable: ClosableQuerier,
  links: FrontendLinks,
  recents: RemoteRecents | undefined,
): Service {
  return {
    name: 'querier',
    start: async () => {
      closable.open();
      await links.start();
    },
    stop: async () => {
      await links.stop();
      await closable.close(0);
      await recents?.close();
    },
  };
}

function serviceOf(recents: RemoteRecents): Service {
  return { name: 'querier', start: () => Promise.resolve(), stop: () => recents.close() };
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
    clock: systemClock,
    metrics,
  });
  const streams = new QuerierStreams(queue, logger.child({ module: 'query-frontend' }));
  streams.registerMethods(grpcMethods);
  const answerBytes = { allMax: resultBytesMax(sharedBytes), oneMax: remoteAnswerBytesMax(sharedBytes) };
  const closable = new ClosableQuerier(
    new RemoteQuerier({ queue, answerBytes, hedges: hedgesOf(config), metrics }),
  );
  addFrontend(parts, closable);
  return {
    name: 'query-frontend',
    // Limits of tenants are known.
    start: async () => closable.open(),
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

function hedgesOf({ queryFrontend }: TempoConfig): RemoteQuerierOptions['hedges'] {
  const [search, metrics, trace] = [queryFrontend.search, queryFrontend.metrics, queryFrontend.traceById].map(
    ({ hedgeRequestsAtMs, hedgeRequestsUpTo }) => ({
      afterMs: hedgeRequestsAtMs,
      copiesMax: hedgeRequestsUpTo,
    }),
  );
  return { search, tagNames: search, tagValues: search, metrics, trace };
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
      ...grpcClientOptions(client, 'querier.frontend_worker.grpc_client_config'),
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

function createFrontend(
  { config, logger, metrics, overrides, sharedBytes }: Parts,
  querier: Querier,
): QueryFrontend {
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
    // A single one may have all that there is, as nobody puts it together from pieces here.
    answerBytes: { allMax: resultBytesMax(sharedBytes), oneMax: sharedBytes },
    endCutoff: { cutoffMs: queryEndCutoffMs, sinceMs: search.queryBackendAfterMs },
    recentMs: search.queryIngestersUntilMs,
    nowMs: Date.now,
    multitenancyEnabled: isMultitenant(config),
    multiTenantQueriesEnabled: config.queryFrontend.multiTenantQueriesEnabled,
    httpApiPrefix: apiPrefixOf(config),
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
