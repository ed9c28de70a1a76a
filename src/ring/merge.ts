// How two versions of a ring become one, so that members who hear the same news in any order agree: of each
// instance the younger heartbeat counts, and of a token that two claim one keeps it.
import { areSorted, type Instance, NO_TOKENS, type RingDesc, sameTokens, sortedTokens } from './instance.ts';

/** So many bits that few tokens share one with another, and at least as many as a large ring needs. */
const BITS_PER_TOKEN = 16;
const BITS_WIDTH_MIN = 17;
/** Of the golden ratio, which spreads tokens that lie close together. */
const GOLDEN = 0x9e3779b1;

export interface Merged {
  readonly desc: RingDesc;
  /** What of the other was news, to be passed on; undefined = nothing. */
  readonly news: RingDesc | undefined;
  /** All of the other was news, and it is kept as it came. */
  readonly isWhole: boolean;
}

/**
 * @param removedSec undefined = `other` is news from elsewhere. Else it is what a change in this process made
 * of `desc`: instances missing in it have been removed, at this second.
 */
export function mergeRings(desc: RingDesc, other: RingDesc, removedSec?: number): Merged {
  const updates = new Map<string, Instance>();
  const claims: number[] = [];
  let isWhole = true;
  for (const [id, given] of other) {
    const ours = desc.get(id);
    if (ours === undefined ? given.timestampSec <= 0 : !counts(given, ours)) continue;
    const instance = normal(given);
    isWhole &&= instance === given;
    const known = ours?.tokens ?? NO_TOKENS;
    const isSame = sameTokens(instance.tokens, known);
    if (!isSame) addMissing(claims, instance.tokens, known);
    // One array for as long as they are the same, which others see at a glance.
    updates.set(id, isSame ? { ...instance, tokens: known } : instance);
  }
  isWhole &&= updates.size === other.size;
  if (removedSec !== undefined) {
    for (const [id, ours] of desc) {
      if (other.has(id) || ours.state === 'LEFT') continue;
      // At the time of now: older heartbeats that are under way must not bring it back.
      const timestampSec = Math.max(removedSec, ours.timestampSec);
      updates.set(id, { ...ours, state: 'LEFT', tokens: NO_TOKENS, timestampSec });
    }
  }
  if (updates.size === 0) return { desc, news: undefined, isWhole: false };
  const merged = new Map(desc);
  for (const [id, instance] of updates) merged.set(id, instance);
  for (const loser of settleTokens(merged, claims)) {
    if (!updates.has(loser)) continue;
    updates.set(loser, merged.get(loser) as Instance);
    isWhole = false;
  }
  return { desc: merged, news: updates, isWhole };
}

/** The ring without instances that left before that second. */
export function withoutLeft(desc: RingDesc, beforeSec = Number.POSITIVE_INFINITY): RingDesc {
  let left: Map<string, Instance> | undefined;
  for (const [id, { state, timestampSec }] of desc) {
    if (state !== 'LEFT' || timestampSec >= beforeSec) continue;
    left ??= new Map(desc);
    left.delete(id);
  }
  return left ?? desc;
}

/** Whether what is told of an instance takes the place of what is known of it. */
export function counts(given: Instance, ours: Instance): boolean {
  return given.timestampSec > ours.timestampSec || winsTie(given, ours);
}

/**
 * Of two versions of one second: the end counts, and of two processes with one id the one whose address sorts
 * first, so that they come to know of each other.
 */
function winsTie(given: Instance, ours: Instance): boolean {
  if (given.timestampSec !== ours.timestampSec || ours.state === 'LEFT') return false;
  return given.state === 'LEFT' || given.addr < ours.addr;
}

function normal(instance: Instance): Instance {
  if (instance.state === 'LEFT') return { ...instance, tokens: NO_TOKENS };
  const { tokens } = instance;
  return areSorted(tokens) ? instance : { ...instance, tokens: sortedTokens(tokens) };
}

/** Adds those that are not among `known`; both are sorted. */
function addMissing(to: number[], tokens: Uint32Array, known: Uint32Array): void {
  let at = 0;
  for (let i = 0; i < tokens.length; i++) {
    while (at < known.length && known[at] < tokens[i]) at++;
    if (at === known.length || known[at] !== tokens[i]) to.push(tokens[i]);
  }
}

/** Tokens as bits: a few that are not in it seem to be. */
class TokenBits {
  readonly #bits: Uint32Array;
  readonly #shift: number;

  constructor(tokens: readonly number[]) {
    const width = Math.max(BITS_WIDTH_MIN, Math.ceil(Math.log2(tokens.length * BITS_PER_TOKEN)));
    this.#bits = new Uint32Array(2 ** (width - 5));
    this.#shift = 32 - width;
    for (const token of tokens) {
      const bit = Math.imul(token, GOLDEN) >>> this.#shift;
      this.#bits[bit >>> 5] |= 1 << (bit & 31);
    }
  }

  has(token: number): boolean {
    const bit = Math.imul(token, GOLDEN) >>> this.#shift;
    return (this.#bits[bit >>> 5] & (1 << (bit & 31))) !== 0;
  }
}

/**
 * Takes tokens that two instances claim from one of them.
 * @param claims tokens that are new to whoever has them: of the others no two have one.
 * @returns who has lost some.
 */
function settleTokens(desc: Map<string, Instance>, claims: readonly number[]): Iterable<string> {
  if (claims.length === 0) return [];
  const claimed = new TokenBits(claims);
  const owners = new Map<number, string>();
  const losses = new Map<string, Set<number>>();
  for (const [id, { tokens }] of desc) {
    for (let i = 0; i < tokens.length; i++) {
      const token = tokens[i];
      if (!claimed.has(token)) continue;
      const other = owners.get(token);
      if (other === undefined) {
        owners.set(token, id);
        continue;
      }
      const winner = winnerOf(desc, id, other);
      const loser = winner === id ? other : id;
      owners.set(token, winner);
      losses.set(loser, (losses.get(loser) ?? new Set()).add(token));
    }
  }
  for (const [id, lost] of losses) {
    const instance = desc.get(id) as Instance;
    desc.set(id, { ...instance, tokens: instance.tokens.filter((token) => !lost.has(token)) });
  }
  return losses.keys();
}

/** Who does not leave, else whose id sorts first. */
function winnerOf(desc: ReadonlyMap<string, Instance>, a: string, b: string): string {
  const isLeavingA = desc.get(a)?.state === 'LEAVING';
  const isLeavingB = desc.get(b)?.state === 'LEAVING';
  if (isLeavingA !== isLeavingB) return isLeavingA ? b : a;
  return a < b ? a : b;
}
