// Who is a member, and who of them lives: SWIM with suspicion (Das et al. 2002; Dadgar et al., Lifeguard,
// 2017) as hashicorp/memberlist speaks it. A member that answers no probe is suspected, the suspicion is
// told around, and it is dead unless it refutes that in time. What travels is others' work.
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../telemetry/log.ts';
import { addressText, isSameAddress } from './address.ts';
import type { Accusation, Address, Alive, MemberState, Message, StoredMember } from './messages.ts';

/** Smallest, largest and present protocol; nothing below it has versions. */
const VERSIONS = [1, 5, 2, 0, 0, 0];
const SUSPICION_FACTOR = 4;
const SUSPICION_LONGEST = 6;
/** Below this many others who may confirm it, a suspicion takes the shortest time. */
const CONFIRMATIONS = SUSPICION_FACTOR - 2;
/** What the health score of this member may be; 0 is best. */
const HEALTH_MAX = 7;
/** Between two words about another process with this one's name, at one address. */
const TWIN_SILENCE_MS = 60_000;
/** Addresses of such processes that are told at once. */
const TWINS_MAX = 16;

export interface Member {
  readonly name: string;
  readonly address: Address;
  readonly meta: Uint8Array;
  readonly versions: readonly number[];
  readonly incarnation: number;
  readonly state: MemberState;
  readonly changedMs: number;
}

interface Suspicion {
  readonly startMs: number;
  readonly minMs: number;
  readonly maxMs: number;
  /** How many confirmations make it shortest. */
  readonly confirmations: number;
  readonly from: Set<string>;
  cancel: () => void;
}

export interface MembershipOptions {
  readonly name: string;
  readonly address: Address;
  readonly clock: Clock;
  readonly logger: Logger;
  /** An address of a dead member's name may be another one's after that long; 0 = never. */
  readonly reclaimMs: number;
  readonly probeIntervalMs: number;
  /** Members that are remembered; more are not let in. */
  readonly membersMax: number;
  /** Puts news about a member in the queue. */
  readonly broadcast: (about: string, message: Message) => void;
  /** Tells one address alone. */
  readonly send: (to: Address, message: Message) => void;
}

export class Membership {
  readonly #options: MembershipOptions;
  readonly #members = new Map<string, Member>();
  readonly #suspicions = new Map<string, Suspicion>();
  /** By address, when it was told that another process there has this one's name. */
  readonly #twins = new Map<string, number>();
  #incarnation = 1;
  #health = 0;
  #hasLeft = false;
  #isFull = false;

  constructor(options: MembershipOptions) {
    this.#options = options;
    const { name, address } = options;
    this.#put({
      name,
      address,
      meta: new Uint8Array(0),
      versions: VERSIONS,
      incarnation: this.#incarnation,
      state: 'alive',
      changedMs: options.clock.nowMs(),
    });
    this.#tellAlive();
  }

  get name(): string {
    return this.#options.name;
  }

  /** 0 = well; more when its own probes are not answered, or others think it dead. */
  get health(): number {
    return this.#health;
  }

  get all(): readonly Member[] {
    return [...this.#members.values()];
  }

  /** Members that are not known to be gone, this one too. */
  get presentCount(): number {
    let count = 0;
    for (const { state } of this.#members.values()) if (state === 'alive' || state === 'suspect') count++;
    return count;
  }

  member(name: string): Member | undefined {
    return this.#members.get(name);
  }

  /** How many times news are told until all know them with great certainty. */
  tellTimes(factor: number): number {
    return factor * Math.ceil(Math.log10(this.presentCount + 1));
  }

  stored(): StoredMember[] {
    return this.all.map((each) => ({ node: each.name, ...each.address, ...each }));
  }

  improve(steps: number): void {
    this.#health = Math.min(Math.max(this.#health - steps, 0), HEALTH_MAX);
  }

  /** What another member thinks of everybody. */
  merge(members: readonly StoredMember[]): void {
    const from = this.name;
    for (const each of members) {
      const { incarnation, node, state } = each;
      if (state === 'alive') this.alive(each);
      else if (state === 'left') this.dead({ incarnation, node, from: node });
      // Dead to another: this one asks whether it is.
      else this.suspect({ incarnation, node, from });
    }
  }

  alive(news: Alive): void {
    const { name, clock } = this.#options;
    const { node, incarnation } = news;
    if (this.#hasLeft && node === name) return;
    if (!areVersionsRight(news.versions)) return this.#refuse('a member with impossible versions', news);
    const known = this.#members.get(node);
    if (known === undefined && !this.#hasRoom(news)) return;
    const moves = known !== undefined && !isSameAddress(known.address, news);
    if (moves && node === name) return this.#tellTwin(news, known.address);
    if (moves && !this.#mayMove(known)) {
      return this.#refuse('two members with one name', news, known.address);
    }
    if (node === name) return this.#contradict(news);
    if (known !== undefined && incarnation <= known.incarnation && !moves) return;
    this.#clear(node);
    const { ip, port, meta, versions } = news;
    const isBack = known === undefined || known.state !== 'alive';
    this.#put({
      name: node,
      address: { ip, port },
      meta,
      versions: versions.length > 0 ? versions : (known?.versions ?? VERSIONS),
      incarnation,
      state: 'alive',
      changedMs: isBack ? clock.nowMs() : known.changedMs,
    });
    this.#options.broadcast(node, { kind: 'alive', ...news });
    if (known?.state !== 'alive' && known?.state !== 'suspect') {
      this.#options.logger.info('member joined', { member: node, addr: addressText(news) });
    }
  }

  suspect(accusation: Accusation): void {
    const { broadcast, clock, logger, name } = this.#options;
    const { incarnation, node, from } = accusation;
    const known = this.#members.get(node);
    if (known === undefined || incarnation < known.incarnation) return;
    const suspicion = this.#suspicions.get(node);
    if (suspicion !== undefined) {
      if (this.#confirm(node, suspicion, from)) broadcast(node, { kind: 'suspect', ...accusation });
      return;
    }
    if (known.state !== 'alive') return;
    if (node === name) {
      logger.warn('another member suspects this one', { from });
      return this.#refute(incarnation);
    }
    broadcast(node, { kind: 'suspect', ...accusation });
    this.#put({ ...known, incarnation, state: 'suspect', changedMs: clock.nowMs() });
    this.#startSuspicion(node, from);
  }

  dead(accusation: Accusation): void {
    const { broadcast, clock, logger, name } = this.#options;
    const { incarnation, node, from } = accusation;
    const known = this.#members.get(node);
    if (known === undefined || incarnation < known.incarnation) return;
    this.#clear(node);
    if (known.state === 'dead' || known.state === 'left') return;
    if (node === name && !this.#hasLeft) {
      logger.warn('another member thinks that this one is dead', { from });
      return this.#refute(incarnation);
    }
    broadcast(node, { kind: 'dead', ...accusation });
    const state = node === from ? 'left' : 'dead';
    this.#put({ ...known, incarnation, state, changedMs: clock.nowMs() });
    if (node !== name) logger.info(state === 'left' ? 'member left' : 'member is dead', { member: node });
  }

  /** Tells that this member goes. */
  leave(): void {
    if (this.#hasLeft) return;
    this.#hasLeft = true;
    const { name } = this;
    const incarnation = this.#members.get(name)?.incarnation ?? this.#incarnation;
    this.dead({ incarnation, node: name, from: name });
  }

  /** Forgets members that have been gone for so long that no news are told to them: their names are free. */
  forget(goneMs: number): void {
    const before = this.#options.clock.nowMs() - goneMs;
    for (const { name, state, changedMs } of this.all) {
      if (name === this.name) continue;
      if ((state === 'dead' || state === 'left') && changedMs < before) this.#members.delete(name);
    }
  }

  stop(): void {
    for (const { cancel } of this.#suspicions.values()) cancel();
    this.#suspicions.clear();
  }

  #put(member: Member): void {
    this.#members.set(member.name, member);
  }

  #hasRoom(news: Alive): boolean {
    const { membersMax } = this.#options;
    if (this.#members.size < membersMax) {
      this.#isFull = false;
      return true;
    }
    if (!this.#isFull) this.#refuse(`a member beyond the ${membersMax} that may be`, news);
    this.#isFull = true;
    return false;
  }

  #mayMove({ state, changedMs }: Member): boolean {
    const { reclaimMs, clock } = this.#options;
    return state === 'left' || (state === 'dead' && reclaimMs > 0 && clock.nowMs() - changedMs > reclaimMs);
  }

  #refuse(why: string, news: Alive, address?: Address): void {
    this.#options.logger.warn(`gossip tells of ${why}, which is ignored`, {
      member: news.node,
      addr: addressText(news),
      known_addr: address === undefined ? undefined : addressText(address),
    });
  }

  /**
   * Another process has this one's name, or had it before this one came to another address. It is not
   * contradicted, or both would do that without end; each is told of the other, as only one of them is heard.
   */
  #tellTwin(twin: Alive, ownAddress: Address): void {
    const { clock, logger, send, name } = this.#options;
    const nowMs = clock.nowMs();
    for (const [addr, toldMs] of this.#twins) {
      if (nowMs - toldMs >= TWIN_SILENCE_MS) this.#twins.delete(addr);
    }
    const addr = addressText(twin);
    if (this.#twins.has(addr) || this.#twins.size >= TWINS_MAX) return;
    this.#twins.set(addr, nowMs);
    logger.error(
      'gossip tells of this name at another address, and only one of both is heard: where two processes ' +
        'have it, give each its own by memberlist.node_name, or set memberlist.randomize_node_name',
      { member: name, addr: addressText(ownAddress), other_addr: addr },
    );
    const news = this.#ownNews();
    if (news !== undefined) send(twin, news);
  }

  /** Somebody tells of this member: what is not so, is put right. */
  #contradict(news: Alive): void {
    const own = this.#members.get(this.name);
    if (own === undefined || news.incarnation < own.incarnation) return;
    const isSo = areEqual(own.meta, news.meta) && areEqual(own.versions, news.versions);
    if (news.incarnation === own.incarnation && isSo) return;
    this.#refute(news.incarnation);
  }

  /** Says that it lives, younger than what was said of it. */
  #refute(incarnation: number): void {
    const own = this.#members.get(this.name);
    if (own === undefined) return;
    this.#incarnation = Math.max(this.#incarnation, incarnation) + 1;
    this.improve(-1);
    this.#put({ ...own, incarnation: this.#incarnation });
    this.#tellAlive();
  }

  #tellAlive(): void {
    const news = this.#ownNews();
    if (news !== undefined) this.#options.broadcast(this.name, news);
  }

  #ownNews(): Message | undefined {
    const own = this.#members.get(this.name);
    if (own === undefined) return undefined;
    const { incarnation, meta, versions, address } = own;
    return { kind: 'alive', incarnation, node: own.name, ...address, meta, versions };
  }

  #startSuspicion(node: string, from: string): void {
    const { clock, probeIntervalMs } = this.#options;
    const count = this.presentCount;
    const confirmations = count - 2 < CONFIRMATIONS ? 0 : CONFIRMATIONS;
    const minMs = SUSPICION_FACTOR * Math.max(1, Math.log10(Math.max(1, count))) * probeIntervalMs;
    const maxMs = SUSPICION_LONGEST * minMs;
    const suspicion: Suspicion = {
      startMs: clock.nowMs(),
      minMs,
      maxMs,
      confirmations,
      from: new Set([from]),
      cancel: clock.after(confirmations === 0 ? minMs : maxMs, () => this.#bury(node)),
    };
    this.#suspicions.set(node, suspicion);
  }

  /** @returns whether that was news. */
  #confirm(node: string, suspicion: Suspicion, from: string): boolean {
    const { clock } = this.#options;
    const { confirmations, minMs, maxMs, startMs } = suspicion;
    const count = suspicion.from.size;
    if (count > confirmations || suspicion.from.has(from)) return false;
    suspicion.from.add(from);
    const share = Math.log(count + 1) / Math.log(confirmations + 1);
    const lengthMs = Math.max(minMs, maxMs - share * (maxMs - minMs));
    suspicion.cancel();
    const restMs = Math.max(0, startMs + lengthMs - clock.nowMs());
    suspicion.cancel = clock.after(restMs, () => this.#bury(node));
    return true;
  }

  #bury(node: string): void {
    const known = this.#members.get(node);
    this.#suspicions.delete(node);
    if (known?.state !== 'suspect') return;
    this.dead({ incarnation: known.incarnation, node, from: this.name });
  }

  #clear(node: string): void {
    this.#suspicions.get(node)?.cancel();
    this.#suspicions.delete(node);
  }
}

/** Old members give no versions. */
function areVersionsRight([least, most]: readonly number[]): boolean {
  return least === undefined || most === undefined || (least > 0 && most > 0 && least <= most);
}

function areEqual(a: Uint8Array | readonly number[], b: Uint8Array | readonly number[]): boolean {
  return a.length === b.length && [...a].every((byte, i) => byte === b[i]);
}
