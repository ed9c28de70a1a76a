// One member of a gossiping cluster: takes packets and states in, tells news, compares all it knows with
// another member now and then. Which sockets are used, and whom it joins first, others decide.
import { type Clock, every } from '../../lib/clock.ts';
import { TempoError } from '../../lib/errors.ts';
import type { Logger } from '../../telemetry/log.ts';
import { addressText } from './address.ts';
import { BroadcastQueue } from './broadcast-queue.ts';
import type { GossipMetrics } from './gossip-metrics.ts';
import { GossipStore } from './gossip-store.ts';
import { type Member, Membership } from './membership.ts';
import {
  type Address,
  decodePacket,
  decodePushPull,
  encodeMessage,
  encodePushPull,
  type Message,
  packetsOf,
  type ReceivedPushPull,
  splitLabel,
  withChecksum,
  withLabel,
} from './messages.ts';
import { Prober } from './prober.ts';
import type { Receiver, Transport } from './transport.ts';

/** News of one packet: far below what a member takes. */
const PACKET_BYTES = 1024 * 1024;
const QUEUE_LENGTH_MAX = 4096;
/** All news that wait, as messages of the largest size. */
const QUEUE_MESSAGES_MAX = 2;
const PROBE_INTERVAL_MS = 5000;
/** From this version on packets may have a checksum. */
const CHECKSUM_VERSION = 5;
/** Above so many members all is compared less often. */
const SCALE_FROM = 32;
/** Rings that this process has no use for itself. */
const KEYS_MAX = 64;

export interface GossipNodeOptions {
  readonly name: string;
  readonly address: Address;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  readonly metrics: GossipMetrics;
  readonly retransmitFactor: number;
  readonly gossipIntervalMs: number;
  readonly gossipNodes: number;
  readonly gossipToDeadMs: number;
  readonly pushPullIntervalMs: number;
  readonly deadNodeReclaimMs: number;
  readonly leftTimeoutMs: number;
  readonly obsoleteEntriesMs: number;
  readonly notifyIntervalMs: number;
  readonly label: string;
  /** Also messages with another label are taken. */
  readonly acceptsAnyLabel: boolean;
  /** Of one message, and of what it is when it is not compressed any more. */
  readonly messageBytesMax: number;
  readonly membersMax: number;
  /** Of one ring. */
  readonly instancesMax: number;
}

export class GossipNode implements Receiver {
  readonly membership: Membership;
  readonly store: GossipStore;
  readonly #options: GossipNodeOptions;
  readonly #prober: Prober;
  readonly #queue: BroadcastQueue;
  readonly #timers: (() => void)[] = [];

  constructor(options: GossipNodeOptions) {
    this.#options = options;
    const { metrics, clock, logger } = options;
    const queueBytesMax = options.messageBytesMax * QUEUE_MESSAGES_MAX;
    this.#queue = new BroadcastQueue(QUEUE_LENGTH_MAX, () => metrics.dropped.inc(), queueBytesMax);
    const probing = { ...options, probeIntervalMs: PROBE_INTERVAL_MS, intervalMs: PROBE_INTERVAL_MS };
    this.membership = new Membership({
      ...probing,
      reclaimMs: options.deadNodeReclaimMs,
      broadcast: (about, message) =>
        this.#queue.add('member', new Set([about]), encodeMessage(message), true),
      send: (to, message) => this.#send(to, encodeMessage(message)),
    });
    this.#prober = new Prober({
      ...probing,
      membership: this.membership,
      send: (to, message, failed) => this.#send(to, encodeMessage(message), failed),
    });
    this.store = new GossipStore({
      clock,
      logger,
      metrics,
      leftTimeoutMs: options.leftTimeoutMs,
      notifyIntervalMs: options.notifyIntervalMs,
      valueBytesMax: options.messageBytesMax,
      keysMax: KEYS_MAX,
      instancesMax: options.instancesMax,
      broadcast: (key, names, payload, isRare) =>
        this.#queue.add(`ring ${key}`, names, encodeMessage({ kind: 'user', payload }), isRare),
    });
    metrics.show(() => ({
      membersCount: this.membership.presentCount,
      health: this.membership.health,
      keysCount: this.store.values.length,
      queuedMessages: this.#queue.length,
    }));
  }

  get queuedMessages(): number {
    return this.#queue.length;
  }

  start(): void {
    const { clock, gossipIntervalMs, obsoleteEntriesMs, random } = this.#options;
    this.#prober.start();
    // Members that were started together do not all speak at one moment.
    if (gossipIntervalMs > 0) {
      const begin = clock.after(gossipIntervalMs * random(), () => {
        this.#timers.push(every(clock, gossipIntervalMs, () => this.gossip()));
      });
      this.#timers.push(begin);
    }
    this.#pushPullLater();
    if (obsoleteEntriesMs <= 0) return;
    this.#timers.push(every(clock, obsoleteEntriesMs, () => this.store.forgetLeft()));
  }

  stop(): void {
    for (const cancel of this.#timers) cancel();
    this.#prober.stop();
    this.membership.stop();
  }

  /** Compares all with the member at host:port, as who is new there. */
  async join(to: string): Promise<void> {
    await this.#pushPull(to, true);
  }

  /** Tells some members what is new. */
  gossip(): void {
    const { gossipNodes, retransmitFactor } = this.#options;
    if (this.#queue.length === 0) return;
    const times = Math.max(1, this.membership.tellTimes(retransmitFactor));
    for (const member of this.#some(gossipNodes, (each) => this.#hears(each))) {
      const messages = this.#queue.take(PACKET_BYTES, times);
      for (const packet of packetsOf(messages, PACKET_BYTES))
        this.#send(member.address, packet, undefined, member);
    }
  }

  packet(packet: Uint8Array, from: string): void {
    const { messageBytesMax, metrics, logger } = this.#options;
    let messages: readonly Message[];
    try {
      messages = decodePacket(this.#unlabelled(packet), messageBytesMax);
    } catch (err) {
      metrics.invalid.inc();
      return logger.warn('gossip packet is dropped', { from, bytes: packet.length, err });
    }
    const values: Uint8Array[] = [];
    for (const message of messages) {
      if (message.kind === 'user') values.push(message.payload);
      else this.#take(message, from);
    }
    if (values.length > 0) this.store.receive(...values);
  }

  request(bytes: Uint8Array): Uint8Array {
    const theirs = decodePushPull(this.#unlabelled(bytes), this.#options.messageBytesMax);
    const answer = this.#everything(theirs.isJoin);
    this.#merge(theirs);
    return answer;
  }

  #take(message: Exclude<Message, { kind: 'user' }>, from: string): void {
    // Members that are older name no address.
    const origin = (): Address | undefined => this.#memberAt(from)?.address;
    switch (message.kind) {
      case 'ping':
        return this.#prober.ping(message.seq, message.node, message.source.address ?? origin());
      case 'indirect-ping':
        return this.#prober.relay(message, message.source.address ?? origin());
      case 'ack':
      case 'nack':
        return this.#prober.answer(message.kind, message.seq);
      case 'alive':
        return this.membership.alive(message);
      case 'suspect':
        return this.membership.suspect(message);
      case 'dead':
        return this.membership.dead(message);
    }
  }

  #unlabelled(bytes: Uint8Array): Uint8Array {
    const { label: own, acceptsAnyLabel } = this.#options;
    const { label, rest } = splitLabel(bytes);
    if (label === own || acceptsAnyLabel) return rest;
    throw new TempoError('invalid_argument', `gossip of cluster "${label}" came to a member of "${own}"`);
  }

  #everything(isJoin: boolean): Uint8Array {
    this.#options.metrics.pushes.inc();
    return encodePushPull({ isJoin, members: this.membership.stored(), userState: this.store.state() });
  }

  #merge({ members, userState, refusedCount }: ReceivedPushPull): void {
    const { metrics, logger } = this.#options;
    metrics.pulls.inc();
    if (refusedCount > 0) {
      metrics.invalid.inc();
      logger.warn('members of another state have no possible name, and are passed over', {
        members: refusedCount,
      });
    }
    this.membership.merge(members);
    this.store.mergeState(userState);
  }

  async #pushPull(to: string, isJoin: boolean): Promise<void> {
    const { transport, label, messageBytesMax } = this.#options;
    const request = withLabel(label, this.#everything(isJoin));
    const read = (answer: Uint8Array): ReceivedPushPull =>
      decodePushPull(splitLabel(answer).rest, messageBytesMax);
    this.#merge(await transport.exchange(to, request, read));
  }

  #pushPullLater(): void {
    const { clock, pushPullIntervalMs, random } = this.#options;
    if (pushPullIntervalMs <= 0) return;
    const count = this.membership.presentCount;
    const factor = count <= SCALE_FROM ? 1 : Math.ceil(Math.log2(count / SCALE_FROM)) + 1;
    // Spread, so that members that started together do not do it together.
    const cancel = clock.after(pushPullIntervalMs * factor * (0.75 + random() / 2), () => {
      this.#timers.splice(this.#timers.indexOf(cancel), 1);
      this.#pushPullSome();
      this.#pushPullLater();
    });
    this.#timers.push(cancel);
  }

  #pushPullSome(): void {
    const [member] = this.#some(1, ({ state }) => state === 'alive');
    if (member === undefined) return;
    const failed = (err: unknown): void =>
      this.#options.logger.warn('state of another member could not be had', { member: member.name, err });
    void this.#pushPull(addressText(member.address), false).catch(failed);
  }

  /** Who is told news: also who died only now, as it may live. */
  #hears({ state, changedMs }: Member): boolean {
    const { clock, gossipToDeadMs } = this.#options;
    return (
      state === 'alive' ||
      state === 'suspect' ||
      (state === 'dead' && clock.nowMs() - changedMs <= gossipToDeadMs)
    );
  }

  #some(count: number, isWanted: (member: Member) => boolean): Member[] {
    const others = this.membership.all.filter((each) => each.name !== this.membership.name && isWanted(each));
    const chosen: Member[] = [];
    while (chosen.length < count && others.length > 0) {
      const at = Math.floor(this.#options.random() * others.length);
      chosen.push(others[at]);
      others[at] = others[others.length - 1];
      others.pop();
    }
    return chosen;
  }

  #memberAt(hostPort: string): Member | undefined {
    return this.membership.all.find(({ address }) => addressText(address) === hostPort);
  }

  #send(to: Address, packet: Uint8Array, failed?: () => void, member?: Member): void {
    const { transport, label } = this.#options;
    const understands = (member?.versions[1] ?? 0) >= CHECKSUM_VERSION;
    const checked = understands ? withChecksum(packet) : packet;
    transport.send(addressText(to), withLabel(label, checked), failed);
  }
}
