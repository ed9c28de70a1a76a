// The worker's door.
export { BackendWorker, type BackendWorkerOptions } from './module.ts';
export { SchedulerClient } from './scheduler-client.ts';
