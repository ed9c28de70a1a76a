// A cache bounded by bytes: what was used longest ago goes first. Its owner says how many bytes an entry
// takes.

interface Entry {
  readonly value: object;
  readonly needs: readonly string[];
  bytes: number;
}

const NONE: readonly string[] = [];

export class ByteLru {
  /** Of all entries together. */
  maxBytes: number;
  private usedBytes = 0;
  private hitCount = 0;
  private missCount = 0;
  private readonly entries = new Map<string, Entry>();

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  get sizeBytes(): number {
    return this.usedBytes;
  }

  get count(): number {
    return this.entries.size;
  }

  get hits(): number {
    return this.hitCount;
  }

  get misses(): number {
    return this.missCount;
  }

  /** The caller knows what kind of value it keeps under a key. */
  get<T extends object>(key: string): T | undefined {
    const entry = this.entries.get(key);
    if (entry === undefined) {
      this.missCount++;
      return undefined;
    }
    this.hitCount++;
    this.entries.delete(key);
    this.entries.set(key, entry);
    if (entry.needs.length > 0) this.touch(entry.needs);
    return entry.value as T;
  }

  private touch(keys: readonly string[]): void {
    for (const key of keys) {
      const entry = this.entries.get(key);
      if (entry === undefined) continue;
      this.entries.delete(key);
      this.entries.set(key, entry);
    }
  }

  /** As `get`, but not counted as a use. */
  peek<T extends object>(key: string): T | undefined {
    return this.entries.get(key)?.value as T | undefined;
  }

  /**
   * Adds or replaces; what is larger than the whole cache is not kept. `needs` are keys of entries that the
   * value refers to: they do not go before it, so that no memory is held that is not counted.
   */
  set(key: string, value: object, bytes: number, needs: readonly string[] = NONE): void {
    this.delete(key);
    if (bytes > this.maxBytes) return;
    this.entries.set(key, { value, bytes, needs });
    this.usedBytes += bytes;
    this.touch(needs);
    this.trim();
  }

  /** States anew how large an entry is; nothing happens when it is gone. */
  resize(key: string, bytes: number): void {
    const entry = this.entries.get(key);
    if (entry === undefined) return;
    this.usedBytes += bytes - entry.bytes;
    entry.bytes = bytes;
    if (bytes > this.maxBytes) this.delete(key);
    this.trim();
  }

  delete(key: string): void {
    const entry = this.entries.get(key);
    if (entry === undefined) return;
    this.usedBytes -= entry.bytes;
    this.entries.delete(key);
  }

  /** Looks at every key. */
  deletePrefix(prefix: string): void {
    for (const key of this.entries.keys()) if (key.startsWith(prefix)) this.delete(key);
  }

  clear(): void {
    this.entries.clear();
    this.usedBytes = 0;
  }

  /** Changes what all entries together may take. */
  limit(maxBytes: number): void {
    this.maxBytes = maxBytes;
    this.trim();
  }

  private trim(): void {
    for (const [key, entry] of this.entries) {
      if (this.usedBytes <= this.maxBytes) return;
      this.usedBytes -= entry.bytes;
      this.entries.delete(key);
    }
  }
}
