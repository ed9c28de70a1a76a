// The process's metric registry: a thin door to prom-client, so that modules declare theirs in one table
// each.
import { Counter, Gauge, Histogram, type Metric, Registry } from 'prom-client';
import { CountedHistogram } from './counted-histogram.ts';

export type { Counter, CountedHistogram, Gauge, Histogram };

export class Metrics {
  readonly registry = new Registry();

  counter(name: string, help: string, labelNames: readonly string[] = []): Counter {
    return new Counter({ name, help, labelNames: [...labelNames], registers: [this.registry] });
  }

  /** @param collect called at each scrape, to set the value then. */
  gauge(
    name: string,
    help: string,
    labelNames: readonly string[] = [],
    collect?: (gauge: Gauge) => void,
  ): Gauge {
    const gauge: Gauge = new Gauge({
      name,
      help,
      labelNames: [...labelNames],
      registers: [this.registry],
      ...(collect === undefined ? {} : { collect: () => collect(gauge) }),
    });
    return gauge;
  }

  histogram(
    name: string,
    help: string,
    buckets: readonly number[],
    labelNames: readonly string[] = [],
  ): Histogram {
    return new Histogram({
      name,
      help,
      buckets: [...buckets],
      labelNames: [...labelNames],
      registers: [this.registry],
    });
  }

  /** A histogram of one label to which counts are added. */
  countedHistogram(
    name: string,
    help: string,
    bounds: readonly number[],
    labelName: string,
  ): CountedHistogram {
    const histogram = new CountedHistogram(name, help, bounds, labelName);
    this.registry.registerMetric(histogram as unknown as Metric);
    return histogram;
  }

  /** The exposition text. */
  text(): Promise<string> {
    return this.registry.metrics();
  }
}
