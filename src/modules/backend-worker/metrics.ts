// Metrics of the worker, by Tempo's names.
import type { Counter, Metrics } from '../../telemetry/metrics.ts';

export interface WorkerMetrics {
  readonly jobs: Counter;
  readonly badJobs: Counter;
  readonly retries: Counter;
}

/** @param isBusy whether there is a job. */
export function createWorkerMetrics(metrics: Metrics, isBusy: () => boolean): WorkerMetrics {
  metrics.gauge('tempo_backend_worker_busy', '1 = a job is under way.', [], (gauge) =>
    gauge.set(isBusy() ? 1 : 0),
  );
  return {
    jobs: metrics.counter('tempo_backend_worker_jobs_total', 'Jobs that the scheduler gave.'),
    badJobs: metrics.counter(
      'tempo_backend_worker_bad_jobs_received_total',
      'Jobs that cannot be done as they are.',
      ['status'],
    ),
    retries: metrics.counter(
      'tempo_backend_worker_call_retries_total',
      'Calls of the scheduler that failed and were tried again.',
    ),
  };
}
