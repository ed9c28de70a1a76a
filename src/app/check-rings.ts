// Rings that the modules of the target would be in: whether they can be kept where the configuration says.
import type { TempoConfig } from './config.ts';
import { isInRing, startOrder, targetProblem } from './graph.ts';
import { hasDistributorRing } from './wire-distributors.ts';
import { compactorRing } from './wire-shares.ts';

/** Where a ring can be kept; '' = a ring that is none. */
const STORES: readonly string[] = ['', 'memberlist', 'etcd', 'inmemory'];

export function checkRings(config: TempoConfig, fail: (path: string, text: string) => void): void {
  if (targetProblem(config.target) !== undefined) return;
  const { ingester, distributor, backendWorker } = config;
  const order = startOrder(config.target);
  const rings: readonly (readonly [path: string, isUsed: boolean, store: string])[] = [
    ['ingester.lifecycler', isInRing(order, config), ingester.lifecycler.ring.kvstore.store],
    ['distributor', hasDistributorRing(config), distributor.ring.kvstore.store],
    ['compactor', order.includes('compactor'), compactorRing(config).kvstore.store],
    ['backend_worker', order.includes('backend-worker'), backendWorker.ring.kvstore.store],
  ];
  for (const [path, isUsed, store] of rings) {
    if (!isUsed || STORES.includes(store)) continue;
    fail(
      `${path}.ring.kvstore.store`,
      `is ${store}, where no ring can be kept: memberlist, etcd or inmemory`,
    );
  }
}
