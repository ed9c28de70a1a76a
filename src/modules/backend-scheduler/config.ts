// The backend_scheduler block.
import { block, duration, int, text } from '../../config/field.ts';
import { compactionFields } from '../../store/config.ts';

export const backendSchedulerFields = {
  work: block({
    prune_age: duration('1h', 'drop finished jobs', { flag: 'backend-scheduler.workprune-age' }),
    dead_job_timeout: duration('24h', 'fail stuck jobs', { flag: 'backend-scheduler.workdead-job-timeout' }),
    silent_job_timeout: duration('5m', 'fail jobs whose worker reported and then was silent for so long', {
      hidden: true,
      ours: true,
    }),
  }),
  maintenance_interval: duration('1m', 'time between rounds of upkeep', {
    flag: 'backend-schedulerbackend-scheduler.maintenance-interval',
  }),
  backend_flush_interval: duration('1m', 'time between uploads of work.json', {
    flag: 'backend-schedulerbackend-scheduler.backend-flush-interval',
  }),
  provider: block({
    retention: block({
      interval: duration('1h', 'time between retention jobs', {
        flag: 'backend-scheduler.provider.workbackend-scheduler.retention-interval',
      }),
    }),
    compaction: block({
      measure_interval: duration('1m', 'time between updates of the outstanding blocks metric', {
        flag: 'backend-scheduler.provider.workbackend-scheduler.compaction-provider.measure-interval',
      }),
      compaction: block(compactionFields, 'compaction', {
        flagPrefix: 'backend-scheduler.provider.work.compaction.',
      }),
      max_jobs_per_tenant: int(1_000, 'jobs of a tenant before the next one', {
        flag: 'backend-scheduler.provider.workbackend-scheduler.max-jobs-per-tenant',
      }),
      min_input_blocks: int(2, 'blocks of a job, at least', {
        flag: 'backend-scheduler.provider.work.min-input-blocks',
      }),
      max_input_blocks: int(4, 'blocks of a job, at most', {
        flag: 'backend-scheduler.provider.work.max-input-blocks',
      }),
      max_compaction_level: int(0, 'blocks above this level stay as they are, 0 = no limit', {
        flag: 'backend-scheduler.provider.work.max-compaction-level',
      }),
      min_cycle_interval: duration('30s', 'pause without work', {
        flag: 'backend-scheduler.provider.work.min-cycle-interval',
      }),
    }),
    redaction: block(
      {
        poll_interval: duration('2s', 'time between looks into the bucket', { hidden: true }),
        rescan_delay: duration('5m', 'delay of the next scan', { hidden: true }),
        max_rescan_generations: int(5, 'scans at most', { hidden: true }),
      },
      'redaction jobs',
      { hidden: true },
    ),
  }),
  job_timeout: duration('15s', 'longest wait for a job', {
    flag: 'backend-schedulerbackend-scheduler.job-timeout',
  }),
  local_work_path: text('/var/tempo', 'folder of work.json', {
    flag: 'backend-schedulerbackend-scheduler.local-work-path',
  }),
};
