// Constructs the modules that the target needs and connects them by their contracts; nothing runs yet. The
// modules of a role are constructed by the files beside it.
import type { Environment } from '../config/expand-env.ts';
import { markThreadHeapsLater } from '../lib/garbage.ts';
import type { Service } from '../lib/service.ts';
import { createBackendMetrics } from '../objectstore/backend-metrics.ts';
import { Overrides } from '../overrides/overrides.ts';
import { GrpcMethods } from '../rpc/grpc-methods.ts';
import type { Logger } from '../telemetry/log.ts';
import { Metrics } from '../telemetry/metrics.ts';
import { observeProcess } from '../telemetry/process-metrics.ts';
import type { ServiceState } from './app.ts';
import { BlockUpkeep, countDiscarded } from './block-upkeep.ts';
import { createCaches } from './caches.ts';
import type { TempoConfig } from './config.ts';
import { isInRing, type ModuleName, startOrder } from './graph.ts';
import { registerOverridesRoutes } from './overrides-routes.ts';
import type { HttpServer } from './http-server.ts';
import { helpersGiveWay } from './helper-threads.ts';
import { shareMemory } from './memory-shares.ts';
import { IdleMemory } from './idle-memory.ts';
import { pageFacts, registerPageRoutes } from './page-routes.ts';
import type { Rings } from '../ring/rings.ts';
import { registerRingPages } from './ring-pages.ts';
import { createServers } from './servers.ts';
import { registerStatusPages } from './status-pages.ts';
import { REVISION, VERSION } from './version.ts';
import { createAdmission } from './wire-admission.ts';
import { createOverrides } from './wire-overrides.ts';
import { isMultitenant, type Parts } from './wire-parts.ts';
import { addReads } from './wire-read.ts';
import { createRings } from './wire-rings.ts';
import { createWorkShares, servesOthers, sharing } from './wire-shares.ts';
import { createStore } from './wire-store.ts';
import { addDistributor, addIngester, addPushMethods } from './wire-write.ts';

export interface WireOptions {
  /** Expands `${NAME}` in further files; undefined = no expansion. */
  readonly env: Environment | undefined;
  readonly logger: Logger;
  /** What /ready answers. */
  readonly readiness: () => string | undefined;
  readonly isServing: () => boolean;
  /** Where metrics are registered; without it, in a registry of its own. */
  readonly metrics?: Metrics;
  /** Of a module, for /status/services. */
  readonly stateOf: (module: string) => ServiceState;
  /** Stops the program, as a signal does. */
  readonly requestShutdown: () => void;
}

/** How often within their timeout idle tenants are looked for. */
const SWEEPS = 4;
const SWEEP_MS_MIN = 100;
const SWEEP_MS_MAX = 60_000;

/** @returns the services in the order in which they start. */
export function wire(config: TempoConfig, options: WireOptions): readonly Service[] {
  const { logger, readiness, isServing } = options;
  markThreadHeapsLater();
  const metrics = options.metrics ?? new Metrics();
  const stopProbe = observeProcess(metrics, VERSION, REVISION);
  const grpcMethods = new GrpcMethods();
  const told = { config, logger, metrics, readiness, isServing, grpcMethods };
  const { http: server, service: serverService } = createServers(told);
  const overrides = new Overrides({
    defaults: config.overrides.defaults,
    inline: config.overrides.inlineTenants,
    metrics,
  });
  registerOverridesRoutes(server.app, overrides);
  const { routes } = server;
  registerStatusPages(server.app, { config, overrides, routes, stateOf: options.stateOf });
  const order = startOrder(config.target);
  const backendMetrics = createBackendMetrics(metrics);
  const shared = { config, logger, metrics, backendMetrics, server, grpcMethods, overrides };
  const parts: Parts = { ...shared, ...shareMemory(config) };
  const caches = createCaches(config, logger, metrics);
  const rings = isInRing(order, config) ? createRings(parts) : undefined;
  const shares = createWorkShares(parts, order, rings?.rings);
  const store = createStore(parts, caches, order, shares);
  const writes = { store, rings, allRings: shares.rings, requestShutdown: options.requestShutdown };
  const { ingester, service: ingesterService } = order.includes('ingester')
    ? addIngester(parts, writes)
    : { ingester: undefined, service: undefined };
  const admission = createAdmission(parts, store, ingester);
  const reads = addReads(parts, order, { store, ingester, rings, admission, caches });
  if (ingester !== undefined) addPushMethods(parts, ingester, admission);
  const taking = order.includes('distributor')
    ? addDistributor(parts, admission, { ingester, rings })
    : undefined;
  registerPages(server, config, order, shares.rings);
  const discarded = taking?.distributor.discarded ?? countDiscarded(metrics);
  const upkeep = new BlockUpkeep({ ...parts, store, admission, discarded, share: shares.compactor });
  helpersGiveWay();
  const idleMemory = new IdleMemory({ logger, metrics });
  const stopSweeping = sweepTenants(metrics, config.memory.idleTenantTimeoutMs);
  const stopWatching = (): void => {
    stopSweeping();
    stopProbe();
    caches.stop();
    admission.stop();
    idleMemory.stop();
  };
  // Those that have nothing to start do their work in requests and scan threads.
  const services: Readonly<Record<ModuleName, Service | undefined | (() => Service | undefined)>> = {
    server: { ...serverService, stop: () => serverService.stop().finally(stopWatching) },
    overrides: createOverrides(parts, options.env),
    ring: rings?.service,
    store,
    ingester: ingesterService,
    ...reads,
    distributor: taking?.service,
    compactor: () => sharing(shares.compactor, upkeep.createCompactor(), !servesOthers(order)),
    'backend-scheduler': () => upkeep.addScheduler(),
    'backend-worker': () => sharing(shares.worker, upkeep.createWorker(), false),
  };
  return order
    .map((name) => services[name])
    .map((service) => (typeof service === 'function' ? service() : service))
    .filter((service) => service !== undefined);
}

function registerPages(
  { app }: HttpServer,
  config: TempoConfig,
  order: readonly ModuleName[],
  rings: Rings | undefined,
): void {
  registerRingPages(app, config, { hasIngester: order.includes('ingester'), rings });
  if (!order.includes('query-frontend')) return;
  registerPageRoutes(app, pageFacts(config, isMultitenant(config)));
}

/** Forgets tenants that are silent for so long. @returns what ends it. */
function sweepTenants({ tenants }: Metrics, idleMs: number): () => void {
  const sweepMs = Math.min(Math.max(idleMs / SWEEPS, SWEEP_MS_MIN), SWEEP_MS_MAX);
  const sweeper = setInterval(() => tenants.sweep(idleMs), sweepMs).unref();
  return () => clearInterval(sweeper);
}
