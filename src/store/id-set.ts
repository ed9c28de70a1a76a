// A set of trace ids (16 bytes each), asked for membership very often: open addressing over the packed bytes.

export class IdSet {
  readonly size: number;
  private readonly words: Int32Array;
  private readonly slots: Int32Array;

  /** @param packed 16 bytes an id; of equal ids the first counts. */
  constructor(packed: Uint8Array) {
    this.size = packed.length / 16;
    this.words = new Int32Array(packed.slice().buffer);
    const capacity = 2 ** Math.ceil(Math.log2(Math.max(8, this.size * 2)));
    this.slots = new Int32Array(capacity).fill(-1);
    for (let i = 0; i < this.size; i++) {
      const slot = this.probe(...this.idWords(i));
      if (this.slots[slot] === -1) this.slots[slot] = i;
    }
  }

  /** Index of the id that stands at `offset` of `bytes`, or -1. */
  indexOf(bytes: Uint8Array, offset: number): number {
    return this.slots[
      this.probe(
        word(bytes, offset),
        word(bytes, offset + 4),
        word(bytes, offset + 8),
        word(bytes, offset + 12),
      )
    ]!;
  }

  /** The slot that holds these words, or the free one where they would go. */
  private probe(a: number, b: number, c: number, d: number): number {
    const { words, slots } = this;
    const mask = slots.length - 1;
    let slot = Math.imul(a ^ c, 0x9e3779b1) ^ Math.imul(b ^ d, 0x85ebca6b);
    slot = (slot ^ (slot >>> 15)) & mask;
    for (;;) {
      const i = slots[slot]!;
      if (i === -1) return slot;
      const at = 4 * i;
      if (words[at] === a && words[at + 1] === b && words[at + 2] === c && words[at + 3] === d) return slot;
      slot = (slot + 1) & mask;
    }
  }

  private idWords(i: number): [number, number, number, number] {
    const { words } = this;
    return [words[4 * i]!, words[4 * i + 1]!, words[4 * i + 2]!, words[4 * i + 3]!];
  }
}

function word(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}
