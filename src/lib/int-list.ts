// A growable list of 32-bit integers.

export class IntList {
  items: Int32Array;
  length = 0;

  constructor(capacity = 64) {
    this.items = new Int32Array(capacity);
  }

  push(value: number): void {
    if (this.length === this.items.length) {
      const grown = new Int32Array(Math.max(64, this.length * 2));
      grown.set(this.items);
      this.items = grown;
    }
    this.items[this.length++] = value;
  }

  /** A view of what was pushed (valid until the next push). */
  view(): Int32Array {
    return this.items.subarray(0, this.length);
  }
}
