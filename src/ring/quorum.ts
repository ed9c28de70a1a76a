// Calls to several instances of which some may fail: ends when enough answered, or when too many did not.
import type { Instance } from './instance.ts';
import type { ReplicationSet } from './ring.ts';

/**
 * Calls every instance of the set at once.
 * @returns the answers, as soon as enough are there; calls that are still under way are aborted then.
 * Rejects with the error of the call with which too many had failed.
 */
export async function callQuorum<T>(
  set: ReplicationSet,
  call: (instance: Instance, signal: AbortSignal) => Promise<T>,
  signal?: AbortSignal,
): Promise<T[]> {
  const over = new AbortController();
  const both = signal === undefined ? over.signal : AbortSignal.any([signal, over.signal]);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const answers: T[] = [];
  const tally = new Tally(set, resolve, reject);
  for (const instance of set.instances) {
    void call(instance, both).then(
      (answer) => {
        if (tally.isOver) return;
        answers.push(answer);
        tally.succeeded(instance);
      },
      (err: unknown) => tally.failed(instance, err),
    );
  }
  if (set.instances.length === 0) resolve();
  try {
    await promise;
  } finally {
    over.abort();
  }
  return answers;
}

/** Counts what became of the calls to one set. */
class Tally {
  isOver = false;
  readonly #set: ReplicationSet;
  readonly #enough: () => void;
  readonly #tooFew: (err: unknown) => void;
  readonly #failedZones = new Set<string>();
  #failures = 0;
  #successes = 0;
  /** Calls that have not answered, by zone. */
  readonly #openOf = new Map<string, number>();

  constructor(set: ReplicationSet, enough: () => void, tooFew: (err: unknown) => void) {
    this.#set = set;
    this.#enough = enough;
    this.#tooFew = tooFew;
    for (const { zone } of set.instances) this.#openOf.set(zone, (this.#openOf.get(zone) ?? 0) + 1);
  }

  succeeded({ zone }: Instance): void {
    if (this.isOver) return;
    this.#successes++;
    this.#openOf.set(zone, (this.#openOf.get(zone) ?? 0) - 1);
    if (this.#isEnough()) this.#end(this.#enough);
  }

  failed({ zone }: Instance, err: unknown): void {
    if (this.isOver) return;
    this.#failures++;
    this.#failedZones.add(zone);
    const { maxErrors, maxUnavailableZones } = this.#set;
    const isTooMuch =
      maxUnavailableZones === undefined
        ? this.#failures > maxErrors
        : this.#failedZones.size > maxUnavailableZones;
    if (isTooMuch) this.#end(() => this.#tooFew(err));
    else if (this.#isEnough()) this.#end(this.#enough);
  }

  #isEnough(): boolean {
    const { instances, maxErrors, maxUnavailableZones } = this.#set;
    if (maxUnavailableZones === undefined) return this.#successes >= instances.length - maxErrors;
    const whole = [...this.#openOf].filter(([zone, open]) => open === 0 && !this.#failedZones.has(zone));
    return whole.length >= this.#openOf.size - maxUnavailableZones;
  }

  #end(tell: () => void): void {
    this.isOver = true;
    tell();
  }
}

/** Keys of a batch that one instance is to have. */
export interface KeyShare {
  readonly instance: Instance;
  /** Indexes of keys. */
  readonly keys: readonly number[];
}

/**
 * A batch of keys, each with a set of its own: an instance is called once, with all keys that are its. Done
 * when every key has its quorum, failed when one cannot have it any more.
 */
export class KeyBatch {
  readonly shares: readonly KeyShare[];
  /** Resolves when each key is where it must be; rejects with the error by which a key missed its quorum. */
  readonly done: Promise<void>;
  readonly #missing: Int32Array;
  readonly #mayFail: Int32Array;
  readonly #resolve: () => void;
  readonly #reject: (err: unknown) => void;
  #openKeys: number;

  constructor(sets: readonly ReplicationSet[]) {
    const shares = new Map<string, { instance: Instance; keys: number[] }>();
    this.#missing = new Int32Array(sets.length);
    this.#mayFail = new Int32Array(sets.length);
    for (const [key, { instances, maxErrors }] of sets.entries()) {
      this.#missing[key] = instances.length - maxErrors;
      this.#mayFail[key] = maxErrors;
      for (const instance of instances) {
        const share = shares.get(instance.id);
        if (share === undefined) shares.set(instance.id, { instance, keys: [key] });
        else share.keys.push(key);
      }
    }
    this.shares = [...shares.values()];
    this.#openKeys = sets.length;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.done = promise;
    this.#resolve = resolve;
    this.#reject = reject;
    if (sets.length === 0) resolve();
  }

  /** An instance has taken these keys. */
  succeeded(keys: readonly number[]): void {
    for (const key of keys) {
      if (--this.#missing[key] === 0 && --this.#openKeys === 0) this.#resolve();
    }
  }

  /** An instance has not taken these keys. */
  failed(keys: readonly number[], err: unknown): void {
    for (const key of keys) if (--this.#mayFail[key] < 0) this.#reject(err);
  }
}
