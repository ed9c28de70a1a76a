// Constructs the rings whose members share the upkeep of blocks: that of compactors, and that of workers.
import { systemClock } from '../lib/clock.ts';
import type { Service } from '../lib/service.ts';
import { type RingName, Rings } from '../ring/rings.ts';
import { WorkShare } from '../ring/work-share.ts';
import type { TempoConfig } from './config.ts';
import { isSingleProcess, type ModuleName, targetsOf } from './graph.ts';
import { createRingMember } from './ring-members.ts';
import type { Parts } from './wire-parts.ts';

/** Tokens of a member, and how many timeouts it may be silent before the others forget it, as in Tempo. */
const TOKENS = 512;
const FORGET_TIMEOUTS = 2;

/** Its processes are alike, and share by default: then by what the ring of ingesters is kept by. */
const SCALED_ALIKE = 'scalable-single-binary';

export interface WorkShares {
  /** All rings of the process; undefined = none. */
  readonly rings: Rings | undefined;
  /** undefined = all of the work is this process's. */
  readonly compactor: WorkShare | undefined;
  readonly worker: WorkShare | undefined;
}

/** @param shared rings that the process follows for other reasons. */
export function createWorkShares(
  parts: Parts,
  order: readonly ModuleName[],
  shared: Rings | undefined,
): WorkShares {
  const { config, logger, metrics } = parts;
  const { memberlist, compactor, backendWorker } = config;
  let rings = shared;
  const shareOf = (name: RingName, key: string, ring: ShareRing): WorkShare | undefined => {
    if (ring.kvstore.store === '' || ring.kvstore.store === 'inmemory') return undefined;
    rings ??= new Rings({ isSingleProcess: false, memberlist, logger, metrics });
    return createShare(parts, rings, { name, key, ring });
  };
  return {
    compactor: order.includes('compactor')
      ? shareOf('compactor', compactor.overrideRingKey, compactorRing(config))
      : undefined,
    worker: order.includes('backend-worker')
      ? shareOf('backend-worker', backendWorker.overrideRingKey, backendWorker.ring)
      : undefined,
    rings,
  };
}

/** As configured, or as the ring of ingesters is where nothing is said. */
export function compactorRing({ target, compactor: { ring }, ingester, memberlist }: TempoConfig): ShareRing {
  const { kvstore } = ring;
  if (kvstore.store === '' && targetsOf(target).includes(SCALED_ALIKE)) {
    const { id, address, port, interfaceNames, enableInet6, ring: ofIngesters } = ingester.lifecycler;
    return {
      ...ring,
      kvstore: ofIngesters.kvstore,
      instanceId: id,
      instanceAddr: address,
      instancePort: port,
      instanceInterfaceNames: interfaceNames,
      enableInet6,
    };
  }
  // A single process is in a ring where its configuration tells how others are found.
  const { store } = kvstore;
  const findsOthers = store === 'etcd' || (store === 'memberlist' && memberlist.joinMembers.length > 0);
  return isSingleProcess(target) && !findsOthers ? { ...ring, kvstore: { ...kvstore, store: '' } } : ring;
}

type ShareRing = TempoConfig['compactor']['ring'];

interface ShareConfig {
  readonly name: RingName;
  readonly key: string;
  readonly ring: ShareRing;
}

function createShare({ config, logger }: Parts, rings: Rings, { name, key, ring }: ShareConfig): WorkShare {
  const { instanceId: id } = ring;
  const { followed, member } = createRingMember(rings, {
    name,
    key,
    ring,
    id,
    tokensCount: TOKENS,
    forgetTimeouts: FORGET_TIMEOUTS,
    grpcPort: config.server.grpcListenPort,
  });
  return new WorkShare({
    rings,
    followed,
    member,
    id,
    activeMsMax: ring.waitActiveInstanceTimeoutMs,
    stableMsMin: ring.waitStabilityMinDurationMs,
    stableMsMax: ring.waitStabilityMaxDurationMs,
    clock: systemClock,
    logger,
  });
}

/** Modules whose users should not wait until blocks are looked after. */
const SERVING: readonly ModuleName[] = ['distributor', 'ingester', 'querier', 'query-frontend'];

export function servesOthers(order: readonly ModuleName[]): boolean {
  return order.some((name) => SERVING.includes(name));
}

/**
 * A module in its ring as long as it runs; undefined = it has nothing to run.
 * @param isAwaited the process is not ready before its share begins.
 */
export function sharing(
  share: WorkShare | undefined,
  module: Service | undefined,
  isAwaited: boolean,
): Service | undefined {
  if (share === undefined) return module;
  return {
    name: module?.name ?? share.name,
    start: async () => {
      await share.start();
      await module?.start();
    },
    stop: async () => {
      await module?.stop();
      await share.stop();
    },
    readiness: () => (isAwaited ? share.readiness() : undefined) ?? module?.readiness?.(),
  };
}
