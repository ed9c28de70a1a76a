// `query_end_cutoff`: what is newer may not be complete yet, and is not asked for.
import type { MetricsParams } from './metrics-params.ts';
import type { SecondsRange } from './params.ts';

export interface EndCutoff {
  /** 0 = everything is asked for. */
  readonly cutoffMs: number;
  /** How far back a range begins that has no start before the cutoff. */
  readonly sinceMs: number;
}

type MetricsRange = Pick<MetricsParams, 'startUnixNano' | 'endUnixNano' | 'stepNanos'>;

const NANOS_PER_MILLI = 1_000_000n;

export function cutSeconds(
  range: SecondsRange,
  { cutoffMs, sinceMs }: EndCutoff,
  nowMs: number,
): SecondsRange {
  const latestSec = Math.floor((nowMs - cutoffMs) / 1000);
  if (cutoffMs === 0 || (range.endSec !== undefined && range.endSec <= latestSec)) return range;
  const { startSec } = range;
  const isBefore = startSec !== undefined && startSec <= latestSec;
  return { startSec: isBefore ? startSec : Math.floor((nowMs - sinceMs) / 1000), endSec: latestSec };
}

/** Whole intervals that end before the cutoff, one at least; an only interval ends at the cutoff. */
export function cutIntervals(range: MetricsRange, cutoffMs: number, nowMs: number): MetricsRange {
  const { startUnixNano, endUnixNano, stepNanos } = range;
  const latest = BigInt(Math.floor(nowMs - cutoffMs)) * NANOS_PER_MILLI;
  if (cutoffMs === 0 || endUnixNano <= latest) return range;
  if (endUnixNano - startUnixNano > stepNanos) {
    const end = latest - (latest % stepNanos);
    return {
      startUnixNano: startUnixNano < end ? startUnixNano : end - stepNanos,
      endUnixNano: end,
      stepNanos,
    };
  }
  const start = startUnixNano < latest ? startUnixNano : latest - stepNanos;
  return { startUnixNano: start, endUnixNano: latest, stepNanos: latest - start };
}
