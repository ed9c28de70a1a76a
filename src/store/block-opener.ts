// Opens blocks for a scan thread, from the ingester's folder or from the backend, with the thread's one
// cache.
import { blockDecompressors } from '../block/compression.ts';
import type { BlockMeta } from '../block/meta.ts';
import { type Block, openBlock } from '../block/vparquet/open.ts';
import { TempoError } from '../lib/errors.ts';
import { ByteLru } from '../lib/lru.ts';
import type { ObjectStore } from '../objectstore/objectstore.ts';

export interface BlockOpenerOptions {
  readonly local: ObjectStore;
  readonly backend: ObjectStore;
  readonly cacheBytes: number;
}

export class BlockOpener {
  private readonly options: BlockOpenerOptions;
  /** Of the thread. */
  readonly cache: ByteLru;
  private readonly decompressors = blockDecompressors();

  constructor(options: BlockOpenerOptions) {
    this.options = options;
    this.cache = new ByteLru(options.cacheBytes);
  }

  get cachedBytes(): number {
    return this.cache.sizeBytes;
  }

  /** The cache takes that share of its bytes from now on. */
  limitCache(share: number): void {
    this.cache.limit(this.options.cacheBytes * share);
  }

  /** A block that has left the ingester's folder meanwhile is opened from the backend. */
  async open(meta: BlockMeta, location: 'local' | 'backend', signal: AbortSignal): Promise<Block> {
    if (location === 'backend') return this.openIn(this.options.backend, meta, signal);
    try {
      return await this.openIn(this.options.local, meta, signal);
    } catch (err) {
      if (!(err instanceof TempoError) || err.code !== 'not_found') throw err;
      return this.openIn(this.options.backend, meta, signal);
    }
  }

  private openIn(store: ObjectStore, meta: BlockMeta, signal: AbortSignal): Promise<Block> {
    const folder = `${meta.tenantId}/${meta.blockId}`;
    return openBlock({
      meta,
      readRange: (offset, length, abort) => store.readRange(`${folder}/data.parquet`, offset, length, abort),
      readObject: (name, abort) => store.read(`${folder}/${name}`, abort),
      decompressors: this.decompressors,
      cache: this.cache,
      signal,
    });
  }
}
