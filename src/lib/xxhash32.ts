// xxHash, 32 bits, seed 0: the checksum of LZ4 frames. Format: doc/xxhash_spec.md of
// github.com/Cyan4973/xxHash.

const PRIME_1 = 0x9e3779b1;
const PRIME_2 = 0x85ebca77;
const PRIME_3 = 0xc2b2ae3d;
const PRIME_4 = 0x27d4eb2f;
const PRIME_5 = 0x165667b1;

/** The hash of bytes[start, start + length) as an unsigned number. */
export function xxhash32(bytes: Uint8Array, start = 0, length = bytes.length - start): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset + start, length);
  let pos = 0;
  let hash = PRIME_5;
  if (length >= 16) {
    let a = (PRIME_1 + PRIME_2) | 0;
    let b = PRIME_2 | 0;
    let c = 0;
    let d = -PRIME_1 | 0;
    for (; pos + 16 <= length; pos += 16) {
      a = round(a, view.getUint32(pos, true));
      b = round(b, view.getUint32(pos + 4, true));
      c = round(c, view.getUint32(pos + 8, true));
      d = round(d, view.getUint32(pos + 12, true));
    }
    hash = rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18);
  }
  hash = (hash + length) | 0;
  for (; pos + 4 <= length; pos += 4) {
    hash = Math.imul(rotate((hash + Math.imul(view.getUint32(pos, true), PRIME_3)) | 0, 17), PRIME_4);
  }
  for (; pos < length; pos++) {
    hash = Math.imul(rotate((hash + Math.imul(view.getUint8(pos), PRIME_5)) | 0, 11), PRIME_1);
  }
  hash = Math.imul(hash ^ (hash >>> 15), PRIME_2);
  hash = Math.imul(hash ^ (hash >>> 13), PRIME_3);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function round(lane: number, word: number): number {
  return Math.imul(rotate((lane + Math.imul(word, PRIME_2)) | 0, 13), PRIME_1);
}

function rotate(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}
