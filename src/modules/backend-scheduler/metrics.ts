// Metrics of the scheduler, by Tempo's names.
import { exponentialBuckets } from '../../lib/exponential-buckets.ts';
import { type Counter, type Histogram, type Metrics, SECONDS_BUCKETS } from '../../telemetry/metrics.ts';
import { JOB_TYPE_NAMES } from './job.ts';
import { runningByTenant, type Work } from './work.ts';

export interface SchedulerMetrics {
  readonly created: Counter;
  readonly completed: Counter;
  readonly failed: Counter;
  readonly retried: Counter;
  readonly notFound: Counter;
  readonly merged: Counter;
  readonly durationSeconds: Histogram;
  readonly fileBytes: Histogram;
  readonly flushes: Counter;
  readonly flushesFailed: Counter;
  readonly compactionsCreated: Counter;
  readonly turns: Counter;
  readonly emptyTurns: Counter;
  readonly emptyCycles: Counter;
}

const PREFIX = 'tempo_backend_scheduler_';
const OF_JOB = ['tenant', 'job_type'];
/** 1 KiB to 32 MiB. */
const FILE_BUCKETS = exponentialBuckets(1024, 2, 16);

/** @param waiting workers that wait for a job. */
export function createSchedulerMetrics(
  metrics: Metrics,
  work: Work,
  waiting: () => number,
): SchedulerMetrics {
  showWork(metrics, work, waiting);
  const counter = (name: string, help: string, labels: readonly string[] = []): Counter =>
    metrics.counter(PREFIX + name, help, labels);
  return {
    created: counter('jobs_created_total', 'Jobs that were handed out.', OF_JOB),
    completed: counter('jobs_completed_total', 'Jobs that succeeded.', OF_JOB),
    failed: counter('jobs_failed_total', 'Jobs that failed or were given up.', OF_JOB),
    retried: counter('jobs_retry_total', 'Jobs that their worker was given again.', [...OF_JOB, 'worker_id']),
    notFound: counter('jobs_not_found_total', 'Calls of workers for which there was no job.', ['worker_id']),
    merged: counter('provider_jobs_merged_total', 'Jobs by origin: 0 = compaction, 1 = retention.', ['id']),
    durationSeconds: metrics.histogram(
      `${PREFIX}job_duration_seconds`,
      'Time from the creation of a job until its worker told of it.',
      SECONDS_BUCKETS,
      ['job_type'],
    ),
    fileBytes: metrics.histogram(`${PREFIX}work_cache_file_size_bytes`, 'Sizes of work.json.', FILE_BUCKETS),
    flushes: counter('work_flushes_total', 'How often work.json was written.'),
    flushesFailed: counter('work_flushes_failed_total', 'How often work.json could not be written.'),
    compactionsCreated: counter('compaction_jobs_created_total', 'Compaction jobs.', ['tenant']),
    turns: counter('compaction_tenant_reset_total', 'How often the turn of a tenant ended.', ['tenant']),
    emptyTurns: counter('compaction_tenant_empty_job_total', 'Turns that ended as no job was left.'),
    emptyCycles: counter('compaction_empty_tenant_cycle_total', 'Looks that found no work for any tenant.'),
  };
}

function showWork(metrics: Metrics, work: Work, waiting: () => number): void {
  metrics.computedGauge(`${PREFIX}jobs_active`, 'Jobs that workers have.', OF_JOB, function* () {
    for (const [tenant, { detail }, running] of runningByTenant(work.all())) {
      yield [[tenant, JOB_TYPE_NAMES[detail.kind]], running];
    }
  });
  metrics.gauge(`${PREFIX}waiting_workers`, 'Calls of workers that wait for a job.', [], (gauge) =>
    gauge.set(waiting()),
  );
  metrics.gauge(
    `${PREFIX}resting_blocks`,
    'Blocks that are left alone for a while, as a job over them failed.',
    [],
    (gauge) => gauge.set(work.restingBlocks(Date.now())),
  );
}
