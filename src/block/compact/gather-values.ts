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
type PackedStrings = Pick<Extract<ExactValues, { kind: 'packed' }>, 'bytes' | 'starts'>;

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
  /** First value of each row, of each part. */
  private starts: readonly Int32Array[] = [];
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
    this.starts = columns.map(({ valueStarts }) => valueStarts);
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

  /** Of each part the values that `pick` finds; nothing where it has none. */
  private sources<T>(none: T, pick: (values: ExactValues) => T | undefined): readonly T[] {
    return this.columns.map(({ values }) => {
      const source = values === undefined ? none : pick(values);
      if (source === undefined) throw corrupt('columns of one name have several types');
      return source;
    });
  }

  private ints(): GatheredValues {
    const sources = this.sources<Int32Array>(NO_WORDS, (values) =>
      values.kind === 'int32' ? values.values : undefined,
    );
    const out = this.memory.words(this.total);
    const digest = finished(copyInts(sources, this.starts, this.runs, out), this.total);
    return { values: { kind: 'int32', values: out }, digest };
  }

  /** Two words a value. */
  private wide(kind: 'int64' | 'double'): GatheredValues {
    const sources = this.sources<Int32Array>(NO_WORDS, (values) =>
      values.kind === kind ? values.words : undefined,
    );
    const out = this.memory.words(2 * this.total);
    const digest = finished(copyWords(sources, this.starts, this.runs, out), this.total);
    return { values: { kind, words: out }, digest };
  }

  private bools(): GatheredValues {
    const sources = this.sources<Uint8Array>(NO_BYTES, (values) =>
      values.kind === 'bool' ? values.values : undefined,
    );
    const out = this.memory.bytes(this.total);
    const digest = finished(copyBools(sources, this.starts, this.runs, out), this.total);
    return { values: { kind: 'bool', values: out }, digest };
  }

  /** Bytes of neighbouring strings are neighbours, so that a run is one copy. */
  private packed(): GatheredValues {
    const sources = this.sources<PackedStrings>(NO_STRINGS, (values) =>
      values.kind === 'packed' ? values : undefined,
    );
    const starts = this.memory.words(this.total + 1);
    const sum = copyPlaces(sources, this.starts, this.runs, starts);
    const bytes = this.memory.bytes(starts[this.total]);
    copyStrings(sources, this.starts, this.runs, bytes);
    return { values: { kind: 'packed', bytes, starts }, digest: finished(sum, this.total) };
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
    const { strings, memory } = this;
    const { part, row, length } = this.runs;
    strings.reset();
    const numbers = this.columns.map(({ values }) =>
      values?.kind === 'strings' ? new NumberedPart(values, strings, memory) : undefined,
    );
    const ids = memory.words(this.total);
    let at = 0;
    let sum = 0;
    for (let run = 0; run < part.length; run++) {
      const starts = this.starts[part[run]];
      const start = starts[row[run]];
      const end = starts[row[run] + length[run]];
      const own = numbers[part[run]];
      if (start === end) continue;
      if (own !== undefined) sum += own.number(start, end, ids, at);
      else sum += numberPacked(this.columns[part[run]].values, start, end, ids, at, strings);
      sum |= 0;
      at += end - start;
    }
    return { values: { kind: 'strings', ids, table: strings }, digest: finished(sum, this.total) };
  }
}

const NO_WORDS = new Int32Array(0);
const NO_BYTES = new Uint8Array(0);
const NO_STRINGS = { bytes: NO_BYTES, starts: Int32Array.of(0) };

// One loop over runs that called what copies one of them took 2 % more CPU of a whole compaction.

function copyInts(
  sources: readonly Int32Array[],
  starts: readonly Int32Array[],
  { part, row, length }: RowRuns,
  out: Int32Array,
): number {
  let at = 0;
  let sum = 0;
  for (let run = 0; run < part.length; run++) {
    const from = sources[part[run]];
    const first = starts[part[run]];
    const end = first[row[run] + length[run]];
    for (let i = first[row[run]]; i < end; i++, at++) {
      const value = from[i];
      out[at] = value;
      sum = (sum + placed(value, at)) | 0;
    }
  }
  return sum;
}

function copyWords(
  sources: readonly Int32Array[],
  starts: readonly Int32Array[],
  { part, row, length }: RowRuns,
  out: Int32Array,
): number {
  let at = 0;
  let sum = 0;
  for (let run = 0; run < part.length; run++) {
    const words = sources[part[run]];
    const first = starts[part[run]];
    const end = first[row[run] + length[run]];
    for (let i = first[row[run]]; i < end; i++, at++) {
      const low = words[2 * i];
      const high = words[2 * i + 1];
      out[2 * at] = low;
      out[2 * at + 1] = high;
      sum = (sum + placedWide(low, high, at)) | 0;
    }
  }
  return sum;
}

function copyBools(
  sources: readonly Uint8Array[],
  starts: readonly Int32Array[],
  { part, row, length }: RowRuns,
  out: Uint8Array,
): number {
  let at = 0;
  let sum = 0;
  for (let run = 0; run < part.length; run++) {
    const from = sources[part[run]];
    const first = starts[part[run]];
    const end = first[row[run] + length[run]];
    for (let i = first[row[run]]; i < end; i++, at++) {
      const value = from[i];
      out[at] = value;
      if (value !== 0) sum = (sum + placed(1, at)) | 0;
    }
  }
  return sum;
}

/** Where the strings begin, and the last one ends. */
function copyPlaces(
  sources: readonly PackedStrings[],
  starts: readonly Int32Array[],
  { part, row, length }: RowRuns,
  out: Int32Array,
): number {
  let at = 0;
  let bytesAt = 0;
  let sum = 0;
  for (let run = 0; run < part.length; run++) {
    const { bytes, starts: from } = sources[part[run]];
    const first = starts[part[run]];
    const start = first[row[run]];
    const end = first[row[run] + length[run]];
    const shift = bytesAt - from[start];
    for (let i = start; i < end; i++, at++) {
      out[at] = from[i] + shift;
      sum = (sum + placed(hashOf(bytes, from[i], from[i + 1]), at)) | 0;
    }
    bytesAt += from[end] - from[start];
  }
  out[at] = bytesAt;
  return sum;
}

function copyStrings(
  sources: readonly PackedStrings[],
  starts: readonly Int32Array[],
  { part, row, length }: RowRuns,
  out: Uint8Array,
): void {
  let at = 0;
  for (let run = 0; run < part.length; run++) {
    const { bytes, starts: from } = sources[part[run]];
    const first = starts[part[run]];
    const start = from[first[row[run]]];
    const end = from[first[row[run] + length[run]]];
    copy8(out, at, bytes, start, end);
    at += end - start;
  }
}

/** The strings of one part, each looked up among all when it is met first. */
class NumberedPart {
  private readonly ids: Int32Array;
  private readonly bytes: Uint8Array;
  private readonly starts: Int32Array;
  private readonly ends: Int32Array;
  private readonly all: MergedStrings;
  /** By number in the part: the number among all, -1 = not known yet, and the hash. */
  private readonly known: Int32Array;

  constructor({ ids, table }: Strings, all: MergedStrings, memory: WorkMemory) {
    this.ids = ids;
    this.bytes = table.bytes;
    this.starts = table.starts;
    this.ends = table.ends;
    this.all = all;
    this.known = memory.words(2 * table.starts.length).fill(-1);
  }

  /** Numbers of values [start, end), from `at` on. @returns what they add to the checksum. */
  number(start: number, end: number, out: Int32Array, at: number): number {
    const { ids, known } = this;
    let sum = 0;
    for (let i = start, k = at; i < end; i++, k++) {
      const slot = 2 * ids[i];
      let id = known[slot];
      if (id < 0) id = this.learn(ids[i]);
      out[k] = id;
      sum = (sum + placed(known[slot + 1], k)) | 0;
    }
    return sum;
  }

  private learn(own: number): number {
    const { bytes, known } = this;
    const start = this.starts[own];
    const end = this.ends[own];
    const hash = hashOf(bytes, start, end);
    const id = this.all.idOf(bytes, start, end, hash);
    known[2 * own] = id;
    known[2 * own + 1] = hash;
    return id;
  }
}

function numberPacked(
  values: ExactValues | undefined,
  start: number,
  end: number,
  out: Int32Array,
  at: number,
  all: MergedStrings,
): number {
  if (values?.kind !== 'packed') throw corrupt('columns of one name have several types');
  const { bytes, starts } = values;
  let sum = 0;
  for (let i = start, k = at; i < end; i++, k++) {
    const hash = hashOf(bytes, starts[i], starts[i + 1]);
    out[k] = all.idOf(bytes, starts[i], starts[i + 1], hash);
    sum = (sum + placed(hash, k)) | 0;
  }
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
