// Which instances of a ring are a tenant's: picked by a random sequence that the tenant's name begins, so
// that all members pick alike, and a ring that grows or shrinks changes few of them.
import { createHash } from 'node:crypto';
import type { Instance } from './instance.ts';
import { firstAbove, type RingTokens } from './ring-tokens.ts';

interface Shard {
  readonly tenant: string;
  /** Instances in it; 0 = all that take writes. */
  readonly size: number;
  /** Also those that took writes of the tenant since then. */
  readonly sinceSec: number;
  readonly zoneAwarenessEnabled: boolean;
}

/** @param instances those of the tokens, in their order. */
export function shardMembers(
  instances: readonly Instance[],
  ring: RingTokens,
  { tenant, size, sinceSec, zoneAwarenessEnabled }: Shard,
): Instance[] {
  // Since when is not known of some that are read-only: reads ask them.
  const isIn = ({ readOnly, readOnlyUpdatedSec }: Instance): boolean =>
    !readOnly || readOnlyUpdatedSec >= sinceSec || (readOnlyUpdatedSec === 0 && Number.isFinite(sinceSec));
  if (size <= 0) return instances.filter(isIn);
  const shard = new Set<Instance>();
  // Whoever registered since then may have been the tenant's before, under other tokens.
  if (Number.isFinite(sinceSec)) {
    for (const each of instances) if (each.registeredSec >= sinceSec && isIn(each)) shard.add(each);
  }
  const zones = zoneAwarenessEnabled ? ring.zones : [undefined];
  for (const zone of zones) {
    const slots = zone === undefined ? ring : slotsOf(ring, ring.zones.indexOf(zone));
    const random = sequence(tenant, zone ?? '');
    for (let picked = 0; picked < Math.ceil(size / zones.length); picked++) {
      if (!pick(firstAbove(slots.tokens, random()))) break;
    }
    function pick(start: number): boolean {
      for (let i = 0; i < slots.tokens.length; i++) {
        const instance = instances[slots.owners[(start + i) % slots.tokens.length]];
        if (shard.has(instance) || !isIn(instance)) continue;
        shard.add(instance);
        // One that came or changed since then took the place of another, which is asked too.
        const { registeredSec, readOnly, readOnlyUpdatedSec } = instance;
        if (registeredSec < sinceSec && !readOnly && readOnlyUpdatedSec < sinceSec) return true;
      }
      return false;
    }
  }
  return [...shard];
}

interface Slots {
  readonly tokens: Uint32Array;
  readonly owners: Uint32Array;
}

/** By zone; rings share their tokens as long as only heartbeats are new. */
const zoneSlots = new WeakMap<RingTokens, Slots[]>();

function slotsOf(ring: RingTokens, zone: number): Slots {
  let known = zoneSlots.get(ring);
  if (known === undefined) {
    known = [];
    zoneSlots.set(ring, known);
  }
  return (known[zone] ??= slotsInZone(ring, zone));
}

function slotsInZone({ tokens, owners, zoneOf }: RingTokens, zone: number): Slots {
  const kept = [...tokens.keys()].filter((i) => zoneOf[owners[i]] === zone);
  return {
    tokens: Uint32Array.from(kept, (i) => tokens[i]),
    owners: Uint32Array.from(kept, (i) => owners[i]),
  };
}

/** Numbers of 32 bits that follow from the two names (xoshiro128++, prng.di.unimi.it). */
function sequence(tenant: string, zone: string): () => number {
  const digest = createHash('md5').update(tenant);
  if (zone !== '') digest.update('\0').update(zone);
  const seed = digest.digest();
  let [a, b, c, d] = [0, 4, 8, 12].map((at) => seed.readInt32LE(at));
  return () => {
    const sum = (a + d) | 0;
    const result = (((sum << 7) | (sum >>> 25)) + a) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = (d << 11) | (d >>> 21);
    return result;
  };
}
