// Constructs what takes spans in: the distributor and the ingester.
import path from 'node:path';
import { createDistributor, type DistributorService } from '../modules/distributor/index.ts';
import { createIngester, type Ingester, registerPushMethods } from '../modules/ingester/index.ts';
import { attributeLimitsOf } from '../overrides/attribute-limits.ts';
import type { Store } from '../store/store.ts';
import type { Admission } from './admission.ts';
import { registerMetricsRoute } from './metrics-route.ts';
import { isMultitenant, type Parts } from './wire-parts.ts';

/** Share of the memory for heads, live and being written. */
const HEADS_SHARE = 0.45;

/** Its routes are on the server before that listens. */
export function addDistributor(parts: Parts, ingester: Ingester, admission: Admission): DistributorService {
  const { config, logger, metrics, overrides, server } = parts;
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

export function addIngester(parts: Parts, store: Store, requestShutdown: () => void): Ingester {
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
