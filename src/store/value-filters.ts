// Asks the value filters of blocks, for one scan thread: which blocks surely lack what a query needs. A
// filter that is not there, or cannot be trusted, rules out nothing.
import type { ValueBloom } from '../block/value-filter/bloom.ts';
import { type BlockMeta } from '../block/meta.ts';
import { TempoError } from '../lib/errors.ts';
import { ByteLru } from '../lib/lru.ts';
import type { NeededValue, NeededValues } from '../traceql/engine/needed-values.ts';
import type { FilterCounts } from './scan-job.ts';

/** Reads a part of the filter of a block. */
export type ReadFilter = (offset: number, length: number) => Promise<Uint8Array>;

/** The package of filters takes 12 MB of memory: it is loaded when there is a filter to ask. */
const load = async () => ({
  ...(await import('../block/value-filter/bloom.ts')),
  ...(await import('../block/value-filter/elements.ts')),
  ...(await import('../block/value-filter/format.ts')),
});
let loaded: Awaited<ReturnType<typeof load>> | undefined;
const library = async () => (loaded ??= await load());

/** Stands for a shard that is of no use. */
const NONE = {};
const ENTRY_BYTES = 500;

export class ValueFilters {
  /** Of shards as they are, and of marks that there is none. */
  readonly cache: ByteLru;
  private counts: FilterCounts = noCounts();

  constructor(cacheBytes: number) {
    this.cache = new ByteLru(cacheBytes);
  }

  /** What happened since the last call. */
  takeCounts(): FilterCounts {
    const { counts } = this;
    this.counts = noCounts();
    return counts;
  }

  /** False when the block surely has none of the values of one of the lists. */
  async mayMatch(
    meta: BlockMeta,
    needed: NeededValues,
    read: ReadFilter,
    signal: AbortSignal,
  ): Promise<{ readonly isPossible: boolean; readonly bytesRead: number }> {
    const { valueFilterBytes = 0 } = meta;
    if (needed.length === 0 || valueFilterBytes === 0) return { isPossible: true, bytesRead: 0 };
    const before = this.counts.bytesRead;
    let isPossible = true;
    for (const values of needed) {
      isPossible = await this.hasAny(meta, values, read, signal);
      if (!isPossible) break;
    }
    if (isPossible) this.counts.passed++;
    else this.counts.skipped++;
    return { isPossible, bytesRead: this.counts.bytesRead - before };
  }

  private async hasAny(
    meta: BlockMeta,
    values: readonly NeededValue[],
    read: ReadFilter,
    signal: AbortSignal,
  ): Promise<boolean> {
    for (const value of values) if (await this.has(meta, value, read, signal)) return true;
    return false;
  }

  private async has(
    { blockId, valueFilterBytes = 0 }: BlockMeta,
    value: NeededValue,
    read: ReadFilter,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { elementOf, elementWords, layoutOf, linesOf, shardBits, shardOf, shardRange, valueBloom } =
      await library();
    const layout = layoutOf(valueFilterBytes);
    if (layout === undefined) return this.unusable();
    const { a, b } = elementWords(value);
    const shard = shardOf(a, layout);
    const key = `${blockId}/${shard}`;
    let filter = this.cache.get<ValueBloom | typeof NONE>(key);
    if (filter === undefined) {
      const { offset, length } = shardRange(shard, layout);
      try {
        const bytes = await read(offset, length);
        this.counts.bytesRead += bytes.length;
        filter = valueBloom(linesOf(layout), shardBits(bytes, blockId, shard, layout));
        this.cache.set(key, filter, length + ENTRY_BYTES);
      } catch (err) {
        signal.throwIfAborted();
        if (!(err instanceof TempoError)) throw err;
        // what may be there later is asked again
        const isGone = err.code === 'not_found' || err.code === 'block_corrupt';
        if (isGone) this.cache.set(key, NONE, ENTRY_BYTES);
        return this.unusable();
      }
    }
    return filter === NONE ? this.unusable() : (filter as ValueBloom).has(elementOf(a, b));
  }

  private unusable(): true {
    this.counts.unusable++;
    return true;
  }
}

function noCounts(): FilterCounts {
  return { skipped: 0, passed: 0, unusable: 0, bytesRead: 0 };
}
