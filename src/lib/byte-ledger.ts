// Counts bytes that many hold against one limit, without keeping them.
import { TempoError } from './errors.ts';

const MIB = 1024 * 1024;

export class ByteLedger {
  bytesMax: number;
  #bytesHeld = 0;
  readonly #what: string;

  /** @param what who holds them: `requests`. */
  constructor(what: string, bytesMax: number) {
    this.#what = what;
    this.bytesMax = bytesMax;
  }

  get bytesHeld(): number {
    return this.#bytesHeld;
  }

  /** Throws TempoError `unavailable` when there are too many. */
  hold(bytes: number): void {
    if (this.#bytesHeld + bytes > this.bytesMax) {
      const held = `${this.#what} hold ${this.#bytesHeld} bytes of at most ${this.bytesMax}`;
      throw new TempoError('unavailable', `${held}, try again later`);
    }
    this.#bytesHeld += bytes;
  }

  drop(bytes: number): void {
    this.#bytesHeld -= bytes;
  }
}

/** Bodies of requests that were begun and are not answered, of all listeners of the process. */
export const requestBodies = new ByteLedger('requests', 256 * MIB);
