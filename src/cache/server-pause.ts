// Leaves a server alone that has failed: for a moment at first, longer when it fails again. After the
// pause one call tries it, and the others wait for what becomes of that.
import type { PauseSettings } from './settings.ts';

const FIRST_MS = 200;
const GROWN_MS_MAX = 10_000;

export class ServerPause {
  private readonly settings: PauseSettings;
  private readonly nowMs: () => number;
  private failures = 0;
  private failedMs = 0;
  private untilMs = 0;
  private isTried = false;

  constructor(settings: PauseSettings, nowMs: () => number) {
    this.settings = settings;
    this.nowMs = nowMs;
  }

  /** May it be asked? Whoever does says afterwards how that went. */
  mayAsk(): boolean {
    if (this.failures === 0) return true;
    if (this.isTried || this.nowMs() < this.untilMs) return false;
    this.isTried = true;
    return true;
  }

  succeeded(): void {
    this.failures = 0;
    this.isTried = false;
  }

  failed(): void {
    const nowMs = this.nowMs();
    // What was under way when the first call failed fails too, and tells nothing new.
    if (!this.isTried && this.failures > 0 && nowMs < this.untilMs) return;
    this.isTried = false;
    const { failuresMax, longMs, forgetMs } = this.settings;
    if (forgetMs > 0 && nowMs - this.failedMs > forgetMs) this.failures = 0;
    this.failures++;
    this.failedMs = nowMs;
    const isLong = failuresMax > 0 && this.failures > failuresMax;
    const grownMs = Math.min(FIRST_MS * 2 ** (this.failures - 1), GROWN_MS_MAX);
    this.untilMs = nowMs + (isLong ? longMs : grownMs);
  }
}
