// Puts the values of several parts together in the order of the result's rows, column by column, and works
// out their checksum from what was read of the inputs.
import type { WorkMemory } from '../../lib/work-memory.ts';
import { corrupt } from '../../parquet/corrupt.ts';
import type { ExactValues } from '../../parquet/exact-values.ts';
import type { Leaf } from '../../parquet/types.ts';
import type { ColumnValues } from '../../parquet/values.ts';
import { copy8, type RowRuns } from './gather.ts';
import { MergedStrings } from './merged-strings.ts';
import type { PartColumn } from './part-columns.ts';
import { finished, hashOf, placed, placedWide } from './value-digest.ts';

export interface GatheredValues {
  readonly values: ColumnValues;
  readonly digest: number;
}

type Strings = Extract<ExactValues, { kind: 'strings' }>;
type Packed = Extract<ExactValues, { kind: 'packed' }>;

/** So many of the strings are looked at, of columns that have several times as many. */
const SAMPLE = 16_384;
const SAMPLE_OF_MIN = 65_536;
const DISTINCT_SHARE_MIN = 0.9;

/** Used for column after column: what it gives is valid until the next one, or its memory's reset. */
export class ValueGatherer {
  private readonly memory: WorkMemory;
  private readonly strings = new MergedStrings();
  private readonly sampled = new MergedStrings();
  private columns: readonly PartColumn[] = [];
  private runs!: RowRuns;
  /** Values of the result. */
  private total = 0;

  constructor(memory: WorkMemory) {
    this.memory = memory;
  }

  /**
   * @param columns one a part.
   * @param areRepeated strings are likely to repeat, and are to get one number each.
   */
  gather(columns: readonly PartColumn[], runs: RowRuns, leaf: Leaf, areRepeated: boolean): GatheredValues {
    this.columns = columns;
    this.runs = runs;
    this.total = valueCount(columns, runs);
    switch (leaf.type) {
      case 'BYTE_ARRAY': {
        const areNumbered = columns.some(({ values }) => values?.kind === 'strings');
        return areNumbered || (areRepeated && !this.areDistinct()) ? this.numbered() : this.packed();
      }
      case 'INT32':
        return this.ints();
      case 'INT64':
        return this.wide('int64');
      case 'DOUBLE':
        return this.wide('double');
      case 'BOOLEAN':
        return this.bools();
    }
  }

  private ints(): GatheredValues {
    const { columns, total, memory } = this;
    const { part, row, length } = this.runs;
    const out = memory.words(total);
    let at = 0;
    let sum = 0;
    for (let run = 0; run < part.length; run++) {
      const { values, valueStarts } = columns[part[run]];
      if (values?.kind !== 'int32') continue;
      const from = values.values;
      const end = valueStarts[row[run] + length[run]];
      for (let i = valueStarts[row[run]]; i < end; i++, at++) {
        const value = from[i];
        out[at] = value;
        sum = (sum + placed(value, at)) | 0;
      }
    }
    return this.checked({ kind: 'int32', values: out }, sum, at);
  }

  /** Two words a value. */
  private wide(kind: 'int64' | 'double'): GatheredValues {
    const { columns, total, memory } = this;
    const { part, row, length } = this.runs;
    const out = memory.words(total * 2);
    let at = 0;
    let sum = 0;
    for (let run = 0; run < part.length; run++) {
      const { values, valueStarts } = columns[part[run]];
      if (values?.kind !== 'int64' && values?.kind !== 'double') continue;
      const { words } = values;
      const end = valueStarts[row[run] + length[run]];
      for (let i = valueStarts[row[run]]; i < end; i++, at++) {
        const low = words[2 * i];
        const high = words[2 * i + 1];
        out[2 * at] = low;
        out[2 * at + 1] = high;
        sum = (sum + placedWide(low, high, at)) | 0;
      }
    }
    return this.checked({ kind, words: out }, sum, at);
  }

  private bools(): GatheredValues {
    const { columns, total, memory } = this;
    const { part, row, length } = this.runs;
    const out = memory.bytes(total);
    let at = 0;
    let sum = 0;
    for (let run = 0; run < part.length; run++) {
      const { values, valueStarts } = columns[part[run]];
      if (values?.kind !== 'bool') continue;
      const from = values.values;
      const end = valueStarts[row[run] + length[run]];
      for (let i = valueStarts[row[run]]; i < end; i++, at++) {
        const value = from[i];
        out[at] = value;
        if (value !== 0) sum = (sum + placed(1, at)) | 0;
      }
    }
    return this.checked({ kind: 'bool', values: out }, sum, at);
  }

  /** Bytes of neighbouring strings are neighbours, so that a run is one copy. */
  private packed(): GatheredValues {
    const { columns, total, memory } = this;
    const { part, row, length } = this.runs;
    const starts = memory.words(total + 1);
    let at = 0;
    let bytesAt = 0;
    let sum = 0;
    for (let run = 0; run < part.length; run++) {
      const { values, valueStarts } = columns[part[run]];
      if (values?.kind !== 'packed') continue;
      const { bytes, starts: from } = values;
      const start = valueStarts[row[run]];
      const end = valueStarts[row[run] + length[run]];
      const shift = bytesAt - from[start];
      for (let i = start; i < end; i++, at++) {
        starts[at] = from[i] + shift;
        sum = (sum + placed(hashOf(bytes, from[i], from[i + 1]), at)) | 0;
      }
      bytesAt += from[end] - from[start];
    }
    starts[total] = bytesAt;
    return this.checked({ kind: 'packed', bytes: this.packedBytes(bytesAt), starts }, sum, at);
  }

  private packedBytes(size: number): Uint8Array {
    const { part, row, length } = this.runs;
    const out = this.memory.bytes(size);
    let at = 0;
    for (let run = 0; run < part.length; run++) {
      const { values, valueStarts } = this.columns[part[run]];
      if (values?.kind !== 'packed') continue;
      const start = values.starts[valueStarts[row[run]]];
      const end = values.starts[valueStarts[row[run] + length[run]]];
      copy8(out, at, values.bytes, start, end);
      at += end - start;
    }
    return out;
  }

  /**
   * True of many strings that hardly repeat, as far as the first ones tell: their inputs found so too, as
   * they made no dictionary of them.
   */
  private areDistinct(): boolean {
    const { columns, sampled } = this;
    if (this.total < SAMPLE_OF_MIN) return false;
    const { part, row, length } = this.runs;
    sampled.reset();
    let seen = 0;
    for (let run = 0; run < part.length && seen < SAMPLE; run++) {
      const { values, valueStarts } = columns[part[run]];
      if (values?.kind !== 'packed') continue;
      const { bytes, starts } = values;
      const end = valueStarts[row[run] + length[run]];
      for (let i = valueStarts[row[run]]; i < end; i++, seen++) {
        sampled.idOf(bytes, starts[i], starts[i + 1], hashOf(bytes, starts[i], starts[i + 1]));
      }
    }
    return sampled.size > seen * DISTINCT_SHARE_MIN;
  }

  /** Strings of all parts under the numbers of one table. */
  private numbered(): GatheredValues {
    const { columns, strings, memory } = this;
    const { part, row, length } = this.runs;
    strings.reset();
    const known = columns.map(({ values }) =>
      values?.kind === 'strings' ? memory.words(2 * values.table.starts.length).fill(-1) : NO_WORDS,
    );
    const run = { ids: memory.words(this.total), at: 0, start: 0, end: 0 };
    let sum = 0;
    for (let i = 0; i < part.length; i++) {
      const { values, valueStarts } = columns[part[i]];
      run.start = valueStarts[row[i]];
      run.end = valueStarts[row[i] + length[i]];
      if (values?.kind === 'strings') sum += numberRun(values, known[part[i]], run, strings);
      else if (values?.kind === 'packed') sum += numberPackedRun(values, run, strings);
      sum |= 0;
    }
    return this.checked({ kind: 'strings', ids: run.ids, table: strings }, sum, run.at);
  }

  /** @param count values that were there, of the type that the column has. */
  private checked(values: ColumnValues, sum: number, count: number): GatheredValues {
    if (count !== this.total) throw corrupt('columns of one name have several types');
    return { values, digest: finished(sum, count) };
  }
}

const NO_WORDS = new Int32Array(0);

/** Values [start, end) of a part, which go to `ids` from `at` on. */
interface StringRun {
  readonly ids: Int32Array;
  at: number;
  start: number;
  end: number;
}

/** @param known by number in the part: the number among all, -1 = not known yet, and the hash. */
function numberRun({ ids, table }: Strings, known: Int32Array, run: StringRun, all: MergedStrings): number {
  const { ids: out, end } = run;
  let { at } = run;
  let sum = 0;
  for (let i = run.start; i < end; i++, at++) {
    const slot = 2 * ids[i];
    let id = known[slot];
    if (id < 0) {
      const { bytes, starts, ends } = table;
      const hash = hashOf(bytes, starts[ids[i]], ends[ids[i]]);
      known[slot] = id = all.idOf(bytes, starts[ids[i]], ends[ids[i]], hash);
      known[slot + 1] = hash;
    }
    out[at] = id;
    sum = (sum + placed(known[slot + 1], at)) | 0;
  }
  run.at = at;
  return sum;
}

function numberPackedRun({ bytes, starts }: Packed, run: StringRun, all: MergedStrings): number {
  const { ids: out, end } = run;
  let { at } = run;
  let sum = 0;
  for (let i = run.start; i < end; i++, at++) {
    const hash = hashOf(bytes, starts[i], starts[i + 1]);
    out[at] = all.idOf(bytes, starts[i], starts[i + 1], hash);
    sum = (sum + placed(hash, at)) | 0;
  }
  run.at = at;
  return sum;
}

function valueCount(columns: readonly PartColumn[], { part, row, length }: RowRuns): number {
  let total = 0;
  for (let run = 0; run < part.length; run++) {
    const { valueStarts } = columns[part[run]];
    total += valueStarts[row[run] + length[run]] - valueStarts[row[run]];
  }
  return total;
}
