// Rings that the modules of the target would be in: whether they can be kept where the configuration says,
// and whether anybody else will be in them.
import type { TempoConfig } from './config.ts';
import { isInRing, isSingleProcess, startOrder, targetProblem } from './graph.ts';
import { hasDistributorRing, ratesAloneReason } from './wire-distributors.ts';
import { compactorRing } from './wire-shares.ts';

type Report = (path: string, text: string) => void;

/** Where a ring can be kept; '' = a ring that is none. */
const STORES: readonly string[] = ['', 'memberlist', 'etcd', 'inmemory'];

interface UsedRing {
  readonly path: string;
  readonly store: string;
  readonly heartbeatPeriodMs: number;
  readonly heartbeatTimeoutMs: number;
}

export function checkRings(config: TempoConfig, fail: Report, warn: Report): void {
  if (targetProblem(config.target) !== undefined) return;
  const rings = usedRings(config);
  for (const { path, store, heartbeatPeriodMs: period, heartbeatTimeoutMs: timeout } of rings) {
    if (!STORES.includes(store)) {
      const text = `is ${store}, where no ring can be kept: memberlist, etcd or inmemory`;
      fail(`${path}.ring.kvstore.store`, text);
    }
    if (store === '' || timeout <= 0 || period < timeout) continue;
    const text = `is not less than heartbeat_timeout (${timeout} ms): the instance counts as dead in between`;
    warn(`${path}.${path.endsWith('lifecycler') ? '' : 'ring.'}heartbeat_period`, text);
  }
  if (usesGossip(config) && config.memberlist.joinMembers.length === 0) {
    warn('memberlist.join_members', 'names nobody: others have to join this process, else it is alone');
  }
  const order = startOrder(config.target);
  const asksIngesters = order.includes('distributor') && isInRing(order, config);
  if (asksIngesters && config.ingesterClient.poolConfig.checkintervalMs <= 0) {
    fail('ingester_client.pool_config.checkinterval', 'must be more than 0');
  }
  const { shuffleShardingIngestersEnabled: isSharded, shuffleShardingIngestersLookbackPeriodMs: lookbackMs } =
    config.querier;
  const heldMs = config.ingester.maxBlockDurationMs + config.storage.trace.blocklistPollMs;
  if (order.includes('querier') && isInRing(order, config) && isSharded && lookbackMs < heldMs) {
    const text =
      'is less than ingester.max_block_duration and storage.trace.blocklist_poll together: ' +
      'spans may not be found while only an ingester has them that others stand in for';
    warn('querier.shuffle_sharding_ingesters_lookback_period', text);
  }
  const alone = ratesAloneReason(config);
  if (alone !== undefined) {
    const text = `is global, and each distributor may take all of it for itself: ${alone}`;
    warn('overrides.defaults.ingestion.rate_strategy', text);
  }
}

/** Whether the process is a member of a gossip cluster, and listens for it. */
export function usesGossip(config: TempoConfig): boolean {
  return !isSingleProcess(config.target) && usedRings(config).some(({ store }) => store === 'memberlist');
}

function usedRings(config: TempoConfig): readonly UsedRing[] {
  const { target, ingester, distributor, backendWorker } = config;
  const order = startOrder(target);
  const rings: UsedRing[] = [];
  type Block = Pick<TempoConfig['compactor']['ring'], 'kvstore' | 'heartbeatPeriodMs' | 'heartbeatTimeoutMs'>;
  const add = (path: string, isUsed: boolean, { kvstore, ...ring }: Block): void => {
    if (isUsed) rings.push({ path, store: kvstore.store, ...ring });
  };
  const { lifecycler } = ingester;
  const { heartbeatPeriodMs, ring } = lifecycler;
  add('ingester.lifecycler', isInRing(order, config), { ...ring, heartbeatPeriodMs });
  add('distributor', hasDistributorRing(config), distributor.ring);
  add('compactor', order.includes('compactor'), compactorRing(config));
  add('backend_worker', order.includes('backend-worker'), backendWorker.ring);
  return rings;
}
