// A checksum of the values of a column in their order, whatever they are encoded as: what is read from the
// inputs of a compaction and what is read back from its result have the same one. It is a sum over values,
// each mixed with its place, so that runs are added wherever they stand.
import type { ExactValues } from '../../parquet/exact-values.ts';
import type { WorkMemory } from '../../lib/work-memory.ts';

const PLACE = 0x9e3779b1;
const MULTIPLIER_A = 0x85ebca6b;
const MULTIPLIER_B = 0xc2b2ae35;
const HIGH = 0x27d4eb2f;
/** Of strings that were not asked for: one with this hash is only hashed again. */
const UNKNOWN = 0;

/** What a number at a place adds to the checksum. */
export function placed(value: number, at: number): number {
  let hash = Math.imul(value ^ Math.imul(at, PLACE), MULTIPLIER_A);
  hash = Math.imul(hash ^ (hash >>> 15), MULTIPLIER_B);
  return hash ^ (hash >>> 13);
}

/** The same of 64 bits. */
export function placedWide(low: number, high: number, at: number): number {
  return placed(low ^ Math.imul(high ^ (high >>> 16), HIGH), at);
}

/** The checksum of `count` values; bools that are false add nothing. */
export function finished(sum: number, count: number): number {
  return (sum + placed(count, -1)) | 0;
}

/** Of a string. */
export function hashOf(bytes: Uint8Array, start: number, end: number): number {
  let hash = end - start;
  let i = start;
  for (const last = end - 4; i <= last; i += 4) {
    const word = bytes[i] | (bytes[i + 1] << 8) | (bytes[i + 2] << 16) | (bytes[i + 3] << 24);
    hash = Math.imul(hash ^ word, MULTIPLIER_A);
    hash ^= hash >>> 15;
  }
  for (; i < end; i++) hash = Math.imul(hash ^ bytes[i], MULTIPLIER_B);
  hash = Math.imul(hash ^ (hash >>> 15), PLACE);
  return hash ^ (hash >>> 16);
}

/** Of all values. */
export function digestOf(values: ExactValues, memory: WorkMemory): number {
  switch (values.kind) {
    case 'int32':
      return digestOfInts(values.values);
    case 'bool':
      return digestOfBools(values.values);
    case 'int64':
    case 'double':
      return digestOfWords(values.words);
    case 'packed':
      return digestOfPacked(values.bytes, values.starts);
    case 'strings':
      return digestOfStrings(values, memory);
  }
}

/** Of numbers, a column or not. */
export function digestOfInts(values: Int32Array): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum = (sum + placed(values[i], i)) | 0;
  return finished(sum, values.length);
}

function digestOfBools(values: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) if (values[i] !== 0) sum = (sum + placed(1, i)) | 0;
  return finished(sum, values.length);
}

function digestOfWords(words: Int32Array): number {
  let sum = 0;
  const count = words.length >>> 1;
  for (let i = 0; i < count; i++) sum = (sum + placedWide(words[2 * i], words[2 * i + 1], i)) | 0;
  return finished(sum, count);
}

function digestOfPacked(bytes: Uint8Array, starts: Int32Array): number {
  let sum = 0;
  const count = starts.length - 1;
  for (let i = 0; i < count; i++) sum = (sum + placed(hashOf(bytes, starts[i], starts[i + 1]), i)) | 0;
  return finished(sum, count);
}

function digestOfStrings(
  { ids, table }: Extract<ExactValues, { kind: 'strings' }>,
  memory: WorkMemory,
): number {
  const { bytes, starts, ends } = table;
  const hashes = memory.words(starts.length).fill(UNKNOWN);
  let sum = 0;
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i];
    let hash = hashes[id];
    if (hash === UNKNOWN) hashes[id] = hash = hashOf(bytes, starts[id], ends[id]);
    sum = (sum + placed(hash, i)) | 0;
  }
  return finished(sum, ids.length);
}
