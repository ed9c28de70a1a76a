// Constructs the modules that the target needs and connects them by their contracts; nothing runs yet.
import { availableParallelism, totalmem } from 'node:os';
import path from 'node:path';
import type { Environment } from '../config/expand-env.ts';
import type { RecentTraces } from '../contracts/recent-traces.ts';
import { requestBodies } from '../lib/byte-ledger.ts';
import { collectGarbage, markThreadHeapsLater } from '../lib/garbage.ts';
import { memoryBudget } from '../lib/memory-budget.ts';
import type { Service } from '../lib/service.ts';
import { splitTenants } from '../model/tenant.ts';
import { createDistributor, type DistributorService } from '../modules/distributor/index.ts';
import { createIngester, type Ingester } from '../modules/ingester/index.ts';
import { ExternalTraces, LocalQuerier } from '../modules/querier/index.ts';
import { QueryFrontend } from '../modules/query-frontend/index.ts';
import { type BackendMetrics, createBackendMetrics } from '../objectstore/backend-metrics.ts';
import { attributeLimitsOf } from '../overrides/attribute-limits.ts';
import { Overrides } from '../overrides/overrides.ts';
import { createUserOverridesMetrics, UserOverrides } from '../overrides/user-overrides.ts';
import { bodyThreads } from '../rpc/body-threads.ts';
import { GrpcMethods } from '../rpc/grpc-methods.ts';
import { Store } from '../store/store.ts';
import { Metrics } from '../telemetry/metrics.ts';
import { observeProcess } from '../telemetry/process-metrics.ts';
import type { Logger } from '../telemetry/log.ts';
import { Admission } from './admission.ts';
import { BlockUpkeep, countDiscarded } from './block-upkeep.ts';
import type { ServiceState } from './app.ts';
import { type Caches, createCaches } from './caches.ts';
import { blockRetention, upkeepOf } from './compaction-settings.ts';
import type { TempoConfig } from './config.ts';
import { DiskGuard } from './disk-guard.ts';
import { startOrder, type ModuleName } from './graph.ts';
import type { HttpServer } from './http-server.ts';
import { MemoryGuard } from './memory-guard.ts';
import { registerMetricsRoute } from './metrics-route.ts';
import { configuredStore } from './object-stores.ts';
import { registerOverridesRoutes } from './overrides-routes.ts';
import { createOverridesService, type OverridesService } from './overrides-service.ts';
import { pageFacts, registerPageRoutes } from './page-routes.ts';
import { registerRingPages } from './ring-pages.ts';
import { registerStatusPages } from './status-pages.ts';
import { createServers } from './servers.ts';
import { registerUserOverridesRoutes } from './user-overrides-routes.ts';
import { REVISION, VERSION } from './version.ts';

export interface WireOptions {
  /** Expands `${NAME}` in further files; undefined = no expansion. */
  readonly env: Environment | undefined;
  readonly logger: Logger;
  /** What /ready answers. */
  readonly readiness: () => string | undefined;
  /** Where metrics are registered; without it, in a registry of its own. */
  readonly metrics?: Metrics;
  /** Of a module, for /status/services. */
  readonly stateOf: (module: string) => ServiceState;
  /** Stops the program, as a signal does. */
  readonly requestShutdown: () => void;
}

/** What the process takes with nothing to do, and the log ring; of a small budget at most a share. */
const BASE_BYTES = 224 * 1024 * 1024;
const BASE_SHARE_MAX = 0.5;
/** Share of the rest of the memory budget for heads, live and being written. */
const HEADS_SHARE = 0.45;
/** How often within their timeout idle tenants are looked for. */
const SWEEPS = 4;
const SWEEP_MS_MIN = 100;
const SWEEP_MS_MAX = 60_000;
/** Share of the rest for bodies of requests, and the least: one large message must pass. */
const BODIES_SHARE = 0.15;
const BODIES_BYTES_MIN = 64 * 1024 * 1024;
const BODIES_BYTES_MAX = 512 * 1024 * 1024;
/** Share of the rest in which scan threads together keep decoded parts of blocks. */
const SCAN_CACHE_SHARE = 0.1;
/** And for parts of blocks of an object store, as they are stored there. */
const BACKEND_CACHE_SHARE = 0.08;
/** What of that is kept while memory is short. */
const TIGHT_CACHE_SHARE = 0.25;
/** Traces among which those in several blocks are looked for at a time: well under a second. */
const IDS_PER_JOB = 4_000_000;
/** For answers of searches that are made or sent. */
const RESULTS_SHARE = 0.12;
/** For what jobs of metrics queries answered, until it is one answer. */
const METRICS_PARTS_SHARE = 0.06;
/** For what is known about traces that lie in several blocks: four bytes for each copy. */
const SHARED_TRACES_SHARE = 0.02;
/** Share of the rest that the heaps of scan threads may take together, and the least of one. */
const SCAN_HEAP_SHARE = 0.3;
const SCAN_HEAP_BYTES_MIN = 256 * 1024 * 1024;
const SCAN_THREADS_MIN = 2;

interface Parts {
  /** Memory that the process may use. */
  readonly budgetBytes: number;
  /** What of it is left to share. */
  readonly sharedBytes: number;
  readonly config: TempoConfig;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly backendMetrics: BackendMetrics;
  readonly server: HttpServer;
  /** Where modules add their gRPC methods: served on the gRPC port, and on the HTTP port where that is on. */
  readonly grpcMethods: GrpcMethods;
  readonly overrides: Overrides;
}

/** @returns the services in the order in which they start. */
export function wire(config: TempoConfig, options: WireOptions): readonly Service[] {
  const { logger, readiness } = options;
  markThreadHeapsLater();
  const metrics = options.metrics ?? new Metrics();
  const stopProbe = observeProcess(metrics, VERSION, REVISION);
  const grpcMethods = new GrpcMethods();
  const { http: server, service: serverService } = createServers({
    config,
    logger,
    metrics,
    readiness,
    grpcMethods,
  });
  const overrides = new Overrides({
    defaults: config.overrides.defaults,
    inline: config.overrides.inlineTenants,
    metrics,
  });
  registerOverridesRoutes(server.app, overrides);
  const { routes } = server;
  registerStatusPages(server.app, { config, overrides, routes, stateOf: options.stateOf });
  const order = startOrder(config.target);
  registerRingPages(server.app, config, order.includes('ingester'));
  if (order.includes('query-frontend')) {
    registerPageRoutes(server.app, pageFacts(config, isMultitenant(config)));
  }
  const budgetBytes = budgetOf(config);
  const sharedBytes = budgetBytes - Math.min(BASE_BYTES, budgetBytes * BASE_SHARE_MAX);
  const backendMetrics = createBackendMetrics(metrics);
  const shared = { config, logger, metrics, backendMetrics, server, grpcMethods, overrides };
  const parts: Parts = { ...shared, budgetBytes, sharedBytes };
  const caches = createCaches(config, logger, metrics);
  const store = createStore(parts, caches, order);
  const ingester = order.includes('ingester')
    ? addIngester(parts, store, options.requestShutdown)
    : undefined;
  const admission = createAdmission(parts, store, ingester);
  const distributor =
    ingester === undefined ? undefined : addTraces(parts, store, ingester, admission, caches);
  const discarded = distributor?.discarded ?? countDiscarded(metrics);
  const upkeep = new BlockUpkeep({ ...parts, store, admission, discarded });
  const stopSweeping = sweepTenants(metrics, config.memory.idleTenantTimeoutMs);
  const stopWatching = (): void => {
    stopSweeping();
    stopProbe();
    caches.stop();
    admission.stop();
  };
  // The querier and the query-frontend have nothing to start: their work is done in requests and scan
  // threads.
  const services: Readonly<Record<ModuleName, Service | undefined | (() => Service | undefined)>> = {
    server: { ...serverService, stop: () => serverService.stop().finally(stopWatching) },
    overrides: createOverrides(parts, options.env),
    store,
    ingester,
    querier: undefined,
    'query-frontend': undefined,
    distributor,
    compactor: () => upkeep.createCompactor(),
    'backend-scheduler': () => upkeep.addScheduler(),
    'backend-worker': () => upkeep.createWorker(),
  };
  return order
    .map((name) => services[name])
    .map((service) => (typeof service === 'function' ? service() : service))
    .filter((service) => service !== undefined);
}

/** What takes spans in and answers queries. */
function addTraces(
  parts: Parts,
  store: Store,
  ingester: Ingester,
  admission: Admission,
  caches: Caches,
): DistributorService {
  const { config, logger, metrics, overrides, server } = parts;
  const querier = createQuerier(parts, store, ingester, admission, caches);
  addFrontend(parts, querier);
  const distributor = createDistributor({
    config: config.distributor,
    limits: (tenant) => overrides.ingestionOf(tenant),
    multitenancyEnabled: isMultitenant(config),
    admit: (sizeBytes) => admission.admitPush(sizeBytes),
    pusher: ingester,
    logger: logger.child({ module: 'distributor' }),
    metrics,
  });
  if (distributor.usageMetrics !== undefined) {
    registerMetricsRoute(server.app, '/usage_metrics', distributor.usageMetrics);
  }
  return distributor;
}

/** Forgets tenants that are silent for so long. @returns what ends it. */
function sweepTenants({ tenants }: Metrics, idleMs: number): () => void {
  const sweepMs = Math.min(Math.max(idleMs / SWEEPS, SWEEP_MS_MIN), SWEEP_MS_MAX);
  const sweeper = setInterval(() => tenants.sweep(idleMs), sweepMs).unref();
  return () => clearInterval(sweeper);
}

function createOverrides(parts: Parts, env: Environment | undefined): Service {
  const userOverrides = addUserOverrides(parts);
  const file = createOverridesFile(parts, env);
  return {
    name: file.name,
    start: async () => {
      await file.start();
      await userOverrides?.start();
    },
    stop: async () => {
      await file.stop();
      await userOverrides?.stop();
    },
  };
}

function createOverridesFile(parts: Parts, env: Environment | undefined): OverridesService {
  const { perTenantOverrideConfig, perTenantOverridePeriodMs } = parts.config.overrides;
  return createOverridesService({
    ...parts,
    path: perTenantOverrideConfig,
    periodMs: perTenantOverridePeriodMs,
    env,
    logger: parts.logger.child({ module: 'overrides' }),
  });
}

/** Their routes are on the server before that listens. */
function addUserOverrides(parts: Parts): Service | undefined {
  const { config, logger, metrics, backendMetrics, overrides, server } = parts;
  const userMetrics = createUserOverridesMetrics(metrics);
  const { enabled, pollIntervalMs, client, api } = config.overrides.userConfigurableOverrides;
  if (!enabled || client.backend === '') return undefined;
  const overridesLogger = logger.child({ module: 'overrides' });
  const stored = { logger: overridesLogger, metrics: backendMetrics, cacheBytes: 0 };
  const { store, remote } = configuredStore(client, stored);
  const userOverrides = new UserOverrides({
    store,
    overrides,
    pollIntervalMs,
    metrics: userMetrics,
    logger: overridesLogger,
  });
  registerUserOverridesRoutes(server.app, {
    httpApiPrefix: config.httpApiPrefix,
    multitenancyEnabled: isMultitenant(config),
    userOverrides,
    overrides,
    forwarders: new Set(config.distributor.forwarders.map(({ name }) => name)),
    refusesConflicts: api.checkForConflictingRuntimeOverrides,
  });
  return {
    name: userOverrides.name,
    start: () => userOverrides.start(),
    stop: async () => {
      await userOverrides.stop();
      await remote?.stop();
    },
  };
}

function isMultitenant(config: TempoConfig): boolean {
  return config.multitenancyEnabled || config.authEnabled;
}

function budgetOf({ memory }: TempoConfig): number {
  return memoryBudget({
    configuredBytes: memory.limit,
    constrainedBytes: process.constrainedMemory(),
    totalBytes: totalmem(),
    goMemLimit: process.env['GOMEMLIMIT'],
  });
}

/** What waits there is bounded by what bodies of requests may take together. */
function showBodyThreads(metrics: Metrics): void {
  metrics.gauge(
    'tempo_body_jobs',
    'Bodies of requests that wait for the threads that inflate them and read JSON, or are in these.',
    [],
    (gauge) => gauge.set(bodyThreads.jobs),
  );
}

function createAdmission(parts: Parts, store: Store, ingester: Ingester | undefined): Admission {
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

function createStore(
  { sharedBytes, config, logger, metrics, backendMetrics, overrides }: Parts,
  caches: Caches,
  order: readonly ModuleName[],
): Store {
  const upkeep = upkeepOf(order, config.compactor.disabled);
  const { trace } = config.storage;
  const storeLogger = logger.child({ module: 'store' });
  const cacheBytes = config.cache.inProcess || Math.floor(sharedBytes * BACKEND_CACHE_SHARE);
  const parts = { logger: storeLogger, metrics: backendMetrics, cacheBytes, caches: caches.forBlocks };
  const { store: objectStore, remote, path: backendPath } = configuredStore(trace, parts);
  return new Store({
    objectStore,
    remote,
    logger: storeLogger,
    metrics,
    blocklistPollMs: trace.blocklistPollMs,
    blocklistPollConcurrency: Math.max(1, trace.blocklistPollConcurrency),
    blocklistPollTenantConcurrency: Math.max(0, trace.blocklistPollTenantConcurrency),
    retention: upkeep === 'none' ? undefined : blockRetention(config, overrides, upkeep),
    retainsAtPolls: upkeep === 'compactor',
    writesIndexes: upkeep !== 'none',
    sizeBytesMax: remote === undefined && upkeep !== 'none' ? trace.local.maxBytes : 0,
    scanThreads: order.includes('querier') ? scanThreads() : 0,
    scanQueueLengthMax: trace.pool.queueDepth,
    scanTenantQueueLengthMax: config.queryFrontend.maxOutstandingPerTenant,
    scanHeapBytesMax: Math.max(SCAN_HEAP_BYTES_MIN, (sharedBytes * SCAN_HEAP_SHARE) / scanThreads()),
    scanBatchSizeMax: config.queryFrontend.maxBatchSize,
    scanWorkerData: {
      localBlocksPath: path.resolve(trace.wal.path, 'blocks'),
      backendPath,
      cacheBytes: Math.floor((sharedBytes * SCAN_CACHE_SHARE) / scanThreads()),
      cached: caches.cachedParts,
    },
    nowMs: Date.now,
  });
}

/** Who of this process looks after the blocks of the backend. */
function scanThreads(): number {
  return Math.max(SCAN_THREADS_MIN, availableParallelism());
}

function createQuerier(
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
function addFrontend(
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

function addIngester(parts: Parts, store: Store, requestShutdown: () => void): Ingester {
  const { sharedBytes, config, logger, metrics, overrides, server } = parts;
  const { wal, block } = config.storage.trace;
  const ingester = createIngester({
    config: config.ingester,
    limits: (tenant) => overrides.ingestionOf(tenant),
    attributeLimits: attributeLimitsOf(overrides, config.distributor.maxAttributeBytes),
    wal: { ...wal, path: path.resolve(wal.path) },
    block,
    dedicatedColumnsOf: (tenant) => overrides.of(tenant).storage.parquetDedicatedColumns,
    backend: store.objectStore,
    headBytesMax: Math.floor(sharedBytes * HEADS_SHARE),
    logger,
    metrics,
    onUploaded: (meta) => store.blockUploaded(meta),
    onHeadReleased: (bytes) => store.pool.headReleased(bytes),
    requestShutdown,
  });
  ingester.registerRoutes(server.app);
  store.countAlso(() => ingester.diskBytes());
  return ingester;
}
