// Hashes of attribute values with their scope, key and type: what the value filter of a block is made of and
// asked for. They are a part of its format: another hash is another version.
import type { AttributeScope } from '../../traceql/source.ts';

/** 64 bits, in two words. */
export interface HashWords {
  a: number;
  b: number;
}

export type HashedType = 'string' | 'int';

const SCOPES: Readonly<Record<AttributeScope, number>> = {
  span: 1,
  resource: 2,
  event: 3,
  link: 4,
  instrumentation: 5,
};
const TYPES: Readonly<Record<HashedType, number>> = { string: 16, int: 32 };
const MULTIPLIER_A = 0x9e3779b1;
const MULTIPLIER_B = 0x85ebca6b;
const SEED_A = 0x2545f491;
const SEED_B = 0x632be5ab;

/** Of a string or key: `length` bytes from `start` on. */
export function hashBytes(bytes: Uint8Array, start: number, length: number, out: HashWords): void {
  let a = length ^ SEED_A;
  let b = length ^ SEED_B;
  const end = start + length;
  let i = start;
  for (const last = end - 4; i <= last; i += 4) {
    const word = bytes[i] | (bytes[i + 1] << 8) | (bytes[i + 2] << 16) | (bytes[i + 3] << 24);
    a = Math.imul(a ^ word, MULTIPLIER_A);
    a ^= a >>> 15;
    b = Math.imul(b + word, MULTIPLIER_B);
    b ^= b >>> 13;
  }
  if (i < end) {
    let word = bytes[i];
    if (i + 1 < end) word |= bytes[i + 1] << 8;
    if (i + 2 < end) word |= bytes[i + 2] << 16;
    a = Math.imul(a ^ word, MULTIPLIER_A);
    b = Math.imul(b + word, MULTIPLIER_B);
  }
  out.a = mixed(a);
  out.b = mixed(b);
}

/**
 * The same of bytes that begin with a word (number `start`), are words in little-endian order and are filled
 * up with zeros.
 */
export function hashWords(words: Int32Array, start: number, length: number, out: HashWords): void {
  let a = length ^ SEED_A;
  let b = length ^ SEED_B;
  const end = start + (length >>> 2);
  for (let i = start; i < end; i++) {
    const word = words[i];
    a = Math.imul(a ^ word, MULTIPLIER_A);
    a ^= a >>> 15;
    b = Math.imul(b + word, MULTIPLIER_B);
    b ^= b >>> 13;
  }
  if ((length & 3) !== 0) {
    const word = words[end];
    a = Math.imul(a ^ word, MULTIPLIER_A);
    b = Math.imul(b + word, MULTIPLIER_B);
  }
  out.a = mixed(a);
  out.b = mixed(b);
}

/** Of an integer of 64 bits. */
export function hashInt(low: number, high: number, out: HashWords): void {
  out.a = mixed(Math.imul(low, MULTIPLIER_A) ^ high);
  out.b = mixed(Math.imul(low ^ SEED_B, MULTIPLIER_B) + high);
}

/** Of a key (by its own hash) in a scope, for values of one type. */
export function hashField(scope: AttributeScope, type: HashedType, key: HashWords, out: HashWords): void {
  const salt = SCOPES[scope] + TYPES[type];
  const { a, b } = key;
  out.a = mixed(a + Math.imul(salt, MULTIPLIER_B));
  out.b = mixed(b ^ Math.imul(salt, MULTIPLIER_A));
}

/** First word of a field and a value together. */
export function firstWord(fieldA: number, valueA: number): number {
  return mixed(fieldA ^ Math.imul(valueA, MULTIPLIER_B));
}

export function secondWord(fieldB: number, valueB: number): number {
  return mixed(fieldB + Math.imul(valueB, MULTIPLIER_A));
}

export function mixed(hash: number): number {
  let h = Math.imul(hash ^ (hash >>> 16), 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  return h ^ (h >>> 16);
}
