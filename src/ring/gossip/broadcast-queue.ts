// News that are to be told: each to some members, more when there are many, those least told first. Newer
// news of the same thing take the place of older ones. Whoever floods a member with news makes it add them
// all, so that adding costs the same however many wait.

const RARE_WEIGHT = 2;

interface Broadcast {
  readonly message: Uint8Array;
  /** What it is about: `names` of a `topic`. */
  readonly topic: string;
  readonly names: ReadonlySet<string>;
  readonly order: number;
  /** How many times as often as others it is told. */
  readonly weight: number;
  told: number;
}

export class BroadcastQueue {
  readonly #lengthMax: number;
  readonly #dropped: () => void;
  readonly #bytesMax: number;
  /** Those first that go first for want of room; what is added has been told least, and is the newest. */
  #queue = new Set<Broadcast>();
  /** By topic and first name: news within other names are found by that name among these. */
  readonly #byName = new Map<string, Map<string, Set<Broadcast>>>();
  #bytes = 0;
  #order = 0;

  /**
   * @param dropped called for each that had to go for want of room.
   * @param bytesMax of all that wait, unless one alone is larger.
   */
  constructor(lengthMax: number, dropped: () => void, bytesMax = Number.POSITIVE_INFINITY) {
    this.#lengthMax = lengthMax;
    this.#dropped = dropped;
    this.#bytesMax = bytesMax;
  }

  get length(): number {
    return this.#queue.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /**
   * @param names one at least.
   * @param isRare what nobody says again is told more often, so that it reaches all.
   */
  add(topic: string, names: ReadonlySet<string>, message: Uint8Array, isRare = false): void {
    this.#replace(topic, names);
    // What was told most often is known best.
    for (const worst of this.#queue) {
      if (this.#queue.size < this.#lengthMax && this.#bytes + message.length <= this.#bytesMax) break;
      this.#remove(worst);
      this.#dropped();
    }
    const weight = isRare ? RARE_WEIGHT : 1;
    this.#keep({ message, topic, names, order: this.#order++, weight, told: 0 });
  }

  /** What the next member is told: at most so many bytes. @param timesMax how often each is told. */
  take(bytesMax: number, timesMax: number): Uint8Array[] {
    if (this.#queue.size === 0) return [];
    const taken: Uint8Array[] = [];
    let bytes = 0;
    for (const each of [...this.#queue].reverse()) {
      // One that is larger than all room goes alone.
      if (taken.length > 0 && bytes + each.message.length > bytesMax) continue;
      bytes += each.message.length;
      each.told++;
      taken.push(each.message);
    }
    for (const each of this.#queue) if (each.told >= timesMax * each.weight) this.#remove(each);
    this.#queue = new Set([...this.#queue].sort(byRoomNeeded));
    return taken;
  }

  /** Removes news that are about nothing else than these names. */
  #replace(topic: string, names: ReadonlySet<string>): void {
    const byName = this.#byName.get(topic);
    if (byName === undefined) return;
    for (const name of names) {
      for (const each of byName.get(name) ?? []) if (isWithin(each.names, names)) this.#remove(each);
    }
  }

  #keep(broadcast: Broadcast): void {
    const { topic, message } = broadcast;
    this.#queue.add(broadcast);
    this.#bytes += message.length;
    let byName = this.#byName.get(topic);
    if (byName === undefined) this.#byName.set(topic, (byName = new Map()));
    const name = firstOf(broadcast);
    byName.set(name, (byName.get(name) ?? new Set()).add(broadcast));
  }

  #remove(broadcast: Broadcast): void {
    const { topic, message } = broadcast;
    this.#queue.delete(broadcast);
    this.#bytes -= message.length;
    const byName = this.#byName.get(topic);
    const same = byName?.get(firstOf(broadcast));
    same?.delete(broadcast);
    if (same?.size === 0) byName?.delete(firstOf(broadcast));
    if (byName?.size === 0) this.#byName.delete(topic);
  }
}

function firstOf({ names }: Broadcast): string {
  const [first = ''] = names;
  return first;
}

function byRoomNeeded(a: Broadcast, b: Broadcast): number {
  return b.told - a.told || a.order - b.order;
}

function isWithin(names: ReadonlySet<string>, others: ReadonlySet<string>): boolean {
  if (names.size > others.size) return false;
  for (const name of names) if (!others.has(name)) return false;
  return true;
}
