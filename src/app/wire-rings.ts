// Constructs the rings that the target's modules follow, and this process's instances in them.
import type { Service } from '../lib/service.ts';
import type { Lifecycler } from '../ring/lifecycler.ts';
import { type RingConfig, Rings, type RingService } from '../ring/rings.ts';
import type { TempoConfig } from './config.ts';
import { isSingleProcess } from './graph.ts';
import type { Parts } from './wire-parts.ts';

export interface WiredRings {
  /** Of the ingesters. */
  readonly ingesters: RingService;
  /** All of them, and what they are kept by, for the pages. */
  readonly rings: Rings;
  /** This process's own ingester in it. */
  createIngesterMember(): Lifecycler;
  /** Follows the rings; started before and stopped after their members. */
  readonly service: Service;
}

export function createRings({ config, logger, metrics }: Parts): WiredRings {
  const { memberlist } = config;
  const rings = new Rings({ isSingleProcess: isSingleProcess(config.target), memberlist, logger, metrics });
  const ingesters = ingesterRing(config);
  const followed = rings.createRing(ingesters);
  return {
    ingesters: followed,
    createIngesterMember: () => rings.createMember(ingesters, ingesterMember(config)),
    rings,
    service: {
      name: 'ring',
      start: async () => {
        await rings.start();
        await followed.start();
      },
      stop: async () => {
        await followed.stop();
        await rings.stop();
      },
    },
  };
}

function ingesterRing({ ingester }: TempoConfig): RingConfig {
  const { kvstore, heartbeatTimeoutMs, replicationFactor, zoneAwarenessEnabled, excludedZones } =
    ingester.lifecycler.ring;
  return {
    name: 'ingester',
    key: ingester.overrideRingKey,
    kvstore,
    settings: {
      replicationFactor,
      heartbeatTimeoutMs,
      zoneAwarenessEnabled,
      excludedZones: excludedZones.split(',').filter((zone) => zone !== ''),
    },
  };
}

function ingesterMember({
  ingester: { lifecycler },
  server,
}: TempoConfig): Parameters<Rings['createMember']>[1] {
  return {
    id: lifecycler.id,
    addr: lifecycler.address,
    interfaceNames: lifecycler.interfaceNames,
    enableInet6: lifecycler.enableInet6,
    port: lifecycler.port === 0 ? server.grpcListenPort : lifecycler.port,
    zone: lifecycler.availabilityZone,
    tokensCount: lifecycler.numTokens,
    heartbeatPeriodMs: lifecycler.heartbeatPeriodMs,
    joinAfterMs: lifecycler.joinAfterMs,
    observePeriodMs: lifecycler.observePeriodMs,
    minReadyMs: lifecycler.minReadyDurationMs,
    checksRingHealth: lifecycler.readinessCheckRingHealth,
    finalSleepMs: lifecycler.finalSleepMs,
    unregistersOnShutdown: lifecycler.unregisterOnShutdown,
    tokensFilePath: lifecycler.tokensFilePath,
  };
}
