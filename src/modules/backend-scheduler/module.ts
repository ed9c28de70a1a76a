// The scheduler: chooses what is to be done to the blocks of the backend, hands it out to workers that
// ask, and remembers who has what, over a restart too. Does none of it itself. Two of them at once have
// work done twice, and lose nothing.
import { randomUUID } from 'node:crypto';
import { type BlockMeta, isBlockId } from '../../block/meta.ts';
import {
  jobReport,
  type JobReport,
  LEAVE_PATH,
  NEXT_PATH,
  nextResponse,
  type OfferedJob,
  UPDATE_PATH,
  updateResponse,
  workerIdOf,
} from '../../contracts/jobs.ts';
import { TempoError } from '../../lib/errors.ts';
import type { Service } from '../../lib/service.ts';
import type { ObjectStore } from '../../objectstore/objectstore.ts';
import type { GrpcMethods } from '../../rpc/grpc-methods.ts';
import type { Blocklist } from '../../store/blocklist.ts';
import type { CompactionLimits } from '../../store/compaction-select.ts';
import { readMeta } from '../../store/read-meta.ts';
import type { Logger } from '../../telemetry/log.ts';
import type { Metrics } from '../../telemetry/metrics.ts';
import { type Job, JOB_TYPE_NAMES, type ScheduledDetail, tenantOf } from './job.ts';
import { createSchedulerMetrics, type SchedulerMetrics } from './metrics.ts';
import { CompactionPlanner } from './planner.ts';
import { WorkFiles } from './work-files.ts';
import { inputsOf, Work, type WorkTimes } from './work.ts';

export interface BackendSchedulerOptions {
  readonly blocklist: Blocklist;
  readonly backend: ObjectStore;
  /** The folder of work on the local disk. */
  readonly local: ObjectStore;
  /** undefined = nothing of the tenant is compacted. */
  readonly limitsOf: (tenant: string) => CompactionLimits | undefined;
  readonly times: WorkTimes;
  /** How long a worker that asks waits for a job. */
  readonly waitMs: number;
  readonly maintenanceMs: number;
  readonly flushMs: number;
  readonly retentionMs: number;
  /** Between two looks at all blocks: at least, and at most. */
  readonly lookMsMin: number;
  readonly lookMsMax: number;
  readonly jobsPerTurn: number;
  /** Blocks that wait, by tenant: is kept up to date for a metric. */
  readonly outstanding: Map<string, number>;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly nowMs: () => number;
}

/** A worker has one job: more are those of strangers. */
const RUNNING_MAX = 10_000;
const WAITING_MAX = 10_000;
const WORKER_ID_LENGTH_MAX = 256;
/** So many workers are told apart by metrics. */
const WORKER_LABELS_MAX = 1000;
const TICK_MS_MIN = 20;
const TICK_MS_MAX = 1000;

interface Waiter {
  readonly workerId: string;
  readonly offered: PromiseWithResolvers<Job | undefined>;
}

export class BackendScheduler implements Service {
  readonly name = 'backend-scheduler';
  private readonly options: BackendSchedulerOptions;
  private readonly work: Work;
  private readonly files: WorkFiles;
  private readonly planner: CompactionPlanner;
  private readonly metrics: SchedulerMetrics;
  private readonly waiters = new Set<Waiter>();
  private readonly workerLabels = new Set<string>();
  private readonly timers: NodeJS.Timeout[] = [];
  private readonly upkeep = new Set<Promise<void>>();
  private lookedMs = 0;
  private isLooking = false;
  private hasNews = true;
  private retainedMs = 0;
  private isStopped = false;
  private isLoaded = false;

  constructor(options: BackendSchedulerOptions) {
    this.options = options;
    const { times, backend, local, logger, metrics, nowMs } = options;
    this.work = new Work(times);
    this.files = new WorkFiles({ work: this.work, backend, local, logger });
    this.metrics = createSchedulerMetrics(metrics, this.work, () => this.waiters.size);
    this.planner = new CompactionPlanner({
      ...options,
      isTaken: (blockId) => this.work.isTaken(blockId, nowMs()),
      metrics: this.metrics,
    });
  }

  registerMethods(methods: GrpcMethods): void {
    methods.unary(NEXT_PATH, async ({ message, signal }) =>
      nextResponse(await this.next(workerIdOf(message), signal)),
    );
    methods.unary(UPDATE_PATH, async ({ message }) => {
      await this.update(jobReport(message));
      return updateResponse();
    });
    methods.unary(LEAVE_PATH, async ({ message }) => {
      await this.leave(workerIdOf(message));
      return new Uint8Array(0);
    });
  }

  async start(): Promise<void> {
    const { lookMsMin, maintenanceMs, flushMs, logger, nowMs } = this.options;
    await this.files.load();
    this.isLoaded = true;
    const reporting = this.work.reportingWorkers();
    for (const job of this.work.list()) {
      // While there was no scheduler, nobody could tell it anything.
      const isHeardOf = job.status === 'running' && reporting.has(job.workerId);
      if (isHeardOf) this.work.put({ ...job, reportedMs: nowMs() });
      if (job.detail.kind === 'retention') this.retainedMs = Math.max(this.retainedMs, job.createdMs);
      if (job.status === 'succeeded') await this.apply(job);
    }
    logger.info('jobs of earlier processes', { jobs: this.jobs().length, running: this.work.runningJobs });
    const tickMs = Math.min(Math.max(lookMsMin / 2, TICK_MS_MIN), TICK_MS_MAX);
    this.every(tickMs, () => this.tick());
    this.every(maintenanceMs, () => this.maintain());
    this.every(flushMs, () => this.flush());
    this.tick();
  }

  async stop(): Promise<void> {
    this.isStopped = true;
    for (const timer of this.timers) clearInterval(timer);
    for (const { offered } of this.waiters) offered.resolve(undefined);
    await Promise.all(this.upkeep);
    await this.files.settled();
    await this.flush();
  }

  /** Newest first. */
  jobs(): readonly Job[] {
    return this.work.list();
  }

  /** The poller has seen the backend. */
  polled(): void {
    this.hasNews = true;
  }

  /** Rejects with `not_found` when there is no job for a while. */
  async next(workerId: string, signal: AbortSignal): Promise<OfferedJob> {
    if (workerId === '')
      throw new TempoError('invalid_argument', 'worker_id is empty: nobody would have the job');
    if (workerId.length > WORKER_ID_LENGTH_MAX) {
      throw new TempoError('invalid_argument', `worker_id is longer than ${WORKER_ID_LENGTH_MAX} characters`);
    }
    this.requireLoaded();
    const job = this.assign(workerId) ?? (await this.waitForJob(workerId, signal));
    if (job === undefined) {
      this.metrics.notFound.inc({ worker_id: this.workerLabel(workerId) });
      throw new TempoError('not_found', 'no jobs found');
    }
    await this.save(job);
    if (signal.aborted && this.isUntouched(job)) await this.takeBack(job);
    return job;
  }

  async update(report: JobReport): Promise<void> {
    const { nowMs, logger } = this.options;
    this.requireLoaded();
    const before = this.work.get(report.jobId);
    if (before === undefined) throw new TempoError('not_found', `job ${report.jobId} is not known`);
    if (report.status === 'unspecified') throw new TempoError('invalid_argument', 'invalid job status');
    const stranger = report.outputs.find((blockId) => !isBlockId(blockId));
    if (stranger !== undefined) throw new TempoError('invalid_argument', `${stranger} is no id of a block`);
    const job = this.work.report(before, report, nowMs());
    const labels = this.labelsOf(job);
    if (before.status === 'running' && job.status !== 'running') {
      const { job_type } = labels;
      this.metrics.durationSeconds.observe({ job_type }, (nowMs() - job.createdMs) / 1000);
    }
    const facts = { job_id: job.jobId, tenant: tenantOf(job), worker: job.workerId };
    if (before.status === 'running' && job.status === 'failed') {
      this.metrics.failed.inc(labels);
      logger.error('job failed', { ...facts, err: report.error });
    } else if (before.status !== 'succeeded' && job.status === 'succeeded') {
      this.metrics.completed.inc(labels);
      logger.info('job completed', facts);
      await this.apply(job);
    } else if (before.reportedMs > 0 && report.outputs.length === 0) return;
    this.hasNews = true;
    await this.save(job);
  }

  /** What the worker has is free at once: it may never have heard of it. */
  async leave(workerId: string): Promise<void> {
    this.requireLoaded();
    for (const waiter of this.waiters) if (waiter.workerId === workerId) waiter.offered.resolve(undefined);
    for (let job = this.work.runningOf(workerId); job; job = this.work.runningOf(workerId)) {
      this.options.logger.info('worker leaves, its job is free', { job_id: job.jobId, worker: workerId });
      this.hasNews = true;
      if (isNew(job)) await this.takeBack(job);
      else {
        this.metrics.failed.inc(this.labelsOf(job));
        await this.save(this.work.giveUp(job, this.options.nowMs()));
      }
    }
  }

  /** The server answers before the work of earlier processes is read. */
  private requireLoaded(): void {
    if (!this.isLoaded) throw new TempoError('unavailable', 'the scheduler starts');
  }

  /** What the worker has already, or else something new. */
  private assign(workerId: string): Job | undefined {
    const { nowMs, logger } = this.options;
    if (this.isStopped) return undefined;
    const mine = this.work.runningOf(workerId);
    if (mine !== undefined) {
      const again = { ...mine, retries: mine.retries + 1 };
      this.work.put(again);
      this.metrics.retried.inc({ ...this.labelsOf(mine), worker_id: this.workerLabel(workerId) });
      logger.info('worker gets its job again', { job_id: mine.jobId, worker: workerId });
      return again;
    }
    const detail = this.work.runningJobs < RUNNING_MAX ? this.nextDetail() : undefined;
    if (detail === undefined) return undefined;
    const createdMs = nowMs();
    const since = { createdMs, endMs: 0, reportedMs: 0, retries: 0 };
    const job: Job = { jobId: randomUUID(), detail, status: 'running', workerId, ...since };
    this.work.put(job);
    this.metrics.created.inc(this.labelsOf(job));
    logger.info('worker gets a job', { job_id: job.jobId, tenant: tenantOf(job), worker: workerId });
    return job;
  }

  private nextDetail(): ScheduledDetail | undefined {
    const { nowMs, retentionMs } = this.options;
    if (nowMs() - this.retainedMs >= retentionMs && !this.isRetaining()) {
      this.retainedMs = nowMs();
      this.metrics.merged.inc({ id: '1' });
      return { kind: 'retention' };
    }
    const planned = this.planner.take();
    if (planned === undefined) return undefined;
    this.metrics.merged.inc({ id: '0' });
    this.metrics.compactionsCreated.inc({ tenant: planned.tenant });
    return { kind: 'compaction', ...planned, outputs: [] };
  }

  private isRetaining(): boolean {
    const isIt = ({ detail, status }: Job): boolean => detail.kind === 'retention' && status === 'running';
    return [...this.work.all()].some(isIt);
  }

  private async waitForJob(workerId: string, signal: AbortSignal): Promise<Job | undefined> {
    if (this.waiters.size >= WAITING_MAX) {
      throw new TempoError('resource_exhausted', `${WAITING_MAX} workers are waiting`);
    }
    const waiter: Waiter = { workerId, offered: Promise.withResolvers() };
    const leave = (): void => waiter.offered.resolve(undefined);
    const timer = setTimeout(leave, this.options.waitMs);
    signal.addEventListener('abort', leave);
    this.waiters.add(waiter);
    try {
      return this.isStopped || signal.aborted ? undefined : await waiter.offered.promise;
    } finally {
      this.waiters.delete(waiter);
      clearTimeout(timer);
      signal.removeEventListener('abort', leave);
    }
  }

  /** Gives those that wait what there is. */
  private serve(): void {
    for (const waiter of this.waiters) {
      const job = this.assign(waiter.workerId);
      if (job === undefined) return;
      this.waiters.delete(waiter);
      waiter.offered.resolve(job);
    }
  }

  /** Nobody works on a job that would be forgotten at a crash. */
  private async save(job: Job): Promise<void> {
    try {
      await this.files.save([job.jobId]);
    } catch (err) {
      if (this.isUntouched(job)) this.forget(job);
      throw new TempoError('internal', `job ${job.jobId} cannot be written to the local disk`, err);
    }
  }

  /** The worker has left before it got the job. */
  private async takeBack(job: Job): Promise<void> {
    this.forget(job);
    await this.save(job);
  }

  private forget(job: Job): void {
    this.work.remove(job.jobId);
    this.hasNews = true;
    if (job.detail.kind === 'retention') this.retainedMs = 0;
  }

  /** Whether nobody has heard of the job, also not by a later call. */
  private isUntouched(job: Job): boolean {
    return isNew(job) && this.work.get(job.jobId) === job;
  }

  private tick(): void {
    const { lookMsMin, lookMsMax, nowMs } = this.options;
    const sinceMs = nowMs() - this.lookedMs;
    if (!this.isLooking && ((this.hasNews && sinceMs >= lookMsMin) || sinceMs >= lookMsMax)) {
      this.keep(this.look());
    }
    this.serve();
  }

  private async look(): Promise<void> {
    this.isLooking = true;
    this.hasNews = false;
    try {
      await this.planner.refresh();
    } catch (err) {
      this.options.logger.error('blocks to compact cannot be chosen', { err });
    } finally {
      this.isLooking = false;
      this.lookedMs = this.options.nowMs();
    }
    this.serve();
  }

  private async maintain(): Promise<void> {
    const { logger, nowMs } = this.options;
    const { forgotten, givenUp } = this.work.prune(nowMs());
    for (const job of givenUp) {
      this.metrics.failed.inc(this.labelsOf(job));
      this.hasNews = true;
      logger.warn('job is given up: its worker is gone', { job_id: job.jobId, worker: job.workerId });
    }
    if (forgotten.length + givenUp.length === 0) return;
    try {
      await this.files.save([...forgotten, ...givenUp].map(({ jobId }) => jobId));
    } catch (err) {
      logger.error('work cannot be written to the local disk', { err });
    }
  }

  /** Never rejects: what failed is tried again. */
  private async flush(): Promise<void> {
    const { flushes, flushesFailed, fileBytes } = this.metrics;
    try {
      const sizeBytes = await this.files.flush();
      if (sizeBytes === undefined) return;
      flushes.inc();
      fileBytes.observe(sizeBytes);
    } catch (err) {
      flushes.inc();
      flushesFailed.inc();
      this.options.logger.error('work.json cannot be written to the backend', { err });
    }
  }

  /** The blocklist is as after the job, before a poll finds it out. */
  private async apply(job: Job): Promise<void> {
    const { blocklist, nowMs } = this.options;
    if (job.detail.kind !== 'compaction') return;
    const { live } = blocklist.tenant(job.detail.tenant);
    const inputs = inputsOf(job).flatMap((blockId) => live.get(blockId) ?? []);
    for (const meta of inputs) blocklist.compacted({ meta, compactedMs: nowMs() });
    for (const blockId of job.detail.outputs) {
      const isKnown = live.has(blockId) || blocklist.tenant(job.detail.tenant).compacted.has(blockId);
      const meta = isKnown ? undefined : await this.metaOf(job.detail.tenant, blockId);
      if (meta !== undefined) blocklist.added(meta);
    }
  }

  /** undefined = the next poll will tell. */
  private async metaOf(tenant: string, blockId: string): Promise<BlockMeta | undefined> {
    try {
      return (await readMeta(this.options.backend, tenant, blockId))?.meta;
    } catch (err) {
      this.options.logger.debug('new block cannot be read yet', { tenant, block: blockId, err });
      return undefined;
    }
  }

  private every(ms: number, work: () => Promise<void> | void): void {
    this.timers.push(setInterval(() => this.keep(work()), ms));
  }

  /** Is waited for when stopping. */
  private keep(work: Promise<void> | void): void {
    if (work === undefined) return;
    const kept = work.finally(() => this.upkeep.delete(kept));
    this.upkeep.add(kept);
  }

  /** Series of tenants that have had no job for long are forgotten. */
  private labelsOf(job: Job): { readonly tenant: string; readonly job_type: string } {
    const tenant = tenantOf(job);
    if (tenant !== '') this.options.metrics.tenants.seen(tenant);
    return { tenant, job_type: JOB_TYPE_NAMES[job.detail.kind] };
  }

  private workerLabel(workerId: string): string {
    if (this.workerLabels.size < WORKER_LABELS_MAX) this.workerLabels.add(workerId);
    return this.workerLabels.has(workerId) ? workerId : 'other';
  }
}

/** Nobody has worked on it. */
function isNew({ status, retries, reportedMs }: Job): boolean {
  return status === 'running' && retries === 0 && reportedMs === 0;
}
