// This process's instance in a ring that has no copies of anything: of distributors, compactors, workers.
import type { Lifecycler } from '../ring/lifecycler.ts';
import type { RingConfig, RingName, Rings, RingService } from '../ring/rings.ts';
import type { TempoConfig } from './config.ts';

/** `ring:` of such a module. */
type RingBlock = Pick<
  TempoConfig['compactor']['ring'],
  | 'kvstore'
  | 'heartbeatPeriodMs'
  | 'heartbeatTimeoutMs'
  | 'instanceAddr'
  | 'instancePort'
  | 'instanceInterfaceNames'
  | 'enableInet6'
>;

export interface RingMemberOptions {
  readonly name: RingName;
  /** `override_ring_key` */
  readonly key: string;
  readonly ring: RingBlock;
  readonly id: string;
  readonly tokensCount: number;
  /** Who is silent for so many timeouts is forgotten by the others. */
  readonly forgetTimeouts: number;
  /** What others call where the block names no port. */
  readonly grpcPort: number;
}

export function createRingMember(
  rings: Rings,
  { name, key, ring, id, tokensCount, forgetTimeouts, grpcPort }: RingMemberOptions,
): { readonly followed: RingService; readonly member: Lifecycler } {
  const { kvstore, heartbeatTimeoutMs, heartbeatPeriodMs } = ring;
  const settings = {
    replicationFactor: 1,
    heartbeatTimeoutMs,
    zoneAwarenessEnabled: false,
    excludedZones: [],
  };
  const config: RingConfig = { name, key, kvstore, settings };
  const followed = rings.createRing(config);
  const member = rings.createMember(config, {
    id,
    addr: ring.instanceAddr,
    interfaceNames: ring.instanceInterfaceNames,
    enableInet6: ring.enableInet6,
    port: ring.instancePort === 0 ? grpcPort : ring.instancePort,
    zone: '',
    tokensCount,
    heartbeatPeriodMs,
    forgetAfterMs: forgetTimeouts * heartbeatTimeoutMs,
  });
  return { followed, member };
}
