// Metrics of forwarding, under Tempo's names but for what became of exports, which Tempo does not tell.
import type { Counter, Gauge, Metrics } from '../../telemetry/metrics.ts';

export class ForwarderMetrics {
  readonly #queuePushes: Counter;
  readonly #queueFailures: Counter;
  readonly #queueLength: Gauge;
  readonly #pushes: Counter;
  readonly #failures: Counter;
  readonly #exports: Counter;

  constructor(metrics: Metrics) {
    const queue = ['name', 'tenant'];
    this.#queuePushes = metrics.counter(
      'tempo_distributor_queue_pushes_total',
      'Requests that were to be queued for forwarding.',
      queue,
    );
    this.#queueFailures = metrics.counter(
      'tempo_distributor_queue_pushes_failures_total',
      'Requests that were not forwarded because the queue was full.',
      queue,
    );
    this.#queueLength = metrics.gauge(
      'tempo_distributor_queue_length',
      'Requests that wait to be forwarded.',
      queue,
    );
    this.#pushes = metrics.counter(
      'tempo_distributor_forwarder_pushes_total',
      'Requests that were to be queued for forwarding, by tenant.',
      ['tenant'],
    );
    this.#failures = metrics.counter(
      'tempo_distributor_forwarder_pushes_failures_total',
      'Requests that were not forwarded because the queue was full, by tenant.',
      ['tenant'],
    );
    this.#exports = metrics.counter(
      'tempo_distributor_forwarder_exports_total',
      'Requests that were sent to an endpoint of a forwarder.',
      ['name', 'result'],
    );
  }

  pushed(name: string, tenant: string): void {
    this.#queuePushes.inc({ name, tenant });
    this.#pushes.inc({ tenant });
  }

  refused(name: string, tenant: string): void {
    this.#queueFailures.inc({ name, tenant });
    this.#failures.inc({ tenant });
  }

  length(name: string, tenant: string, requests: number): void {
    this.#queueLength.set({ name, tenant }, requests);
  }

  exported(name: string, isSent: boolean): void {
    this.#exports.inc({ name, result: isSent ? 'success' : 'failed' });
  }
}
