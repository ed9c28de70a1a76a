// The samples of a series of zeros as JSON, each with a comma before it, from which runs are taken.
import { intervalCount, type MetricsRange } from './range.ts';

const NANOS_PER_MILLI = 1_000_000n;

export class ZeroSamples {
  /** Of the end of each interval. */
  readonly timestampsMs: readonly number[];
  readonly bytes: Uint8Array;
  /** Where each of them begins, and where the last one ends. */
  readonly begins: readonly number[];

  constructor({ startUnixNano, endUnixNano, stepNanos }: MetricsRange) {
    const intervals = intervalCount({ startUnixNano, endUnixNano, stepNanos });
    this.timestampsMs = Array.from({ length: intervals }, (_, i) =>
      Number((startUnixNano + stepNanos * BigInt(i + 1)) / NANOS_PER_MILLI),
    );
    const begins = [0];
    const texts = this.timestampsMs.map((ms) => `,{"timestampMs":"${ms}"}`);
    for (const text of texts) begins.push(begins.at(-1)! + text.length);
    this.begins = begins;
    this.bytes = new TextEncoder().encode(texts.join(''));
  }
}
