// Channels to the instances of a role by their address: opened when something is sent, asked for their health
// now and then, closed when an instance is ill or nobody knows it any more.
import { TempoError } from '../lib/errors.ts';
import type { Logger } from '../telemetry/log.ts';
import { type ChannelOptions, GrpcChannel } from './grpc-channel.ts';
import type { CallOptions } from './grpc-client.ts';
import { HEALTH_CHECK_PATH, isServing } from './grpc-health.ts';

export interface PoolOptions {
  readonly channel: Omit<ChannelOptions, 'address'>;
  readonly health: {
    readonly enabled: boolean;
    readonly periodMs: number;
    readonly timeoutMs: number;
    /** An instance may be ill for so long. */
    readonly graceMs: number;
    /** Checks at a time. */
    readonly parallelMax: number;
  };
  /** False for an address that no instance has any more. */
  readonly isKnown: (address: string) => boolean;
  /** Bytes of messages that one instance may have unanswered; others are refused meanwhile. */
  readonly inFlightBytesMax: number;
  readonly logger: Logger;
  /** The address is not used any more. */
  readonly onClosed?: (address: string) => void;
}

interface Member {
  readonly channel: GrpcChannel;
  bytesInFlight: number;
  /** Since when checks fail; undefined = it is well. */
  illSinceMs: number | undefined;
}

const NOTHING = new Uint8Array(0);

export class GrpcPool {
  readonly #options: PoolOptions;
  readonly #members = new Map<string, Member>();
  #timer: NodeJS.Timeout | undefined;
  #isChecking = false;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#members.size;
  }

  /** Bytes of messages that are not answered. */
  get bytesInFlight(): number {
    let bytes = 0;
    for (const member of this.#members.values()) bytes += member.bytesInFlight;
    return bytes;
  }

  start(): void {
    this.#timer = setInterval(() => void this.#check(), this.#options.health.periodMs).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    for (const address of this.#members.keys()) this.#remove(address);
  }

  /** As a channel's `unary`. Rejects with TempoError `unavailable` while too much is unanswered. */
  async unary(
    address: string,
    path: string,
    message: Uint8Array,
    headers: Readonly<Record<string, string>>,
    options?: CallOptions,
  ): Promise<Uint8Array> {
    const member = this.#memberOf(address);
    const { inFlightBytesMax } = this.#options;
    if (member.bytesInFlight > 0 && member.bytesInFlight + message.length > inFlightBytesMax) {
      const text = `${address} has ${member.bytesInFlight} bytes unanswered, at most ${inFlightBytesMax}`;
      throw new TempoError('unavailable', text);
    }
    member.bytesInFlight += message.length;
    try {
      return await member.channel.unary(path, message, headers, options);
    } finally {
      member.bytesInFlight -= message.length;
    }
  }

  #memberOf(address: string): Member {
    let member = this.#members.get(address);
    if (member === undefined) {
      const channel = new GrpcChannel({ ...this.#options.channel, address });
      member = { channel, bytesInFlight: 0, illSinceMs: undefined };
      this.#members.set(address, member);
    }
    return member;
  }

  async #check(): Promise<void> {
    if (this.#isChecking) return;
    this.#isChecking = true;
    const { health, isKnown, logger } = this.#options;
    for (const address of this.#members.keys()) {
      if (isKnown(address)) continue;
      logger.info('connection to an instance that has gone is closed', { address });
      this.#remove(address);
      this.#options.onClosed?.(address);
    }
    if (health.enabled) {
      const addresses = [...this.#members.keys()];
      const workers = Array.from({ length: Math.min(health.parallelMax, addresses.length) }, async () => {
        for (let next = addresses.pop(); next !== undefined; next = addresses.pop())
          await this.#checkOne(next);
      });
      await Promise.all(workers);
    }
    this.#isChecking = false;
  }

  async #checkOne(address: string): Promise<void> {
    const member = this.#members.get(address);
    if (member === undefined) return;
    const { health, logger } = this.#options;
    const { timeoutMs, graceMs } = health;
    try {
      const answer = await member.channel.unary(HEALTH_CHECK_PATH, NOTHING, {}, { timeoutMs });
      if (!isServing(answer)) throw new TempoError('unavailable', `${address} is not serving`);
      member.illSinceMs = undefined;
    } catch (err) {
      const nowMs = performance.now();
      member.illSinceMs ??= nowMs;
      if (nowMs - member.illSinceMs < graceMs) return;
      logger.warn('connection to an instance that fails its health check is closed', { address, err });
      this.#remove(address);
    }
  }

  #remove(address: string): void {
    this.#members.get(address)?.channel.close();
    this.#members.delete(address);
  }
}
