// Keeps this process's instance in a ring: registers it, picks its tokens, writes heartbeats, and takes it
// out again. What the instance does with its keys is others' work.
import type { Service } from '../lib/service.ts';
import { type Clock, every, sleep } from '../lib/clock.ts';
import type { Logger } from '../telemetry/log.ts';
import {
  hasHeartbeat,
  type Instance,
  instanceOf,
  type InstanceState,
  NO_TOKENS,
  type RingDesc,
  sameTokens,
  sortedTokens,
  withInstance,
  withoutInstances,
} from './instance.ts';
import type { RingStore } from './kv.ts';
import type { RingMetrics } from './ring-metrics.ts';
import { readTokensFile, removeTokensFile, writeTokensFile } from './tokens-file.ts';
import type { WatchedRing } from './watched-ring.ts';

export interface LifecyclerOptions {
  /** The ring as this process sees it, started before and stopped after this. */
  readonly ring: WatchedRing;
  readonly store: RingStore;
  readonly key: string;
  readonly id: string;
  /** host:port where others reach this instance. */
  readonly addr: string;
  readonly zone: string;
  readonly tokensCount: number;
  /** 0 = no heartbeats. */
  readonly heartbeatPeriodMs: number;
  /** Wait as PENDING before tokens are picked. */
  readonly joinAfterMs: number;
  /** Wait as JOINING, to see whether others claim the same tokens. */
  readonly observePeriodMs: number;
  /** Ready only so long after the ring was found well. */
  readonly minReadyMs: number;
  readonly checksRingHealth: boolean;
  /** Wait at the end, so that others hear of it. */
  readonly finalSleepMs: number;
  readonly unregistersOnShutdown: boolean;
  /** '' = none. */
  readonly tokensFilePath: string;
  /** Instances without heartbeat for longer are removed; 0 = never. */
  readonly forgetAfterMs: number;
  readonly clock: Clock;
  /** From 0 to 1, without it. */
  readonly random: () => number;
  readonly logger: Logger;
  readonly metrics: RingMetrics;
}

/** Between two words about another process with this one's id. */
const TWINS_SILENCE_MS = 300_000;

export class Lifecycler implements Service {
  readonly name: string;
  readonly #options: LifecyclerOptions;
  readonly #logger: Logger;
  readonly #timers: (() => void)[] = [];
  #state: InstanceState = 'PENDING';
  #tokens: Uint32Array = NO_TOKENS;
  #registeredSec = 0;
  #readOnly = false;
  #readOnlyUpdatedSec = 0;
  /** Changes of it, one after another. */
  #readOnlyChanges: Promise<void> = Promise.resolve();
  #unregisters: boolean;
  #leaving: Promise<unknown> | undefined;
  #keepsTokensFile = true;
  #isStarted = false;
  /** When the ring was first found well. */
  #wellSinceMs: number | undefined;
  #isReady = false;
  #writtenSec = 0;
  /** Of twins is told once, and not again before. */
  #twinsSilentUntilMs = 0;

  constructor(options: LifecyclerOptions) {
    const { ring, metrics, tokensCount, unregistersOnShutdown, logger, id } = options;
    this.name = `${ring.name}-ring-member`;
    this.#options = options;
    this.#logger = logger.child({ ring: ring.name, instance: id });
    this.#unregisters = unregistersOnShutdown;
    const owned = (): number => this.#tokens.length;
    const isReadOnly = (): boolean => this.#readOnly;
    metrics.addInstance({
      name: ring.name,
      tokensToOwn: tokensCount,
      get tokensOwned() {
        return owned();
      },
      get isReadOnly() {
        return isReadOnly();
      },
    });
  }

  get state(): InstanceState {
    return this.#state;
  }

  /** It is in the ring, and is not leaving it. */
  get isMember(): boolean {
    return this.#isStarted && this.#state !== 'LEAVING';
  }

  get isReadOnly(): boolean {
    return this.#readOnly;
  }

  /** Since the epoch, of the last change; 0 = never. */
  get readOnlyUpdatedSec(): number {
    return this.#readOnlyUpdatedSec;
  }

  /** Resolves when it is registered, and active where there is nothing to wait for. */
  async start(): Promise<void> {
    const { clock, heartbeatPeriodMs, joinAfterMs } = this.#options;
    await this.#register();
    this.#isStarted = true;
    if (heartbeatPeriodMs > 0) {
      this.#timers.push(every(clock, heartbeatPeriodMs, () => void this.#heartbeat()));
    }
    if (this.#state !== 'PENDING') return;
    if (joinAfterMs <= 0) await this.#join();
    else this.#timers.push(clock.after(joinAfterMs, () => void this.#attempt('join', () => this.#join())));
  }

  /** Tells that nothing more is to be written to it; heartbeats go on. */
  async leave(): Promise<void> {
    if (!this.#isStarted) return;
    if (this.#state !== 'LEAVING') {
      this.#become('LEAVING');
      this.#leaving = this.#attempt('leave', () => this.#write(true));
    }
    // A stop meanwhile must not unregister before that is written, which would register it again.
    await this.#leaving;
  }

  /** Leaves where that has not been done, and unregisters where it should. */
  async stop(): Promise<void> {
    if (!this.#isStarted) return;
    const { store, key, id, clock, finalSleepMs, tokensFilePath } = this.#options;
    await this.leave();
    for (const cancel of this.#timers) cancel();
    this.#isStarted = false;
    if (this.#unregisters) {
      await this.#attempt('unregister', () =>
        store.change(key, (desc) => (desc === undefined ? undefined : withoutInstances(desc, [id]))),
      );
    }
    if (tokensFilePath !== '' && !this.#keepsTokensFile) removeTokensFile(tokensFilePath);
    if (finalSleepMs > 0) await sleep(clock, finalSleepMs);
  }

  /**
   * A read-only instance answers reads and is left out of shards that writes go to. Rejects, and it stays as
   * it was, when the ring cannot be written.
   */
  setReadOnly(readOnly: boolean): Promise<void> {
    const change = (): Promise<void> => this.#changeReadOnly(readOnly);
    return (this.#readOnlyChanges = this.#readOnlyChanges.then(change, change));
  }

  async #changeReadOnly(readOnly: boolean): Promise<void> {
    if (readOnly === this.#readOnly) return;
    const [before, beforeSec] = [this.#readOnly, this.#readOnlyUpdatedSec];
    this.#readOnly = readOnly;
    this.#readOnlyUpdatedSec = this.#nowSec();
    try {
      await this.#write(true);
    } catch (err) {
      [this.#readOnly, this.#readOnlyUpdatedSec] = [before, beforeSec];
      throw err;
    }
    this.#logger.info('instance changes whether it is read-only', { read_only: readOnly });
  }

  /** For the stop that follows; tokens of an instance that comes back elsewhere are not to be kept. */
  onShutdown(what: { readonly unregister?: boolean; readonly removeTokensFile?: boolean }): void {
    this.#unregisters = what.unregister ?? this.#unregisters;
    if (what.removeTokensFile !== undefined) this.#keepsTokensFile = !what.removeTokensFile;
  }

  /** undefined = ready, and then it stays so. */
  readiness(): string | undefined {
    if (this.#isReady) return undefined;
    const { minReadyMs, clock } = this.#options;
    const problem = this.#ringProblem();
    if (problem !== undefined) {
      this.#wellSinceMs = undefined;
      return problem;
    }
    this.#wellSinceMs ??= clock.nowMs();
    if (clock.nowMs() - this.#wellSinceMs < minReadyMs) {
      return `waiting for ${minReadyMs / 1000}s after being ready`;
    }
    this.#isReady = true;
    return undefined;
  }

  #ringProblem(): string | undefined {
    const { id, ring, checksRingHealth, clock } = this.#options;
    if (this.#tokens.length === 0) return 'this instance owns no tokens';
    const own = ring.current.instance(id);
    if (own === undefined) return `instance ${id} not found in the ring`;
    for (const each of checksRingHealth ? ring.current.instances : [own]) {
      if (!hasHeartbeat(each, ring.current.settings.heartbeatTimeoutMs, clock.nowMs())) {
        return `instance ${each.id} past heartbeat timeout`;
      }
      if (each.state !== 'ACTIVE') return `instance ${each.id} in state ${each.state}`;
    }
    return undefined;
  }

  /** Takes over what the ring or the file know of this instance. */
  async #register(): Promise<void> {
    const { store, key, id, tokensFilePath } = this.#options;
    const kept = this.#keptTokens(tokensFilePath);
    await store.change(key, (desc) => {
      const ring = desc ?? new Map<string, Instance>();
      const known = ring.get(id);
      if (known === undefined) this.#begin(kept);
      else this.#takeOver(known, ring);
      return withInstance(ring, this.#instance(true));
    });
    this.#keepTokens();
    const { addr } = this.#options;
    this.#logger.info('instance registered in the ring', {
      state: this.#state,
      tokens: this.#tokens.length,
      addr,
    });
  }

  #begin(kept: Uint32Array | undefined): void {
    this.#registeredSec = this.#nowSec();
    this.#readOnly = false;
    this.#readOnlyUpdatedSec = 0;
    this.#tokens = kept ?? NO_TOKENS;
    this.#state = this.#tokens.length >= this.#options.tokensCount ? 'ACTIVE' : 'PENDING';
  }

  /** An instance that stood in the ring before: it crashed, or did not unregister. */
  #takeOver(known: Instance, ring: RingDesc): void {
    const { tokensCount } = this.#options;
    this.#registeredSec = known.registeredSec;
    this.#writtenSec = Math.max(this.#writtenSec, known.timestampSec);
    this.#readOnly = known.readOnly;
    this.#readOnlyUpdatedSec = known.readOnlyUpdatedSec;
    this.#tokens = known.tokens;
    this.#state = known.state;
    // It was stopped in the middle of joining: from the beginning.
    if (known.state === 'JOINING') this.#state = 'PENDING';
    if (known.state !== 'LEAVING') return;
    this.#state = 'ACTIVE';
    const missing = tokensCount - known.tokens.length;
    if (missing > 0) this.#tokens = this.#moreTokens(ring, known.tokens, missing);
    // Any of them, as the lowest ones would leave a gap.
    if (missing < 0) this.#tokens = sortedTokens(this.#shuffled(known.tokens).slice(0, tokensCount));
  }

  async #join(): Promise<void> {
    const { store, key, id, tokensCount, observePeriodMs } = this.#options;
    await store.change(key, (desc) => {
      const ring = desc ?? new Map<string, Instance>();
      const had = ring.get(id)?.tokens ?? this.#tokens;
      this.#tokens = this.#moreTokens(ring, had, Math.max(0, tokensCount - had.length));
      this.#become(observePeriodMs > 0 ? 'JOINING' : 'ACTIVE');
      return withInstance(ring, this.#instance(true));
    });
    this.#keepTokens();
    if (observePeriodMs > 0) this.#observe();
  }

  #observe(): void {
    const { clock, observePeriodMs } = this.#options;
    const look = (): void => void this.#attempt('verify tokens', () => this.#verifyTokens());
    this.#timers.push(clock.after(observePeriodMs, look));
  }

  /** Becomes active when nobody has taken its tokens meanwhile; else picks others and looks again. */
  async #verifyTokens(): Promise<void> {
    const { store, key, id, tokensCount } = this.#options;
    if (this.#state !== 'JOINING') return;
    let isMine = false;
    await store.change(key, (desc) => {
      const ring = desc ?? new Map<string, Instance>();
      const left = ring.get(id)?.tokens ?? NO_TOKENS;
      isMine = sameTokens(left, this.#tokens);
      if (isMine) this.#become('ACTIVE');
      else this.#tokens = this.#moreTokens(ring, left, Math.max(0, tokensCount - left.length));
      return withInstance(ring, this.#instance(true));
    });
    this.#keepTokens();
    if (isMine) return;
    this.#logger.info('others have tokens of this instance, picked new ones', { tokens: tokensCount });
    this.#observe();
  }

  async #heartbeat(): Promise<void> {
    this.#options.metrics.heartbeats.inc({ name: this.#options.ring.name });
    await this.#attempt('heartbeat', () => this.#write(false));
  }

  /** Writes the instance as it is now. What the ring has of its tokens counts: others may have won some. */
  async #write(hasNews: boolean): Promise<void> {
    const { store, key, id } = this.#options;
    await store.change(key, (desc) => {
      const ring = this.#withoutSilent(desc ?? new Map<string, Instance>());
      const known = ring.get(id);
      if (known === undefined) {
        // Somebody forgot it, or the store lost all: a tenant's shard may have changed meanwhile.
        this.#registeredSec = this.#nowSec();
        this.#logger.info('instance is missing in the ring, registered again');
      } else {
        this.#tellTwins(known);
        this.#tokens = known.tokens;
      }
      return withInstance(ring, this.#instance(hasNews));
    });
  }

  /** Two processes with one id take the place from each other at every heartbeat. */
  #tellTwins(known: Instance): void {
    const { addr } = this.#options;
    if (known.addr === addr || known.timestampSec < this.#writtenSec) return;
    const nowMs = this.#options.clock.nowMs();
    if (nowMs < this.#twinsSilentUntilMs) return;
    this.#twinsSilentUntilMs = nowMs + TWINS_SILENCE_MS;
    this.#logger.error('another process uses the id of this instance in the ring: each needs its own', {
      addr,
      other_addr: known.addr,
    });
  }

  #withoutSilent(ring: RingDesc): RingDesc {
    const { forgetAfterMs, clock, id } = this.#options;
    if (forgetAfterMs <= 0) return ring;
    const own = ring.get(id);
    // This process was halted: what it knows of the others is as old as its own heartbeat.
    if (own !== undefined && !hasHeartbeat(own, forgetAfterMs / 2, clock.nowMs())) return ring;
    const silent = [...ring.values()].filter(
      (each) => each.id !== id && !hasHeartbeat(each, forgetAfterMs, clock.nowMs()),
    );
    if (silent.length === 0) return ring;
    for (const each of silent) this.#logger.warn('forgot an instance without heartbeat', { other: each.id });
    return withoutInstances(
      ring,
      silent.map((each) => each.id),
    );
  }

  /** @param hasNews it must be younger than what was written in the same second, or nobody believes it. */
  #instance(hasNews: boolean): Instance {
    const { id, addr, zone } = this.#options;
    this.#writtenSec = Math.max(this.#nowSec(), this.#writtenSec + (hasNews ? 1 : 0));
    return instanceOf({
      id,
      addr,
      zone,
      state: this.#state,
      tokens: this.#tokens,
      timestampSec: this.#writtenSec,
      registeredSec: this.#registeredSec,
      readOnly: this.#readOnly,
      readOnlyUpdatedSec: this.#readOnlyUpdatedSec,
    });
  }

  #become(state: InstanceState): void {
    if (state === this.#state) return;
    this.#logger.info('instance changes its state', { from: this.#state, to: state });
    this.#state = state;
  }

  #moreTokens(ring: RingDesc, had: Uint32Array, count: number): Uint32Array {
    const taken = new Set([...ring.values()].flatMap(({ tokens }) => [...tokens]));
    const picked: number[] = [...had];
    while (picked.length < had.length + count) {
      const token = Math.floor(this.#options.random() * 2 ** 32);
      if (taken.has(token)) continue;
      taken.add(token);
      picked.push(token);
    }
    return sortedTokens(picked);
  }

  #shuffled(tokens: Uint32Array): Uint32Array {
    const shuffled = tokens.slice();
    for (let i = shuffled.length - 1; i > 0; i--) {
      const other = Math.floor(this.#options.random() * (i + 1));
      [shuffled[i], shuffled[other]] = [shuffled[other], shuffled[i]];
    }
    return shuffled;
  }

  #keptTokens(path: string): Uint32Array | undefined {
    if (path === '') return undefined;
    try {
      return readTokensFile(path);
    } catch (err) {
      this.#logger.error('tokens are picked anew', { err });
      return undefined;
    }
  }

  #keepTokens(): void {
    const { tokensFilePath } = this.#options;
    if (tokensFilePath === '' || this.#tokens.length === 0) return;
    try {
      writeTokensFile(tokensFilePath, this.#tokens);
    } catch (err) {
      this.#logger.error('tokens file cannot be written', { path: tokensFilePath, err });
    }
  }

  /** What failed is tried again at the next heartbeat. */
  async #attempt(step: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (err) {
      this.#logger.error('ring could not be written', { step, err });
    }
  }

  #nowSec(): number {
    return Math.floor(this.#options.clock.nowMs() / 1000);
  }
}
