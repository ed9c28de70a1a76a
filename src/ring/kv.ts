// Where rings are kept, as a contract: values by key, changed by compare-and-swap, and watched. Who removes
// an instance by a change leaves it to the store whether that is remembered as LEFT for a while, as gossip
// does: only who watches sees those.
import type { RingDesc } from './instance.ts';

/**
 * What becomes of a ring. May be called several times, with what the store has each time.
 * @returns undefined = nothing is to be changed.
 */
export type RingChange = (current: RingDesc | undefined) => RingDesc | undefined;

export interface RingStore {
  /** undefined = nobody has written it. Without instances that have LEFT. */
  get(key: string): Promise<RingDesc | undefined>;
  /** Changes a value as a whole; rejects with TempoError unavailable when the store cannot be reached. */
  change(key: string, change: RingChange): Promise<void>;
  /**
   * Calls back with values as they come, the present one soon; of many in a moment some may be left out.
   * With instances that have LEFT, where the store remembers them.
   */
  watch(key: string, listener: (desc: RingDesc) => void): () => void;
}
