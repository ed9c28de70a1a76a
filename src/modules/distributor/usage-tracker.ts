// Cost attribution: bytes of spans that were kept, by tenant and by the values of the attributes that the
// tenant's limits name. Served on /usage_metrics, apart from the other metrics.
import { type UsageAttribute, UsageReader } from '../../model/otlp/span-usage.ts';
import { type Dimensions, dimensionsOf } from '../../overrides/cost-attribution.ts';
import { exposition, type ExpositionFormat, type Sample } from '../../telemetry/exposition.ts';
import type { Counter } from '../../telemetry/metrics.ts';

/** The limits `cost_attribution` of a tenant. */
export interface CostAttribution {
  readonly dimensions: Dimensions;
  /** Most series; 0 = that of the module. */
  readonly maxCardinality: number;
}

export interface UsageTrackerOptions {
  /** Where a tenant has none of its own. */
  readonly maxCardinality: number;
  /** Series that have not grown for that long are dropped. */
  readonly staleDurationMs: number;
  /** Labels that cannot be shown, by tenant and reason. */
  readonly errors: Counter;
  readonly nowMs: () => number;
}

interface Series {
  readonly labels: Readonly<Record<string, string>>;
  readonly isBad: boolean;
  bytes: number;
  changedMs: number;
}

interface TenantUsage {
  /** What the rest was made for. */
  dimensions: Dimensions;
  labelNames: readonly string[];
  reader: UsageReader;
  /** By their labels. */
  readonly series: Map<string, Series>;
}

const NAME = 'tempo_usage_tracker_bytes_received_total';
const HELP = 'bytes total received with these attributes';
const TRACKER = 'cost-attribution';
const MISSING = '__missing__';
const OVERFLOW = '__overflow__';
/** Labels that every series has. */
const OWN_LABELS = ['tenant', 'tracker'];

export class UsageTracker {
  readonly #options: UsageTrackerOptions;
  readonly #tenants = new Map<string, TenantUsage>();

  constructor(options: UsageTrackerOptions) {
    this.#options = options;
  }

  /** Counts a request that passed the scan. */
  observe(tenant: string, { dimensions, maxCardinality }: CostAttribution, body: Uint8Array): void {
    const usage = this.#usageOf(tenant, dimensions);
    if (usage === undefined) return;
    const seriesMax = maxCardinality || this.#options.maxCardinality;
    const nowMs = this.#options.nowMs();
    usage.reader.read(body, (values, sizeBytes) => {
      const series = this.#seriesOf(tenant, usage, values, seriesMax);
      series.bytes += sizeBytes;
      series.changedMs = nowMs;
    });
  }

  /** Drops the series that are stale. */
  purge(): void {
    const limitMs = this.#options.nowMs() - this.#options.staleDurationMs;
    for (const [tenant, { series }] of this.#tenants) {
      for (const [key, { changedMs }] of series) if (changedMs <= limitMs) series.delete(key);
      if (series.size === 0) this.#tenants.delete(tenant);
    }
  }

  /** What a scraper is given. */
  bytes(format: ExpositionFormat): Promise<Buffer> {
    const snapshot = { name: NAME, help: HELP, type: 'counter', values: this.#samples() };
    if (this.#tenants.size === 0) return exposition([], format);
    return exposition([{ name: NAME, help: HELP, labelNames: [], get: async () => snapshot }], format);
  }

  *#samples(): Generator<Sample> {
    for (const [tenant, { series }] of this.#tenants) {
      for (const { labels, isBad, bytes } of series.values()) {
        if (isBad) this.#options.errors.inc({ tenant, reason: 'invalid_labels_in_collect' });
        else yield { labels, value: bytes };
      }
    }
  }

  #usageOf(tenant: string, dimensions: Dimensions): TenantUsage | undefined {
    const known = this.#tenants.get(tenant);
    // Limits are other objects when they have changed.
    if (known?.dimensions === dimensions) return known;
    const named = dimensionsOf(dimensions);
    if (named.length === 0) return undefined;
    const labelNames = [...new Set(named.map(({ label }) => label))].toSorted();
    const attributes = named.map(
      ({ name, scope, label }): UsageAttribute => ({ name, scope, place: labelNames.indexOf(label) }),
    );
    const reader = new UsageReader(attributes);
    const usage = { dimensions, labelNames, reader, series: known?.series ?? new Map<string, Series>() };
    this.#tenants.set(tenant, usage);
    return usage;
  }

  #seriesOf(
    tenant: string,
    { labelNames, series }: TenantUsage,
    values: readonly (string | undefined)[],
    seriesMax: number,
  ): Series {
    const named = labelNames.map((name, i): [string, string] => [name, values[i] ?? MISSING]);
    const key = JSON.stringify(named);
    const known = series.get(key);
    if (known !== undefined) return known;
    const isOver = series.size >= seriesMax;
    const shown = isOver ? named.map(([name]): [string, string] => [name, OVERFLOW]) : named;
    const shownKey = isOver ? JSON.stringify(shown) : key;
    let found = series.get(shownKey);
    if (found === undefined) {
      const all = [...shown, ['tenant', tenant], ['tracker', TRACKER]] as [string, string][];
      const labels = Object.fromEntries(all.toSorted(([a], [b]) => (a < b ? -1 : 1)));
      found = { labels, isBad: labelNames.some(isBadLabel), bytes: 0, changedMs: 0 };
      series.set(shownKey, found);
    }
    return found;
  }
}

function isBadLabel(name: string): boolean {
  return name.startsWith('__') || OWN_LABELS.includes(name);
}
