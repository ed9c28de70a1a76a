// Growing pauses between tries, with some chance in them, so that many do not come back at the same time.
import { setTimeout as pause } from 'node:timers/promises';

export interface BackoffTimes {
  readonly minMs: number;
  readonly maxMs: number;
  /** 0 = no limit. */
  readonly triesMax: number;
}

export class Backoff {
  private readonly times: BackoffTimes;
  private tries = 0;

  constructor(times: BackoffTimes) {
    this.times = times;
  }

  /** True once all tries are used up. */
  get isOver(): boolean {
    return this.times.triesMax > 0 && this.tries >= this.times.triesMax;
  }

  reset(): void {
    this.tries = 0;
  }

  /** Resolves early when the signal is aborted. */
  async wait(signal?: AbortSignal): Promise<void> {
    const { minMs, maxMs } = this.times;
    const ms = Math.min(maxMs, minMs * 2 ** Math.min(this.tries, 30));
    this.tries++;
    const untilMs = ms * (0.5 + Math.random() / 2);
    const options = signal === undefined ? {} : { signal };
    await pause(untilMs, undefined, options).catch(() => undefined);
  }
}
