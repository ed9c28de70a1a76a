// The tokens of all instances of a ring, sorted, with whose they are: what does not change with heartbeats.
import { type Instance, sameTokens } from './instance.ts';

export interface RingTokens {
  /** Sorted. */
  readonly tokens: Uint32Array;
  /** Index of the instance that has the token. */
  readonly owners: Uint32Array;
  /** Sorted. */
  readonly zones: readonly string[];
  /** Index of the zone of an instance. */
  readonly zoneOf: Uint32Array;
  /** Instances of a zone. */
  readonly membersOf: Uint32Array;
  readonly instances: readonly Instance[];
}

/** @param instances sorted by id; of a token that two have, the first keeps it. */
export function ringTokens(instances: readonly Instance[]): RingTokens {
  const zones = [...new Set(instances.map(({ zone }) => zone))].sort();
  const zoneOf = Uint32Array.from(instances, ({ zone }) => zones.indexOf(zone));
  const membersOf = new Uint32Array(zones.length);
  for (const zone of zoneOf) membersOf[zone]++;
  const count = instances.reduce((sum, { tokens }) => sum + tokens.length, 0);
  // Token and owner in one number, which sorts by the token first: 32 + 20 bits are exact.
  const pairs = new Float64Array(count);
  let at = 0;
  for (const [owner, instance] of instances.entries()) {
    for (const token of instance.tokens) pairs[at++] = token * 2 ** 20 + owner;
  }
  pairs.sort();
  const tokens = new Uint32Array(count);
  const owners = new Uint32Array(count);
  let kept = 0;
  for (const pair of pairs) {
    const token = Math.floor(pair / 2 ** 20);
    if (kept > 0 && tokens[kept - 1] === token) continue;
    tokens[kept] = token;
    owners[kept++] = pair % 2 ** 20;
  }
  return {
    tokens: tokens.subarray(0, kept),
    owners: owners.subarray(0, kept),
    zones,
    zoneOf,
    membersOf,
    instances,
  };
}

/** Whether these are the tokens of these instances, sorted by id. */
export function holds(known: RingTokens, instances: readonly Instance[]): boolean {
  if (known.instances.length !== instances.length) return false;
  return instances.every((each, i) => {
    const before = known.instances[i];
    return each.id === before.id && each.zone === before.zone && sameTokens(each.tokens, before.tokens);
  });
}

/** Index of the first token greater than the key, 0 behind the last. */
export function firstAbove(tokens: Uint32Array, key: number): number {
  let low = 0;
  let high = tokens.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (tokens[middle] > key) high = middle;
    else low = middle + 1;
  }
  return low === tokens.length ? 0 : low;
}
