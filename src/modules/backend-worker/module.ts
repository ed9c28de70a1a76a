// The worker: asks the scheduler for a job, does it, tells how it went, and asks again. One job at a
// time; none is begun while memory or disk is short.
import type { BlockMeta } from '../../block/meta.ts';
import { COMPACTED_META_NAME, META_NAME } from '../../block/meta.ts';
import {
  GIVEN_BACK,
  type JobDetail,
  type JobReport,
  type JobSource,
  type OfferedJob,
} from '../../contracts/jobs.ts';
import { type ErrorCode, TempoError } from '../../lib/errors.ts';
import type { Service } from '../../lib/service.ts';
import type { ObjectStore } from '../../objectstore/objectstore.ts';
import type { StoredMeta } from '../../block/meta-json.ts';
import type { BlockJoiner } from '../../store/block-joiner.ts';
import { readMeta } from '../../store/read-meta.ts';
import type { Logger } from '../../telemetry/log.ts';
import type { Metrics } from '../../telemetry/metrics.ts';
import { Backoff, type BackoffTimes } from './backoff.ts';
import { createWorkerMetrics, type WorkerMetrics } from './metrics.ts';

/** Errors that say nothing about the blocks: no room here, or this process stops. */
const OF_THE_WORKER: ReadonlySet<ErrorCode> = new Set(['resource_exhausted', 'cancelled']);

export interface BackendWorkerOptions {
  /** Tells workers apart: the scheduler gives the job of a worker that died to the next one of that name. */
  readonly workerId: string;
  readonly source: JobSource & { open(): Promise<void>; close(): Promise<void> };
  readonly joiner: BlockJoiner;
  readonly backend: ObjectStore;
  /** Applies retention. @returns how many blocks failed. */
  readonly retain: () => Promise<number>;
  /** Why a job over so many bytes should not begin now. */
  readonly refusal: (sizeBytes: number) => string | undefined;
  readonly backoff: BackoffTimes;
  /** How long a job may go on when the process is to stop. */
  readonly finishMs: number;
  /** How often the scheduler is told that a job is under way. */
  readonly aliveMs: number;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

type Compaction = Extract<JobDetail, { readonly kind: 'compaction' }>;

/** For telling the scheduler, at the end, that a job is given back. */
const GIVE_BACK_MS = 1000;

export class BackendWorker implements Service {
  readonly name = 'backend-worker';
  private readonly options: BackendWorkerOptions;
  private readonly metrics: WorkerMetrics;
  /** Aborted when no further job is to be begun. */
  private readonly stopping = new AbortController();
  /** Aborted when the one that is under way must end. */
  private readonly ending = new AbortController();
  private working: Promise<void> = Promise.resolve();
  private isBusy = false;

  constructor(options: BackendWorkerOptions) {
    this.options = options;
    this.metrics = createWorkerMetrics(options.metrics, () => this.isBusy);
  }

  async start(): Promise<void> {
    const { joiner, source, workerId, logger } = this.options;
    await joiner.prepare();
    await source.open();
    logger.info('backend worker starts', { worker: workerId });
    this.working = this.work();
  }

  async stop(): Promise<void> {
    const { finishMs, joiner, source, logger } = this.options;
    this.stopping.abort();
    const tooLate = Promise.withResolvers<void>();
    let timer = setTimeout(() => {
      logger.warn('job did not end in time and is given back', { limit_ms: finishMs });
      this.ending.abort();
      void joiner.stop();
      timer = setTimeout(() => tooLate.resolve(), 2 * GIVE_BACK_MS);
    }, finishMs);
    await Promise.race([this.working, tooLate.promise]);
    clearTimeout(timer);
    await this.leave();
    await joiner.stop();
    await source.close();
  }

  private async work(): Promise<void> {
    const { source, joiner, refusal, backoff, workerId, logger } = this.options;
    const { signal } = this.stopping;
    const idle = new Backoff(backoff);
    let isTold = false;
    while (!signal.aborted) {
      try {
        const reason = refusal(0);
        if (reason !== undefined) throw new TempoError('resource_exhausted', `no job may begin: ${reason}`);
        const offered = await source.next(workerId, signal);
        if (isTold) logger.info('jobs are got from the scheduler again');
        isTold = false;
        if (offered !== undefined) {
          idle.reset();
          this.metrics.jobs.inc();
          if (await this.attempt(offered)) continue;
        } else joiner.rest();
      } catch (err) {
        if (signal.aborted) return;
        this.metrics.retries.inc();
        if (!isTold) logger.warn('no job is got from the scheduler', { err });
        isTold = true;
      }
      await idle.wait(signal);
    }
  }

  /** Never rejects. @returns whether the next may be begun at once. */
  private async attempt(offered: OfferedJob): Promise<boolean> {
    const { aliveMs, logger } = this.options;
    const { jobId } = offered;
    const alive = setInterval(() => void this.tellRunning(jobId, []), aliveMs);
    this.isBusy = true;
    await this.tellRunning(jobId, []);
    let report: JobReport;
    let isGivenBack = false;
    try {
      report = { jobId, status: 'succeeded', error: '', outputs: await this.done(offered) };
    } catch (err) {
      isGivenBack = err instanceof TempoError && OF_THE_WORKER.has(err.code);
      const error = (isGivenBack ? GIVEN_BACK : '') + (err instanceof Error ? err.message : String(err));
      logger.error(isGivenBack ? 'job is given back' : 'job failed', { job_id: jobId, err });
      report = { jobId, status: 'failed', error, outputs: [] };
    } finally {
      clearInterval(alive);
    }
    await this.tell(report);
    this.isBusy = false;
    return !isGivenBack;
  }

  /** @returns ids of the blocks that came out. */
  private async done({ jobId, detail }: OfferedJob): Promise<readonly string[]> {
    if (detail.kind === 'unknown') throw this.badJob('unknown_type', `job type ${detail.type} is not known`);
    if (detail.kind === 'retention') {
      const failed = await this.options.retain();
      if (failed > 0) throw new TempoError('unavailable', `retention of ${failed} blocks failed`);
      return [];
    }
    if (detail.tenant === '') throw this.badJob('no_tenant', 'the job has no tenant');
    if (detail.inputs.length === 0) throw this.badJob('no_inputs', 'the job has no blocks');
    return this.compact(jobId, detail);
  }

  private async compact(jobId: string, detail: Compaction): Promise<readonly string[]> {
    const { joiner, refusal } = this.options;
    const found = await Promise.all(detail.inputs.map((id) => this.metaOf(detail.tenant, id, META_NAME)));
    const inputs = found.flatMap((stored) => stored?.meta ?? []);
    if (inputs.length === 0) return detail.outputs; // an attempt before this one came to its end
    const finished = await this.finishedBlock(detail);
    if (finished !== undefined) await joiner.replace(finished.meta, finished.isLive, inputs);
    else if (inputs.length < detail.inputs.length) {
      const gone = detail.inputs.filter((_, i) => found[i] === undefined);
      throw new TempoError('not_found', `no longer in the backend: ${gone.join()}`);
    } else {
      const reason = refusal(inputs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
      if (reason !== undefined) throw new TempoError('resource_exhausted', reason);
    }
    // Should this process end before the inputs are marked, whoever gets the job next marks them.
    const toldOf = (meta: BlockMeta): Promise<void> => this.tellRunning(jobId, [meta.blockId]);
    const made = finished ?? (await joiner.join(detail.tenant, inputs, { beforeMarks: toldOf }));
    await this.markAll();
    return [made.meta.blockId];
  }

  /**
   * What an earlier attempt at the job made, if it is complete. Whoever can speak to the scheduler may have
   * told it of any block: only what is stored with the block tells what was made of it.
   */
  private async finishedBlock({
    tenant,
    inputs,
    outputs,
  }: Compaction): Promise<{ readonly meta: BlockMeta; readonly isLive: boolean } | undefined> {
    for (const id of outputs) {
      const live = await this.metaOf(tenant, id, META_NAME);
      const { meta, compactedFrom = [] } = live ?? (await this.metaOf(tenant, id, COMPACTED_META_NAME)) ?? {};
      const isMadeOfThem = inputs.every((input) => compactedFrom.includes(input));
      if (meta !== undefined && isMadeOfThem) return { meta, isLive: live !== undefined };
    }
    return undefined;
  }

  private async metaOf(tenant: string, blockId: string, name: string): Promise<StoredMeta | undefined> {
    try {
      return await readMeta(this.options.backend, tenant, blockId, name);
    } catch (err) {
      throw new TempoError('unavailable', `meta of block ${blockId} cannot be read`, err);
    }
  }

  private async markAll(): Promise<void> {
    const { joiner, backoff } = this.options;
    const wait = new Backoff(backoff);
    while (joiner.unmarkedBlocks > 0) {
      await wait.wait(this.ending.signal);
      if (this.ending.signal.aborted) throw new TempoError('cancelled', 'the worker stops');
      await joiner.mark();
    }
  }

  private badJob(status: string, message: string): TempoError {
    this.metrics.badJobs.inc({ status });
    return new TempoError('invalid_argument', message);
  }

  /** A job may be on its way here that this process does not get any more. */
  private async leave(): Promise<void> {
    const { source, workerId, logger } = this.options;
    try {
      await source.leave(workerId);
    } catch (err) {
      // Grafana Tempo's scheduler does not know the call.
      logger.debug('scheduler cannot be told that the worker leaves', { worker: workerId, err });
    }
  }

  /** Nothing depends on it: a scheduler that cannot be asked now is told the end later. */
  private async tellRunning(jobId: string, outputs: readonly string[]): Promise<void> {
    try {
      await this.options.source.report({ jobId, status: 'running', error: '', outputs });
    } catch (err) {
      this.options.logger.debug('scheduler cannot be told that a job is under way', { job_id: jobId, err });
    }
  }

  /** Until the scheduler has heard it, or does not know the job any more. */
  private async tell(report: JobReport): Promise<void> {
    const { source, backoff, logger } = this.options;
    const wait = new Backoff(backoff);
    const { signal } = this.ending;
    const since = performance.now();
    for (;;) {
      try {
        return await source.report(report);
      } catch (err) {
        const isKnown = !(err instanceof TempoError && err.code === 'not_found');
        const isLate = signal.aborted && performance.now() - since > GIVE_BACK_MS;
        if (!isKnown || isLate || wait.isOver) {
          logger.warn('the scheduler was not told how a job went', { job_id: report.jobId, err });
          return;
        }
        this.metrics.retries.inc();
      }
      await wait.wait(signal.aborted ? undefined : signal);
    }
  }
}
