// Constructs what keeps the limits of tenants: the file of overrides, and those that tenants set themselves.
import type { Environment } from '../config/expand-env.ts';
import type { Service } from '../lib/service.ts';
import { createUserOverridesMetrics, UserOverrides } from '../overrides/user-overrides.ts';
import { apiPrefixOf } from './config.ts';
import { configuredStore } from './object-stores.ts';
import { createOverridesService, type OverridesService } from './overrides-service.ts';
import { registerUserOverridesRoutes } from './user-overrides-routes.ts';
import { isMultitenant, type Parts } from './wire-parts.ts';

export function createOverrides(parts: Parts, env: Environment | undefined): Service {
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
    replicationFactor: parts.config.ingester.lifecycler.ring.replicationFactor,
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
    httpApiPrefix: apiPrefixOf(config),
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
