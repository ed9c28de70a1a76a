// The process's metric registry: a thin door to prom-client, so that modules declare theirs in one table
// each.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Counter, Gauge, Histogram, type Metric, Registry } from 'prom-client';
import { ComputedGauge, type ComputedSeries } from './computed-gauge.ts';
import { CountedHistogram } from './counted-histogram.ts';
import { type ExpositionFormat, exposition, type RegisteredMetric } from './exposition.ts';
import { TenantActivity } from './tenant-activity.ts';

export type { ComputedSeries, Counter, CountedHistogram, Gauge, Histogram };

/** Buckets of Prometheus' clients where nobody names others: seconds. */
export const SECONDS_BUCKETS: readonly number[] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Tenants with time series of their own. */
const TENANTS_MAX = 20_000;
/** Labels whose values are tenants. */
const TENANT_LABELS = ['tenant', 'user'];
/** Samples that are looked at, and series that are removed, without a pause. */
const LOOKED_AT_AT_ONCE = 5000;
const REMOVED_AT_ONCE = 500;

export class Metrics {
  readonly registry = new Registry();
  /** Whoever counts something by tenant says so here. */
  readonly tenants: TenantActivity;
  #forgetting: Promise<void> = Promise.resolve();

  constructor(nowMs: () => number = () => performance.now(), tenantsMax = TENANTS_MAX) {
    this.tenants = new TenantActivity(tenantsMax, nowMs);
    this.tenants.onForget((tenants) => {
      this.#forgetting = this.#forgetting.then(() => this.#forget(tenants));
    });
  }

  /** Resolves when the series of tenants that were forgotten are gone. */
  get forgotten(): Promise<void> {
    return this.#forgetting;
  }

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

  /** A gauge with many series, of which nothing is kept between scrapes. */
  computedGauge(
    name: string,
    help: string,
    labelNames: readonly string[],
    series: () => Iterable<ComputedSeries>,
  ): void {
    const gauge = new ComputedGauge(name, help, labelNames, series);
    this.registry.registerMetric(gauge as unknown as Metric);
  }

  /** What a scraper is given. */
  bytes(format: ExpositionFormat = 'text'): Promise<Buffer> {
    return exposition(this.registered(), format);
  }

  async text(format: ExpositionFormat = 'text'): Promise<string> {
    return (await this.bytes(format)).toString();
  }

  async #forget(tenants: ReadonlySet<string>): Promise<void> {
    for (const metric of this.registered()) {
      const label = metric.labelNames.find((name) => TENANT_LABELS.includes(name));
      if (label === undefined || metric instanceof ComputedGauge) continue;
      await nextTurn();
      if (metric instanceof CountedHistogram) for (const tenant of tenants) metric.remove(tenant);
      else await removeSeries(metric, label, tenants);
    }
  }

  /** All metrics, in the order in which they were declared. */
  registered(): readonly RegisteredMetric[] {
    // Prom-client's types tell less than there is.
    return this.registry.getMetricsAsArray() as unknown as readonly RegisteredMetric[];
  }
}

/** Removes the series of a metric whose label has one of the values. */
async function removeSeries(
  metric: RegisteredMetric,
  label: string,
  values: ReadonlySet<string>,
): Promise<void> {
  const removed = new Set<string>();
  let looked = 0;
  for (const { labels } of (await metric.get()).values) {
    if (++looked % LOOKED_AT_AT_ONCE === 0) await nextTurn();
    if (!values.has(String(labels[label]))) continue;
    const { le: _bucket, ...own } = labels;
    const key = JSON.stringify(own);
    if (removed.has(key)) continue;
    removed.add(key);
    (metric as unknown as Counter).remove(own as Record<string, string>);
    if (removed.size % REMOVED_AT_ONCE === 0) await nextTurn();
  }
}
