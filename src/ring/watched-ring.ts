// A ring as this process knows it: follows a key of a store and has a snapshot of the newest value.
import { EMPTY_RING, type RingDesc, withoutInstances } from './instance.ts';
import type { RingStore } from './kv.ts';
import { type RingSettings, RingSnapshot } from './ring.ts';

export interface WatchedRingOptions {
  /** As metrics and pages call it: `ingester`, `distributor`, ... */
  readonly name: string;
  readonly store: RingStore;
  readonly key: string;
  readonly settings: RingSettings;
}

export class WatchedRing {
  readonly name: string;
  readonly #options: WatchedRingOptions;
  readonly #listeners = new Set<(ring: RingSnapshot) => void>();
  #current: RingSnapshot;
  #unwatch: (() => void) | undefined;

  constructor(options: WatchedRingOptions) {
    this.name = options.name;
    this.#options = options;
    this.#current = new RingSnapshot(EMPTY_RING, options.settings);
  }

  /** The newest that is known. */
  get current(): RingSnapshot {
    return this.#current;
  }

  /** Knows what the store has when it resolves; one that cannot be reached is asked again and again. */
  async start(): Promise<void> {
    const { store, key } = this.#options;
    const first = await store.get(key);
    if (first !== undefined) this.#take(first);
    this.#unwatch = store.watch(key, (desc) => this.#take(desc));
  }

  stop(): void {
    this.#unwatch?.();
    this.#unwatch = undefined;
    this.#listeners.clear();
  }

  /** Calls back with each snapshot that follows. @returns what ends it. */
  onChange(listener: (ring: RingSnapshot) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Removes an instance, which is back at its next heartbeat if it lives. */
  async forget(id: string): Promise<boolean> {
    const { store, key } = this.#options;
    let wasThere = false;
    await store.change(key, (current) => {
      wasThere = current?.has(id) ?? false;
      if (current === undefined || !wasThere) return undefined;
      return withoutInstances(current, [id]);
    });
    return wasThere;
  }

  #take(desc: RingDesc): void {
    this.#current = new RingSnapshot(desc, this.#options.settings, this.#current);
    for (const listener of this.#listeners) listener(this.#current);
  }
}
