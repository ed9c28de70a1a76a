// Keeps what was read of blocks, as it is stored, for all threads together: ranges of the data and bloom
// filters, which never change once a block is there. Equal reads at the same time become one.
import { ByteLru } from '../lib/lru.ts';
import type { ObjectInfo, TreeStore } from './objectstore.ts';

/** Of the cache, for one read: larger ones would drive out too much. */
const SHARE_MAX = 1 / 8;
/** What an entry takes beside its bytes. */
const ENTRY_BYTES = 200;
const IMMUTABLE = /\/(data\.parquet|bloom-\d+|index)$/;

export class CachedStore implements TreeStore {
  private readonly inner: TreeStore;
  private readonly cacheBytes: number;
  readonly cache: ByteLru;
  private readonly reading = new Map<string, Promise<Uint8Array>>();

  constructor(inner: TreeStore, cacheBytes: number) {
    this.inner = inner;
    this.cacheBytes = cacheBytes;
    this.cache = new ByteLru(cacheBytes);
  }

  /** The cache takes that share of its bytes from now on. */
  limitCache(share: number): void {
    this.cache.limit(this.cacheBytes * share);
  }

  prepare(): Promise<void> {
    return this.inner.prepare();
  }

  listFolders(prefix: string, signal?: AbortSignal): Promise<string[]> {
    return this.inner.listFolders(prefix, signal);
  }

  listObjects(prefix: string, signal?: AbortSignal): Promise<string[]> {
    return this.inner.listObjects(prefix, signal);
  }

  listTree(prefix: string, signal?: AbortSignal): Promise<string[]> {
    return this.inner.listTree(prefix, signal);
  }

  stat(key: string, signal?: AbortSignal): Promise<ObjectInfo> {
    return this.inner.stat(key, signal);
  }

  read(key: string, signal?: AbortSignal): Promise<Uint8Array> {
    if (!IMMUTABLE.test(key)) return this.inner.read(key, signal);
    return this.cached(key, () => this.inner.read(key, signal));
  }

  readRange(key: string, offset: number, lengthBytes: number, signal?: AbortSignal): Promise<Uint8Array> {
    const read = (): Promise<Uint8Array> => this.inner.readRange(key, offset, lengthBytes, signal);
    return IMMUTABLE.test(key) ? this.cached(`${key}:${offset}:${lengthBytes}`, read) : read();
  }

  write(key: string, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    this.forget(key);
    return this.inner.write(key, bytes, signal);
  }

  writeFile(key: string, path: string, signal?: AbortSignal): Promise<void> {
    this.forget(key);
    return this.inner.writeFile(key, path, signal);
  }

  copy(from: string, to: string, signal?: AbortSignal): Promise<void> {
    this.forget(to);
    return this.inner.copy(from, to, signal);
  }

  delete(key: string, signal?: AbortSignal): Promise<void> {
    this.forget(key);
    return this.inner.delete(key, signal);
  }

  deleteFolder(prefix: string, signal?: AbortSignal): Promise<void> {
    return this.inner.deleteFolder(prefix, signal);
  }

  private forget(key: string): void {
    this.cache.delete(key);
  }

  /** @returns bytes of the caller's own. */
  private async cached(key: string, read: () => Promise<Uint8Array>): Promise<Uint8Array> {
    const kept = this.cache.get<Uint8Array>(key);
    if (kept !== undefined) return new Uint8Array(kept);
    const underWay = this.reading.get(key);
    if (underWay !== undefined) {
      const shared = await underWay.catch(() => undefined);
      // Whoever began it may have given up.
      return shared === undefined ? read() : new Uint8Array(shared);
    }
    const begun = read();
    this.reading.set(key, begun);
    try {
      const bytes = await begun;
      const isKept = bytes.length <= this.cache.maxBytes * SHARE_MAX;
      if (isKept) this.cache.set(key, bytes, bytes.length + ENTRY_BYTES);
      // The slice of a Buffer would be no copy.
      return new Uint8Array(bytes);
    } finally {
      this.reading.delete(key);
    }
  }
}
