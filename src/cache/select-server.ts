// Which of several memcached servers has a key: chosen as Tempo does, so that one cache can serve both.
// Adding a server moves few keys (jump hash, https://arxiv.org/abs/1406.2294), or nearly all where that is
// not asked for.
import { crc32 } from 'node:zlib';
import createXxhash from 'xxhash-wasm';

/** @returns the index of a server. */
export type SelectServer = (key: string, count: number) => number;

export async function serverSelection(isConsistent: boolean): Promise<SelectServer> {
  if (!isConsistent) return (key, count) => (count <= 1 ? 0 : crc32(key) % count);
  const hashes = await createXxhash();
  return (key, count) => (count <= 1 ? 0 : jumpHash(hashes.h64(key), count));
}

/** The order in which servers are numbered. */
export function serverOrder(isConsistent: boolean): (a: string, b: string) => number {
  return isConsistent ? byNumbers : (a, b) => (a < b ? -1 : a > b ? 1 : 0);
}

const MULTIPLIER = 2_862_933_555_777_941_757n;
const SCALE = 2 ** 31;

export function jumpHash(hash: bigint, count: number): number {
  let state = BigInt.asUintN(64, hash);
  let chosen = -1;
  let next = 0;
  while (next < count) {
    chosen = next;
    state = BigInt.asUintN(64, state * MULTIPLIER + 1n);
    next = Math.floor((chosen + 1) * (SCALE / (Number(state >> 33n) + 1)));
  }
  return chosen;
}

const CHUNKS = /\d+|\D+/g;

/** `a-2` before `a-10`. */
function byNumbers(a: string, b: string): number {
  const left: readonly string[] = a.match(CHUNKS) ?? [];
  const right: readonly string[] = b.match(CHUNKS) ?? [];
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const [one, other] = [left[i], right[i]];
    if (one === other) continue;
    const difference = Number(one) - Number(other);
    if (difference !== 0 && !Number.isNaN(difference)) return difference;
    return one < other ? -1 : 1;
  }
  return left.length - right.length;
}
