// Asks one member after another whether it lives, and others to ask it when it does not answer.
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../telemetry/log.ts';
import { addressText } from './address.ts';
import type { Member, Membership } from './membership.ts';
import type { Address, Message, Source } from './messages.ts';

/** Of the time for a probe, what the member itself has to answer. */
const DIRECT_SHARE = 0.4;
const INDIRECT_PROBES = 3;
/** From this version on members say that they could not reach another. */
const NACK_VERSION = 4;
/** Probes on behalf of others that are under way. */
const RELAYS_MAX = 256;

export interface ProberOptions {
  readonly membership: Membership;
  readonly address: Address;
  readonly clock: Clock;
  readonly random: () => number;
  readonly intervalMs: number;
  /** Members that have been gone for longer are forgotten, once a round. */
  readonly gossipToDeadMs: number;
  readonly logger: Logger;
  readonly send: (to: Address, message: Message, failed?: () => void) => void;
}

interface Waiting {
  readonly acked: () => void;
  readonly nacked?: () => void;
}

export class Prober {
  readonly #options: ProberOptions;
  readonly #waiting = new Map<number, Waiting>();
  #seq: number;
  #round: string[] = [];
  #cancel: (() => void) | undefined;
  #isStopped = false;

  constructor(options: ProberOptions) {
    this.#options = options;
    this.#seq = Math.floor(options.random() * 2 ** 31);
  }

  start(): void {
    this.#next(this.#options.intervalMs * this.#options.random());
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancel?.();
    this.#waiting.clear();
  }

  /** @param to who asks, as far as that is known. */
  ping(seq: number, node: string, to: Address | undefined): void {
    const { membership, logger } = this.#options;
    // Meant for who had this address before.
    if (node !== '' && node !== membership.name) {
      return logger.debug('probe is for another member', { member: node });
    }
    if (to !== undefined) this.#options.send(to, { kind: 'ack', seq });
  }

  /** Asks a member on behalf of another. @param to who asks, as far as that is known. */
  relay(message: Extract<Message, { kind: 'indirect-ping' }>, to: Address | undefined): void {
    const { clock, intervalMs, send } = this.#options;
    if (to === undefined || this.#waiting.size > RELAYS_MAX) return;
    const seq = this.#nextSeq();
    const forget = clock.after(intervalMs, () => this.#waiting.delete(seq));
    const cancelNack = clock.after(intervalMs * DIRECT_SHARE, () => {
      if (message.wantsNack) send(to, { kind: 'nack', seq: message.seq });
    });
    this.#waiting.set(seq, {
      acked: () => {
        cancelNack();
        forget();
        send(to, { kind: 'ack', seq: message.seq });
      },
    });
    send(message.target, this.#pingOf(seq, message.node));
  }

  answer(kind: 'ack' | 'nack', seq: number): void {
    const waiting = this.#waiting.get(seq);
    if (kind === 'nack') return waiting?.nacked?.();
    this.#waiting.delete(seq);
    waiting?.acked();
  }

  #next(delayMs: number): void {
    if (this.#isStopped) return;
    this.#cancel = this.#options.clock.after(delayMs, () => {
      const target = this.#target();
      // When its own network is in trouble it asks less often, and waits longer.
      const intervalMs = this.#options.intervalMs * (1 + this.#options.membership.health);
      if (target !== undefined) this.#probe(target, intervalMs);
      this.#next(intervalMs);
    });
  }

  /** In rounds, each in another order, so that nobody is left out for long. */
  #target(): Member | undefined {
    const { membership, random, gossipToDeadMs } = this.#options;
    for (let tries = 0; tries < 2; tries++) {
      for (let name = this.#round.pop(); name !== undefined; name = this.#round.pop()) {
        const member = membership.member(name);
        if (name !== membership.name && (member?.state === 'alive' || member?.state === 'suspect'))
          return member;
      }
      membership.forget(gossipToDeadMs);
      const order = membership.all.map(({ name }) => ({ name, at: random() }));
      this.#round = order.sort((a, b) => a.at - b.at).map(({ name }) => name);
    }
    return undefined;
  }

  #probe(target: Member, intervalMs: number): void {
    const { clock, intervalMs: directMs, membership, send } = this.#options;
    const seq = this.#nextSeq();
    let nacks = 0;
    let expected = 0;
    let isIndirect = false;
    const askOthers = (): void => {
      if (isIndirect || !this.#waiting.has(seq)) return;
      isIndirect = true;
      expected = this.#askOthers(seq, target);
    };
    const cancelDirect = clock.after(directMs * DIRECT_SHARE, askOthers);
    const cancelEnd = clock.after(intervalMs, () => {
      this.#waiting.delete(seq);
      const missing = expected === 0 ? 1 : expected - nacks;
      membership.improve(-missing);
      const { incarnation } = target;
      this.#options.logger.info('member does not answer', { member: target.name });
      membership.suspect({ incarnation, node: target.name, from: membership.name });
    });
    this.#waiting.set(seq, {
      acked: () => {
        cancelDirect();
        cancelEnd();
        membership.improve(1);
      },
      nacked: () => nacks++,
    });
    if (target.state === 'suspect') {
      const { incarnation, name: node } = target;
      send(target.address, { kind: 'suspect', incarnation, node, from: membership.name });
    }
    send(target.address, this.#pingOf(seq, target.name), askOthers);
  }

  /** @returns how many of them say when they cannot reach it either. */
  #askOthers(seq: number, target: Member): number {
    const { membership, random, send, logger } = this.#options;
    const others = membership.all
      .filter(({ name, state }) => state === 'alive' && name !== target.name && name !== membership.name)
      .map((member) => ({ member, at: random() }))
      .sort((a, b) => a.at - b.at)
      .slice(0, INDIRECT_PROBES);
    logger.debug('asks others for a member', { member: target.name, addr: addressText(target.address) });
    let nacking = 0;
    for (const { member } of others) {
      const wantsNack = (member.versions[1] ?? 0) >= NACK_VERSION;
      if (wantsNack) nacking++;
      send(member.address, {
        kind: 'indirect-ping',
        seq,
        target: target.address,
        node: target.name,
        wantsNack,
        source: this.#source(),
      });
    }
    return nacking;
  }

  #pingOf(seq: number, node: string): Message {
    return { kind: 'ping', seq, node, source: this.#source() };
  }

  #source(): Source {
    return { address: this.#options.address, node: this.#options.membership.name };
  }

  #nextSeq(): number {
    this.#seq = (this.#seq + 1) >>> 0;
    return this.#seq;
  }
}
