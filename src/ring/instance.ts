// One instance of a ring as all members see it, and a ring as what is stored: instances by id. Values only;
// lookups are in ring.ts.

/** In the order of their numbers on the wire. */
export const INSTANCE_STATES = ['ACTIVE', 'LEAVING', 'PENDING', 'JOINING', 'LEFT'] as const;

/** LEFT = gone, remembered for a while so that older news of it are not believed. */
export type InstanceState = (typeof INSTANCE_STATES)[number];

export interface Instance {
  readonly id: string;
  /** host:port of its gRPC. */
  readonly addr: string;
  readonly state: InstanceState;
  /** Sorted, each once. */
  readonly tokens: Uint32Array;
  readonly zone: string;
  /** Of its last heartbeat, since the epoch. */
  readonly timestampSec: number;
  /** 0 = not known. */
  readonly registeredSec: number;
  readonly readOnly: boolean;
  /** 0 = never. */
  readonly readOnlyUpdatedSec: number;
  /** What it says of its protocols; kept as it came. */
  readonly versions: ReadonlyMap<number, number>;
}

/** A ring as it is stored: instances by id, also those that have LEFT. */
export type RingDesc = ReadonlyMap<string, Instance>;

export const NO_TOKENS = new Uint32Array(0);
export const EMPTY_RING: RingDesc = new Map();
const NO_VERSIONS: ReadonlyMap<number, number> = new Map();

/** An instance with what is given, and else as one that has just come into being. */
export function instanceOf(given: Partial<Instance> & { readonly id: string }): Instance {
  return {
    addr: '',
    state: 'PENDING',
    tokens: NO_TOKENS,
    zone: '',
    timestampSec: 0,
    registeredSec: 0,
    readOnly: false,
    readOnlyUpdatedSec: 0,
    versions: NO_VERSIONS,
    ...given,
  };
}

/** The ring with one instance put in or replaced. */
export function withInstance(desc: RingDesc, instance: Instance): RingDesc {
  return new Map(desc).set(instance.id, instance);
}

/** The ring without these instances. */
export function withoutInstances(desc: RingDesc, ids: Iterable<string>): RingDesc {
  const left = new Map(desc);
  for (const id of ids) left.delete(id);
  return left;
}

/** Whether its last heartbeat is young enough. @param timeoutMs 0 = it always is. */
export function hasHeartbeat(instance: Instance, timeoutMs: number, nowMs: number): boolean {
  return timeoutMs <= 0 || nowMs - instance.timestampSec * 1000 <= timeoutMs;
}

export function sameTokens(a: Uint32Array, b: Uint32Array): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Sorted, each once. */
export function sortedTokens(tokens: Iterable<number>): Uint32Array {
  if (Array.isArray(tokens) && areSorted(tokens)) return new Uint32Array(tokens);
  const sorted = Uint32Array.from(tokens).sort();
  let kept = 0;
  for (let i = 0; i < sorted.length; i++) {
    if (i === 0 || sorted[i] !== sorted[i - 1]) sorted[kept++] = sorted[i];
  }
  return sorted.slice(0, kept);
}

/** Each greater than the one before. */
export function areSorted(tokens: ArrayLike<number>): boolean {
  for (let i = 1; i < tokens.length; i++) if (tokens[i] <= tokens[i - 1]) return false;
  return true;
}
