// Constructs what takes spans in: the distributor and the ingester.
import assert from 'node:assert/strict';
import path from 'node:path';
import type { Service } from '../lib/service.ts';
import { createDistributor, type DistributorService, type Ingesters } from '../modules/distributor/index.ts';
import {
  createIngester,
  type Ingester,
  registerPushMethods,
  registerReadOnlyRoute,
} from '../modules/ingester/index.ts';
import { attributeLimitsOf } from '../overrides/attribute-limits.ts';
import type { Lifecycler } from '../ring/lifecycler.ts';
import type { RingSnapshot } from '../ring/ring.ts';
import type { Rings } from '../ring/rings.ts';
import type { Store } from '../store/store.ts';
import type { Admission } from './admission.ts';
import { registerMetricsRoute } from './metrics-route.ts';
import { channelOptions } from './channel-options.ts';
import { createDistributorRing, hasDistributorRing } from './wire-distributors.ts';
import { isMultitenant, type Parts } from './wire-parts.ts';
import type { WiredRings } from './wire-rings.ts';

/** Share of the memory for heads, live and being written. */
const HEADS_SHARE = 0.45;
/** For messages to ingesters of other processes. */
const MESSAGES_SHARE = 0.2;

/** Its routes are on the server before that listens. */
export function addDistributor(
  parts: Parts,
  admission: Admission,
  to: { readonly ingester: Ingester | undefined; readonly rings: WiredRings | undefined },
): { readonly distributor: DistributorService; readonly service: Service } {
  const { config, logger, metrics, overrides, server } = parts;
  const shared =
    to.rings !== undefined && hasDistributorRing(config)
      ? createDistributorRing(parts, to.rings.rings)
      : undefined;
  const distributor = createDistributor({
    config: config.distributor,
    limits: (tenant) => overrides.ingestionOf(tenant),
    multitenancyEnabled: isMultitenant(config),
    admit: (sizeBytes) => admission.admitPush(sizeBytes),
    ingesters: ingestersOf(parts, to),
    distributorsCount: shared?.count,
    logger: logger.child({ module: 'distributor' }),
    metrics,
  });
  if (distributor.usageMetrics !== undefined) {
    registerMetricsRoute(server.app, '/usage_metrics', distributor.usageMetrics);
  }
  return { distributor, service: shared?.join(distributor) ?? distributor };
}

/** With rings even the ingester of this process is one among others. */
function ingestersOf(
  { config, overrides, sharedBytes }: Parts,
  { ingester, rings }: { readonly ingester: Ingester | undefined; readonly rings: WiredRings | undefined },
): Ingesters {
  if (rings === undefined) {
    assert(ingester !== undefined, 'a distributor without rings has its ingester beside it');
    return { kind: 'here', pusher: ingester };
  }
  const { grpcClientConfig, ...client } = config.ingesterClient;
  return {
    kind: 'ring',
    ring: rings.ingesters.ring,
    client: { ...client, ...channelOptions(grpcClientConfig, 'ingester_client.grpc_client_config') },
    extendWrites: config.distributor.extendWrites,
    shardSize: (tenant) => overrides.of(tenant).ingestion.tenantShardSize,
    bufferBytesMax: Math.floor(sharedBytes * MESSAGES_SHARE),
  };
}

interface IngesterParts {
  readonly store: Store;
  readonly rings: WiredRings | undefined;
  /** Also those of other modules. */
  readonly allRings: Rings | undefined;
  readonly requestShutdown: () => void;
}

export function addIngester(
  parts: Parts,
  { store, rings, allRings, requestShutdown }: IngesterParts,
): { readonly ingester: Ingester; readonly service: Service } {
  const { sharedBytes, config, logger, metrics, overrides, server } = parts;
  const { wal, block } = config.storage.trace;
  const member = rings?.createIngesterMember();
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
    onHeadReleased: (bytes, blockId) => store.pool.headReleased(bytes, blockId),
    requestShutdown,
    ring: member,
    showState: allRings && ((stateNow) => allRings.showAlone('ingester', stateNow)),
    unregistersOnShutdown: config.ingester.lifecycler.unregisterOnShutdown,
    ...(rings === undefined ? {} : { globalShare: () => replicasPerIngester(rings.ingesters.ring.current) }),
  });
  ingester.registerRoutes(server.app);
  registerReadOnlyRoute(server.app, member, logger.child({ module: 'ingester' }));
  store.countAlso(() => ingester.diskBytes());
  return { ingester, service: member === undefined ? ingester : inRing(ingester, member) };
}

/** Which part of all traces an ingester that takes some has; 0 = nobody is in the ring yet. */
function replicasPerIngester({ instances, settings }: RingSnapshot): number {
  const writable = instances.filter(({ readOnly }) => !readOnly).length;
  return writable === 0 ? 0 : Math.min(1, settings.replicationFactor / writable);
}

/** In the ring it is as long as it takes pushes. */
function inRing(ingester: Ingester, member: Lifecycler): Service {
  return {
    name: ingester.name,
    start: async () => {
      await ingester.start();
      await member.start();
    },
    stop: async () => {
      await member.leave();
      await ingester.stop();
      await member.stop();
    },
    stopTakesMs: () => ingester.stopTakesMs(),
    readiness: () => {
      const inRing = member.readiness();
      return ingester.readiness?.() ?? (inRing === undefined ? undefined : `Ingester not ready: ${inRing}`);
    },
  };
}

/** What distributors of other processes push. */
export function addPushMethods(parts: Parts, ingester: Ingester, admission: Admission): void {
  const { config, grpcMethods, overrides } = parts;
  registerPushMethods(grpcMethods, {
    pusher: ingester,
    multitenancyEnabled: isMultitenant(config),
    admit: (sizeBytes) => admission.admitPush(sizeBytes),
    limitsTraces: (tenant) => overrides.ingestionOf(tenant).limitsTraces,
  });
}
