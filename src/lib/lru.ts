// A cache bounded by bytes: what was used longest ago goes first. Its owner says how many bytes an entry
// takes. Where the owner tells of turns (of jobs, say), what only one turn used goes before the rest: passing
// over much data once does not drive out what every turn needs.

interface Entry {
  readonly value: object;
  readonly needs: readonly string[];
  readonly turn: number;
  bytes: number;
}

const NONE: readonly string[] = [];
/** Of the bytes, for what several turns used; beyond it goes as what one used. */
const REUSED_SHARE = 0.8;

export class ByteLru {
  /** Of all entries together. */
  maxBytes: number;
  private usedBytes = 0;
  private reusedBytes = 0;
  private hitCount = 0;
  private missCount = 0;
  private turn = 0;
  /** Entries used in one turn, and behind them those used in several: in this order they go. */
  private readonly once = new Map<string, Entry>();
  private readonly reused = new Map<string, Entry>();

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  get sizeBytes(): number {
    return this.usedBytes;
  }

  get count(): number {
    return this.once.size + this.reused.size;
  }

  get hits(): number {
    return this.hitCount;
  }

  get misses(): number {
    return this.missCount;
  }

  /** Uses from here on are another turn's. */
  nextTurn(): void {
    this.turn++;
  }

  /** The caller knows what kind of value it keeps under a key. */
  get<T extends object>(key: string): T | undefined {
    const entry = this.find(key);
    if (entry === undefined) {
      this.missCount++;
      return undefined;
    }
    this.hitCount++;
    this.use(key, entry, entry.turn !== this.turn);
    return entry.value as T;
  }

  private find(key: string): Entry | undefined {
    return this.reused.get(key) ?? this.once.get(key);
  }

  /** Moves an entry behind all others of its kind, and what it needs behind it. */
  private use(key: string, entry: Entry, isAnotherTurn: boolean): void {
    if (this.once.delete(key)) {
      if (isAnotherTurn) this.reusedBytes += entry.bytes;
      (isAnotherTurn ? this.reused : this.once).set(key, entry);
    } else {
      this.reused.delete(key);
      this.reused.set(key, entry);
    }
    const isReused = this.reused.has(key);
    for (const need of entry.needs) {
      const needed = this.find(need);
      if (needed !== undefined) this.use(need, needed, isReused);
    }
    if (isReused) this.trimReused();
  }

  /** As `get`, but not counted as a use. */
  peek<T extends object>(key: string): T | undefined {
    return this.find(key)?.value as T | undefined;
  }

  /**
   * Adds or replaces; what is larger than the whole cache is not kept. `needs` are keys of entries that the
   * value refers to: they do not go before it, so that no memory is held that is not counted.
   */
  set(key: string, value: object, bytes: number, needs: readonly string[] = NONE): void {
    this.delete(key);
    if (bytes > this.maxBytes) return;
    const entry: Entry = { value, bytes, needs, turn: this.turn };
    this.once.set(key, entry);
    this.usedBytes += bytes;
    this.use(key, entry, false);
    this.trim();
  }

  /** States anew how large an entry is; nothing happens when it is gone. */
  resize(key: string, bytes: number): void {
    const entry = this.find(key);
    if (entry === undefined) return;
    if (this.reused.has(key)) this.reusedBytes += bytes - entry.bytes;
    this.usedBytes += bytes - entry.bytes;
    entry.bytes = bytes;
    if (bytes > this.maxBytes) this.delete(key);
    this.trim();
  }

  delete(key: string): void {
    const entry = this.find(key);
    if (entry === undefined) return;
    this.usedBytes -= entry.bytes;
    if (this.reused.delete(key)) this.reusedBytes -= entry.bytes;
    else this.once.delete(key);
  }

  /** Looks at every key. */
  deletePrefix(prefix: string): void {
    for (const key of this.once.keys()) if (key.startsWith(prefix)) this.delete(key);
    for (const key of this.reused.keys()) if (key.startsWith(prefix)) this.delete(key);
  }

  clear(): void {
    this.once.clear();
    this.reused.clear();
    this.usedBytes = 0;
    this.reusedBytes = 0;
  }

  /** Changes what all entries together may take. */
  limit(maxBytes: number): void {
    this.maxBytes = maxBytes;
    this.trim();
  }

  private trimReused(): void {
    for (const [key, entry] of this.reused) {
      if (this.reusedBytes <= this.maxBytes * REUSED_SHARE) return;
      this.reused.delete(key);
      this.reusedBytes -= entry.bytes;
      this.once.set(key, entry);
    }
  }

  private trim(): void {
    this.trimReused();
    for (const entries of [this.once, this.reused]) {
      for (const [key, entry] of entries) {
        if (this.usedBytes <= this.maxBytes) return;
        this.usedBytes -= entry.bytes;
        if (entries === this.reused) this.reusedBytes -= entry.bytes;
        entries.delete(key);
      }
    }
  }
}
