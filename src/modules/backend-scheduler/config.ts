// The backend_scheduler block.
import { block, duration, int, text } from '../../config/field.ts';
import type { ConfigOf } from '../../config/field.ts';
import { compactionFields } from '../../store/config.ts';

export const backendSchedulerFields = {
  work: block({
    prune_age: duration('1h', 'drop finished jobs', { flag: 'backend-scheduler.workprune-age' }),
    dead_job_timeout: duration('24h', 'fail stuck jobs', { flag: 'backend-scheduler.workdead-job-timeout' }),
  }),
  maintenance_interval: duration('1m', 'scheduler loop'),
  backend_flush_interval: duration('1m', 'work.json upload'),
  provider: block({
    retention: block({
      interval: duration('1h', 'retention job period'),
    }),
    compaction: block({
      measure_interval: duration('1m', 'outstanding blocks metric'),
      compaction: block(compactionFields),
      max_jobs_per_tenant: int(1_000, 'before next tenant'),
      min_input_blocks: int(2, 'blocks per job'),
      max_input_blocks: int(4, 'blocks per job'),
      max_compaction_level: int(0, '0 = no limit'),
      min_cycle_interval: duration('30s', 'pause without work'),
    }),
  }),
  job_timeout: duration('15s', 'Next() wait'),
  local_work_path: text('/var/tempo', 'work.json dir'),
};

export type BackendSchedulerConfig = ConfigOf<typeof backendSchedulerFields>;
