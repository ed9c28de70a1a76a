// Constructs the ring of distributors, by which they know how many share the rates of tenants.
import { hasHeartbeat } from '../ring/instance.ts';
import type { Lifecycler } from '../ring/lifecycler.ts';
import type { RingConfig, Rings, RingService } from '../ring/rings.ts';
import type { Service } from '../lib/service.ts';
import type { TempoConfig } from './config.ts';
import { isInRing, startOrder } from './graph.ts';
import type { Parts } from './wire-parts.ts';

/** Who is silent for so many timeouts is forgotten by the others. */
const FORGET_TIMEOUTS = 10;

export interface DistributorRing {
  /** Those that live, this one included. */
  readonly count: () => number;
  /** A distributor that is in the ring as long as it takes spans. */
  join(distributor: Service): Service;
}

/** Only global rates need a ring, and the strategy is one for all tenants. */
export function hasDistributorRing(config: TempoConfig): boolean {
  const order = startOrder(config.target);
  const isApart = order.includes('distributor') && isInRing(order, config);
  return isApart && config.overrides.defaults.ingestion.rateStrategy === 'global';
}

export function createDistributorRing({ config, logger }: Parts, rings: Rings): DistributorRing {
  const { ring, overrideRingKey: key } = config.distributor;
  const { kvstore, heartbeatTimeoutMs, heartbeatPeriodMs } = ring;
  const settings = {
    replicationFactor: 1,
    heartbeatTimeoutMs,
    zoneAwarenessEnabled: false,
    excludedZones: [],
  };
  const ringConfig: RingConfig = { name: 'distributor', key, kvstore, settings };
  const followed = rings.createRing(ringConfig);
  const member = rings.createMember(ringConfig, {
    id: ring.instanceId,
    addr: ring.instanceAddr,
    interfaceNames: ring.instanceInterfaceNames,
    enableInet6: ring.enableInet6,
    port: ring.instancePort === 0 ? config.server.grpcListenPort : ring.instancePort,
    zone: '',
    tokensCount: 1,
    heartbeatPeriodMs,
    forgetAfterMs: FORGET_TIMEOUTS * heartbeatTimeoutMs,
  });
  logger.info('rates of tenants are shared with the other distributors of the ring', { key });
  const count = (): number => {
    const nowMs = Date.now();
    return followed.ring.current.instances.filter((each) => hasHeartbeat(each, heartbeatTimeoutMs, nowMs))
      .length;
  };
  return { count, join: (distributor) => inRing(distributor, followed, member) };
}

function inRing(distributor: Service, followed: RingService, member: Lifecycler): Service {
  return {
    ...distributor,
    start: async () => {
      await followed.start();
      await member.start();
      await distributor.start();
    },
    stop: async () => {
      await distributor.stop();
      await member.stop();
      await followed.stop();
    },
    readiness: () => distributor.readiness?.() ?? member.readiness(),
  };
}
