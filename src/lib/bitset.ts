// A fixed-size set of small numbers, one bit each.

export class Bitset {
  readonly size: number;
  readonly words: Int32Array;

  constructor(size: number) {
    this.size = size;
    this.words = new Int32Array((size + 31) >>> 5);
  }

  static full(size: number): Bitset {
    const set = new Bitset(size);
    set.words.fill(-1);
    set.trim();
    return set;
  }

  /** Members beyond the size are never in. */
  has(i: number): boolean {
    return i < this.size && (this.words[i >>> 5]! & (1 << (i & 31))) !== 0;
  }

  add(i: number): void {
    this.words[i >>> 5]! |= 1 << (i & 31);
  }

  remove(i: number): void {
    this.words[i >>> 5]! &= ~(1 << (i & 31));
  }

  /** Adds what `relation` leads to from the members of `from`. */
  addTargets(from: Bitset, relation: Int32Array): this {
    const { words } = this;
    const theirs = from.words;
    for (let w = 0; w < theirs.length; w++) {
      const base = w << 5;
      let rest = theirs[w]!;
      if (rest === -1) {
        for (let i = base; i < base + 32; i++) words[relation[i]! >>> 5]! |= 1 << (relation[i]! & 31);
        continue;
      }
      for (; rest !== 0; rest &= rest - 1) {
        const target = relation[base + 31 - Math.clz32(rest & -rest)]!;
        words[target >>> 5]! |= 1 << (target & 31);
      }
    }
    return this;
  }

  /** Keeps the members from which `relation` leads into `targets`. */
  keepSources(targets: Bitset, relation: Int32Array): this {
    const { words } = this;
    const { size, words: theirs } = targets;
    for (let w = 0; w < words.length; w++) {
      const base = w << 5;
      let kept = 0;
      let rest = words[w]!;
      if (rest === -1) {
        for (let i = 0; i < 32; i++) {
          const target = relation[base + i]!;
          if (target < size) kept |= ((theirs[target >>> 5]! >>> (target & 31)) & 1) << i;
        }
        words[w] = kept;
        continue;
      }
      for (; rest !== 0; rest &= rest - 1) {
        const bit = rest & -rest;
        const target = relation[base + 31 - Math.clz32(bit)]!;
        if (target < size && (theirs[target >>> 5]! & (1 << (target & 31))) !== 0) kept |= bit;
      }
      words[w] = kept;
    }
    return this;
  }

  clone(): Bitset {
    const copy = new Bitset(this.size);
    copy.words.set(this.words);
    return copy;
  }

  /** Keeps what is also in `other` (of any size). */
  and(other: Bitset): this {
    const { words } = this;
    const theirs = other.words;
    const shared = Math.min(words.length, theirs.length);
    for (let i = 0; i < shared; i++) words[i]! &= theirs[i]!;
    words.fill(0, shared);
    return this;
  }

  /** Adds what is in `other`, up to the size. */
  or(other: Bitset): this {
    const { words } = this;
    const theirs = other.words;
    const shared = Math.min(words.length, theirs.length);
    for (let i = 0; i < shared; i++) words[i]! |= theirs[i]!;
    if (other.size > this.size) this.trim();
    return this;
  }

  andNot(other: Bitset): this {
    const { words } = this;
    const theirs = other.words;
    const shared = Math.min(words.length, theirs.length);
    for (let i = 0; i < shared; i++) words[i]! &= ~theirs[i]!;
    return this;
  }

  invert(): this {
    const { words } = this;
    for (let i = 0; i < words.length; i++) words[i] = ~words[i]!;
    this.trim();
    return this;
  }

  isEmpty(): boolean {
    const { words } = this;
    for (let i = 0; i < words.length; i++) if (words[i] !== 0) return false;
    return true;
  }

  count(): number {
    const { words } = this;
    let total = 0;
    for (let i = 0; i < words.length; i++) if (words[i] !== 0) total += popCount(words[i]!);
    return total;
  }

  /** The first member at or after `i`, or -1. */
  next(i: number): number {
    const { words } = this;
    let w = i >>> 5;
    if (w >= words.length) return -1;
    let word = words[w]! & (-1 << (i & 31));
    while (word === 0) {
      if (++w === words.length) return -1;
      word = words[w]!;
    }
    return (w << 5) + 31 - Math.clz32(word & -word);
  }

  /** All members, ascending. */
  toArray(): Int32Array {
    const out = new Int32Array(this.count());
    let n = 0;
    for (let i = this.next(0); i >= 0; i = this.next(i + 1)) out[n++] = i;
    return out;
  }

  private trim(): void {
    const rest = this.size & 31;
    if (rest !== 0) this.words[this.words.length - 1]! &= (1 << rest) - 1;
  }
}

function popCount(word: number): number {
  let v = word - ((word >>> 1) & 0x55555555);
  v = (v & 0x33333333) + ((v >>> 2) & 0x33333333);
  return Math.imul((v + (v >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
