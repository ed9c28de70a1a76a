// Metrics of the query-frontend, under Tempo's names: how many queries, how many of them within their
// objective, how long they took, what they read.
import type { Counter, Histogram, Metrics } from '../../telemetry/metrics.ts';
import type { TenantActivity } from '../../telemetry/tenant-activity.ts';
import { tenantLabel } from '../../telemetry/tenant-label.ts';
import type { Op } from './reads.ts';

/** What an answer must reach to count as within the objective; 0 = not asked. One of the two is enough. */
interface Objective {
  readonly durationSloMs: number;
  readonly throughputBytesSlo: number;
}

export type Objectives = Readonly<Record<Op, Objective>>;

interface AnsweredQuery {
  readonly op: Op;
  readonly tenant: string;
  readonly durationMs: number;
  readonly inspectedBytes: number;
  /** `refused`: the client's mistake, or too much of it. */
  readonly outcome: 'answered' | 'refused' | 'failed' | 'canceled';
}

const NO_OBJECTIVE: Objective = { durationSloMs: 0, throughputBytesSlo: 0 };

const DURATION_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50];

export class FrontendMetrics {
  readonly #objectives: Objectives | undefined;
  readonly #queries: Counter;
  readonly #withinObjective: Counter;
  readonly #throughput: Counter;
  readonly #inspectedBytes: Counter;
  readonly #durations: Histogram;
  readonly #activity: TenantActivity;

  constructor(metrics: Metrics, objectives: Objectives | undefined) {
    this.#objectives = objectives;
    this.#activity = metrics.tenants;
    const results = ['tenant', 'op', 'result'];
    const reads = ['tenant', 'op'];
    this.#queries = metrics.counter('tempo_query_frontend_queries_total', 'Queries received.', results);
    this.#withinObjective = metrics.counter(
      'tempo_query_frontend_queries_within_slo_total',
      'Queries that were answered within the objective of their kind.',
      results,
    );
    this.#throughput = metrics.counter(
      'tempo_query_frontend_bytes_processed_per_second',
      'Bytes a second of each query, added up, where throughput_bytes_slo is set.',
      reads,
    );
    this.#inspectedBytes = metrics.counter(
      'tempo_query_frontend_bytes_inspected_total',
      'Bytes that queries read.',
      reads,
    );
    this.#durations = metrics.histogram(
      'tempo_query_frontend_queries',
      'Seconds until the answer was complete.',
      DURATION_BUCKETS,
      ['op'],
    );
    for (const op of ['traces', 'search', 'metadata', 'metrics']) this.#durations.zero({ op });
  }

  /** A tenant has asked for something, or several have: scan threads and others may have counted it. */
  asked(tenant: string): void {
    this.#activity.seen(tenantLabel(tenant));
  }

  answered(query: AnsweredQuery): void {
    const { op, durationMs, inspectedBytes, outcome } = query;
    const tenant = tenantLabel(query.tenant);
    this.#durations.observe({ op }, durationMs / 1000);
    const result = outcome === 'canceled' ? 'canceled' : 'completed';
    this.#queries.inc({ tenant, op, result });
    if (outcome === 'failed') return;
    if (outcome === 'answered') {
      this.#inspectedBytes.inc({ tenant, op }, inspectedBytes);
      if (!this.#isWithin(query, tenant)) return;
    }
    this.#withinObjective.inc({ tenant, op, result });
  }

  #isWithin({ op, durationMs, inspectedBytes }: AnsweredQuery, tenant: string): boolean {
    const { durationSloMs, throughputBytesSlo } = this.#objectives?.[op] ?? NO_OBJECTIVE;
    if (durationSloMs === 0 && throughputBytesSlo === 0) return true;
    const bytesPerSecond = durationMs > 0 ? (inspectedBytes * 1000) / durationMs : 0;
    if (throughputBytesSlo > 0) this.#throughput.inc({ tenant, op }, bytesPerSecond);
    return (
      (durationSloMs > 0 && durationMs < durationSloMs) ||
      (throughputBytesSlo > 0 && bytesPerSecond >= throughputBytesSlo)
    );
  }
}
