// Bounds how many bytes are in work at a time: who wants more than is free waits, in order.

export class ByteGate {
  readonly #bytesMax: number;
  #bytesIn = 0;
  readonly #waiting: { readonly bytes: number; readonly go: () => void }[] = [];

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /**
   * Resolves when there is room, with the function that gives it back. More than the whole gate counts as
   * the whole.
   */
  async enter(wanted: number): Promise<() => void> {
    const bytes = Math.min(wanted, this.#bytesMax);
    if (this.#waiting.length > 0 || this.#bytesIn + bytes > this.#bytesMax) {
      await new Promise<void>((go) => this.#waiting.push({ bytes, go }));
    } else {
      this.#bytesIn += bytes;
    }
    let isIn = true;
    return () => {
      if (!isIn) return;
      isIn = false;
      this.#bytesIn -= bytes;
      this.#admit();
    };
  }

  #admit(): void {
    for (;;) {
      const [next] = this.#waiting;
      if (next === undefined || this.#bytesIn + next.bytes > this.#bytesMax) return;
      this.#waiting.shift();
      this.#bytesIn += next.bytes;
      next.go();
    }
  }
}
