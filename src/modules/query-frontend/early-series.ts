// Series of a metrics query that still runs: as often as a reader wants them, and as scan threads can spare.
import { EARLY_MESSAGES_MAX, EARLY_SERIES_SHARE } from '../../contracts/early-series.ts';
import type { FoundMetrics, MetricsSoFar } from './reads.ts';

export class EarlySeries {
  readonly #bytesMax: number;
  readonly #intervalMs: number;
  #notBeforeMs: number;

  /** @param messageBytes of a message at most. */
  constructor(messageBytes: number, intervalMs: number) {
    this.#bytesMax = EARLY_MESSAGES_MAX * messageBytes;
    this.#intervalMs = intervalMs;
    this.#notBeforeMs = performance.now() + intervalMs;
  }

  /** What was found so far, with its series where it is time for them. */
  async added({ found, series }: MetricsSoFar): Promise<FoundMetrics> {
    const beginMs = performance.now();
    if (beginMs < this.#notBeforeMs) return found;
    const made = (await series()) ?? [];
    const tookMs = performance.now() - beginMs;
    this.#notBeforeMs = beginMs + Math.max(this.#intervalMs, EARLY_SERIES_SHARE * tookMs);
    const bytes = made.reduce((sum, { length }) => sum + length, 0);
    if (bytes > this.#bytesMax) return found;
    return { ...found, answer: { ...found.answer, series: made } };
  }
}
