// Constructs the ring of distributors, by which they know how many share the rates of tenants.
import { HOSTNAME } from '../config/shared-blocks.ts';
import { hasHeartbeat } from '../ring/instance.ts';
import type { Lifecycler } from '../ring/lifecycler.ts';
import type { Rings, RingService } from '../ring/rings.ts';
import type { Service } from '../lib/service.ts';
import type { TempoConfig } from './config.ts';
import { isInRing, startOrder } from './graph.ts';
import { createRingMember } from './ring-members.ts';
import type { Parts } from './wire-parts.ts';

/** Who is silent for so many timeouts is forgotten by the others. */
const FORGET_TIMEOUTS = 10;
/** Where each process has a host for itself. */
const GRPC_PORT = 9095;

export interface DistributorRing {
  /** Those that live, this one included. */
  readonly count: () => number;
  /** A distributor that is in the ring as long as it takes spans. */
  join(distributor: Service): Service;
}

/**
 * Its name in the ring. By default that of the host, which several processes on one host would share: then
 * that of the ingester beside it, or with the port by which they differ.
 */
export function distributorId({ distributor: { ring }, ingester, server, target }: TempoConfig): string {
  if (ring.instanceId !== HOSTNAME) return ring.instanceId;
  const { id } = ingester.lifecycler;
  if (startOrder(target).includes('ingester') && id !== HOSTNAME) return id;
  const { grpcListenPort: port } = server;
  return port === GRPC_PORT ? HOSTNAME : `${HOSTNAME}-${port}`;
}

/** Why every distributor has the whole of global rates for itself; undefined = they are shared. */
export function ratesAloneReason(config: TempoConfig): string | undefined {
  if (!hasDistributorRing(config)) return undefined;
  const { store } = config.distributor.ring.kvstore;
  if (store === 'inmemory') return 'distributor.ring.kvstore.store is inmemory';
  const isAlone = store === 'memberlist' && config.memberlist.joinMembers.length === 0;
  return isAlone ? 'memberlist.join_members names nobody' : undefined;
}

/** Only global rates need a ring, and the strategy is one for all tenants. */
export function hasDistributorRing(config: TempoConfig): boolean {
  const order = startOrder(config.target);
  const isApart = order.includes('distributor') && isInRing(order, config);
  return isApart && config.overrides.defaults.ingestion.rateStrategy === 'global';
}

export function createDistributorRing({ config, logger }: Parts, rings: Rings): DistributorRing {
  const { ring, overrideRingKey: key } = config.distributor;
  const { heartbeatTimeoutMs } = ring;
  const { followed, member } = createRingMember(rings, {
    name: 'distributor',
    key,
    ring,
    id: distributorId(config),
    tokensCount: 1,
    forgetTimeouts: FORGET_TIMEOUTS,
    grpcPort: config.server.grpcListenPort,
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
