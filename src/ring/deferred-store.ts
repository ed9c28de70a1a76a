// A store that is opened later: what is asked before waits. So rings can be constructed before anything of
// the store is loaded.
import type { RingDesc } from './instance.ts';
import type { RingChange, RingStore } from './kv.ts';

export class DeferredStore implements RingStore {
  readonly #opened = Promise.withResolvers<RingStore>();

  open(store: RingStore): void {
    this.#opened.resolve(store);
  }

  async get(key: string): Promise<RingDesc | undefined> {
    return (await this.#opened.promise).get(key);
  }

  async change(key: string, change: RingChange): Promise<void> {
    await (await this.#opened.promise).change(key, change);
  }

  watch(key: string, listener: (desc: RingDesc) => void): () => void {
    let isOver = false;
    let unwatch = (): void => {
      isOver = true;
    };
    void this.#opened.promise.then((store) => {
      if (!isOver) unwatch = store.watch(key, listener);
    });
    return () => unwatch();
  }
}
