// Walks the entries of one column within one row, owner by owner: the reading end of assembling a trace.
import type { ColumnRows } from './group-columns.ts';
import { type StringValues, pickNumbers, pickStrings } from '../../parquet/column-reader.ts';
import type { Numbers } from '../../parquet/decode/numbers.ts';
import { corrupt } from '../../parquet/corrupt.ts';

const wordsOfDouble = new Int32Array(2);
const doubleOfWords = new Float64Array(wordsOfDouble.buffer);
const TWO32 = 4294967296;
const NO_STRINGS: Int32Array = new Int32Array(0);

export class RowCursor {
  /** Values of the entries taken last: ordinals [first, end). */
  first = 0;
  end = 0;
  /** Words of the number that `number64` or `double` read last. */
  low = 0;
  high = 0;
  private entry = 0;
  private readonly at: ColumnRows;
  private readonly rep: Uint8Array;
  private readonly def: Uint8Array;
  private readonly maxDefinition: number;
  private strings: StringValues | undefined;
  private numbers: Numbers | undefined;

  constructor(at: ColumnRows) {
    this.at = at;
    this.rep = at.slice.rep;
    this.def = at.slice.def;
    this.maxDefinition = at.pages.leaf.maxDefinition;
  }

  /** Takes one entry; true when it has a value. */
  take(): boolean {
    if (this.entry >= this.def.length) throw corrupt(`column ${this.at.pages.name} ends within a row`);
    this.first = this.end;
    if (this.def[this.entry++] === this.maxDefinition) this.end++;
    return this.end > this.first;
  }

  /**
   * Takes an entry and those after it that continue its list, which lies below `depth`; true when there are
   * values.
   */
  takeList(depth: number): boolean {
    this.take();
    const { first } = this;
    while (this.nextRepetition() > depth) this.take();
    this.first = first;
    return this.end > first;
  }

  /** Repetition level of the next entry; -1 at the end. */
  nextRepetition(): number {
    return this.entry < this.rep.length ? this.rep[this.entry] : -1;
  }

  nextDefinition(): number {
    return this.def[this.entry];
  }

  get count(): number {
    return this.end - this.first;
  }

  private stringValues(): StringValues {
    this.strings ??= pickStrings(this.at.pages, this.at.dictionary(), this.at.slice.positions);
    return this.strings;
  }

  private numberValues(): Numbers {
    this.numbers ??= pickNumbers(this.at.pages, this.at.dictionary(), this.at.slice.positions);
    return this.numbers;
  }

  /** The buffer of string value `i`; it lies at `stringOffset(i)`. */
  stringBuffer(i: number): Uint8Array {
    const { ids, table } = this.stringValues();
    return table.bufferOf(ids[i]);
  }

  stringOffset(i: number): number {
    const { ids, table } = this.stringValues();
    return table.offset(ids[i]);
  }

  stringLength(i: number): number {
    const { ids, table } = this.stringValues();
    return table.length(ids[i] ?? NO_STRINGS.length);
  }

  /** A number that is small. */
  number(i: number): number {
    const { num, base } = this.numberValues();
    return base === 0n ? num[i] : Number(base) + num[i];
  }

  /** Leaves the words of an integer in `low` and `high`. */
  number64(i: number): void {
    const { num, base, exact } = this.numberValues();
    if (exact === undefined && base === 0n) {
      const value = num[i];
      this.high = Math.floor(value / TWO32) | 0;
      this.low = (value % TWO32) | 0;
      return;
    }
    const value = exact === undefined ? base + BigInt(num[i]) : exact[i];
    this.low = Number(BigInt.asIntN(32, value));
    this.high = Number(BigInt.asIntN(32, value >> 32n));
  }

  /** Leaves the words of a double's bits in `low` and `high`. */
  double(i: number): void {
    doubleOfWords[0] = this.numberValues().num[i];
    this.low = wordsOfDouble[0];
    this.high = wordsOfDouble[1];
  }
}
