// Keeps what was read of blocks, as it is stored, for all threads together: ranges of the data and bloom
// filters, which never change once a block is there. What is not in memory may be in a cache outside the
// process. Equal reads at the same time become one.
import type { CachesByRole, OuterCache } from '../cache/outer-cache.ts';
import type { CacheRole, ReadUse } from '../cache/settings.ts';
import { ByteLru } from '../lib/lru.ts';
import type { ObjectInfo, TreeStore } from './objectstore.ts';

/** Of the cache, for one read: larger ones would drive out too much. */
const SHARE_MAX = 1 / 8;
/** What an entry takes beside its bytes. */
const ENTRY_BYTES = 200;
/** So many blocks are read past the caches outside the process: of more those that were noticed last. */
const DISTRUSTED_MAX = 1000;
const IMMUTABLE = /\/(data\.parquet|bloom-\d+|index|value-filter)$/;

export class CachedStore implements TreeStore {
  private readonly inner: TreeStore;
  private readonly cacheBytes: number;
  private readonly outer: CachesByRole;
  private readonly onDistrust: (folder: string) => void;
  readonly cache: ByteLru;
  private readonly reading = new Map<string, Promise<Uint8Array>>();
  /** Folders. */
  private readonly distrusted = new Set<string>();

  constructor(
    inner: TreeStore,
    cacheBytes: number,
    outer: CachesByRole = new Map(),
    onDistrust: (folder: string) => void = () => undefined,
  ) {
    this.inner = inner;
    this.cacheBytes = cacheBytes;
    this.outer = outer;
    this.onDistrust = onDistrust;
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

  read(key: string, signal?: AbortSignal, use?: ReadUse): Promise<Uint8Array> {
    if (use === 'uncached' || !IMMUTABLE.test(key)) return this.inner.read(key, signal);
    return this.cached(key, async () => {
      const outer = this.outerOf(use);
      const name = outerName(key);
      const kept = this.isDistrusted(key) ? undefined : await outer?.cache.getObject(outer.role, name);
      if (kept !== undefined) return kept;
      const bytes = await this.inner.read(key, signal);
      outer?.cache.setObject(name, bytes);
      return bytes;
    });
  }

  readRange(
    key: string,
    offset: number,
    lengthBytes: number,
    signal?: AbortSignal,
    use?: ReadUse,
  ): Promise<Uint8Array> {
    if (use === 'uncached' || !IMMUTABLE.test(key))
      return this.inner.readRange(key, offset, lengthBytes, signal);
    return this.cached(`${key}:${offset}:${lengthBytes}`, async () => {
      const outer = this.outerOf(use);
      const name = outerName(key);
      const kept = this.isDistrusted(key)
        ? undefined
        : await outer?.cache.getRange(outer.role, name, offset, lengthBytes);
      if (kept !== undefined) return kept;
      const bytes = await this.inner.readRange(key, offset, lengthBytes, signal);
      outer?.cache.setRange(name, offset, bytes);
      return bytes;
    });
  }

  /** Bytes of the right length may still be wrong ones: only who decodes them finds out. */
  async distrust(folder: string): Promise<void> {
    this.distrusted.delete(folder);
    this.distrusted.add(folder);
    for (const oldest of this.distrusted) {
      if (this.distrusted.size <= DISTRUSTED_MAX) break;
      this.distrusted.delete(oldest);
    }
    this.cache.deletePrefix(`${folder}/`);
    for (const key of this.reading.keys()) if (key.startsWith(`${folder}/`)) this.reading.delete(key);
    this.onDistrust(folder);
  }

  private isDistrusted(key: string): boolean {
    return this.distrusted.has(key.slice(0, key.lastIndexOf('/')));
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

  private outerOf(use: ReadUse | undefined): OuterOfRole | undefined {
    if (use === undefined || use === 'uncached') return undefined;
    const cache = this.outer.get(use);
    return cache && { cache, role: use };
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
      const isCurrent = this.reading.get(key) === begun;
      const isKept = isCurrent && bytes.length <= this.cache.maxBytes * SHARE_MAX;
      if (isKept) this.cache.set(key, bytes, bytes.length + ENTRY_BYTES);
      // The slice of a Buffer would be no copy.
      return new Uint8Array(bytes);
    } finally {
      if (this.reading.get(key) === begun) this.reading.delete(key);
    }
  }
}

interface OuterOfRole {
  readonly cache: OuterCache;
  readonly role: CacheRole;
}

/** As Tempo calls an object there. */
function outerName(key: string): string {
  return key.replaceAll('/', ':');
}
