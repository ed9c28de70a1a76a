// A checksum of the values of a column in their order, whatever they are encoded as: what is read from the
// inputs of a compaction and what is read back from its result have the same one.
import type { ExactValues } from '../../parquet/exact-values.ts';
import type { RowRuns } from './gather.ts';
import type { PartColumn } from './part-columns.ts';

const SEED = 0x2545f491;
/** Of ids that were not asked for: a string with this hash is only hashed again. */
const UNKNOWN = 0;

function mixed(digest: number, value: number): number {
  const next = Math.imul(digest ^ value, 0x85ebca6b);
  return next ^ (next >>> 15) ^ (next << 7);
}

function hashOf(bytes: Uint8Array, start: number, end: number): number {
  let hash = end - start;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i], 0x01000193);
  return hash ^ (hash >>> 16);
}

type Strings = Extract<ExactValues, { kind: 'strings' }>;

export class ValueDigest {
  /** So far. */
  digest = SEED;
  /** By number of the string, of each table. */
  private readonly hashes = new Map<Strings['table'], Int32Array>();

  /** Adds the values [from, to). */
  add(values: ExactValues, from: number, to: number): void {
    let { digest } = this;
    switch (values.kind) {
      case 'int32':
      case 'bool':
        for (let i = from; i < to; i++) digest = mixed(digest, values.values[i]);
        break;
      case 'int64':
      case 'double':
        for (let i = 2 * from; i < 2 * to; i++) digest = mixed(digest, values.words[i]);
        break;
      case 'packed':
        for (let i = from; i < to; i++) {
          digest = mixed(digest, hashOf(values.bytes, values.starts[i], values.starts[i + 1]));
        }
        break;
      case 'strings':
        digest = this.strings(values, from, to);
        break;
    }
    this.digest = digest;
  }

  /** Adds numbers that are no column. */
  numbers(values: Int32Array): void {
    for (let i = 0; i < values.length; i++) this.digest = mixed(this.digest, values[i]);
  }

  private strings({ ids, table }: Strings, from: number, to: number): number {
    let hashes = this.hashes.get(table);
    if (hashes === undefined) this.hashes.set(table, (hashes = new Int32Array(table.size)));
    let { digest } = this;
    for (let i = from; i < to; i++) {
      const id = ids[i];
      let hash = hashes[id];
      if (hash === UNKNOWN) {
        const start = table.offset(id);
        hashes[id] = hash = hashOf(table.bufferOf(id), start, start + table.length(id));
      }
      digest = mixed(digest, hash);
    }
    return digest;
  }
}

/** Of the values of the runs, as the inputs have them. */
export function digestOfRuns(columns: readonly PartColumn[], { part, row, length }: RowRuns): number {
  const digest = new ValueDigest();
  for (let run = 0; run < part.length; run++) {
    const { values, valueStarts } = columns[part[run]];
    if (values !== undefined) digest.add(values, valueStarts[row[run]], valueStarts[row[run] + length[run]]);
  }
  return digest.digest;
}

/** Of the spans of rows. */
export function digestOfCounts(counts: Int32Array): number {
  const digest = new ValueDigest();
  digest.numbers(counts);
  return digest.digest;
}
