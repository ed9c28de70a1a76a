// The object of a value filter: shards of equal size, one behind the other, each with what tells that it
// is the right one and whole. A reader takes the one that an element is in.
import { crc32 } from 'node:zlib';
import { TempoError } from '../../lib/errors.ts';
import { LINE_BYTES, lineOf } from './filter-lines.ts';

/** Of the object and of its hashes. */
const VERSION = 1;
const MAGIC = [0x54, 0x56, 0x46, VERSION]; // TVF and the version
/** Magic 4, block id 16, shard 4, shards 4, bytes of bits 4, CRC-32 of all but itself 4; little-endian. */
const HEADER_BYTES = 36;
const CRC_AT = 32;
const SHARD_BITS_BYTES = 16 * 1024;

/** Where the shards are. */
export interface FilterLayout {
  readonly shards: number;
  /** Of one, without its header. */
  readonly bitsBytes: number;
}

/** @param bits of the whole filter. */
export function encodeFilter(blockId: string, bits: Uint8Array): Uint8Array {
  const bitsBytes = Math.min(bits.length, SHARD_BITS_BYTES);
  const shards = bits.length / bitsBytes;
  const out = new Uint8Array(shards * (HEADER_BYTES + bitsBytes));
  for (let i = 0; i < shards; i++) {
    const shard = out.subarray(i * (HEADER_BYTES + bitsBytes), (i + 1) * (HEADER_BYTES + bitsBytes));
    shard.set(headerOf(blockId, i, { shards, bitsBytes }));
    shard.set(bits.subarray(i * bitsBytes, (i + 1) * bitsBytes), HEADER_BYTES);
    viewOf(shard).setUint32(CRC_AT, checksumOf(shard), true);
  }
  return out;
}

/** Of an object of that size; undefined = no filter is so large. */
export function layoutOf(sizeBytes: number): FilterLayout | undefined {
  const isOne = sizeBytes <= HEADER_BYTES + SHARD_BITS_BYTES;
  const bitsBytes = isOne ? sizeBytes - HEADER_BYTES : SHARD_BITS_BYTES;
  const shards = sizeBytes / (HEADER_BYTES + bitsBytes);
  const isPossible = isPowerOfTwo(shards) && bitsBytes >= LINE_BYTES && isPowerOfTwo(bitsBytes);
  return isPossible ? { shards, bitsBytes } : undefined;
}

export function linesOf({ shards, bitsBytes }: FilterLayout): number {
  return (shards * bitsBytes) / LINE_BYTES;
}

/** The shard of an element, by the first word of its hash. */
export function shardOf(a: number, layout: FilterLayout): number {
  return Math.floor(lineOf(a, linesOf(layout)) / (layout.bitsBytes / LINE_BYTES));
}

export function shardRange(
  shard: number,
  { bitsBytes }: FilterLayout,
): { readonly offset: number; readonly length: number } {
  const length = HEADER_BYTES + bitsBytes;
  return { offset: shard * length, length };
}

/** The bits of a shard. Throws `block_corrupt` when it is not this one, or not whole. */
export function shardBits(
  bytes: Uint8Array,
  blockId: string,
  shard: number,
  layout: FilterLayout,
): Uint8Array {
  const wrong = (what: string): TempoError =>
    new TempoError('block_corrupt', `value filter of block ${blockId}, shard ${shard}: ${what}`);
  if (bytes.length !== HEADER_BYTES + layout.bitsBytes) throw wrong('has another size');
  const wanted = headerOf(blockId, shard, layout);
  for (let i = 0; i < CRC_AT; i++) {
    if (bytes[i] !== wanted[i]) throw wrong(i < MAGIC.length ? 'is of another version' : 'is another');
  }
  if (viewOf(bytes).getUint32(CRC_AT, true) !== checksumOf(bytes)) throw wrong('is damaged');
  return bytes.subarray(HEADER_BYTES);
}

/** The bits of all shards. Throws `block_corrupt` when it is not that block's filter, or not whole. */
export function filterBits(bytes: Uint8Array, blockId: string): Uint8Array {
  const layout = layoutOf(bytes.length);
  if (layout === undefined) {
    throw new TempoError(
      'block_corrupt',
      `value filter of block ${blockId}: no filter has ${bytes.length} bytes`,
    );
  }
  const out = new Uint8Array(layout.shards * layout.bitsBytes);
  for (let shard = 0; shard < layout.shards; shard++) {
    const { offset, length } = shardRange(shard, layout);
    const bits = shardBits(bytes.subarray(offset, offset + length), blockId, shard, layout);
    out.set(bits, shard * layout.bitsBytes);
  }
  return out;
}

/** Without the checksum. */
function headerOf(blockId: string, shard: number, { shards, bitsBytes }: FilterLayout): Uint8Array {
  const out = new Uint8Array(HEADER_BYTES);
  out.set(MAGIC);
  out.set(Buffer.from(blockId.replaceAll('-', ''), 'hex').subarray(0, 16), 4);
  const view = viewOf(out);
  view.setUint32(20, shard, true);
  view.setUint32(24, shards, true);
  view.setUint32(28, bitsBytes, true);
  return out;
}

function checksumOf(shard: Uint8Array): number {
  return crc32(shard.subarray(HEADER_BYTES), crc32(shard.subarray(0, CRC_AT)));
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function isPowerOfTwo(n: number): boolean {
  return Number.isInteger(n) && n > 0 && Number.isInteger(Math.log2(n));
}
