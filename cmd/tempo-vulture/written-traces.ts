// Which traces are there to be read: the times of those that were written whole, oldest first, within the
// retention and a fixed number.

interface Written {
  readonly timestampMs: number;
  /** When the last part was acknowledged. */
  readonly completedMs: number;
}

export interface WrittenTracesOptions {
  readonly retentionMs: number;
  readonly recentMs: number;
  /** A trace may be read that long after its last part was acknowledged. */
  readonly settleMs: number;
  /** Of 0 to 1. */
  readonly random: () => number;
}

/** The oldest are forgotten beyond this many. */
const TRACES_MAX = 200_000;

export class WrittenTraces {
  private readonly options: WrittenTracesOptions;
  private traces: Written[] = [];

  constructor(options: WrittenTracesOptions) {
    this.options = options;
  }

  get count(): number {
    return this.traces.length;
  }

  add(timestampMs: number, completedMs: number): void {
    const after = this.traces.findLastIndex((written) => written.timestampMs <= timestampMs);
    this.traces.splice(after + 1, 0, { timestampMs, completedMs });
    if (this.traces.length > TRACES_MAX) this.traces = this.traces.slice(-TRACES_MAX / 2);
  }

  /** @returns the time of some trace that is older, or not older, than what is recent. */
  pick(age: 'recent' | 'old', nowMs: number): number | undefined {
    const { retentionMs, recentMs, settleMs, random } = this.options;
    this.forgetBefore(nowMs - retentionMs);
    const boundary = lowerBound(this.traces, nowMs - recentMs);
    const [from, to] = age === 'recent' ? [boundary, this.traces.length] : [0, boundary];
    const picked = this.traces[from + Math.floor(random() * (to - from))];
    if (picked === undefined || to === from || picked.completedMs + settleMs > nowMs) return undefined;
    return picked.timestampMs;
  }

  /** Every trace that may be read now. */
  settled(nowMs: number): readonly number[] {
    this.forgetBefore(nowMs - this.options.retentionMs);
    return this.traces
      .filter(({ completedMs }) => completedMs + this.options.settleMs <= nowMs)
      .map(({ timestampMs }) => timestampMs);
  }

  private forgetBefore(timeMs: number): void {
    const kept = lowerBound(this.traces, timeMs);
    if (kept > 0) this.traces.splice(0, kept);
  }
}

/** The index of the first trace at or after the time. */
function lowerBound(traces: readonly Written[], timeMs: number): number {
  let [low, high] = [0, traces.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((traces[middle]?.timestampMs ?? Infinity) < timeMs) low = middle + 1;
    else high = middle;
  }
  return low;
}
