// Byte strings of a column as offset and length over the bytes of its pages: dictionaries (PLAIN), plain
// values, DELTA_LENGTH_BYTE_ARRAY and DELTA_BYTE_ARRAY. Nothing is copied except for the last.
import { corrupt } from '../corrupt.ts';
import { decodeDelta32, deltaCount } from './delta.ts';

export class ByteTable {
  size = 0;
  /** The strings lie in memory that is used again: nothing that lives longer may refer to them. */
  isBorrowed = false;
  private offsets: Int32Array;
  private lengths: Int32Array;
  private readonly buffers: Uint8Array[] = [];
  /** First id of each buffer. */
  private readonly firstIds: number[] = [];
  private last = 0;
  /** Strings of a dictionary that nobody has needed by number yet: their places are not known. */
  private unread: Uint8Array | undefined;
  private walks = 0;
  private lastWanted: Uint8Array | undefined;
  private lastFound: readonly number[] = [];

  /** A dictionary: `count` strings, each behind its 4-byte length. They are walked when they are needed. */
  static dictionary(bytes: Uint8Array, count: number, isBorrowed = false): ByteTable {
    if (count > bytes.length / 4) throw corrupt('more strings than bytes');
    const table = new ByteTable(0);
    table.unread = bytes;
    table.size = count;
    table.isBorrowed = isBorrowed;
    return table;
  }

  constructor(capacity: number) {
    this.offsets = new Int32Array(capacity);
    this.lengths = new Int32Array(capacity);
  }

  /** Memory that the table keeps alive. */
  get sizeBytes(): number {
    let bytes = Math.max(this.offsets.length, this.size) * 8 + (this.unread?.length ?? 0);
    for (const buffer of this.buffers) bytes += buffer.length;
    return bytes;
  }

  /** Finds where each string of a dictionary is. */
  private read(): void {
    const bytes = this.unread;
    if (bytes === undefined) return;
    const { size } = this;
    this.unread = undefined;
    this.size = 0;
    this.addPlain(bytes, 0, bytes.length, size);
  }

  /** Forgets all strings. */
  clear(): void {
    this.unread = undefined;
    this.size = 0;
    this.last = 0;
    this.buffers.length = 0;
    this.firstIds.length = 0;
  }

  bytes(id: number): Uint8Array {
    if (this.unread !== undefined) this.read();
    const start = this.offsets[id];
    return this.bufferOf(id).subarray(start, start + this.lengths[id]);
  }

  length(id: number): number {
    if (this.unread !== undefined) this.read();
    return this.lengths[id];
  }

  offset(id: number): number {
    if (this.unread !== undefined) this.read();
    return this.offsets[id];
  }

  /** The buffer that the string lies in, from `offset(id)` on. */
  bufferOf(id: number): Uint8Array {
    if (id >= this.size) throw corrupt(`there is no string ${id}`);
    if (this.unread !== undefined) this.read();
    const { firstIds } = this;
    let k = this.last;
    if (firstIds[k] > id) k = 0;
    while (k + 1 < firstIds.length && firstIds[k + 1] <= id) k++;
    this.last = k;
    return this.buffers[k];
  }

  /** Ids of the strings that equal `wanted`. */
  find(wanted: Uint8Array): readonly number[] {
    const found: number[] = [];
    const length = wanted.length;
    if (this.unread !== undefined) {
      if (this.lastWanted !== undefined && equalBytes(this.lastWanted, wanted)) return this.lastFound;
      if (this.walks++ < WALKS_MAX) {
        this.lastWanted = wanted.slice();
        this.lastFound = findIn(this.unread, this.size, wanted);
        return this.lastFound;
      }
      this.read();
    }
    for (let id = 0; id < this.size; id++) {
      if (this.lengths[id] === length && equalAt(this.bufferOf(id), this.offsets[id], wanted)) found.push(id);
    }
    return found;
  }

  /**
   * True when it is less work to pass over the other strings than to find where all are: then `few` is the
   * way.
   */
  areFew(count: number): boolean {
    return this.unread !== undefined && count <= this.size / FEW_SHARE;
  }

  /** The strings with these numbers (ascending, none twice) as a table of their own. */
  few(ids: Int32Array): ByteTable {
    const { size } = this;
    const unread = this.unread ?? NO_BYTES;
    const table = new ByteTable(ids.length);
    table.isBorrowed = this.isBorrowed;
    let id = 0;
    let pos = 0;
    for (let k = 0; k < ids.length; k++) {
      const wanted = ids[k];
      if (wanted >= size) throw corrupt(`there is no string ${wanted}`);
      for (; id < wanted; id++) pos = endOfString(unread, pos);
      const end = endOfString(unread, pos);
      table.addOne(unread, pos + 4, end - pos - 4);
    }
    return table;
  }

  /** The same strings in memory of their own; itself when they are. */
  owned(): ByteTable {
    if (!this.isBorrowed) return this;
    const table = new ByteTable(0);
    table.size = this.size;
    table.unread = this.unread?.slice();
    table.offsets = this.offsets;
    table.lengths = this.lengths;
    for (const buffer of this.buffers) table.buffers.push(buffer.slice());
    table.firstIds.push(...this.firstIds);
    return table;
  }

  /** Adds the string at [start, start + length) of `bytes`. */
  addOne(bytes: Uint8Array, start: number, length: number): void {
    const same = this.buffers.length > 0 && this.buffers[this.buffers.length - 1] === bytes;
    this.reserve(this.size + 1);
    if (!same) this.addBuffer(bytes);
    this.offsets[this.size] = start;
    this.lengths[this.size] = length;
    this.size++;
  }

  /** Adds `count` strings, each behind its 4-byte length, in [start, end). */
  addPlain(bytes: Uint8Array, start: number, end: number, count: number): void {
    this.begin(bytes, count, end - start, 4);
    const { offsets, lengths } = this;
    let pos = start;
    for (let id = this.size - count; id < this.size; id++) {
      if (pos + 4 > end) throw corrupt('strings end too early');
      const length = bytes[pos] | (bytes[pos + 1] << 8) | (bytes[pos + 2] << 16) | (bytes[pos + 3] << 24);
      pos += 4;
      if (length < 0 || length > end - pos) throw corrupt('a string is too long');
      offsets[id] = pos;
      lengths[id] = length;
      pos += length;
    }
  }

  addDeltaLength(bytes: Uint8Array, start: number, end: number, count: number): void {
    if (deltaCount(bytes, start, end) !== count) throw corrupt('a page has not the strings that it states');
    this.begin(bytes, count, end - start, 0);
    const first = this.size - count;
    let pos = decodeDelta32(bytes, start, end, count, this.lengths, first);
    for (let id = first; id < this.size; id++) {
      const length = this.lengths[id];
      if (length < 0 || length > end - pos) throw corrupt('a string is too long');
      this.offsets[id] = pos;
      pos += length;
    }
  }

  /** Prefix lengths, then suffixes as above: each string begins like the one before it. */
  addDelta(bytes: Uint8Array, start: number, end: number, count: number): void {
    if (deltaCount(bytes, start, end) !== count) throw corrupt('a page has not the strings that it states');
    const prefixes = new Int32Array(count);
    const suffixesAt = decodeDelta32(bytes, start, end, count, prefixes, 0);
    const suffixes = new ByteTable(count);
    suffixes.addDeltaLength(bytes, suffixesAt, end, count);
    let total = 0;
    for (let i = 0, before = 0; i < count; i++) {
      if (prefixes[i] < 0 || prefixes[i] > before) throw corrupt('a string continues more than there is');
      before = prefixes[i] + suffixes.length(i);
      total += before;
      if (total > 2 ** 29) throw corrupt('strings are too long');
    }
    const whole = new Uint8Array(total);
    this.begin(whole, count, total, 0);
    const first = this.size - count;
    let pos = 0;
    for (let i = 0; i < count; i++) {
      const before = i === 0 ? 0 : this.offsets[first + i - 1];
      whole.copyWithin(pos, before, before + prefixes[i]);
      whole.set(suffixes.bytes(i), pos + prefixes[i]);
      this.offsets[first + i] = pos;
      this.lengths[first + i] = prefixes[i] + suffixes.length(i);
      pos += this.lengths[first + i];
    }
  }

  private begin(bytes: Uint8Array, count: number, length: number, leastBytes: number): void {
    if (leastBytes > 0 && count > length / leastBytes) throw corrupt('more strings than bytes');
    if (count === 0) return;
    this.reserve(this.size + count);
    this.addBuffer(bytes);
    this.size += count;
  }

  private addBuffer(bytes: Uint8Array): void {
    this.buffers.push(bytes);
    this.firstIds.push(this.size);
  }

  private reserve(needed: number): void {
    if (needed <= this.offsets.length) return;
    this.offsets = grown(this.offsets, needed);
    this.lengths = grown(this.lengths, needed);
  }
}

const NO_BYTES = new Uint8Array(0);
/** Searches of a dictionary that are made before its strings are numbered for good. */
const WALKS_MAX = 2;
/** Fewer than one string in so many is `few`. */
const FEW_SHARE = 32;

/** The end of the string whose 4-byte length is at `pos`. */
function endOfString(bytes: Uint8Array, pos: number): number {
  if (pos + 4 > bytes.length) throw corrupt('strings end too early');
  const length = bytes[pos] | (bytes[pos + 1] << 8) | (bytes[pos + 2] << 16) | (bytes[pos + 3] << 24);
  if (length < 0 || length > bytes.length - pos - 4) throw corrupt('a string is too long');
  return pos + 4 + length;
}

function findIn(bytes: Uint8Array, count: number, wanted: Uint8Array): number[] {
  const found: number[] = [];
  const size = bytes.length;
  const wantedLength = wanted.length;
  let pos = 4;
  for (let id = 0; id < count; id++) {
    if (pos > size) throw corrupt('strings end too early');
    const length = bytes[pos - 4] | (bytes[pos - 3] << 8) | (bytes[pos - 2] << 16) | (bytes[pos - 1] << 24);
    if (length < 0 || length > size - pos) throw corrupt('a string is too long');
    if (length === wantedLength && equalAt(bytes, pos, wanted)) found.push(id);
    pos += length + 4;
  }
  return found;
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && equalAt(a, 0, b);
}

export const EMPTY_TABLE = new ByteTable(0);

function grown(items: Int32Array, needed: number): Int32Array {
  const larger = new Int32Array(Math.max(needed, items.length * 2));
  larger.set(items);
  return larger;
}

function equalAt(bytes: Uint8Array, offset: number, wanted: Uint8Array): boolean {
  for (let i = wanted.length - 1; i >= 0; i--) if (bytes[offset + i] !== wanted[i]) return false;
  return true;
}
