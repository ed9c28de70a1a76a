// Opens blocks for a scan thread, from the ingester's folder or from the backend, with the caches of the
// thread.
import { blockDecompressors } from '../block/compression.ts';
import { type BlockMeta, VALUE_FILTER_NAME } from '../block/meta.ts';
import { askBloom, type Block, openBlock, type OpenBlockOptions } from '../block/vparquet/open.ts';
import type { LocatedTrace } from '../block/stored-spans.ts';
import type { CacheRole } from '../cache/settings.ts';
import { TempoError } from '../lib/errors.ts';
import { ByteLru } from '../lib/lru.ts';
import { ScratchPool } from '../lib/scratch.ts';
import type { ObjectStore } from '../objectstore/objectstore.ts';
import type { FilePart, ReadRange } from '../parquet/plan.ts';
import type { NeededValues } from '../traceql/engine/needed-values.ts';
import { type ReadFilter, ValueFilters } from './value-filters.ts';

export interface BlockOpenerOptions {
  readonly local: ObjectStore;
  readonly backend: ObjectStore;
  /** Is each read of the backend a request over the network? */
  readonly isRemote?: boolean;
  readonly cacheBytes: number;
  /** Reads of the backend go past all caches. */
  readonly isUncached?: boolean;
  readonly nowMs?: () => number;
  /** undefined = caches outside the process are not asked. */
  readonly cached?: CachedParts | undefined;
}

/** Which bloom filters may be in caches outside the process; 0 = no bound. */
export interface CachedParts {
  readonly bloomLevelMax: number;
  readonly bloomAgeMsMax: number;
}

/** The data of a remote block of at most so many bytes is read at once: requests are dearer than bytes. */
const WHOLE_BYTES_MAX = 1024 * 1024;

/** More memory is not kept for the next time. */
const SCRATCH_BYTES_MAX = 24 << 20;

/** Of the caches, for value filters, at most. */
const FILTERS_SHARE = 1 / 8;
/** For columns made of heads, which have no more than that. */
const HEADS_SHARE = 1 / 8;
const HEADS_BYTES_MAX = 64 << 20;
/** For what queries found in blocks. */
const MEMOS_SHARE = 1 / 8;
/** What is that small is worth twice what is large: most of its cost is the pages that it comes from. */
const SMALL_BYTES = 256 * 1024;
/** For columns of blocks, at least: they have what the others leave, too. */
const BLOCKS_SHARE = 1 - FILTERS_SHARE - HEADS_SHARE - MEMOS_SHARE;

type BlockLocation = 'local' | 'backend';
type CountBytes = (bytes: number) => void;

/** A block is not read past the caches again so soon: then the block itself is damaged. */
const REREAD_PAUSE_MS = 10 * 60 * 1000;
/** So many such blocks are known. */
const REREAD_MAX = 1000;

export class BlockOpener {
  private readonly options: BlockOpenerOptions;
  /** When blocks were last found to be damaged, by id. */
  private readonly reread = new Map<string, number>();
  /** Of the thread. */
  readonly cache: ByteLru;
  readonly filters: ValueFilters;
  /** What queries found in blocks: it must not go for columns, a hundred times as large. */
  readonly memos: ByteLru;
  /** What was made of heads; it grows with them. */
  readonly heads: ByteLru;
  /** Bytes read of blocks beside their row groups: footers and value filters. */
  ownBytesRead = 0;
  private readonly decompressors = blockDecompressors();
  private readonly scratch: ScratchPool;
  private bytesMax: number;

  constructor(options: BlockOpenerOptions) {
    this.options = options;
    this.bytesMax = options.cacheBytes;
    this.scratch = new ScratchPool(scratchBytes(options.cacheBytes));
    this.cache = new ByteLru(options.cacheBytes * BLOCKS_SHARE, { smallBytes: SMALL_BYTES });
    this.memos = new ByteLru(options.cacheBytes * MEMOS_SHARE);
    this.heads = new ByteLru(headsBytes(options.cacheBytes));
    this.filters = new ValueFilters(options.cacheBytes * FILTERS_SHARE);
  }

  /** With the memory that waits to be used again. */
  get cachedBytes(): number {
    const { cache, memos, filters, heads, scratch } = this;
    return cache.sizeBytes + memos.sizeBytes + filters.cache.sizeBytes + heads.sizeBytes + scratch.keptBytes;
  }

  /** Another job begins. */
  nextTurn(): void {
    this.fit();
    this.cache.nextTurn();
    this.memos.nextTurn();
  }

  /** The caches take that share of their bytes from now on. */
  limitCache(share: number): void {
    this.bytesMax = this.options.cacheBytes * share;
    this.scratch.limit(scratchBytes(this.bytesMax));
    this.memos.limit(this.bytesMax * MEMOS_SHARE);
    this.heads.limit(headsBytes(this.bytesMax));
    this.filters.cache.limit(this.bytesMax * FILTERS_SHARE);
    this.fit();
  }

  /** What the others grow by in one job is given back at the next. */
  private fit(): void {
    const others = this.memos.sizeBytes + this.heads.sizeBytes + this.filters.cache.sizeBytes;
    this.cache.limit(Math.max(this.bytesMax * BLOCKS_SHARE, this.bytesMax - others));
  }

  /** False when the block surely lacks a value that is needed. */
  async mayMatch(
    meta: BlockMeta,
    location: BlockLocation,
    needed: NeededValues,
    signal: AbortSignal,
  ): Promise<boolean> {
    const key = `${meta.tenantId}/${meta.blockId}/${VALUE_FILTER_NAME}`;
    const { cached, isRemote = false } = this.options;
    const role = isRemote && cached !== undefined ? this.bloomRole(meta) : undefined;
    const read: ReadFilter = (offset, length) =>
      this.where(location, (store) => store.readRange(key, offset, length, signal, role));
    const { isPossible, bytesRead } = await this.filters.mayMatch(meta, needed, read, signal);
    this.ownBytesRead += bytesRead;
    return isPossible;
  }

  /** A block that has left the ingester's folder meanwhile is opened from the backend. */
  async open(meta: BlockMeta, location: BlockLocation, signal: AbortSignal): Promise<Block> {
    const block = await this.where(location, (store, isRemote) =>
      openBlock(this.parts(store, meta, isRemote, signal)),
    );
    this.ownBytesRead += block.bytesRead;
    return block;
  }

  /**
   * The bloom filter is asked first: of a block without the trace nothing else is read.
   *
   * @param count is told what is read, then and later.
   */
  async locateTrace(
    meta: BlockMeta,
    location: BlockLocation,
    id: Uint8Array,
    count: CountBytes,
    signal: AbortSignal,
  ): Promise<LocatedTrace | undefined> {
    const located = await this.where(location, (store, isRemote) =>
      this.locateIn(this.parts(store, meta, isRemote, signal), id, count, signal),
    );
    if (located === undefined || location === 'backend') return located;
    return {
      digest: () => located.digest(),
      // The block may have left the ingester's folder since it was found there.
      read: () =>
        located.read().catch(async (err: unknown) => {
          const there = isMissing(err) && (await this.locateTrace(meta, 'backend', id, count, signal));
          if (!there) throw err;
          return there.read();
        }),
    };
  }

  private async locateIn(
    parts: OpenBlockOptions,
    id: Uint8Array,
    count: CountBytes,
    signal: AbortSignal,
  ): Promise<LocatedTrace | undefined> {
    const bloom = await askBloom(parts, id, signal);
    count(bloom.bytesRead);
    if (!bloom.isPossible) return undefined;
    const block = await openBlock(parts);
    let counted = 0;
    const reading = async <T>(read: () => Promise<T>): Promise<T> => {
      try {
        return await read();
      } finally {
        count(block.bytesRead - counted);
        counted = block.bytesRead;
        block.release();
      }
    };
    const located = await reading(() => block.locate(id, signal));
    return (
      located && {
        digest: () => reading(() => located.digest()),
        read: () => reading(() => located.read()),
      }
    );
  }

  private async where<T>(
    location: BlockLocation,
    work: (store: ObjectStore, isRemote: boolean) => Promise<T>,
  ): Promise<T> {
    const { local, backend, isRemote = false } = this.options;
    if (location === 'backend') return work(backend, isRemote);
    try {
      return await work(local, false);
    } catch (err) {
      if (!isMissing(err)) throw err;
      return work(backend, isRemote);
    }
  }

  /**
   * Blocks could not be decoded: perhaps only what caches have of them is damaged.
   *
   * @returns whether it is worth trying once more.
   */
  async distrust(metas: readonly BlockMeta[]): Promise<boolean> {
    const { backend, isRemote = false, nowMs = () => performance.now() } = this.options;
    const now = nowMs();
    const isDue = ({ blockId }: BlockMeta): boolean =>
      now - (this.reread.get(blockId) ?? -Infinity) >= REREAD_PAUSE_MS;
    const due = isRemote ? metas.filter(isDue) : [];
    for (const { tenantId, blockId } of due) {
      this.reread.delete(blockId);
      this.reread.set(blockId, now);
      if (this.reread.size > REREAD_MAX) this.reread.delete(this.reread.keys().next().value!);
      this.cache.deletePrefix(`${blockId}/`);
      this.memos.deletePrefix(`${blockId}/`);
      await backend.distrust?.(`${tenantId}/${blockId}`);
    }
    return due.length > 0;
  }

  private parts(
    store: ObjectStore,
    meta: BlockMeta,
    isRemote: boolean,
    signal: AbortSignal,
  ): OpenBlockOptions {
    const folder = `${meta.tenantId}/${meta.blockId}`;
    const data = `${folder}/data.parquet`;
    const isReadWhole = isRemote && meta.sizeBytes <= WHOLE_BYTES_MAX;
    const isCached = isRemote && this.options.cached !== undefined;
    const otherwise = this.options.isUncached === true ? 'uncached' : undefined;
    return {
      meta,
      readRange: isReadWhole
        ? fromWhole(() => store.read(data, signal, isCached ? 'parquet-page' : otherwise))
        : (offset, length, abort, part, into) =>
            store.readRange(data, offset, length, abort, isCached ? roleOf(part) : otherwise, into),
      readObject: (name, abort) =>
        store.read(`${folder}/${name}`, abort, isCached ? this.bloomRole(meta) : otherwise),
      decompressors: this.decompressors,
      scratch: this.scratch,
      cache: this.cache,
      memos: this.memos,
      signal,
    };
  }

  /** Bloom filters are all that is read of a block beside its data. */
  private bloomRole(meta: BlockMeta): CacheRole | undefined {
    const { cached } = this.options;
    if (cached === undefined) return undefined;
    const { bloomLevelMax, bloomAgeMsMax } = cached;
    const isTooHigh = bloomLevelMax > 0 && meta.compactionLevel > bloomLevelMax;
    const isTooOld = bloomAgeMsMax > 0 && Date.now() - meta.startSec * 1000 > bloomAgeMsMax;
    return isTooHigh || isTooOld ? undefined : 'bloom';
  }
}

function isMissing(err: unknown): boolean {
  return err instanceof TempoError && err.code === 'not_found';
}

/** Memory that waits to be used again may be a quarter of the caches, which is enough for usual columns. */
function scratchBytes(cacheBytes: number): number {
  return Math.min(SCRATCH_BYTES_MAX, cacheBytes / 4);
}

function headsBytes(cacheBytes: number): number {
  return Math.min(cacheBytes * HEADS_SHARE, HEADS_BYTES_MAX);
}

function roleOf(part: FilePart | undefined): CacheRole {
  return part === undefined ? 'parquet-page' : `parquet-${part === 'footer' ? part : 'offset-idx'}`;
}

/** Ranges are copies: what is kept of one must not hold the whole. */
function fromWhole(read: () => Promise<Uint8Array>): ReadRange {
  let whole: Promise<Uint8Array> | undefined;
  return async (offset, length) => (await (whole ??= read())).slice(offset, offset + length);
}
