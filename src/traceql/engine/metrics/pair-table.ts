// Numbers pairs of small numbers in the order of their first appearance: an open hash table in typed arrays.

const CAPACITY_MIN = 1024;

export class PairTable {
  count = 0;
  /** Both parts of pair i. */
  first = new Int32Array(CAPACITY_MIN);
  second = new Int32Array(CAPACITY_MIN);
  /** Number of a pair + 1; 0 = free. At least half of it is free. */
  private slots = new Int32Array(2 * CAPACITY_MIN);
  private mask = 2 * CAPACITY_MIN - 1;

  /** The number of a pair, which is a new one when the pair is. */
  idOf(a: number, b: number): number {
    const { slots, mask, first, second } = this;
    let at = hashOf(a, b) & mask;
    for (;;) {
      const id = slots[at]! - 1;
      if (id < 0) break;
      if (first[id] === a && second[id] === b) return id;
      at = (at + 1) & mask;
    }
    return this.add(at, a, b);
  }

  private add(at: number, a: number, b: number): number {
    const id = this.count++;
    this.slots[at] = id + 1;
    this.first[id] = a;
    this.second[id] = b;
    if (this.count === this.first.length) this.grow();
    return id;
  }

  private grow(): void {
    const capacity = this.first.length * 2;
    this.first = enlarged(this.first, capacity);
    this.second = enlarged(this.second, capacity);
    this.slots = new Int32Array(2 * capacity);
    this.mask = 2 * capacity - 1;
    for (let id = 0; id < this.count; id++) {
      let at = hashOf(this.first[id]!, this.second[id]!) & this.mask;
      while (this.slots[at] !== 0) at = (at + 1) & this.mask;
      this.slots[at] = id + 1;
    }
  }
}

function hashOf(a: number, b: number): number {
  let hash = Math.imul(a, 0x9e3779b1) ^ Math.imul(b + 0x7f4a7c15, 0x85ebca6b);
  hash ^= hash >>> 15;
  hash = Math.imul(hash, 0xc2b2ae35);
  return hash ^ (hash >>> 13);
}

function enlarged(from: Int32Array, length: number): Int32Array<ArrayBuffer> {
  const to = new Int32Array(length);
  to.set(from);
  return to;
}
