// The string tables of a head as columns take them, extended by strings that stand inside other values of
// the head (the elements of array attributes).
import type { ByteStrings } from '../../parquet/values.ts';
import type { HeadReader } from '../head/reader.ts';
import type { VecReader } from '../head/vec.ts';

export class HeadStrings implements ByteStrings {
  readonly bytes: Uint8Array;
  private readonly offsets: VecReader;
  private readonly lengths: VecReader;
  private readonly base: number;
  private readonly extraOffsets: number[] = [];
  private readonly extraLengths: number[] = [];
  private readonly extraIds = new Map<string, number>();

  constructor(bytes: Uint8Array, offsets: VecReader, lengths: VecReader) {
    this.bytes = bytes;
    this.offsets = offsets;
    this.lengths = lengths;
    this.base = offsets.count;
  }

  get size(): number {
    return this.base + this.extraOffsets.length;
  }

  offset(id: number): number {
    return id < this.base ? this.offsets.get(id) >>> 0 : this.extraOffsets[id - this.base];
  }

  length(id: number): number {
    return id < this.base ? this.lengths.get(id) : this.extraLengths[id - this.base];
  }

  /** The id of a string that lies somewhere in the head's bytes. */
  idOfRange(offset: number, length: number): number {
    const text = latin1(this.bytes, offset, length);
    const known = this.extraIds.get(text);
    if (known !== undefined) return known;
    const id = this.size;
    this.extraOffsets.push(offset);
    this.extraLengths.push(length);
    this.extraIds.set(text, id);
    return id;
  }
}

/** One character a byte: a key for maps. */
function latin1(bytes: Uint8Array, offset: number, length: number): string {
  let text = '';
  for (let i = offset; i < offset + length; i += 4096) {
    text += String.fromCharCode(...bytes.subarray(i, Math.min(offset + length, i + 4096)));
  }
  return text;
}

export function headStrings(head: HeadReader): HeadStrings {
  return new HeadStrings(head.bytes, head.vecs.strOffset, head.vecs.strLength);
}

export function headKeys(head: HeadReader): HeadStrings {
  return new HeadStrings(head.bytes, head.vecs.keyOffset, head.vecs.keyLength);
}
