// Rings in this process alone: `store: inmemory`, and all of a single process.
import { EMPTY_RING, type RingDesc } from './instance.ts';
import type { RingChange, RingStore } from './kv.ts';

export class MemoryStore implements RingStore {
  readonly #rings = new Map<string, RingDesc>();
  readonly #listeners = new Map<string, Set<(desc: RingDesc) => void>>();

  async get(key: string): Promise<RingDesc | undefined> {
    return this.#rings.get(key);
  }

  async change(key: string, change: RingChange): Promise<void> {
    const changed = change(this.#rings.get(key));
    if (changed === undefined) return;
    this.#rings.set(key, changed);
    for (const listener of this.#listeners.get(key) ?? []) listener(changed);
  }

  watch(key: string, listener: (desc: RingDesc) => void): () => void {
    let listeners = this.#listeners.get(key);
    if (listeners === undefined) {
      listeners = new Set();
      this.#listeners.set(key, listeners);
    }
    listeners.add(listener);
    listener(this.#rings.get(key) ?? EMPTY_RING);
    return () => listeners.delete(listener);
  }
}
