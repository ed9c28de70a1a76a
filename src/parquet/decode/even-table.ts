// Byte strings of one length, one behind the other: ids of spans, say. They take their bytes and no places.
import { ascendingNumbers } from '../../lib/ascending-numbers.ts';
import type { ByteTable } from './byte-table.ts';

/** Longer strings gain little. */
const LENGTH_MAX = 32;

export class EvenTable {
  readonly size: number;
  private readonly all: Uint8Array;
  private readonly length: number;

  /**
   * The same strings in memory of their own, with their numbers, which are shared and must not be written to.
   *
   * @returns undefined unless value i is string i and all are equally long.
   */
  static of(ids: Int32Array, table: ByteTable): { ids: Int32Array; table: EvenTable } | undefined {
    const size = ids.length;
    if (size === 0 || table.size !== size) return undefined;
    const length = table.length(0);
    if (length > LENGTH_MAX) return undefined;
    for (let i = 0; i < size; i++) if (ids[i] !== i || table.length(i) !== length) return undefined;
    const all = new Uint8Array(size * length);
    for (let i = 0; i < size; i++) {
      const from = table.bufferOf(i);
      const start = table.offset(i);
      for (let k = 0; k < length; k++) all[i * length + k] = from[start + k]!;
    }
    return { ids: ascendingNumbers(size), table: new EvenTable(all, length, size) };
  }

  private constructor(all: Uint8Array, length: number, size: number) {
    this.all = all;
    this.length = length;
    this.size = size;
  }

  /** Memory that the table keeps alive. */
  get sizeBytes(): number {
    return this.all.length;
  }

  bytes(id: number): Uint8Array {
    return this.all.subarray(id * this.length, (id + 1) * this.length);
  }
}
