// How many traces of a head have lately received spans, counted as spans come in: a trace is live until it
// was silent for the idle time. Time is cut into ticks, and only the counts of the last few are kept.

/** Ticks of the idle time. */
const TICKS = 16;

export class LiveTraces {
  private readonly tickMs: number;
  /** Traces by the tick in which they were last seen, the tick modulo the length. */
  private readonly counts = new Int32Array(TICKS + 1);
  private readonly sinceMs: number;
  private tick = 1;

  /** @param nowMs what the times that follow are counted from. */
  constructor(idleMs: number, nowMs: number) {
    this.tickMs = Math.max(1, idleMs / TICKS);
    this.sinceMs = nowMs;
  }

  /** Moves on; time that runs back stands still. */
  advance(nowMs: number): void {
    const tick = Math.max(this.tick, 1 + Math.floor((nowMs - this.sinceMs) / this.tickMs));
    const steps = Math.min(tick - this.tick, this.counts.length);
    for (let i = 1; i <= steps; i++) this.counts[(this.tick + i) % this.counts.length] = 0;
    this.tick = tick;
  }

  /**
   * A trace has received spans now.
   * @param seenAt what the last call for it returned, 0 = none.
   * @returns what to pass next time.
   */
  see(seenAt: number): number {
    if (seenAt === this.tick) return seenAt;
    if (this.isLive(seenAt)) this.counts[seenAt % this.counts.length]!--;
    this.counts[this.tick % this.counts.length]!++;
    return this.tick;
  }

  isLive(seenAt: number): boolean {
    return seenAt > 0 && seenAt > this.tick - this.counts.length;
  }

  get count(): number {
    return this.counts.reduce((sum, of) => sum + of, 0);
  }
}
