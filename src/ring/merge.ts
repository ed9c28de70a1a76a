// How two versions of a ring become one, so that members who hear the same news in any order agree: of each
// instance the younger heartbeat counts, and of a token that two claim one keeps it.
import { type Instance, NO_TOKENS, type RingDesc, sameTokens, sortedTokens } from './instance.ts';

export interface Merged {
  readonly desc: RingDesc;
  /** What of the other was news, to be passed on; undefined = nothing. */
  readonly news: RingDesc | undefined;
}

/**
 * @param removedSec undefined = `other` is news from elsewhere. Else it is what a change in this process made
 * of `desc`: instances missing in it have been removed, at this second.
 */
export function mergeRings(desc: RingDesc, other: RingDesc, removedSec?: number): Merged {
  const merged = new Map(desc);
  const updated: string[] = [];
  let hasOtherTokens = false;
  for (const [id, given] of other) {
    const ours = desc.get(id);
    const isNewer = given.timestampSec > (ours?.timestampSec ?? 0);
    if (!isNewer && (ours === undefined || !winsTie(given, ours))) continue;
    const instance = normal(given);
    hasOtherTokens ||= !sameTokens(ours?.tokens ?? NO_TOKENS, instance.tokens);
    merged.set(id, instance);
    updated.push(id);
  }
  if (removedSec !== undefined) {
    for (const [id, ours] of desc) {
      if (other.has(id) || ours.state === 'LEFT') continue;
      // At the time of now: older heartbeats that are under way must not bring it back.
      const timestampSec = Math.max(removedSec, ours.timestampSec);
      merged.set(id, { ...ours, state: 'LEFT', tokens: NO_TOKENS, timestampSec });
      updated.push(id);
    }
  }
  if (updated.length === 0) return { desc, news: undefined };
  if (hasOtherTokens) settleTokens(merged);
  return { desc: merged, news: new Map(updated.map((id) => [id, merged.get(id) as Instance])) };
}

/** The ring without instances that left before that second. */
export function withoutLeft(desc: RingDesc, beforeSec = Number.POSITIVE_INFINITY): RingDesc {
  const isGone = ({ state, timestampSec }: Instance): boolean => state === 'LEFT' && timestampSec < beforeSec;
  if (![...desc.values()].some(isGone)) return desc;
  return new Map([...desc].filter(([, instance]) => !isGone(instance)));
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
  for (let i = 1; i < tokens.length; i++) {
    if (tokens[i] <= tokens[i - 1]) return { ...instance, tokens: sortedTokens(tokens) };
  }
  return instance;
}

/** Takes tokens that two instances claim from one of them. */
function settleTokens(desc: Map<string, Instance>): void {
  const owners = new Map<number, string>();
  const losses = new Map<string, Set<number>>();
  for (const [id, { tokens }] of desc) {
    for (const token of tokens) {
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
}

/** Who does not leave, else whose id sorts first. */
function winnerOf(desc: ReadonlyMap<string, Instance>, a: string, b: string): string {
  const isLeavingA = desc.get(a)?.state === 'LEAVING';
  const isLeavingB = desc.get(b)?.state === 'LEAVING';
  if (isLeavingA !== isLeavingB) return isLeavingA ? b : a;
  return a < b ? a : b;
}
