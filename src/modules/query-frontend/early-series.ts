// Series of a metrics query that still runs: as often as a reader wants them, and as scan threads can spare.
import type { FoundMetrics, MetricsSoFar } from './reads.ts';

/** Tempo's streams tell of news as often. */
export const EARLY_SERIES_MS = 1000;
/** To make series takes one part of so many of the time at most. */
const SHARE = 5;
/** More messages at a time cost more than they tell. */
const MESSAGES_MAX = 4;

export class EarlySeries {
  readonly #bytesMax: number;
  readonly #intervalMs: number;
  #notBeforeMs: number;

  /** @param messageBytes of a message at most. */
  constructor(messageBytes: number, intervalMs: number) {
    this.#bytesMax = MESSAGES_MAX * messageBytes;
    this.#intervalMs = intervalMs;
    this.#notBeforeMs = performance.now() + intervalMs;
  }

  /** What was found so far, with its series where it is time for them. */
  async added({ found, series }: MetricsSoFar): Promise<FoundMetrics> {
    const beginMs = performance.now();
    if (beginMs < this.#notBeforeMs) return found;
    const made = (await series()) ?? [];
    const tookMs = performance.now() - beginMs;
    this.#notBeforeMs = beginMs + Math.max(this.#intervalMs, SHARE * tookMs);
    const bytes = made.reduce((sum, { length }) => sum + length, 0);
    if (bytes > this.#bytesMax) return found;
    return { ...found, answer: { ...found.answer, series: made } };
  }
}
