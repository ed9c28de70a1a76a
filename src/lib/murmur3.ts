// MurmurHash3 x64 128 (seed 0) of 16 bytes, and of the same 16 bytes followed by 0x01: what a bloom filter
// of trace ids needs. 64-bit arithmetic in 32-bit halves, since BigInt costs ten times as much.

const C1_HIGH = 0x87c37b91 | 0;
const C1_LOW = 0x114253d5;
const C2_HIGH = 0x4cf5ad43;
const C2_LOW = 0x2745937f;

// The result of the last 64-bit operation, as signed words: unsigned ones would be objects.
let high = 0;
let low = 0;

/** (high, low) = a * b mod 2^64. */
function multiply(aHigh: number, aLow: number, bHigh: number, bLow: number): void {
  const a0 = aLow & 0xffff;
  const a1 = aLow >>> 16;
  const b0 = bLow & 0xffff;
  const b1 = bLow >>> 16;
  const p = a0 * b0;
  const q = a1 * b0 + (p >>> 16);
  const r = a0 * b1 + (q % 65536);
  low = ((r & 0xffff) << 16) | (p & 0xffff);
  const carry = Math.floor(q / 65536) + Math.floor(r / 65536);
  high = (a1 * b1 + carry + Math.imul(aHigh, bLow) + Math.imul(aLow, bHigh)) | 0;
}

/** (high, low) = a + b mod 2^64. */
function add(aHigh: number, aLow: number, bHigh: number, bLow: number): void {
  low = (aLow + bLow) | 0;
  high = (aHigh + bHigh + (low >>> 0 < bLow >>> 0 ? 1 : 0)) | 0;
}

/** (high, low) = x rotated left by `bits` (1..63, not 32). */
function rotate(xHigh: number, xLow: number, bits: number): void {
  const h = bits > 32 ? xLow : xHigh;
  const l = bits > 32 ? xHigh : xLow;
  const n = bits & 31;
  high = (h << n) | (l >>> (32 - n));
  low = (l << n) | (h >>> (32 - n));
}

function finalMix(xHigh: number, xLow: number): void {
  multiply(xHigh, xLow ^ (xHigh >>> 1), 0xff51afd7 | 0, 0xed558ccd | 0);
  multiply(high, low ^ (high >>> 1), 0xc4ceb9fe | 0, 0x1a85ec53);
  low ^= high >>> 1;
}

function readWord(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
}

/**
 * Hashes the 16 bytes at `offset`. `out` takes four 64-bit numbers as (high, low) pairs:
 * both halves of hash(id), then both halves of hash(id, 0x01).
 */
export function murmur3OfId(bytes: Uint8Array, offset: number, out: Uint32Array): void {
  multiply(readWord(bytes, offset + 4), readWord(bytes, offset), C1_HIGH, C1_LOW);
  rotate(high, low, 31);
  multiply(high, low, C2_HIGH, C2_LOW);
  rotate(high, low, 27);
  multiply(high, low, 0, 5);
  add(high, low, 0, 0x52dce729);
  const aHigh = high;
  const aLow = low;
  multiply(readWord(bytes, offset + 12), readWord(bytes, offset + 8), C2_HIGH, C2_LOW);
  rotate(high, low, 33);
  multiply(high, low, C1_HIGH, C1_LOW);
  rotate(high, low, 31);
  add(high, low, aHigh, aLow);
  multiply(high, low, 0, 5);
  add(high, low, 0, 0x38495ab5);
  const bHigh = high;
  const bLow = low;
  finish(aHigh, aLow, bHigh, bLow, 16, out, 0);
  multiply(0, 1, C1_HIGH, C1_LOW);
  rotate(high, low, 31);
  multiply(high, low, C2_HIGH, C2_LOW);
  finish(aHigh ^ high, aLow ^ low, bHigh, bLow, 17, out, 4);
}

function finish(
  aHigh: number,
  aLow: number,
  bHigh: number,
  bLow: number,
  length: number,
  out: Uint32Array,
  at: number,
): void {
  const b = bLow ^ length;
  add(aHigh, aLow ^ length, bHigh, b);
  const sumHigh = high;
  const sumLow = low;
  add(bHigh, b, sumHigh, sumLow);
  finalMix(high, low);
  const lastHigh = high;
  const lastLow = low;
  finalMix(sumHigh, sumLow);
  add(high, low, lastHigh, lastLow);
  out[at] = high;
  out[at + 1] = low;
  add(lastHigh, lastLow, high, low);
  out[at + 2] = high;
  out[at + 3] = low;
}

/** (h + i * step) mod 2^64 mod `m`, for numbers as halves and m < 2^37. */
export function hashLocation(
  hHigh: number,
  hLow: number,
  stepHigh: number,
  stepLow: number,
  i: number,
  m: number,
): number {
  multiply(0, i, stepHigh, stepLow);
  add(high, low, hHigh, hLow);
  const upper = (((high >>> 0) % m) * 65536 + (low >>> 16)) % m;
  return (upper * 65536 + (low & 0xffff)) % m;
}
