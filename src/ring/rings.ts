// Builds rings and this process's instances in them from configuration. One Rings a process: where several
// rings are kept in one kind of store, they share it. What a store needs is loaded when it is opened.
import { networkInterfaces } from 'node:os';
import { type Clock, systemClock } from '../lib/clock.ts';
import { TempoError } from '../lib/errors.ts';
import type { Service } from '../lib/service.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { MemberlistConfig } from './config.ts';
import { DeferredStore } from './deferred-store.ts';
import type { GossipService } from './gossip/gossip-service.ts';
import type { RingStore } from './kv.ts';
import { Lifecycler } from './lifecycler.ts';
import { MemoryStore } from './memory-kv.ts';
import type { RingSettings } from './ring.ts';
import { RingMetrics } from './ring-metrics.ts';
import type { TlsConfig } from './store-tls.ts';
import { WatchedRing } from './watched-ring.ts';

/** Names that metrics, pages and logs use. */
export type RingName =
  | 'ingester'
  | 'distributor'
  | 'compactor'
  | 'backend-worker'
  | 'metrics-generator'
  | 'live-store';

/** `kvstore:` of a ring, as far as it is used. */
export interface StoreConfig {
  readonly store: string;
  readonly prefix: string;
  readonly etcd?: {
    readonly endpoints: readonly string[];
    readonly dialTimeoutMs: number;
    readonly maxRetries: number;
    readonly username: string;
    readonly password: string;
  } & Omit<TlsConfig, 'tlsCipherSuites' | 'tlsMinVersion'>;
}

export interface RingConfig {
  readonly name: RingName;
  /** `override_ring_key`, without the prefix. */
  readonly key: string;
  readonly kvstore: StoreConfig;
  readonly settings: RingSettings;
}

/** Of this process's instance. */
export interface MemberConfig {
  readonly id: string;
  /** '' = the address of the first interface that has one. */
  readonly addr: string;
  readonly interfaceNames: readonly string[];
  readonly enableInet6: boolean;
  readonly port: number;
  readonly zone: string;
  readonly tokensCount: number;
  readonly heartbeatPeriodMs: number;
  readonly joinAfterMs?: number;
  readonly observePeriodMs?: number;
  readonly minReadyMs?: number;
  readonly checksRingHealth?: boolean;
  readonly finalSleepMs?: number;
  readonly unregistersOnShutdown?: boolean;
  readonly tokensFilePath?: string;
  readonly forgetAfterMs?: number;
}

export interface RingsOptions {
  /** A single process: every ring is in its memory, whatever the configuration says. */
  readonly isSingleProcess: boolean;
  readonly memberlist: MemberlistConfig;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly clock?: Clock;
  readonly random?: () => number;
}

/** A ring that is followed; a service, so that it is up to date when what needs it starts. */
export interface RingService extends Service {
  readonly ring: WatchedRing;
}

export class Rings implements Service {
  /** As Tempo calls what keeps rings. */
  readonly name = 'memberlist-kv';
  readonly #options: RingsOptions;
  readonly #metrics: RingMetrics;
  readonly #clock: Clock;
  readonly #stores = new Map<string, RingStore>();
  /** What opens the stores that are in use. */
  readonly #openers: (() => Promise<void>)[] = [];
  readonly #closers: (() => Promise<void>)[] = [];
  #gossip: GossipService | undefined;
  /** How many have started it and not stopped it. */
  #users = 0;
  readonly #rings = new Map<RingName, RingService & { readonly config: RingConfig }>();

  constructor(options: RingsOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#metrics = new RingMetrics(options.metrics, () => this.#clock.nowMs());
  }

  /** undefined = no ring is kept by gossip, or it has not started. */
  get gossip(): GossipService | undefined {
    return this.#gossip;
  }

  /** Opens the stores: started before the rings, stopped after them. Several may: the first start counts. */
  async start(): Promise<void> {
    if (this.#users++ > 0) return;
    try {
      for (const open of this.#openers) await open();
    } catch (err) {
      // Whoever could not start it does not stop it: nothing is left open.
      this.#users--;
      await this.#close();
      throw err;
    }
  }

  /** Closes the stores when the last has stopped it. */
  async stop(): Promise<void> {
    if (--this.#users > 0) return;
    await this.#close();
  }

  async #close(): Promise<void> {
    for (const close of this.#closers.splice(0).reverse()) await close();
  }

  /** Rings that this process follows, for the pages. */
  get all(): readonly WatchedRing[] {
    return [...this.#rings.values()].map(({ ring }) => ring);
  }

  /** Follows a ring; the same one for every call with its name. */
  createRing(config: RingConfig): RingService {
    const known = this.#rings.get(config.name);
    if (known !== undefined) return known;
    const { name, kvstore, key, settings } = config;
    const store = this.#storeOf(kvstore);
    const ring = new WatchedRing({ name, store, key: kvstore.prefix + key, settings });
    this.#metrics.addRing(ring);
    const service = {
      name: `${name}-ring`,
      ring,
      config,
      start: () => ring.start(),
      stop: async () => ring.stop(),
    };
    this.#rings.set(name, service);
    return service;
  }

  /** Shows a ring that this process is alone in, beside those that are kept. */
  showAlone(name: RingName, stateNow: () => string | undefined): void {
    this.#metrics.addAlone(name, stateNow);
  }

  /** Puts this process into a ring: started after the ring, stopped before it. */
  createMember(ring: RingConfig, member: MemberConfig): Lifecycler {
    const { ring: watched } = this.createRing(ring);
    return new Lifecycler({
      ring: watched,
      store: this.#storeOf(ring.kvstore),
      key: ring.kvstore.prefix + ring.key,
      id: member.id,
      addr: addressOf(member),
      zone: member.zone,
      tokensCount: member.tokensCount,
      heartbeatPeriodMs: member.heartbeatPeriodMs,
      joinAfterMs: member.joinAfterMs ?? 0,
      observePeriodMs: member.observePeriodMs ?? 0,
      minReadyMs: member.minReadyMs ?? 0,
      checksRingHealth: member.checksRingHealth ?? false,
      finalSleepMs: member.finalSleepMs ?? 0,
      unregistersOnShutdown: member.unregistersOnShutdown ?? true,
      tokensFilePath: member.tokensFilePath ?? '',
      forgetAfterMs: member.forgetAfterMs ?? 0,
      clock: this.#clock,
      random: this.#options.random ?? Math.random,
      logger: this.#options.logger,
      metrics: this.#metrics,
    });
  }

  #storeOf({ store: configured, etcd }: StoreConfig): RingStore {
    const kind = this.#options.isSingleProcess ? 'inmemory' : configured;
    const name = kind === 'etcd' ? `etcd ${etcd?.endpoints.join()}` : kind;
    const known = this.#stores.get(name);
    if (known !== undefined) return known;
    const store = this.#createStore(kind, etcd);
    this.#stores.set(name, store);
    return store;
  }

  #createStore(kind: string, etcd: StoreConfig['etcd']): RingStore {
    switch (kind) {
      case 'inmemory':
        return new MemoryStore();
      case 'memberlist': {
        const store = new DeferredStore();
        this.#openers.push(() => this.#openGossip(store));
        return store;
      }
      case 'etcd': {
        const store = new DeferredStore();
        this.#openers.push(() => this.#openEtcd(store, etcd));
        return store;
      }
      default:
        throw new TempoError(
          'unimplemented',
          `a ring cannot be kept in "${kind}": use memberlist, etcd or inmemory`,
        );
    }
  }

  async #openEtcd(store: DeferredStore, etcd: StoreConfig['etcd']): Promise<void> {
    if (etcd === undefined) throw new TempoError('invalid_argument', 'a ring in etcd needs kvstore.etcd');
    const { EtcdStore } = await import('./etcd-store.ts');
    const { logger } = this.#options;
    const tls = {
      name: 'kvstore.etcd',
      caFile: etcd.tlsCaPath,
      certFile: etcd.tlsCertPath,
      keyFile: etcd.tlsKeyPath,
      serverName: etcd.tlsServerName,
      acceptsAny: etcd.tlsInsecureSkipVerify,
    };
    const opened = new EtcdStore({
      ...etcd,
      tls: etcd.tlsEnabled ? tls : undefined,
      clock: this.#clock,
      logger: logger.child({ module: 'etcd' }),
    });
    this.#closers.push(() => opened.close());
    logger.info('connecting to etcd, waits until it answers', { endpoints: etcd.endpoints.join(',') });
    await opened.open();
    store.open(opened);
  }

  async #openGossip(store: DeferredStore): Promise<void> {
    const { GossipService: Service } = await import('./gossip/gossip-service.ts');
    const { memberlist: config, logger, metrics, random = Math.random } = this.#options;
    const gossip = new Service({ config, clock: this.#clock, random, logger, metrics });
    this.#closers.push(() => gossip.stop());
    await gossip.start();
    this.#gossip = gossip;
    store.open(gossip.store);
  }
}

/** host:port under which others reach the instance. Throws when no interface has an address. */
function addressOf({ addr, interfaceNames, enableInet6, port }: MemberConfig): string {
  const host = addr === '' ? interfaceAddress(interfaceNames, enableInet6) : addr;
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Of the named interfaces, else of any that is no loopback, else of loopback. */
export function interfaceAddress(names: readonly string[], enableInet6: boolean): string {
  const all = networkInterfaces();
  const named = names.flatMap((name) => all[name] ?? []);
  const others = Object.values(all).flatMap((addresses) => addresses ?? []);
  const usable = [...named, ...others.filter(({ internal }) => !internal), ...others].filter(
    ({ family, address }) => family === 'IPv4' || (enableInet6 && !address.startsWith('fe80:')),
  );
  const [found] = usable;
  if (found === undefined) throw new TempoError('internal', `no address found on ${names.join(', ')}`);
  return found.address;
}
