// A histogram that is fed with counts instead of single observations: another thread counts, and its sums
// come in now and then.

interface Series {
  readonly label: string;
  /** Not cumulative; the last one has no bound. */
  readonly counts: Float64Array;
  sum: number;
}

interface Sample {
  readonly metricName: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

/** Has the parts of a prom-client metric that its registry uses. */
export class CountedHistogram {
  readonly name: string;
  readonly help: string;
  readonly type = 'histogram';
  readonly aggregator = 'sum';
  readonly #labelName: string;
  readonly #bounds: readonly number[];
  readonly #series = new Map<string, Series>();

  constructor(name: string, help: string, bounds: readonly number[], labelName: string) {
    this.name = name;
    this.help = help;
    this.#bounds = bounds;
    this.#labelName = labelName;
  }

  /** @param counts one number a bound, one for what is above them, then the sum of all values. */
  add(label: string, counts: Float64Array): void {
    let series = this.#series.get(label);
    if (series === undefined) {
      series = { label, counts: new Float64Array(this.#bounds.length + 1), sum: 0 };
      this.#series.set(label, series);
    }
    for (let i = 0; i < series.counts.length; i++) series.counts[i] += counts[i];
    series.sum += counts[series.counts.length];
  }

  async get() {
    const { name, help, type, aggregator } = this;
    const values = [...this.#series.values()].flatMap((series) => this.#samples(series));
    return { name, help, type, aggregator, values };
  }

  reset(): void {
    this.#series.clear();
  }

  #samples({ label, counts, sum }: Series): Sample[] {
    const labels = { [this.#labelName]: label };
    let count = 0;
    const samples = [...counts].map((more, i): Sample => {
      count += more;
      return {
        metricName: `${this.name}_bucket`,
        labels: { ...labels, le: this.#bounds[i] ?? '+Inf' },
        value: count,
      };
    });
    samples.push({ metricName: `${this.name}_sum`, labels, value: sum });
    samples.push({ metricName: `${this.name}_count`, labels, value: count });
    return samples;
  }
}
