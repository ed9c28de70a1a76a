// The pages of rings and of gossip. When all modules run in one process, a ring holds this instance, or
// nobody.
import type { FastifyInstance } from 'fastify';
import { hasHeartbeat } from '../ring/instance.ts';
import type { Rings } from '../ring/rings.ts';
import type { WatchedRing } from '../ring/watched-ring.ts';
import type { TempoConfig } from './config.ts';
import { registerMemberlistPage } from './memberlist-page.ts';
import { registerRingPage, type Shard, timeText } from './ring-page.ts';

/** Rings of other processes that are shown empty where nobody is in them. */
const OTHERS = ['/metrics-generator/ring', '/live-store/ring'];

export interface RingPagesOptions {
  /** The process has an ingester. */
  readonly hasIngester: boolean;
  /** undefined = it follows none. */
  readonly rings?: Rings | undefined;
  readonly now?: () => Date;
}

export function registerRingPages(
  app: FastifyInstance,
  config: TempoConfig,
  { hasIngester, rings, now = () => new Date() }: RingPagesOptions,
): void {
  registerMemberlistPage(app, () => rings?.gossip, now);
  const followed = rings?.all ?? [];
  if (!hasIngester && followed.length === 0) return;
  if (hasIngester && !followed.some(({ name }) => name === 'ingester')) {
    const self = selfShard(config, now);
    registerRingPage(app, { url: '/ingester/ring', shards: () => [self()], now });
  }
  for (const ring of followed) registerSharedRing(app, ring, now);
  for (const url of OTHERS) registerRingPage(app, { url, shards: () => [], now });
}

function selfShard({ ingester: { lifecycler }, server }: TempoConfig, now: () => Date): () => Shard {
  const nowSec = (): number => Math.floor(now().getTime() / 1000);
  const registered = timeText(nowSec());
  return () => ({
    id: lifecycler.id,
    state: 'ACTIVE',
    address: `${lifecycler.address || '127.0.0.1'}:${lifecycler.port || server.grpcListenPort}`,
    timestamp: timeText(nowSec()),
    registered_timestamp: registered,
    read_only: false,
    read_only_updated_timestamp: timeText(0),
    zone: lifecycler.availabilityZone,
    tokens: [],
  });
}

function registerSharedRing(app: FastifyInstance, ring: WatchedRing, now: () => Date): void {
  registerRingPage(app, {
    url: `/${ring.name}/ring`,
    shards: () => shardsOf(ring, now().getTime()),
    ownership: () => ring.current.ownership(),
    forget: (id) => ring.forget(id),
    now,
  });
}

function shardsOf({ current }: WatchedRing, nowMs: number): Shard[] {
  const { heartbeatTimeoutMs } = current.settings;
  return current.instances.map((instance) => ({
    id: instance.id,
    state: hasHeartbeat(instance, heartbeatTimeoutMs, nowMs) ? instance.state : 'UNHEALTHY',
    address: instance.addr,
    timestamp: timeText(instance.timestampSec),
    registered_timestamp: timeText(instance.registeredSec),
    read_only: instance.readOnly,
    read_only_updated_timestamp: timeText(instance.readOnlyUpdatedSec),
    zone: instance.zone,
    tokens: [...instance.tokens],
  }));
}
