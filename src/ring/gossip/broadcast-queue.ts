// News that are to be told: each to some members, more when there are many, those least told first. Newer
// news of the same thing take the place of older ones.

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
  #queue: Broadcast[] = [];
  #order = 0;

  /** @param dropped called for each that had to go for want of room. */
  constructor(lengthMax: number, dropped: () => void) {
    this.#lengthMax = lengthMax;
    this.#dropped = dropped;
  }

  get length(): number {
    return this.#queue.length;
  }

  get bytes(): number {
    return this.#queue.reduce((sum, { message }) => sum + message.length, 0);
  }

  /** @param isRare what nobody says again is told more often, so that it reaches all. */
  add(topic: string, names: ReadonlySet<string>, message: Uint8Array, isRare = false): void {
    this.#queue = this.#queue.filter((each) => each.topic !== topic || !isWithin(each.names, names));
    if (this.#queue.length >= this.#lengthMax) {
      // What was told most often is known best.
      this.#queue.sort(byNeed).pop();
      this.#dropped();
    }
    const weight = isRare ? RARE_WEIGHT : 1;
    this.#queue.push({ message, topic, names, order: this.#order++, weight, told: 0 });
  }

  /** What the next member is told: at most so many bytes. @param timesMax how often each is told. */
  take(bytesMax: number, timesMax: number): Uint8Array[] {
    if (this.#queue.length === 0) return [];
    this.#queue.sort(byNeed);
    const taken: Uint8Array[] = [];
    let bytes = 0;
    for (const each of this.#queue) {
      // One that is larger than all room goes alone.
      if (taken.length > 0 && bytes + each.message.length > bytesMax) continue;
      bytes += each.message.length;
      each.told++;
      taken.push(each.message);
    }
    this.#queue = this.#queue.filter(({ told, weight }) => told < timesMax * weight);
    return taken;
  }
}

function byNeed(a: Broadcast, b: Broadcast): number {
  return a.told - b.told || b.order - a.order;
}

function isWithin(names: ReadonlySet<string>, others: ReadonlySet<string>): boolean {
  for (const name of names) if (!others.has(name)) return false;
  return true;
}
