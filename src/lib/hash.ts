// Small non-cryptographic hashes that stored formats prescribe.

/** FNV-1 (not 1a), 32 bits, of `length` bytes from `offset`. */
export function fnv1of32(bytes: Uint8Array, offset = 0, length = bytes.length - offset): number {
  let hash = 0x811c9dc5;
  for (let i = offset; i < offset + length; i++) hash = Math.imul(hash, 0x01000193) ^ bytes[i];
  return hash >>> 0;
}
