// The process's metric registry: a thin door to prom-client, so that modules declare theirs in one table
// each.
import { Counter, Gauge, Histogram, type Metric, Registry } from 'prom-client';
import { CountedHistogram } from './counted-histogram.ts';
import { type ExpositionFormat, exposition, type RegisteredMetric } from './exposition.ts';

export type { Counter, CountedHistogram, Gauge, Histogram };

/** Buckets of Prometheus' clients where nobody names others: seconds. */
export const SECONDS_BUCKETS: readonly number[] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export function exponentialBuckets(start: number, factor: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => start * factor ** i);
}

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

  /** A histogram of one label, or of none, to which counts are added. */
  countedHistogram(
    name: string,
    help: string,
    bounds: readonly number[],
    labelName?: string,
  ): CountedHistogram {
    const histogram = new CountedHistogram(name, help, bounds, labelName);
    this.registry.registerMetric(histogram as unknown as Metric);
    return histogram;
  }

  /** What a scraper is given. */
  text(format: ExpositionFormat = 'text'): Promise<string> {
    return exposition(this.registered(), format);
  }

  /** All metrics, in the order in which they were declared. */
  registered(): readonly RegisteredMetric[] {
    // Prom-client's types tell less than there is.
    return this.registry.getMetricsAsArray() as unknown as readonly RegisteredMetric[];
  }
}
