// A job as the scheduler keeps it, and as JSON in work.json: the same text as Tempo's scheduler writes,
// so that one goes on with the other's work.
import {
  JOB_STATUSES,
  JOB_TYPES,
  type JobDetail,
  type JobStatus,
  type OfferedJob,
  statusOf,
} from '../../contracts/jobs.ts';

export type ScheduledDetail = Exclude<JobDetail, { readonly kind: 'unknown' }>;

export interface Job extends OfferedJob {
  readonly detail: ScheduledDetail;
  readonly status: Exclude<JobStatus, 'unspecified'>;
  readonly workerId: string;
  readonly createdMs: number;
  /** 0 = it has not ended. */
  readonly endMs: number;
  /** When its worker told last that it works on it; 0 = it never did. Tempo's workers do not. */
  readonly reportedMs: number;
  /** How often it was given to its worker again. */
  readonly retries: number;
}

/** How Go writes a time that was never set. */
const NEVER = '0001-01-01T00:00:00Z';

export const JOB_TYPE_NAMES = {
  compaction: 'JOB_TYPE_COMPACTION',
  retention: 'JOB_TYPE_RETENTION',
} as const satisfies Record<ScheduledDetail['kind'], string>;

export function tenantOf({ detail }: Job): string {
  return detail.kind === 'compaction' ? detail.tenant : '';
}

export function jobToJson(job: Job): unknown {
  const { detail } = job;
  return {
    id: job.jobId,
    type: JOB_TYPES[detail.kind],
    job_detail: detail.kind === 'retention' ? { retention: {} } : compactionJson(detail),
    status: JOB_STATUSES[job.status],
    created_time: timeText(job.createdMs),
    start_time: timeText(job.createdMs),
    end_time: timeText(job.endMs),
    worker_id: job.workerId,
    retries: job.retries,
    ...(job.reportedMs === 0 ? {} : { reported_time: timeText(job.reportedMs) }),
  };
}

function compactionJson({ tenant, inputs, outputs }: Extract<ScheduledDetail, { kind: 'compaction' }>) {
  const compaction = outputs.length === 0 ? { input: inputs } : { input: inputs, output: outputs };
  return { tenant, compaction };
}

/** undefined = this is no job that we know what to do with. */
export function jobFromJson(value: unknown): Job | undefined {
  const job = record(value);
  const detail = detailFromJson(job['type'], record(job['job_detail']));
  const { id, worker_id: workerId = '' } = job;
  if (detail === undefined || typeof id !== 'string' || typeof workerId !== 'string') return undefined;
  const status = statusOf(Number(job['status'] ?? 0));
  return {
    jobId: id,
    detail,
    // Not begun yet, or under way: its worker gets it when it asks.
    status: status === 'unspecified' ? 'running' : status,
    workerId,
    createdMs: timeOf(job['created_time']),
    endMs: timeOf(job['end_time']),
    reportedMs: timeOf(job['reported_time']),
    retries: Number(job['retries'] ?? 0) || 0,
  };
}

function detailFromJson(
  type: unknown,
  detail: Readonly<Record<string, unknown>>,
): ScheduledDetail | undefined {
  if (type === JOB_TYPES.retention) return { kind: 'retention' };
  if (type !== JOB_TYPES.compaction || typeof detail['tenant'] !== 'string') return undefined;
  const { input, output } = record(detail['compaction']);
  return { kind: 'compaction', tenant: detail['tenant'], inputs: texts(input), outputs: texts(output) };
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((each) => typeof each === 'string') : [];
}

function timeText(ms: number): string {
  return ms === 0 ? NEVER : new Date(ms).toISOString();
}

function timeOf(value: unknown): number {
  const ms = typeof value === 'string' && value !== NEVER ? Date.parse(value) : 0;
  return Number.isFinite(ms) ? ms : 0;
}
