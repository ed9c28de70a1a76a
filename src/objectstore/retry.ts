// Tries a request again when that may help: after pauses that grow and vary, and only as often as a budget
// allows, so that a store that is down is not asked many times as much.
import { setTimeout as pause } from 'node:timers/promises';
import type { Failure } from './bucket.ts';
import { isRetried } from './failures.ts';

export interface RetryOptions {
  /** Of one request, the first try included. */
  readonly attemptsMax: number;
  readonly firstDelayMs: number;
  readonly delayMsMax: number;
}

/** Retries that may follow each other while nothing succeeds. */
const BUDGET = 100;
/** What a request that succeeds gives back: one retry for ten of them. */
const EARNED = 0.1;
/** A store may ask to wait for so long, and not longer. */
const ASKED_DELAY_MS_MAX = 30_000;

export class Retrier {
  private readonly options: RetryOptions;
  private readonly failureOf: (err: unknown) => Failure;
  private readonly onRetry: () => void;
  private budget = BUDGET;

  constructor(options: RetryOptions, failureOf: (err: unknown) => Failure, onRetry: () => void) {
    this.options = options;
    this.failureOf = failureOf;
    this.onRetry = onRetry;
  }

  /** Rejects with the last error. @param attemptsMax of this request, if fewer. */
  async run<T>(work: () => Promise<T>, signal?: AbortSignal, attemptsMax = Infinity): Promise<T> {
    const attempts = Math.min(this.options.attemptsMax, attemptsMax);
    for (let attempt = 1; ; attempt++) {
      try {
        const result = await work();
        this.budget = Math.min(BUDGET, this.budget + EARNED);
        return result;
      } catch (err) {
        const failure = this.failureOf(err);
        if (attempt >= attempts || !isRetried(failure.kind) || this.budget < 1) throw err;
        this.budget--;
        this.onRetry();
        await this.wait(attempt, failure, signal);
      }
    }
  }

  /** Anything between half and all of a delay that doubles: those who failed together come back apart. */
  private async wait(attempt: number, failure: Failure, signal: AbortSignal | undefined): Promise<void> {
    const { firstDelayMs, delayMsMax } = this.options;
    const longest = Math.min(delayMsMax, firstDelayMs * 2 ** (attempt - 1));
    const asked = Math.min(failure.retryAfterMs ?? 0, ASKED_DELAY_MS_MAX);
    const delayMs = Math.max(asked, longest * (0.5 + Math.random() / 2));
    await pause(delayMs, undefined, signal === undefined ? {} : { signal });
  }
}
