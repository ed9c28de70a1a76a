// The time range of a block, for its meta: floor and ceiling of the true times of its spans. Absurd times do
// not widen it: one of them would have the block read by every search, or kept for ever.
import { FIRST } from '../head/layout.ts';
import type { HeadReader } from '../head/reader.ts';

export interface BlockTimes {
  readonly startSec: number;
  readonly endSec: number;
}

/** 2000-01-01: nothing was traced before. */
const SANE_FROM_SEC = 946_684_800;
/** Clocks that show local time are off by up to 14 hours. */
const AHEAD_SEC_MAX = 86_400;
/** What reckoning with doubles may be off by. */
const INEXACT_SEC = 1e-5;
const HIGH_WORD_SEC = 4.294967296;

/** @param nowMs where a block is put in which no span has a sane time. */
export function blockTimes(head: HeadReader, nowMs: number): BlockTimes {
  const saneToSec = nowMs / 1000 + AHEAD_SEC_MAX;
  let first = Infinity;
  let last = -Infinity;
  eachTime(head, (low, high) => {
    const sec = approximate(low, high);
    if (sec < SANE_FROM_SEC || sec > saneToSec) return;
    if (sec < first) first = sec;
    if (sec > last) last = sec;
  });
  if (first === Infinity) return { startSec: Math.floor(nowMs / 1000), endSec: Math.floor(nowMs / 1000) };
  let startSec = Infinity;
  let endSec = 0;
  // Only what is next to the bounds is looked at exactly.
  eachTime(head, (low, high) => {
    const sec = approximate(low, high);
    if (Math.abs(sec - first) <= INEXACT_SEC) startSec = Math.min(startSec, wholeSeconds(low, high, 0n));
    if (Math.abs(sec - last) <= INEXACT_SEC) endSec = Math.max(endSec, wholeSeconds(low, high, 999_999_999n));
  });
  return { startSec, endSec };
}

/** Visits starts and ends of all spans as words of unix nanoseconds. */
function eachTime(head: HeadReader, visit: (low: number, high: number) => void): void {
  const { spanStart, spanDuration } = head.vecs;
  for (let k = 0; k < spanStart.chunks.length; k++) {
    const starts = spanStart.chunks[k];
    const durations = spanDuration.chunks[k];
    const end = Math.min(FIRST << k, head.spanCount - (FIRST << k) + FIRST) * 2;
    for (let i = 0; i < end; i += 2) {
      const low = starts[i] >>> 0;
      const high = starts[i + 1] >>> 0;
      visit(low, high);
      const endLow = low + (durations[i] >>> 0);
      const carry = endLow >= 0x1_0000_0000 ? 1 : 0;
      visit(endLow >>> 0, (high + durations[i + 1] + carry) >>> 0);
    }
  }
}

function approximate(low: number, high: number): number {
  return high * HIGH_WORD_SEC + low * 1e-9;
}

function wholeSeconds(low: number, high: number, round: bigint): number {
  return Number(((BigInt(high) << 32n) + BigInt(low) + round) / 1_000_000_000n);
}
