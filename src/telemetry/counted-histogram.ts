// A histogram that is fed with counts instead of single observations: another thread counts, and its sums
// come in now and then.

import type { RegisteredMetric, Sample, Snapshot } from './exposition.ts';

interface Series {
  readonly label: string;
  /** Not cumulative; the last one has no bound. */
  readonly counts: Float64Array;
  sum: number;
}

/** Has the parts of a prom-client metric that its registry uses. */
export class CountedHistogram implements RegisteredMetric {
  readonly name: string;
  readonly help: string;
  readonly type = 'histogram';
  readonly aggregator = 'sum';
  readonly labelNames: readonly string[];
  readonly upperBounds: readonly number[];
  readonly #series = new Map<string, Series>();

  /** @param labelName undefined = the one series has no label. */
  constructor(name: string, help: string, bounds: readonly number[], labelName: string | undefined) {
    this.name = name;
    this.help = help;
    this.upperBounds = bounds;
    this.labelNames = labelName === undefined ? [] : [labelName];
    if (labelName === undefined) this.#begin('');
  }

  /**
   * A label that nothing was counted for has no series.
   * @param counts one number a bound, one for what is above them, then the sum of all values.
   */
  add(label: string, counts: Float64Array): void {
    const known = this.#series.get(label);
    if (known === undefined && counts.every((count) => count === 0)) return;
    const series = known ?? this.#begin(label);
    for (let i = 0; i < series.counts.length; i++) series.counts[i] += counts[i];
    series.sum += counts[series.counts.length];
  }

  #begin(label: string): Series {
    const series = { label, counts: new Float64Array(this.upperBounds.length + 1), sum: 0 };
    this.#series.set(label, series);
    return series;
  }

  async get(): Promise<Snapshot> {
    const { name, help, type } = this;
    return { name, help, type, values: this.#allSamples() };
  }

  *#allSamples(): Generator<Sample> {
    for (const series of this.#series.values()) yield* this.#samples(series);
  }

  remove(label: string): void {
    this.#series.delete(label);
  }

  reset(): void {
    this.#series.clear();
  }

  #samples({ label, counts, sum }: Series): Sample[] {
    const [labelName] = this.labelNames;
    const labels = labelName === undefined ? {} : { [labelName]: label };
    let count = 0;
    const samples = [...counts].map((more, i): Sample => {
      count += more;
      return {
        metricName: `${this.name}_bucket`,
        labels: { ...labels, le: this.upperBounds[i] ?? '+Inf' },
        value: count,
      };
    });
    samples.push({ metricName: `${this.name}_sum`, labels, value: sum });
    samples.push({ metricName: `${this.name}_count`, labels, value: count });
    return samples;
  }
}
