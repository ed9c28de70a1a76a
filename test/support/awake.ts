// Time limits for tests that count only while this process runs: a machine that stands still for a while
// makes nothing late.

/** Longer steps than this are not counted in full. */
const STEP_MS_MAX = 1000;

export class AwakeLimit {
  private leftMs: number;
  private lastMs = performance.now();

  constructor(limitMs: number) {
    this.leftMs = limitMs;
  }

  /** To be asked at least once a second. */
  get isOver(): boolean {
    const nowMs = performance.now();
    this.leftMs -= Math.min(nowMs - this.lastMs, STEP_MS_MAX);
    this.lastMs = nowMs;
    return this.leftMs <= 0;
  }
}
