// How far the times of spans are from when they arrived: counted while a head takes them in, for metrics
// only. Kept as sums, so that a span costs no object.

/** Upper bounds of distances in seconds, as Tempo's histograms have them; a last one is without bound. */
export const DISTANCE_BOUNDS_SECONDS: readonly number[] = [300, 1800, 3600];
const BINS = DISTANCE_BOUNDS_SECONDS.length + 1;
const [FIRST, SECOND, THIRD] = DISTANCE_BOUNDS_SECONDS as [number, number, number];

/** A histogram of distances: one number a bin, then the sum of all distances. */
export type Distances = Float64Array;

/** Seconds of one step of the high word of unix nanoseconds. */
const HIGH_WORD_SECONDS = 4.294967296;

export class Arrivals {
  /** Spans that start or end outside of the slack around their arrival, or end before they start. */
  outsideSlack = 0;
  readonly past: Distances = new Float64Array(BINS + 1);
  readonly future: Distances = new Float64Array(BINS + 1);
  private nowSeconds = 0;
  private slackSeconds = 0;

  /** The spans that follow arrived at `nowMs`. */
  begin(nowMs: number, slackMs: number): void {
    this.nowSeconds = nowMs / 1000;
    this.slackSeconds = slackMs / 1000;
  }

  /** Counts a span by the words of its start and end in unix nanoseconds. */
  note(startLow: number, startHigh: number, endLow: number, endHigh: number): void {
    const { nowSeconds, slackSeconds } = this;
    const start = (startHigh >>> 0) * HIGH_WORD_SECONDS + (startLow >>> 0) * 1e-9;
    const end = (endHigh >>> 0) * HIGH_WORD_SECONDS + (endLow >>> 0) * 1e-9;
    if (start < nowSeconds - slackSeconds || end > nowSeconds + slackSeconds || end < start) {
      this.outsideSlack++;
    }
    if (end > nowSeconds) add(this.future, end - nowSeconds);
    else add(this.past, nowSeconds - end);
  }

  /** Adds what another has counted. */
  add(other: Arrivals): void {
    this.outsideSlack += other.outsideSlack;
    for (let i = 0; i <= BINS; i++) {
      this.past[i] += other.past[i];
      this.future[i] += other.future[i];
    }
  }

  /** Forgets what was counted. */
  clear(): void {
    this.outsideSlack = 0;
    this.past.fill(0);
    this.future.fill(0);
  }
}

function add(distances: Distances, seconds: number): void {
  const bin = seconds <= FIRST ? 0 : seconds <= SECOND ? 1 : seconds <= THIRD ? 2 : 3;
  distances[bin]++;
  distances[BINS] += seconds;
}
