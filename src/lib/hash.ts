// Small non-cryptographic hashes that stored formats prescribe.

const FNV_BASIS = 0x811c9dc5;

/**
 * FNV-1 (not 1a), 32 bits, of `length` bytes from `offset`.
 * @param basis hash of what comes before them.
 */
export function fnv1of32(
  bytes: Uint8Array,
  offset = 0,
  length = bytes.length - offset,
  basis = FNV_BASIS,
): number {
  let hash = basis;
  for (let i = offset; i < offset + length; i++) hash = Math.imul(hash, 0x01000193) ^ bytes[i];
  return hash >>> 0;
}

/** FNV-1a, 32 bits, of the bytes from `start` to `end`. */
export function fnv1aOf32(bytes: Uint8Array, start = 0, end = bytes.length): number {
  let hash = FNV_BASIS;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i], 0x01000193);
  return hash >>> 0;
}
