// What a scheduler hands out and a worker does: jobs over the blocks of the backend, as
// tempopb.BackendScheduler speaks of them. Here are the messages; nothing is sent.
import { ByteWriter } from '../lib/byte-writer.ts';
import { bytesField, textField, varintField } from '../lib/protobuf.ts';
import { MessageFields } from '../model/otlp/message-fields.ts';

const SERVICE = '/tempopb.BackendScheduler/';
export const NEXT_PATH = `${SERVICE}Next`;
export const UPDATE_PATH = `${SERVICE}UpdateJob`;
/** Of our own: its message is that of `Next`, its answer is empty. */
export const LEAVE_PATH = '/tempots.BackendScheduler/Leave';

export const JOB_TYPES = { compaction: 1, retention: 2 } as const;
export const JOB_STATUSES = { unspecified: 0, succeeded: 1, failed: 2, running: 3 } as const;

/** How the error of a worker begins that could not do the job, whatever the blocks are like. */
export const GIVEN_BACK = 'given back: ';

export type JobStatus = keyof typeof JOB_STATUSES;

export type JobDetail =
  | {
      readonly kind: 'compaction';
      readonly tenant: string;
      /** Block ids. */
      readonly inputs: readonly string[];
      /** Of blocks that hold what the inputs hold. */
      readonly outputs: readonly string[];
    }
  /** Of all tenants. */
  | { readonly kind: 'retention' }
  /** Something that this version does not know. */
  | { readonly kind: 'unknown'; readonly type: number };

export interface OfferedJob {
  readonly jobId: string;
  readonly detail: JobDetail;
}

export interface JobReport {
  readonly jobId: string;
  readonly status: JobStatus;
  /** Of a job that failed. */
  readonly error: string;
  /** Of a compaction, once there are any. */
  readonly outputs: readonly string[];
}

/** What a worker asks its scheduler. Rejects with TempoError. */
export interface JobSource {
  /** undefined = there is no job at the moment. Waits for one as long as the scheduler does. */
  next(workerId: string, signal: AbortSignal): Promise<OfferedJob | undefined>;
  /** `not_found` when the scheduler does not know the job. */
  report(report: JobReport): Promise<void>;
  /** The worker asks for no more, and does nothing: jobs that it has are those of others. */
  leave(workerId: string): Promise<void>;
}

export function nextRequest(workerId: string): Uint8Array {
  const out = new ByteWriter();
  textField(out, 1, workerId);
  return out.copy();
}

export function workerIdOf(message: Uint8Array): string {
  return new MessageFields(message).text(1);
}

export function nextResponse({ jobId, detail }: OfferedJob): Uint8Array {
  const out = new ByteWriter();
  textField(out, 1, jobId);
  varintField(out, 2, typeOf(detail));
  bytesField(out, 3, detailMessage(detail));
  return out.copy();
}

export function offeredJob(message: Uint8Array): OfferedJob {
  const fields = new MessageFields(message);
  const detail = new MessageFields(fields.message(3));
  return { jobId: fields.text(1), detail: detailOf(fields.number(2), detail) };
}

export function updateRequest({ jobId, status, error, outputs }: JobReport): Uint8Array {
  const out = new ByteWriter();
  textField(out, 1, jobId);
  varintField(out, 2, JOB_STATUSES[status]);
  textField(out, 3, error);
  if (outputs.length > 0) bytesField(out, 4, compactionMessage([], outputs));
  return out.copy();
}

export function jobReport(message: Uint8Array): JobReport {
  const fields = new MessageFields(message);
  return {
    jobId: fields.text(1),
    status: statusOf(fields.number(2)),
    error: fields.text(3),
    outputs: new MessageFields(fields.message(4)).texts(2),
  };
}

export function updateResponse(): Uint8Array {
  const out = new ByteWriter();
  varintField(out, 1, 1);
  return out.copy();
}

/** Numbers that have no name are no status. */
export function statusOf(number: number): JobStatus {
  const found = Object.entries(JOB_STATUSES).find(([, value]) => value === number);
  return found === undefined ? 'unspecified' : (found[0] as JobStatus);
}

function typeOf(detail: JobDetail): number {
  return detail.kind === 'unknown' ? detail.type : JOB_TYPES[detail.kind];
}

function detailMessage(detail: JobDetail): Uint8Array {
  const out = new ByteWriter();
  if (detail.kind === 'compaction') {
    textField(out, 1, detail.tenant);
    bytesField(out, 2, compactionMessage(detail.inputs, detail.outputs));
  } else if (detail.kind === 'retention') bytesField(out, 3, new Uint8Array(0));
  return out.copy();
}

function compactionMessage(inputs: readonly string[], outputs: readonly string[]): Uint8Array {
  const out = new ByteWriter();
  for (const id of inputs) textField(out, 1, id);
  for (const id of outputs) textField(out, 2, id);
  return out.copy();
}

function detailOf(type: number, fields: MessageFields): JobDetail {
  if (type === JOB_TYPES.retention) return { kind: 'retention' };
  if (type !== JOB_TYPES.compaction) return { kind: 'unknown', type };
  const compaction = new MessageFields(fields.message(2));
  const inputs = compaction.texts(1);
  return { kind: 'compaction', tenant: fields.text(1), inputs, outputs: compaction.texts(2) };
}
