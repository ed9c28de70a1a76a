// A network of a simulation: packets take a while, come in another order or not at all, and parts of it may
// be cut off, all by a seed and a clock that the test moves.
import type { Receiver, Transport } from '../../src/ring/gossip/transport.ts';
import type { ManualClock } from './manual-clock.ts';

export interface NetworkOptions {
  readonly clock: ManualClock;
  readonly random: () => number;
  /** Share of packets that are lost. */
  readonly loss: number;
  readonly delayMsMax: number;
}

export class LossyNetwork {
  loss: number;
  /** Packets and exchanges that were sent. */
  sent = 0;
  sentBytes = 0;
  readonly #options: NetworkOptions;
  readonly #receivers = new Map<string, Receiver>();
  /** Which side an address is on; sides do not hear each other. */
  readonly #sides = new Map<string, number>();

  constructor(options: NetworkOptions) {
    this.#options = options;
    this.loss = options.loss;
  }

  attach(address: string, receiver: Receiver): void {
    this.#receivers.set(address, receiver);
  }

  /** What is sent there is lost from now on. */
  detach(address: string): void {
    this.#receivers.delete(address);
  }

  split(sideOf: (address: string) => number): void {
    for (const address of this.#receivers.keys()) this.#sides.set(address, sideOf(address));
  }

  heal(): void {
    this.#sides.clear();
  }

  transportOf(address: string): Transport {
    return {
      send: (to, packet) => {
        this.#count(packet);
        if (!this.#arrives(address, to)) return;
        this.#later(() => this.#receivers.get(to)?.packet(packet, address));
      },
      exchange: (to, request, read) =>
        new Promise((resolve, reject) => {
          this.#count(request);
          const lost = (): void => this.#later(() => reject(new Error(`${to} cannot be reached`)));
          // A stream sends again what is lost, so that only cuts count.
          if (!this.#isConnected(address, to)) return lost();
          this.#later(() => {
            const receiver = this.#receivers.get(to);
            if (receiver === undefined || !this.#isConnected(address, to)) return lost();
            const answer = receiver.request(request);
            this.#count(answer);
            this.#later(() => resolve(read(answer)));
          });
        }),
    };
  }

  #count(bytes: Uint8Array): void {
    this.sent++;
    this.sentBytes += bytes.length;
  }

  #isConnected(from: string, to: string): boolean {
    return this.#receivers.has(to) && (this.#sides.get(from) ?? 0) === (this.#sides.get(to) ?? 0);
  }

  #arrives(from: string, to: string): boolean {
    return this.#options.random() >= this.loss && this.#isConnected(from, to);
  }

  #later(callback: () => void): void {
    this.#options.clock.after(this.#options.random() * this.#options.delayMsMax, callback);
  }
}
