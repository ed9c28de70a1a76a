// Gossip as a service of the process: opens the port, joins the members that the configuration names, joins
// them again, and leaves. Loaded only where a ring is kept by gossip.
import { randomBytes, X509Certificate } from 'node:crypto';
import { networkInterfaces } from 'node:os';
import { HOSTNAME } from '../../config/shared-blocks.ts';
import { type Clock, every, sleep } from '../../lib/clock.ts';
import { TempoError } from '../../lib/errors.ts';
import { serverIdentity } from '../../cache/server-identity.ts';
import type { Service } from '../../lib/service.ts';
import { explainedTls } from '../../rpc/client-tls.ts';
import { limitLines, type Logger } from '../../telemetry/log.ts';
import type { Metrics } from '../../telemetry/metrics.ts';
import { storeTls } from '../store-tls.ts';
import type { MemberlistConfig } from '../config.ts';
import { addressText, ipBytes } from './address.ts';
import { discover, type Resolver, systemResolver } from './discovery.ts';
import { GossipMetrics } from './gossip-metrics.ts';
import { GossipNode } from './gossip-node.ts';
import type { GossipStore } from './gossip-store.ts';
import type { Member } from './membership.ts';
import type { Address } from './messages.ts';
import { TcpTransport, type TransportTls } from './tcp-transport.ts';
import { TransportMetrics } from './transport-metrics.ts';

export interface GossipServiceOptions {
  readonly config: MemberlistConfig;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly resolver?: Resolver;
}

/** Of what is tried at start, before the process goes on without. */
const FAST_JOIN_DEADLINE_MS = 15_000;
const DRAIN_PAUSE_MS = 50;
/** Extended key usages of certificates. */
const CLIENT_AUTHENTICATION = '1.3.6.1.5.5.7.3.2';
const ANY_USAGE = '2.5.29.37.0';
/** Whatever strangers send. */
const LINES_PER_SEC = 20;

export class GossipService implements Service {
  readonly name = 'memberlist-kv';
  readonly #options: GossipServiceOptions;
  readonly #logger: Logger;
  readonly #transport: TcpTransport;
  readonly #metrics: GossipMetrics;
  readonly #timers: (() => void)[] = [];
  #node: GossipNode | undefined;
  /** What others are told, which stays as it was at the start. */
  #address: Address | undefined;
  #isStopping = false;
  /** Addresses of members that have taken this one's certificate. */
  readonly #joined = new Set<string>();
  /** It is one of the members that it is to join. */
  #isNamed = false;

  constructor(options: GossipServiceOptions) {
    this.#options = options;
    const { config, metrics } = options;
    this.#metrics = new GossipMetrics(metrics);
    this.#logger = limitLines(options.logger.child({ module: 'memberlist' }), {
      linesPerSec: LINES_PER_SEC,
      dropped: () => this.#metrics.droppedLines.inc(),
      nowMs: () => options.clock.nowMs(),
    });
    this.#transport = new TcpTransport({
      bindAddresses: config.bindAddr.length > 0 ? config.bindAddr : ['0.0.0.0'],
      bindPort: config.bindPort,
      dialTimeoutMs: config.packetDialTimeoutMs,
      writeTimeoutMs: config.packetWriteTimeoutMs,
      streamTimeoutMs: config.streamTimeoutMs,
      writesMax: Math.max(1, config.maxConcurrentWrites),
      writerWaitMs: config.acquireWriterTimeoutMs,
      messageBytesMax: config.maxMessageBytes,
      connectionsMax: config.maxConnections,
      tls: tlsOf(config, this.#logger),
      logger: this.#logger,
      metrics: new TransportMetrics(metrics),
    });
  }

  /** Only once it is started. */
  get store(): GossipStore {
    return this.#started().store;
  }

  get members(): readonly (Member & { readonly addressText: string })[] {
    const { all } = this.#started().membership;
    return all.map((member) => ({ ...member, addressText: addressText(member.address) }));
  }

  get health(): number {
    return this.#started().membership.health;
  }

  get queuedMessages(): number {
    return this.#started().queuedMessages;
  }

  get nodeName(): string {
    return this.#started().membership.name;
  }

  /** Resolves when it knows what the first members that it reaches know. */
  async start(): Promise<void> {
    const { config, clock } = this.#options;
    const proxy = { packet: this.#onPacket, request: this.#onRequest };
    await this.#transport.listen(proxy, (port) => addressText(this.#advertised(port)));
    this.#address = this.#advertised(this.#transport.port);
    const node = this.#createNode(this.#address);
    this.#node = node;
    node.start();
    this.#logger.info('gossip started', { member: node.membership.name, port: this.#transport.port });
    if (config.joinMembers.length > 0) await this.#joinAtStart();
    if (config.rejoinIntervalMs > 0 && config.rejoinSeedNodes !== '') {
      const seeds = config.rejoinSeedNodes.split(',');
      this.#timers.push(every(clock, config.rejoinIntervalMs, () => void this.#joinAll(seeds)));
    }
  }

  async stop(): Promise<void> {
    if (this.#node === undefined) return this.#transport.close();
    this.#isStopping = true;
    for (const cancel of this.#timers) cancel();
    const { config } = this.#options;
    await this.#tellRest(config.broadcastTimeoutForLocalUpdatesOnShutdownMs);
    this.#node.membership.leave();
    await this.#tellRest(config.leaveTimeoutMs);
    this.#node.stop();
    await this.#transport.drained(config.packetDialTimeoutMs);
    await this.#transport.close();
  }

  readonly #onPacket = (packet: Uint8Array, from: string): void => this.#node?.packet(packet, from);
  readonly #onRequest = (bytes: Uint8Array): Uint8Array => this.#started().request(bytes);

  #started(): GossipNode {
    if (this.#node === undefined) throw new TempoError('unavailable', 'gossip has not started');
    return this.#node;
  }

  #createNode(address: Address): GossipNode {
    const { config, clock, random } = this.#options;
    const base = config.nodeName === '' ? HOSTNAME : config.nodeName;
    return new GossipNode({
      name: config.randomizeNodeName ? `${base}-${randomBytes(4).toString('hex')}` : base,
      address,
      transport: this.#transport,
      clock,
      random,
      logger: this.#logger,
      metrics: this.#metrics,
      retransmitFactor: config.retransmitFactor,
      gossipIntervalMs: config.gossipIntervalMs,
      gossipNodes: config.gossipNodes,
      gossipToDeadMs: config.gossipToDeadNodesTimeMs,
      pushPullIntervalMs: config.pullPushIntervalMs,
      deadNodeReclaimMs: config.deadNodeReclaimTimeMs,
      leftTimeoutMs: config.leftIngestersTimeoutMs,
      obsoleteEntriesMs: config.obsoleteEntriesTimeoutMs,
      notifyIntervalMs: config.notifyIntervalMs,
      label: config.clusterLabel,
      acceptsAnyLabel: config.clusterLabelVerificationDisabled,
      messageBytesMax: config.maxMessageBytes,
      membersMax: config.maxMembers,
      instancesMax: config.maxMembers,
    });
  }

  /** What others are told: as configured, else the address it is bound to, else one of an interface. */
  #advertised(port: number): Address {
    const { advertiseAddr, advertisePort, bindAddr } = this.#options.config;
    if (advertiseAddr !== '') return { ip: ipBytes(advertiseAddr), port: advertisePort };
    const bound = bindAddr[0] ?? '0.0.0.0';
    const isAny = bound === '0.0.0.0' || bound === '::';
    return { ip: ipBytes(isAny ? ownAddress(bound === '::') : bound), port };
  }

  async #joinAtStart(): Promise<void> {
    const { config, clock } = this.#options;
    const { joinMembers, abortIfClusterFastJoinFails, abortIfClusterFastJoinFailsMinNodes } = config;
    const deadline = sleep(clock, FAST_JOIN_DEADLINE_MS).then(() => 0);
    const others = await Promise.race([this.#joinSome(joinMembers), deadline]);
    // The first of a cluster finds only itself, which is no failure.
    const reached = others + (this.#isNamed ? 1 : 0);
    if (others > 0) {
      this.#logger.info('joined the cluster', { members_reached: others });
    } else if (this.#isNamed) {
      this.#logger.info('no other member of the cluster is there yet, they are looked for while running');
    } else if (!config.abortIfClusterJoinFails && !abortIfClusterFastJoinFails) {
      this.#logger.warn('no member of the cluster could be reached, tried again while running', {
        join_members: joinMembers.join(','),
      });
    }
    if (abortIfClusterFastJoinFails && reached < abortIfClusterFastJoinFailsMinNodes) {
      throw new TempoError(
        'unavailable',
        `joined ${reached} members of the cluster, ` +
          'memberlist.abort_if_cluster_fast_join_fails_min_nodes is ' +
          `${abortIfClusterFastJoinFailsMinNodes}`,
      );
    }
    if (config.abortIfClusterJoinFails && reached === 0) {
      if (!(await this.#joinWithRetries(true))) {
        throw new TempoError(
          'unavailable',
          'no member of memberlist.join_members could be joined (memberlist.abort_if_cluster_join_fails)',
        );
      }
      return;
    }
    // The rest may take its time: members that are not up yet, names that are not known yet.
    void this.#joinWithRetries();
  }

  /**
   * All members that are named.
   * @param isAwaited the start waits for it: who finds itself goes on to look while running.
   * @returns whether one was reached.
   */
  async #joinWithRetries(isAwaited = false): Promise<boolean> {
    const { config, clock } = this.#options;
    let pauseMs = config.minJoinBackoffMs;
    for (let tries = 0; !this.#isStopping; tries++) {
      const reached = await this.#joinAll(config.joinMembers);
      if (reached > 0 || this.#hasOthers()) return true;
      if (isAwaited && this.#isNamed) {
        void this.#joinWithRetries();
        return true;
      }
      // Who is named and alone goes on: others come, or are cut off.
      const isLast = config.maxJoinRetries > 0 && tries + 1 >= config.maxJoinRetries;
      if (isLast && !this.#isNamed) break;
      await sleep(clock, pauseMs);
      pauseMs = Math.min(pauseMs * 2, config.maxJoinBackoffMs);
    }
    if (!this.#isStopping)
      this.#logger.error('the cluster could not be joined', { tries: config.maxJoinRetries });
    return false;
  }

  /** As many as news are told, so that a start among many does not ask all of them. */
  async #joinSome(members: readonly string[]): Promise<number> {
    const { config, random } = this.#options;
    const addresses = (await this.#discover(members)).map((address) => ({ address, at: random() }));
    addresses.sort((a, b) => a.at - b.at);
    const wanted = config.retransmitFactor * Math.ceil(Math.log10(addresses.length + 1));
    let reached = 0;
    for (const { address } of addresses) {
      if (reached >= wanted || this.#isStopping) break;
      if (await this.#join(address)) reached++;
    }
    return this.#others(reached);
  }

  async #joinAll(members: readonly string[]): Promise<number> {
    let reached = 0;
    for (const address of await this.#discover(members)) {
      if (this.#isStopping) break;
      if (await this.#join(address)) reached++;
    }
    return this.#others(reached);
  }

  /** Of those that were reached: a name may be its own, which is known only afterwards. */
  #others(reached: number): number {
    if (reached === 0 || this.#hasOthers()) return reached;
    this.#isNamed = true;
    return 0;
  }

  async #join(address: string): Promise<boolean> {
    try {
      await this.#started().join(address);
      this.#joined.add(address);
      return true;
    } catch (err) {
      if (!this.#isStopping)
        this.#logger.info('member could not be joined', {
          addr: address,
          err: this.#explained(err, address),
        });
      return false;
    }
  }

  #explained(err: unknown, address: string): unknown {
    const { tlsEnabled, tlsCertPath } = this.#options.config;
    if (!tlsEnabled || !(err instanceof Error)) return err;
    return explainedTls(
      err.message,
      { name: 'memberlist', certFile: tlsCertPath },
      this.#joined.has(address),
    );
  }

  async #discover(members: readonly string[]): Promise<readonly string[]> {
    const { config, resolver = systemResolver } = this.#options;
    const { addresses, failures } = await discover(members, config.bindPort, resolver);
    for (const { member, err } of failures) this.#logger.warn('member has no address', { member, err });
    const own = this.#address && addressText(this.#address);
    this.#isNamed ||= own !== undefined && addresses.includes(own);
    return addresses.filter((address) => address !== own);
  }

  #hasOthers(): boolean {
    const { all, name: own } = this.#started().membership;
    return all.some(({ name, state }) => name !== own && state === 'alive');
  }

  /** Sends what waits in the queue, as far as there is anybody to hear it. */
  async #tellRest(limitMs: number): Promise<void> {
    const node = this.#started();
    const end = performance.now() + limitMs;
    while (node.queuedMessages > 0 && this.#hasOthers() && performance.now() < end) {
      node.gossip();
      await new Promise((resolve) => setTimeout(resolve, DRAIN_PAUSE_MS));
    }
  }
}

/**
 * Both ends show the same certificate. Who listens asks for one of the authority, where there is one and
 * the own certificate is for clients too: Tempo's members ask for none, and theirs need not be of that kind.
 */
function tlsOf(config: MemberlistConfig, logger: Logger): TransportTls | undefined {
  const tls = storeTls('memberlist', config);
  if (tls === undefined) return undefined;
  const { cert, key, ca, serverName, acceptsAny, minVersion } = tls;
  if (cert === undefined || key === undefined) {
    throw new TempoError('invalid_argument', 'memberlist.tls_enabled needs tls_cert_path and tls_key_path');
  }
  const trusted = ca === undefined ? {} : { ca };
  const asksForCertificate = ca !== undefined && !acceptsAny && mayBeOfClient(cert);
  if (!asksForCertificate) {
    logger.warn('gossip takes connections of whoever speaks TLS', {
      needed: 'memberlist.tls_ca_path, and a tls_cert_path for server and client authentication',
    });
  }
  return {
    server: asksForCertificate
      ? { cert, key, ca, minVersion, requestCert: true, rejectUnauthorized: true }
      : { cert, key, minVersion },
    client: {
      cert,
      key,
      ...trusted,
      ...(serverName === '' ? {} : serverIdentity(serverName)),
      rejectUnauthorized: !acceptsAny,
      minVersion,
    },
  };
}

/** Whether those who listen take it from who calls. */
function mayBeOfClient(pem: Buffer): boolean {
  const usages = new X509Certificate(pem).keyUsage as readonly string[] | undefined;
  return usages === undefined || usages.includes(CLIENT_AUTHENTICATION) || usages.includes(ANY_USAGE);
}

/** One of the private networks where there is, else any that is no loopback, else that. */
function ownAddress(isIpv6: boolean): string {
  const family = isIpv6 ? 'IPv6' : 'IPv4';
  const all = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter((each) => each.family === family && !each.address.startsWith('fe80:'));
  const isPrivate = (address: string): boolean =>
    /^(10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.|f[cd])/.test(
      address,
    );
  const outside = all.filter(({ internal }) => !internal);
  const found = outside.find(({ address }) => isPrivate(address)) ?? outside[0] ?? all[0];
  if (found === undefined) throw new TempoError('internal', 'no address for memberlist.advertise_addr found');
  return found.address;
}
