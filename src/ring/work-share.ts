// Work that the members of a ring share: each piece has a key, and belongs to the member that owns the key. A
// share begins when the ring has been the same for a while, as members that start together see others come.
import { type Clock, every } from '../lib/clock.ts';
import { TempoError } from '../lib/errors.ts';
import { fnv1aOf32 } from '../lib/hash.ts';
import type { Service } from '../lib/service.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Lifecycler } from './lifecycler.ts';
import { WRITE_NO_EXTEND } from './ring.ts';
import type { RingService } from './rings.ts';

export interface WorkShareOptions {
  /** What keeps the ring. */
  readonly rings: Service;
  readonly followed: RingService;
  readonly member: Lifecycler;
  /** Of the member. */
  readonly id: string;
  /** Most that is waited until the ring shows the member ACTIVE. */
  readonly activeMsMax: number;
  /** The ring is the same for so long before the share begins; 0 = it begins at once. */
  readonly stableMsMin: number;
  /** Most that is waited for that. */
  readonly stableMsMax: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

const LOOK_MS_MAX = 1000;
const LOOKS = 4;

export class WorkShare implements Service {
  readonly name: string;
  readonly #options: WorkShareOptions;
  readonly #logger: Logger;
  readonly #started: Service[] = [];
  #begun: () => void = () => undefined;
  #isBegun = false;
  #endWait: () => void = () => undefined;

  constructor(options: WorkShareOptions) {
    const { followed, logger, id } = options;
    this.name = `${followed.ring.name}-share`;
    this.#options = options;
    this.#logger = logger.child({ ring: followed.ring.name, instance: id });
  }

  /** Whether a piece of work is this process's; never before the share begins. */
  owns(key: string): boolean {
    const { followed, clock, id } = this.#options;
    if (!this.#isBegun) return false;
    const owner = followed.ring.current.owner(fnv1aOf32(Buffer.from(key)), clock.nowMs());
    return owner?.id === id;
  }

  /** Calls back when the share begins. */
  onBegin(listener: () => void): void {
    this.#begun = listener;
  }

  /** Joins the ring. Resolves when the ring shows it; the share may begin later. */
  async start(): Promise<void> {
    const { rings, followed, member } = this.#options;
    try {
      for (const service of [rings, followed, member]) {
        await service.start();
        this.#started.push(service);
      }
      await this.#untilActive();
    } catch (err) {
      await this.stop();
      throw err;
    }
    this.#untilStable();
  }

  async stop(): Promise<void> {
    this.#endWait();
    this.#isBegun = false;
    for (;;) {
      const service = this.#started.pop();
      if (service === undefined) return;
      await service.stop();
    }
  }

  readiness(): string | undefined {
    return this.#isBegun ? undefined : `waiting until the ${this.#options.followed.ring.name} ring is stable`;
  }

  async #untilActive(): Promise<void> {
    const { followed, clock, id, activeMsMax } = this.#options;
    const { ring } = followed;
    const isActive = (): boolean => ring.current.instance(id)?.state === 'ACTIVE';
    if (isActive()) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const unlisten = ring.onChange(() => isActive() && resolve());
    const late = `instance ${id} is not ACTIVE in the ${ring.name} ring after ${activeMsMax} ms`;
    const cancel = clock.after(activeMsMax, () => reject(new TempoError('unavailable', late)));
    await promise.finally(() => {
      unlisten();
      cancel();
    });
  }

  #untilStable(): void {
    const { clock, stableMsMin, stableMsMax } = this.#options;
    if (stableMsMin <= 0) return this.#begin();
    this.#logger.info('waits until the ring is stable', { min_ms: stableMsMin, max_ms: stableMsMax });
    const beganMs = clock.nowMs();
    let sinceMs = beganMs;
    let before = this.#members();
    this.#endWait = every(clock, Math.min(LOOK_MS_MAX, stableMsMin / LOOKS), () => {
      const now = clock.nowMs();
      const members = this.#members();
      if (members !== before) sinceMs = now;
      before = members;
      if (now - sinceMs >= stableMsMin) return this.#begin();
      if (now - beganMs < stableMsMax) return;
      this.#logger.warn('the ring is not stable, begins anyway', { waited_ms: now - beganMs });
      this.#begin();
    });
  }

  #begin(): void {
    const { current } = this.#options.followed.ring;
    this.#endWait();
    this.#isBegun = true;
    this.#logger.info('share of the work begins', { members: current.instancesCount });
    this.#begun();
  }

  /** Who shares, and with which tokens. */
  #members(): string {
    const { followed, clock } = this.#options;
    const { current } = followed.ring;
    return current.instances
      .filter((each) => current.isHealthy(each, WRITE_NO_EXTEND, clock.nowMs()))
      .map(({ id, addr, tokens }) => `${id} ${addr} ${tokens.length} ${tokens[0]}`)
      .join();
  }
}
