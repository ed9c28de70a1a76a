// The limits that hold now: those of each tenant that has its own, else those of `*`, else the defaults; and
// on top of them what the tenant has set itself.
import type { ComputedSeries, Gauge, Metrics } from '../telemetry/metrics.ts';
import type { Limits } from './limits.ts';
import { ANY_TENANT } from './tenants.ts';
import { type UserLimits, withUserLimits } from './user-limits.ts';

export type TenantsLimits = ReadonlyMap<string, Limits>;

export interface OverridesOptions {
  readonly defaults: Limits;
  /** Tenants inside the configuration; those of the file win over them. */
  readonly inline: Readonly<Record<string, Limits>>;
  readonly metrics: Metrics;
}

/** What the write path asks for with every request. */
export interface IngestionLimits {
  readonly ingestionRateLimitBytes: number;
  readonly ingestionBurstSizeBytes: number;
  readonly isRateGlobal: boolean;
  readonly retryInfoEnabled: boolean;
  /** Names of those that get copies of the spans. */
  readonly forwarders: readonly string[];
  /** Shortest time of a push; undefined = the distributor's. */
  readonly artificialDelayMs: number | undefined;
  readonly limitsTraces: boolean;
  readonly maxTracesPerUser: number;
  readonly maxGlobalTracesPerUser: number;
  readonly maxBytesPerTrace: number;
  readonly costAttribution: Limits['costAttribution'];
}

/** Tempo's names in the metrics, and what they show. */
const LIMIT_VALUES: Readonly<Record<string, (limits: Limits) => number>> = {
  max_local_traces_per_user: ({ ingestion }) => ingestion.maxTracesPerUser,
  max_global_traces_per_user: ({ ingestion }) => ingestion.maxGlobalTracesPerUser,
  max_bytes_per_trace: ({ global }) => global.maxBytesPerTrace,
  max_bytes_per_tag_values_query: ({ read }) => read.maxBytesPerTagValuesQuery,
  max_blocks_per_tag_values_query: ({ read }) => read.maxBlocksPerTagValuesQuery,
  ingestion_rate_limit_bytes: ({ ingestion }) => ingestion.rateLimitBytes,
  ingestion_burst_size_bytes: ({ ingestion }) => ingestion.burstSizeBytes,
  block_retention: ({ compaction }) => compaction.blockRetentionMs * 1e6,
  metrics_generator_max_active_series: (limits) => limits.metricsGenerator.maxActiveSeries,
};

/** Not shown by tenant, as in Tempo. */
const DEFAULTS_ONLY = new Set(['max_bytes_per_tag_values_query', 'max_blocks_per_tag_values_query']);

export class Overrides {
  readonly defaults: Limits;
  #tenants: TenantsLimits;
  readonly #inline: TenantsLimits;
  /** undefined = tenants cannot set any. */
  #userLimits: ReadonlyMap<string, UserLimits> | undefined;
  /** Of tenants that have set something, as far as they were asked for. */
  readonly #merged = new Map<string, Limits>();
  /** One object for each set of limits. */
  readonly #ingestion = new WeakMap<Limits, IngestionLimits>();

  constructor({ defaults, inline, metrics }: OverridesOptions) {
    this.defaults = defaults;
    this.#inline = new Map(Object.entries(inline));
    this.#tenants = this.#inline;
    const showDefaults = (gauge: Gauge): void => {
      for (const [limit_name, valueOf] of Object.entries(LIMIT_VALUES)) {
        gauge.set({ limit_name }, valueOf(defaults));
      }
    };
    metrics.gauge(
      'tempo_limits_defaults',
      'Limits of tenants that have none of their own.',
      ['limit_name'],
      showDefaults,
    );
    const help = 'Limits of tenants that have their own.';
    metrics.computedGauge('tempo_limits_overrides', help, ['limit_name', 'user'], () => this.#series());
  }

  /** Who has limits of their own, and which. */
  get tenants(): TenantsLimits {
    return this.#tenants;
  }

  /** Puts the tenants of the overrides file in place of what it held before. */
  replace(tenants: TenantsLimits): void {
    this.#tenants = new Map([...this.#inline, ...tenants]);
    this.#merged.clear();
  }

  /** What tenants have set themselves. */
  get userLimits(): ReadonlyMap<string, UserLimits> {
    return this.#userLimits ?? new Map();
  }

  /** Whether tenants can set limits. */
  get hasUserLimits(): boolean {
    return this.#userLimits !== undefined;
  }

  userLimitsOf(tenant: string): UserLimits | undefined {
    return this.#userLimits?.get(tenant);
  }

  /** Puts what tenants have set themselves in place of what they had before. */
  replaceUserLimits(limits: ReadonlyMap<string, UserLimits>): void {
    this.#userLimits = limits;
    this.#merged.clear();
  }

  *#series(): Generator<ComputedSeries> {
    for (const [user, limits] of this.#tenants) {
      for (const [name, valueOf] of Object.entries(LIMIT_VALUES)) {
        if (!DEFAULTS_ONLY.has(name)) yield [[name, user], valueOf(limits)];
      }
    }
  }

  of(tenant: string): Limits {
    const user = this.#userLimits?.get(tenant);
    if (user === undefined) return this.runtimeOf(tenant);
    let merged = this.#merged.get(tenant);
    if (merged === undefined) {
      merged = withUserLimits(this.runtimeOf(tenant), user);
      this.#merged.set(tenant, merged);
    }
    return merged;
  }

  /** Without what the tenant has set itself. */
  runtimeOf(tenant: string): Limits {
    const tenants = this.#tenants;
    return tenants.get(tenant) ?? tenants.get(ANY_TENANT) ?? this.defaults;
  }

  ingestionOf(tenant: string): IngestionLimits {
    const limits = this.of(tenant);
    let ingestion = this.#ingestion.get(limits);
    if (ingestion === undefined) {
      ingestion = ingestionLimits(limits);
      this.#ingestion.set(limits, ingestion);
    }
    return ingestion;
  }

  /** The strictest limit of several tenants; 0 = none of them has one. */
  leastOf(tenants: readonly string[], valueOf: (limits: Limits) => number): number {
    const values = tenants.map((tenant) => valueOf(this.of(tenant))).filter((value) => value > 0);
    return values.length === 0 ? 0 : Math.min(...values);
  }

  /** Whose limits the tenant has: its own name, `*`, or `default`. */
  sourceOf(tenant: string): string {
    if (this.#tenants.has(tenant)) return tenant;
    return this.#tenants.has(ANY_TENANT) ? ANY_TENANT : 'default';
  }
}

function ingestionLimits({ ingestion, global, forwarders, costAttribution }: Limits): IngestionLimits {
  const { maxTracesPerUser, maxGlobalTracesPerUser } = ingestion;
  const { maxBytesPerTrace } = global;
  return {
    ingestionRateLimitBytes: ingestion.rateLimitBytes,
    ingestionBurstSizeBytes: ingestion.burstSizeBytes,
    isRateGlobal: ingestion.rateStrategy === 'global',
    retryInfoEnabled: ingestion.retryInfoEnabled,
    forwarders,
    artificialDelayMs: ingestion.artificialDelayMs,
    limitsTraces: maxTracesPerUser > 0 || maxGlobalTracesPerUser > 0 || maxBytesPerTrace > 0,
    maxTracesPerUser,
    maxGlobalTracesPerUser,
    maxBytesPerTrace,
    costAttribution,
  };
}
