// A cache bounded by bytes, whose owner says how many an entry takes. What was used longest ago goes first,
// as long as nothing else is said. Where the owner tells of turns (of jobs, say), what many turns used stays
// longer, so that passing over much data once does not drive out what every turn needs. Where it says what is
// small, the small stays longer too: a few values found among millions cost as much to find again as many,
// and little to keep.
//
// An entry is due when the clock reaches its place; the clock goes to the place of what is due next when
// something has to go. An entry that is used moves its weight beyond the clock (greedy dual size with
// frequency). Weights are of few kinds, so that entries of a kind lie in the order in which they are due.

interface Entry {
  readonly value: object;
  readonly needs: readonly string[];
  bytes: number;
  /** Turns that used it, the last of which is `usedTurn`. */
  uses: number;
  usedTurn: number;
  /** That used it, or what needs it. */
  sparedTurn: number;
  kind: number;
  due: number;
}

export interface LruOptions {
  /**
   * An entry of that size weighs twice what one weighs that is far larger, and none more than
   * `SMALL_WEIGHT_MAX` times as much for its size; 0 = sizes mean nothing.
   */
  readonly smallBytes?: number;
}

const NONE: readonly string[] = [];
/** More uses say no more. */
const USES_MAX = 16;
/** Less than what uses can weigh: much that is small and used once does not drive out what all turns need. */
const SMALL_WEIGHT_MAX = 4;
/** Weights are powers of two to the half of a kind. */
const KINDS_A_DOUBLING = 2;
const KINDS = 32;
/** Of the bytes: a turn that sets more keeps none of it for being its own. */
const SPARED_SHARE = 1 / 4;

export class ByteLru {
  /** Of all entries together. */
  maxBytes: number;
  private readonly smallBytes: number;
  private usedBytes = 0;
  private hitCount = 0;
  private missCount = 0;
  private turn = 0;
  /** Of what this turn has set. */
  private turnBytes = 0;
  private clock = 0;
  private readonly entries = new Map<string, Entry>();
  /** By kind, each in the order in which they are due. */
  private readonly kinds: readonly Map<string, Entry>[] = Array.from({ length: KINDS }, () => new Map());

  constructor(maxBytes: number, { smallBytes = 0 }: LruOptions = {}) {
    this.maxBytes = maxBytes;
    this.smallBytes = smallBytes;
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

  /** Uses from here on are another turn's. What a turn has used stays until its end, unless that is much. */
  nextTurn(): void {
    this.turn++;
    this.turnBytes = 0;
  }

  /** The caller knows what kind of value it keeps under a key. */
  get<T extends object>(key: string): T | undefined {
    const entry = this.entries.get(key);
    if (entry === undefined) {
      this.missCount++;
      return undefined;
    }
    this.hitCount++;
    if (entry.usedTurn !== this.turn && entry.uses < USES_MAX) entry.uses++;
    entry.usedTurn = this.turn;
    entry.sparedTurn = this.turn;
    this.use(key, entry);
    return entry.value as T;
  }

  /** As `get`, but not counted as a use. */
  peek<T extends object>(key: string): T | undefined {
    return this.entries.get(key)?.value as T | undefined;
  }

  /**
   * Adds or replaces; what is larger than the whole cache is not kept. `needs` are keys of entries that the
   * value refers to: they do not go before it, so that no memory is held that is not counted. They have no
   * needs of their own.
   */
  set(key: string, value: object, bytes: number, needs: readonly string[] = NONE): void {
    const uses = this.entries.get(key)?.uses ?? 1;
    this.delete(key);
    if (bytes > this.maxBytes) return;
    const { turn } = this;
    const entry: Entry = { value, bytes, needs, uses, usedTurn: turn, sparedTurn: turn, kind: 0, due: 0 };
    this.entries.set(key, entry);
    this.usedBytes += bytes;
    this.turnBytes += bytes;
    this.use(key, entry);
    this.trim();
  }

  /** States anew how large an entry is, which has just been used; nothing happens when it is gone. */
  resize(key: string, bytes: number): void {
    const entry = this.entries.get(key);
    if (entry === undefined) return;
    this.usedBytes += bytes - entry.bytes;
    entry.bytes = bytes;
    this.use(key, entry);
    if (bytes > this.maxBytes) this.delete(key);
    this.trim();
  }

  delete(key: string): void {
    const entry = this.entries.get(key);
    if (entry === undefined) return;
    this.usedBytes -= entry.bytes;
    this.entries.delete(key);
    this.kinds[entry.kind]!.delete(key);
  }

  /** Looks at every key. */
  deletePrefix(prefix: string): void {
    for (const key of this.entries.keys()) if (key.startsWith(prefix)) this.delete(key);
  }

  clear(): void {
    this.entries.clear();
    for (const kind of this.kinds) kind.clear();
    this.usedBytes = 0;
  }

  /** Changes what all entries together may take. */
  limit(maxBytes: number): void {
    this.maxBytes = maxBytes;
    this.trim();
  }

  private use(key: string, entry: Entry): void {
    const kind = this.kindOf(entry);
    this.move(key, entry, kind, this.clock + weightOf(kind));
  }

  /** Behind what is due before, and what it needs behind it. Nothing becomes due earlier than it was. */
  private move(key: string, entry: Entry, kind: number, due: number): void {
    const isLater = due > entry.due || (due === entry.due && kind >= entry.kind);
    if (isLater) {
      this.kinds[entry.kind]!.delete(key);
      entry.kind = kind;
      entry.due = due;
      this.kinds[kind]!.set(key, entry);
    }
    for (const need of entry.needs) {
      const needed = this.entries.get(need);
      if (needed === undefined) continue;
      needed.sparedTurn = entry.sparedTurn;
      this.move(need, needed, entry.kind, entry.due);
    }
  }

  private kindOf({ bytes, uses }: Entry): number {
    const weight = uses * Math.min(SMALL_WEIGHT_MAX, 1 + this.smallBytes / Math.max(1, bytes));
    return Math.min(KINDS - 1, Math.round(KINDS_A_DOUBLING * Math.log2(weight)));
  }

  private trim(): void {
    while (this.usedBytes > this.maxBytes) {
      const next = this.nextDue(false);
      if (next === undefined) return;
      this.clock = Math.max(this.clock, this.entries.get(next)!.due);
      const isSpared = this.turn > 0 && this.turnBytes <= this.maxBytes * SPARED_SHARE;
      this.delete((isSpared ? this.nextDue(true) : undefined) ?? next);
    }
  }

  /**
   * @param isOfOthers what this turn has used stays: it lies behind the rest of its kind, so that a kind that
   * begins with it has nothing else.
   */
  private nextDue(isOfOthers: boolean): string | undefined {
    let first: string | undefined;
    let least = Infinity;
    for (const kind of this.kinds) {
      if (kind.size === 0) continue;
      for (const [key, { due, sparedTurn }] of kind) {
        if (due < least && !(isOfOthers && sparedTurn === this.turn)) {
          least = due;
          first = key;
        }
        break;
      }
    }
    return first;
  }
}

function weightOf(kind: number): number {
  return 2 ** (kind / KINDS_A_DOUBLING);
}
