// Runs the jobs of one query: in order, a few at a time, so that no query fills the queue, and none that
// turns out not to be needed.
import type { PlannedJob } from './plan.ts';

export interface RunJobsOptions {
  /** Jobs at a time. */
  readonly concurrency: number;
  readonly signal: AbortSignal | undefined;
  /** Asked before a job begins, and of those that run whenever one is done. */
  readonly isNeeded?: (job: PlannedJob) => boolean;
}

/**
 * @param run does one job, and ends early when its signal says so: it is not needed, or the query is
 * over. Its failure ends all others and is thrown.
 */
export async function runJobs(
  jobs: readonly PlannedJob[],
  { concurrency, signal, isNeeded = () => true }: RunJobsOptions,
  run: (job: PlannedJob, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const running = new Map<PlannedJob, AbortController>();
  const unneeded = new Set<PlannedJob>();
  const waiting = jobs.values();
  let failure: { readonly err: unknown } | undefined;
  const stopAll = (): void => {
    for (const controller of running.values()) controller.abort();
  };
  const stopUnneeded = (): void => {
    for (const [job, controller] of running) {
      if (isNeeded(job)) continue;
      unneeded.add(job);
      controller.abort();
    }
  };
  const runOne = async (job: PlannedJob): Promise<void> => {
    const controller = new AbortController();
    running.set(job, controller);
    if (signal?.aborted === true) controller.abort();
    try {
      await run(job, controller.signal);
    } catch (err) {
      if (unneeded.has(job)) return;
      failure ??= { err };
      stopAll();
      return;
    } finally {
      running.delete(job);
    }
    stopUnneeded();
  };
  const work = async (): Promise<void> => {
    for (const job of waiting) {
      if (failure !== undefined) return;
      if (isNeeded(job)) await runOne(job);
    }
  };
  signal?.addEventListener('abort', stopAll, { once: true });
  try {
    await Promise.all(Array.from({ length: Math.min(concurrency, jobs.length) }, work));
  } finally {
    signal?.removeEventListener('abort', stopAll);
  }
  if (failure !== undefined) throw failure.err;
}
