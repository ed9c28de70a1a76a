// A gauge whose series are computed at each scrape, one after another, from what is known elsewhere: nothing
// is kept of them in between.

import type { RegisteredMetric, Sample, Snapshot } from './exposition.ts';

/** Values of the labels, in the order of their names, then of the series. */
export type ComputedSeries = readonly [labels: readonly string[], value: number];

/** Has the parts of a prom-client metric that its registry uses. */
export class ComputedGauge implements RegisteredMetric {
  readonly name: string;
  readonly help: string;
  readonly type = 'gauge';
  readonly aggregator = 'sum';
  readonly labelNames: readonly string[];
  readonly #series: () => Iterable<ComputedSeries>;

  constructor(
    name: string,
    help: string,
    labelNames: readonly string[],
    series: () => Iterable<ComputedSeries>,
  ) {
    this.name = name;
    this.help = help;
    this.labelNames = labelNames;
    this.#series = series;
  }

  async get(): Promise<Snapshot> {
    const { name, help, type } = this;
    return { name, help, type, values: this.#samples() };
  }

  *#samples(): Generator<Sample> {
    for (const [labels, value] of this.#series()) {
      yield { labels: Object.fromEntries(this.labelNames.map((name, i) => [name, labels[i]])), value };
    }
  }
}
