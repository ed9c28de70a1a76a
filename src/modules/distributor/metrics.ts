// The distributor's metrics, under Tempo's names.
import type { Counter, Histogram, Metrics } from '../../telemetry/metrics.ts';

const PUSH_SECONDS_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
/** As Tempo names its one OTLP receiver. */
const RECEIVER = 'otlp/otlp_receiver';

interface Child {
  inc(value: number): void;
}

/** The counters of one tenant, looked up once. */
export interface TenantCounters {
  readonly ingressBytes: Child;
  readonly bytesReceived: Child;
  readonly spansReceived: Child;
}

export interface ReceiverCounters {
  readonly accepted: Child;
  readonly refused: Child;
}

export class DistributorMetrics {
  readonly pushSeconds: Histogram;
  readonly pushes: Counter;
  readonly pushErrors: Counter;
  readonly receivers: Readonly<Record<'grpc' | 'http', ReceiverCounters>>;
  readonly #ingressBytes: Counter;
  readonly #bytesReceived: Counter;
  readonly #spansReceived: Counter;
  readonly #discarded: Counter;
  readonly #tenants = new Map<string, TenantCounters>();

  constructor(metrics: Metrics) {
    const tenant = ['tenant'];
    this.#ingressBytes = metrics.counter(
      'tempo_distributor_ingress_bytes_total',
      'The total number of bytes received per tenant, before limits',
      tenant,
    );
    this.#bytesReceived = metrics.counter(
      'tempo_distributor_bytes_received_total',
      'The total number of proto bytes received per tenant, after limits',
      tenant,
    );
    this.#spansReceived = metrics.counter(
      'tempo_distributor_spans_received_total',
      'The total number of spans received per tenant',
      tenant,
    );
    this.#discarded = metrics.counter(
      'tempo_discarded_spans_total',
      'The total number of spans that were discarded.',
      ['reason', 'tenant'],
    );
    this.pushSeconds = metrics.histogram(
      'tempo_distributor_push_duration_seconds',
      'Records the amount of time to push a batch to the ingester.',
      PUSH_SECONDS_BUCKETS,
    );
    this.pushes = metrics.counter('tempo_distributor_push_total', 'Pushes of any receiver');
    this.pushErrors = metrics.counter(
      'tempo_distributor_push_errors_total',
      'Pushes that were refused whole',
    );
    const labels = ['receiver', 'transport'];
    const accepted = metrics.counter(
      'tempo_receiver_accepted_spans',
      'Number of spans successfully pushed into the pipeline.',
      labels,
    );
    const refused = metrics.counter(
      'tempo_receiver_refused_spans',
      'Number of spans that could not be pushed into the pipeline.',
      labels,
    );
    const of = (transport: string): ReceiverCounters => ({
      accepted: accepted.labels(RECEIVER, transport),
      refused: refused.labels(RECEIVER, transport),
    });
    this.receivers = { grpc: of('grpc'), http: of('http') };
  }

  ofTenant(tenant: string): TenantCounters {
    let counters = this.#tenants.get(tenant);
    if (counters === undefined) {
      counters = {
        ingressBytes: this.#ingressBytes.labels(tenant),
        bytesReceived: this.#bytesReceived.labels(tenant),
        spansReceived: this.#spansReceived.labels(tenant),
      };
      this.#tenants.set(tenant, counters);
    }
    return counters;
  }

  discard(tenant: string, reason: string, spanCount: number): void {
    if (spanCount > 0) this.#discarded.inc({ reason, tenant }, spanCount);
  }
}
