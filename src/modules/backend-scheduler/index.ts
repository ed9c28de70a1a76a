// The scheduler's door.
export { BackendScheduler, type BackendSchedulerOptions } from './module.ts';
export { type Job, JOB_TYPE_NAMES, tenantOf } from './job.ts';
