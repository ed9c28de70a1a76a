// The bloom filter over a block's trace ids, in shards that are one object each (`bloom-<n>`): which shard,
// which bits, and the bytes of a shard. A reader fetches one shard and asks it.
import { TempoError } from '../lib/errors.ts';
import { fnv1of32 } from '../lib/hash.ts';
import { hashLocation, murmur3OfId } from '../lib/murmur3.ts';

export interface BloomOptions {
  readonly falsePositive: number;
  readonly shardSizeBytes: number;
}

export const BLOOM_DEFAULTS: BloomOptions = { falsePositive: 0.01, shardSizeBytes: 102_400 };

/** Blocks whose meta says 0 shards have this many. */
const LEGACY_SHARDS = 10;
const SHARDS_MAX = 1000;
const HEADER_BYTES = 24;
const WORD_BITS = 64;

const hashes = new Uint32Array(8);

export function bloomObjectName(shard: number): string {
  return `bloom-${shard}`;
}

/** The shard that knows the trace id (16 bytes at `offset`). */
export function bloomShardOf(id: Uint8Array, shards: number, offset = 0): number {
  return fnv1of32(id, offset, 16) % (shards === 0 ? LEGACY_SHARDS : shards);
}

/** Bit `i` of the id whose hashes stand in `hashes`. */
function bitOf(i: number, bits: number): number {
  const h = (i % 2) * 2;
  const step = (2 + (((i + (i % 2)) % 4) >> 1)) * 2;
  return hashLocation(hashes[h], hashes[h + 1], hashes[step], hashes[step + 1], i, bits);
}

/** The filter of a block that is being written. */
export class TraceBloom {
  readonly shardCount: number;
  private readonly bits: number;
  private readonly hashCount: number;
  /** Bit b of a shard is bit b % 8 of byte b / 8. */
  private readonly shards: Uint8Array[] = [];

  constructor(traceCount: number, options: BloomOptions = BLOOM_DEFAULTS) {
    const count = Math.max(1, traceCount);
    const total = Math.ceil((-count * Math.log(options.falsePositive)) / Math.LN2 ** 2);
    const bitsMax = options.shardSizeBytes * 8;
    this.hashCount = Math.ceil((Math.LN2 * total) / count);
    this.shardCount = Math.min(SHARDS_MAX, Math.max(1, Math.ceil(total / bitsMax)));
    // Each shard says how large it is: of a small block it is read whole for every trace that is looked for.
    this.bits = this.shardCount === 1 ? Math.min(bitsMax, Math.ceil(total / WORD_BITS) * WORD_BITS) : bitsMax;
    const bytes = Math.ceil(this.bits / WORD_BITS) * 8;
    for (let i = 0; i < this.shardCount; i++) this.shards.push(new Uint8Array(bytes));
  }

  /** Adds the 16 bytes at `offset`. */
  add(id: Uint8Array, offset = 0): void {
    const shard = this.shards[bloomShardOf(id, this.shardCount, offset)];
    murmur3OfId(id, offset, hashes);
    for (let i = 0; i < this.hashCount; i++) {
      const bit = bitOf(i, this.bits);
      shard[bit >>> 3] |= 1 << (bit & 7);
    }
  }

  /** The object of shard `n`: bits, hash count and bits again, then the words, all big-endian uint64. */
  shardBytes(n: number): Uint8Array {
    const words = this.shards[n];
    const out = new Uint8Array(HEADER_BYTES + words.length);
    const view = new DataView(out.buffer);
    view.setBigUint64(0, BigInt(this.bits));
    view.setBigUint64(8, BigInt(this.hashCount));
    view.setBigUint64(16, BigInt(this.bits));
    for (let i = 0; i < words.length; i++) out[HEADER_BYTES + (i ^ 7)] = words[i];
    return out;
  }
}

/** false: the block surely lacks the trace. Throws `block_corrupt` when the object is no bloom shard. */
export function bloomMayHave(shard: Uint8Array, id: Uint8Array): boolean {
  if (shard.length < HEADER_BYTES) throw new TempoError('block_corrupt', 'bloom shard is too short');
  const view = new DataView(shard.buffer, shard.byteOffset, shard.byteLength);
  const bits = Number(view.getBigUint64(0));
  const hashCount = Number(view.getBigUint64(8));
  const isWhole =
    bits >= 1 &&
    bits === Number(view.getBigUint64(16)) &&
    shard.length === HEADER_BYTES + Math.ceil(bits / 64) * 8;
  if (!isWhole || hashCount < 1 || hashCount > 64) {
    throw new TempoError('block_corrupt', 'bloom shard has a wrong size');
  }
  murmur3OfId(id, 0, hashes);
  for (let i = 0; i < hashCount; i++) {
    const bit = bitOf(i, bits);
    if ((shard[HEADER_BYTES + ((bit >>> 3) ^ 7)] & (1 << (bit & 7))) === 0) return false;
  }
  return true;
}
