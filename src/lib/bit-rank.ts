// A bit vector with fast counting: how many ones come before a position (rank), and where the k-th one is
// (select).

export class BitRank {
  readonly length: number;
  /** Ones in all. */
  readonly count: number;
  /** Bit i is bit i % 32 of word i / 32; those from `length` on are 0. */
  readonly words: Int32Array;
  /** Ones before each word; one more element than words. */
  readonly before: Int32Array;

  /**
   * @param bits bit i is bit i % 8 of byte i / 8; a multiple of 4 bytes, 4-aligned, bits from `length` on
   * ignored.
   */
  constructor(bits: Uint8Array, length: number) {
    const wordCount = (length + 31) >>> 5;
    const words = new Int32Array(bits.buffer, bits.byteOffset, wordCount);
    if ((length & 31) !== 0) words[wordCount - 1] &= (1 << (length & 31)) - 1;
    const before = new Int32Array(wordCount + 1);
    let ones = 0;
    for (let i = 0; i < wordCount; i++) {
      before[i] = ones;
      ones += popcount(words[i]);
    }
    before[wordCount] = ones;
    this.length = length;
    this.count = ones;
    this.words = words;
    this.before = before;
  }

  /** The positions that are set in both, which must have one length. */
  static and(a: BitRank, b: BitRank): BitRank {
    const both = new Int32Array(a.words.length);
    for (let i = 0; i < both.length; i++) both[i] = a.words[i] & b.words[i];
    return new BitRank(new Uint8Array(both.buffer), a.length);
  }

  /** Positions of the ones, and the length. */
  positions(): Int32Array {
    const { words, count, length } = this;
    const positions = new Int32Array(count + 1);
    let n = 0;
    for (let w = 0; w < words.length; w++) {
      for (let rest = words[w]; rest !== 0; rest &= rest - 1) {
        positions[n++] = w * 32 + 31 - Math.clz32(rest & -rest);
      }
    }
    positions[count] = length;
    return positions;
  }

  get sizeBytes(): number {
    return this.words.byteLength + this.before.byteLength;
  }

  get(i: number): boolean {
    return ((this.words[i >>> 5] >>> (i & 31)) & 1) === 1;
  }

  /** Ones in [0, i), i at most the length. */
  rank(i: number): number {
    const word = i >>> 5;
    const rest = i & 31;
    if (rest === 0) return this.before[word];
    return this.before[word] + popcount(this.words[word] & ((1 << rest) - 1));
  }

  /** Position of the k-th one, counted from 0; the length when there is none. */
  select(k: number): number {
    if (k < 0 || k >= this.count) return this.length;
    const { before } = this;
    let low = 0;
    let high = before.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if (before[middle] <= k) low = middle;
      else high = middle;
    }
    let word = this.words[low];
    for (let skip = k - before[low]; skip > 0; skip--) word &= word - 1;
    return low * 32 + 31 - Math.clz32(word & -word);
  }

  /** Position of the first one at or behind `i`; the length when there is none. */
  next(i: number): number {
    if (i >= this.length) return this.length;
    let at = i >>> 5;
    let word = this.words[at] & (-1 << (i & 31));
    while (word === 0) {
      if (++at >= this.words.length) return this.length;
      word = this.words[at];
    }
    return at * 32 + 31 - Math.clz32(word & -word);
  }
}

/** `select` at ascending ordinals, without a search for each. */
export class Selector {
  private word = 0;
  private readonly bits: BitRank;

  constructor(bits: BitRank) {
    this.bits = bits;
  }

  /** @param k not below the one asked last. */
  at(k: number): number {
    const { bits } = this;
    if (k >= bits.count) return bits.length;
    const { before, words } = bits;
    let at = this.word;
    while (before[at + 1] <= k) at++;
    this.word = at;
    let word = words[at];
    for (let skip = k - before[at]; skip > 0; skip--) word &= word - 1;
    return at * 32 + 31 - Math.clz32(word & -word);
  }
}

/** Ones of a word. */
export function popcount(word: number): number {
  let v = word - ((word >>> 1) & 0x55555555);
  v = (v & 0x33333333) + ((v >>> 2) & 0x33333333);
  return Math.imul((v + (v >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
