// The jobs that the scheduler knows: which worker has which, which blocks they take, and which blocks are
// left alone for a while. No I/O here.
import { GIVEN_BACK, type JobReport } from '../../contracts/jobs.ts';
import { RestingBlocks } from '../../store/resting-blocks.ts';
import { type Job, type ScheduledDetail, tenantOf } from './job.ts';

export interface WorkTimes {
  /** How long a job that ended is remembered. */
  readonly pruneMs: number;
  /** A job that runs longer has failed. */
  readonly deadMs: number;
  /** So has one whose worker told that it works on it, and then was silent for so long. */
  readonly silentMs: number;
  /** How long blocks are left alone after a first failure. */
  readonly restMs: number;
}

export class Work {
  private readonly jobs = new Map<string, Job>();
  /** Job ids by worker. */
  private readonly running = new Map<string, Set<string>>();
  /** How many jobs take a block: those that run, and those that succeeded. */
  private readonly taken = new Map<string, number>();
  private readonly resting: RestingBlocks;
  private readonly times: WorkTimes;

  constructor(times: WorkTimes) {
    this.times = times;
    this.resting = new RestingBlocks(times.restMs);
  }

  /** Newest first. */
  list(): Job[] {
    return [...this.jobs.values()].toSorted((a, b) => b.createdMs - a.createdMs);
  }

  all(): Iterable<Job> {
    return this.jobs.values();
  }

  get(jobId: string): Job | undefined {
    return this.jobs.get(jobId);
  }

  /** What the worker has and did not end. */
  runningOf(workerId: string): Job | undefined {
    const [jobId] = this.running.get(workerId) ?? [];
    return jobId === undefined ? undefined : this.jobs.get(jobId);
  }

  get runningJobs(): number {
    let jobs = 0;
    for (const ids of this.running.values()) jobs += ids.size;
    return jobs;
  }

  /** Whether a block should not be in another job now. */
  isTaken(blockId: string, nowMs: number): boolean {
    return this.taken.has(blockId) || this.resting.has(blockId, nowMs);
  }

  /** Blocks that are left alone after failures. */
  restingBlocks(nowMs: number): number {
    return this.resting.count(nowMs);
  }

  /** Adds a job, or puts it in the place of the one with its id. */
  put(job: Job): void {
    this.remove(job.jobId);
    this.jobs.set(job.jobId, job);
    this.count(job, 1);
  }

  remove(jobId: string): void {
    const job = this.jobs.get(jobId);
    if (job === undefined) return;
    this.jobs.delete(jobId);
    this.count(job, -1);
  }

  /** Takes over a job of an earlier process or of another file: the state that is further counts. */
  merge(job: Job): void {
    const known = this.jobs.get(job.jobId);
    if (known === undefined || rank(job) > rank(known)) this.put(job);
  }

  /** What a worker says of a job that is known. @returns the job as it is now. */
  report(job: Job, { status, outputs, error }: JobReport, nowMs: number): Job {
    if (job.status === 'succeeded') return job;
    const detail = withOutputs(job.detail, outputs);
    const told = { ...job, detail, reportedMs: nowMs };
    if (status === 'failed') {
      return error.startsWith(GIVEN_BACK) ? this.giveUp(told, nowMs) : this.fail(told, error, nowMs);
    }
    // One that was given up may have gone on.
    const next: Job = status === 'succeeded' ? { ...told, status, endMs: nowMs } : told;
    this.put(next);
    if (status === 'succeeded') this.resting.succeeded(inputsOf(next));
    return next;
  }

  private fail(job: Job, error: string, nowMs: number): Job {
    const failed: Job = { ...job, status: 'failed', endMs: nowMs };
    this.put(failed);
    this.resting.failed(inputsOf(job), error, nowMs);
    return failed;
  }

  /** Forgets what ended long ago. @returns the jobs that were forgotten, and those that are given up. */
  prune(nowMs: number): { readonly forgotten: readonly Job[]; readonly givenUp: readonly Job[] } {
    const { pruneMs, deadMs, silentMs } = this.times;
    const reporting = this.reportingWorkers();
    const forgotten: Job[] = [];
    const givenUp: Job[] = [];
    for (const job of this.list()) {
      const heardMs = job.reportedMs > 0 || !reporting.has(job.workerId) ? job.reportedMs : job.createdMs;
      const isSilent = heardMs > 0 && nowMs - heardMs > silentMs;
      if (job.status !== 'running') {
        if (nowMs - job.endMs <= pruneMs) continue;
        this.remove(job.jobId);
        forgotten.push(job);
      } else if (isSilent || nowMs - job.createdMs > deadMs) givenUp.push(this.giveUp(job, nowMs));
    }
    this.resting.forget(nowMs);
    return { forgotten, givenUp };
  }

  /** Those that tell when they work on something. */
  reportingWorkers(): ReadonlySet<string> {
    const reporting = new Set<string>();
    for (const { reportedMs, workerId } of this.jobs.values()) if (reportedMs > 0) reporting.add(workerId);
    return reporting;
  }

  /** Its worker is gone or had no room: the blocks are not to blame. */
  giveUp(job: Job, nowMs: number): Job {
    const failed: Job = { ...job, status: 'failed', endMs: nowMs };
    this.put(failed);
    return failed;
  }

  private count(job: Job, by: 1 | -1): void {
    if (job.status === 'running') {
      const ids = this.running.get(job.workerId) ?? new Set();
      if (by === 1) this.running.set(job.workerId, ids.add(job.jobId));
      else if (ids.delete(job.jobId) && ids.size === 0) this.running.delete(job.workerId);
    }
    if (job.status === 'failed') return;
    for (const blockId of inputsOf(job)) {
      const jobs = (this.taken.get(blockId) ?? 0) + by;
      if (jobs === 0) this.taken.delete(blockId);
      else this.taken.set(blockId, jobs);
    }
  }
}

export function inputsOf({ detail }: Job): readonly string[] {
  return detail.kind === 'compaction' ? detail.inputs : [];
}

function withOutputs(detail: ScheduledDetail, outputs: readonly string[]): ScheduledDetail {
  return detail.kind === 'compaction' && outputs.length > 0 ? { ...detail, outputs } : detail;
}

/** Of two states of a job: how far it is. */
function rank({ status, retries, reportedMs }: Job): number {
  return (status === 'running' ? 0 : 1e18) + reportedMs + retries;
}

/** Tenants and types of all jobs that are known, with how many of them run. */
export function runningByTenant(jobs: Iterable<Job>): Iterable<readonly [tenant: string, Job, number]> {
  const counts = new Map<string, [string, Job, number]>();
  for (const job of jobs) {
    const tenant = tenantOf(job);
    const key = `${job.detail.kind} ${tenant}`;
    const entry = counts.get(key) ?? [tenant, job, 0];
    if (job.status === 'running') entry[2]++;
    counts.set(key, entry);
  }
  return counts.values();
}
