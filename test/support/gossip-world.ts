// A cluster of gossiping members with a ring, in a simulation: no sockets, a clock that the test moves, and a
// network that loses, delays and cuts by a seed.
import { every } from '../../src/lib/clock.ts';
import { addressText, ipBytes, splitHostPort } from '../../src/ring/gossip/address.ts';
import { GossipMetrics } from '../../src/ring/gossip/gossip-metrics.ts';
import { GossipNode } from '../../src/ring/gossip/gossip-node.ts';
import { Lifecycler } from '../../src/ring/lifecycler.ts';
import type { RingSettings } from '../../src/ring/ring.ts';
import { RingMetrics } from '../../src/ring/ring-metrics.ts';
import { WatchedRing } from '../../src/ring/watched-ring.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { LossyNetwork } from './lossy-network.ts';
import { ManualClock } from './manual-clock.ts';
import { seeded } from './seeded.ts';

const KEY = 'collectors/ring';
const PORT = 7946;
const SETTINGS: RingSettings = {
  replicationFactor: 3,
  heartbeatTimeoutMs: 60_000,
  zoneAwarenessEnabled: false,
  excludedZones: [],
};
/** Who joins is told all within that. */
const JOIN_MS = 120;
/** Members that others are told to join: the oldest. */
const SEEDS = 3;

export interface SimulatedMember {
  readonly name: string;
  /** host:port of its gossip. */
  readonly address: string;
  readonly node: GossipNode;
  readonly ring: WatchedRing;
  readonly member: Lifecycler;
  /** What it logs, warnings and errors. */
  readonly lines: readonly string[];
  readonly timers: (() => void)[];
}

export interface WorldOptions {
  readonly seed: number;
  /** Share of packets that are lost. */
  readonly loss: number;
  readonly tokensCount?: number;
  /** `memberlist.rejoin_interval`, 0 = off. */
  readonly rejoinMs?: number;
}

/** What a member is, where it is not one more. */
interface Identity {
  /** Of its gossip. */
  readonly name?: string;
  /** Of its instance in the ring, as its name where it is not given. */
  readonly id?: string;
  /** Of one that was there before: host:port. */
  readonly address?: string;
  /** Whom it joins. */
  readonly joins?: string;
}

export class World {
  readonly clock = new ManualClock();
  readonly random: () => number;
  readonly network: LossyNetwork;
  readonly members: SimulatedMember[] = [];
  readonly #options: WorldOptions;
  #count = 0;

  constructor(options: WorldOptions) {
    this.#options = options;
    this.random = seeded(options.seed);
    const { clock, random } = this;
    this.network = new LossyNetwork({ clock, random, loss: options.loss, delayMsMax: 50 });
  }

  /** Adds members until there are so many. @returns simulated seconds until all see all in the ring. */
  async grow(count: number): Promise<number> {
    while (this.members.length < count) await this.add();
    return this.settles((each) => this.activeOf(each) === count, 60);
  }

  /** Starts a member, which joins one of those that are there. */
  async add(identity: Identity = {}): Promise<SimulatedMember> {
    const added = this.#create(identity);
    const seed = this.members[Math.floor(this.random() * Math.min(SEEDS, this.members.length))];
    added.node.start();
    const to = identity.joins ?? seed?.address;
    if (to !== undefined) {
      const joined = added.node.join(to);
      await this.clock.pass(JOIN_MS);
      await joined;
    }
    await added.ring.start();
    await added.member.start();
    this.members.push(added);
    const { rejoinMs = 0 } = this.#options;
    if (rejoinMs > 0) added.timers.push(every(this.clock, rejoinMs, () => this.#rejoin(added)));
    return added;
  }

  /** Leaves the ring and the cluster in good order. */
  async leave(member: SimulatedMember): Promise<void> {
    await member.member.stop();
    member.node.membership.leave();
    // As long as it has something to tell.
    while (member.node.queuedMessages > 0) await this.clock.pass(1000);
    this.kill(member);
  }

  /** Dies without a word. */
  kill(member: SimulatedMember): void {
    for (const cancel of member.timers) cancel();
    member.node.stop();
    // Its instance would write on into a store that nobody hears.
    void member.member.stop();
    member.ring.stop();
    this.network.detach(member.address);
    this.members.splice(this.members.indexOf(member), 1);
  }

  /** Simulated seconds until all members see the same ring and it is as wanted. */
  async settles(
    wanted: (member: SimulatedMember) => boolean,
    limitSec: number,
    stepMs = 100,
  ): Promise<number> {
    const begin = this.clock.nowMs();
    while (!this.members.every(wanted)) {
      if (this.clock.nowMs() - begin > limitSec * 1000) return Number.POSITIVE_INFINITY;
      await this.clock.pass(stepMs);
    }
    return (this.clock.nowMs() - begin) / 1000;
  }

  /** What a member knows of the ring, without the times of heartbeats, which are always under way. */
  ringOf({ ring }: SimulatedMember): string {
    return ring.current.instances
      .map(({ id, addr, state, tokens }) => {
        let sum = 0;
        for (const token of tokens) sum += token;
        return `${id} ${addr} ${state} ${tokens.length} ${sum}`;
      })
      .join('\n');
  }

  /** Whether a member has all that live for members, at the addresses where they are, and nobody else. */
  knowsAll({ node }: SimulatedMember): boolean {
    return (
      node.membership.presentCount === this.members.length &&
      this.members.every(({ name, address }) => {
        const known = node.membership.member(name);
        const isPresent = known?.state === 'alive' || known?.state === 'suspect';
        return isPresent && addressText(known.address) === address;
      })
    );
  }

  activeOf({ ring }: SimulatedMember): number {
    return ring.current.instances.filter(({ state }) => state === 'ACTIVE').length;
  }

  stop(): void {
    for (const { node, ring, timers } of this.members) {
      for (const cancel of timers) cancel();
      node.stop();
      ring.stop();
    }
  }

  #create(identity: Identity): SimulatedMember {
    const { clock, random } = this;
    const { tokensCount = 128 } = this.#options;
    const at = this.#count++;
    const {
      name = `m${String(at).padStart(3, '0')}`,
      id = name,
      address = `10.0.${at >> 8}.${at & 255}:${PORT}`,
    } = identity;
    const { host } = splitHostPort(address, PORT);
    const metrics = new Metrics();
    const lines: string[] = [];
    const write = (line: string): void => void lines.push(line);
    const logger = createLogger({ level: 'warn', format: 'logfmt', write });
    const node = new GossipNode({
      name,
      address: { ip: ipBytes(host), port: PORT },
      transport: this.network.transportOf(address),
      clock,
      random,
      logger,
      metrics: new GossipMetrics(metrics),
      retransmitFactor: 2,
      gossipIntervalMs: 1000,
      gossipNodes: 2,
      gossipToDeadMs: 30_000,
      pushPullIntervalMs: 30_000,
      deadNodeReclaimMs: 0,
      leftTimeoutMs: 300_000,
      obsoleteEntriesMs: 30_000,
      notifyIntervalMs: 100,
      label: '',
      acceptsAnyLabel: false,
      messageBytesMax: 1e7,
      membersMax: 1000,
      instancesMax: 1000,
    });
    this.network.attach(address, node);
    const ring = new WatchedRing({ name: 'ingester', store: node.store, key: KEY, settings: SETTINGS });
    const member = new Lifecycler({
      ring,
      store: node.store,
      key: KEY,
      id,
      addr: `${host}:9095`,
      zone: '',
      tokensCount,
      heartbeatPeriodMs: 5000,
      joinAfterMs: 0,
      observePeriodMs: 0,
      minReadyMs: 0,
      checksRingHealth: false,
      finalSleepMs: 0,
      unregistersOnShutdown: true,
      tokensFilePath: '',
      forgetAfterMs: 0,
      clock,
      random,
      logger,
      metrics: new RingMetrics(metrics, () => clock.nowMs()),
    });
    return { name, address, node, ring, member, lines, timers: [] };
  }

  #rejoin(member: SimulatedMember): void {
    // Those that DNS names: who lives.
    for (const { address } of this.members.slice(0, SEEDS)) {
      if (address !== member.address) member.node.join(address).catch(() => undefined);
    }
  }
}
