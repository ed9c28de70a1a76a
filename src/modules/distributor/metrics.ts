// The distributor's metrics, under Tempo's names.
import { type Counter, type Histogram, type Metrics, SECONDS_BUCKETS } from '../../telemetry/metrics.ts';
import type { TenantActivity } from '../../telemetry/tenant-activity.ts';

/** As Tempo names its one OTLP receiver. */
const RECEIVER = 'otlp/otlp_receiver';
/** Reasons that a tenant has from its first request on, so that the first increase is seen. */
const USUAL_REASONS = ['live_traces_exceeded', 'trace_too_large', 'unknown_error'];

interface Child {
  inc(value: number): void;
}

/** The counters of one tenant, looked up once. */
export interface TenantCounters {
  readonly ingressBytes: Child;
  readonly bytesReceived: Child;
  readonly spansReceived: Child;
}

export interface AppendCounters {
  readonly sent: Child;
  readonly failed: Child;
}

export interface ReceiverCounters {
  readonly accepted: Child;
  readonly refused: Child;
}

export class DistributorMetrics {
  readonly pushSeconds: Histogram;
  readonly addedSeconds: Histogram;
  readonly debugSpans: Counter;
  readonly droppedLines: Counter;
  readonly usageErrors: Counter;
  readonly pushes: Counter;
  readonly pushErrors: Counter;
  readonly #appends: Counter;
  readonly #appendFailures: Counter;
  readonly receivers: Readonly<Record<'grpc' | 'http', ReceiverCounters>>;
  readonly #ingressBytes: Counter;
  readonly #bytesReceived: Counter;
  readonly #spansReceived: Counter;
  readonly #discarded: Counter;
  readonly #tenants = new Map<string, TenantCounters>();
  readonly #activity: TenantActivity;

  constructor(metrics: Metrics) {
    this.#activity = metrics.tenants;
    this.#activity.onForget((tenants) => {
      for (const tenant of tenants) this.#tenants.delete(tenant);
    });
    const tenant = ['tenant'];
    this.#ingressBytes = metrics.counter(
      'tempo_distributor_ingress_bytes_total',
      'Bytes of requests as they came, before limits.',
      tenant,
    );
    this.#bytesReceived = metrics.counter(
      'tempo_distributor_bytes_received_total',
      'Bytes of requests that passed the limits, as protobuf.',
      tenant,
    );
    this.#spansReceived = metrics.counter(
      'tempo_distributor_spans_received_total',
      'Spans that passed the limits.',
      tenant,
    );
    this.#discarded = metrics.counter('tempo_discarded_spans_total', 'Spans that were dropped, by reason.', [
      'reason',
      'tenant',
    ]);
    this.pushSeconds = metrics.histogram(
      'tempo_distributor_push_duration_seconds',
      'Time until a request was durable in the ingester.',
      SECONDS_BUCKETS,
    );
    this.addedSeconds = metrics.histogram(
      'tempo_distributor_added_latency_seconds',
      'Time by which pushes were delayed on purpose.',
      SECONDS_BUCKETS,
      tenant,
    );
    this.debugSpans = metrics.counter(
      'tempo_distributor_debug_spans_received_total',
      'Spans received by name and service, where that is counted.',
      ['tenant', 'name', 'service'],
    );
    this.droppedLines = metrics.counter(
      'tempo_dropped_log_lines_total',
      'Log lines that were left out because there were too many.',
    );
    this.usageErrors = metrics.counter(
      'tempo_distributor_usage_tracker_errors_total',
      'Series of cost attribution that could not be shown at a scrape.',
      ['tenant', 'reason'],
    );
    this.pushes = metrics.counter('tempo_distributor_push_total', 'Pushes of any receiver');
    this.pushErrors = metrics.counter(
      'tempo_distributor_push_errors_total',
      'Pushes that were refused whole',
    );
    const ingester = ['ingester'];
    this.#appends = metrics.counter(
      'tempo_distributor_ingester_appends_total',
      'Batches that were sent to ingesters.',
      ingester,
    );
    this.#appendFailures = metrics.counter(
      'tempo_distributor_ingester_append_failures_total',
      'Batches that ingesters refused.',
      ingester,
    );
    this.receivers = receiverCounters(metrics);
  }

  /** The counters of an ingester, shown from now on. */
  appendsTo(ingester: string): AppendCounters {
    const sent = started(this.#appends.labels(ingester));
    return { sent, failed: started(this.#appendFailures.labels(ingester)) };
  }

  /** What an ingester that has gone leaves behind. */
  forgetIngester(ingester: string): void {
    this.#appends.remove(ingester);
    this.#appendFailures.remove(ingester);
  }

  /** Calls back with tenants of which nothing should be kept. */
  onForget(listener: (tenants: ReadonlySet<string>) => void): void {
    this.#activity.onForget(listener);
  }

  ofTenant(tenant: string): TenantCounters {
    this.#activity.seen(tenant);
    let counters = this.#tenants.get(tenant);
    if (counters === undefined) {
      counters = {
        ingressBytes: this.#ingressBytes.labels(tenant),
        bytesReceived: this.#bytesReceived.labels(tenant),
        spansReceived: this.#spansReceived.labels(tenant),
      };
      this.#tenants.set(tenant, counters);
      for (const reason of USUAL_REASONS) this.#discarded.inc({ reason, tenant }, 0);
    }
    return counters;
  }

  discard(tenant: string, reason: string, spanCount: number): void {
    if (spanCount > 0) this.#discarded.inc({ reason, tenant }, spanCount);
  }
}

function receiverCounters(metrics: Metrics): DistributorMetrics['receivers'] {
  const labels = ['receiver', 'transport'];
  const accepted = metrics.counter('tempo_receiver_accepted_spans', 'Spans that a receiver took in.', labels);
  const refused = metrics.counter(
    'tempo_receiver_refused_spans',
    'Spans that a receiver had to refuse.',
    labels,
  );
  const of = (transport: string): ReceiverCounters => ({
    accepted: started(accepted.labels(RECEIVER, transport)),
    refused: started(refused.labels(RECEIVER, transport)),
  });
  return { grpc: of('grpc'), http: of('http') };
}

/** Shown from the start. */
function started(child: Child): Child {
  child.inc(0);
  return child;
}
