// Jobs of a query that were not done in time: the others are its answer, which says so.
import { TempoError, TimeIsUpError } from '../../lib/errors.ts';

export class LateJobs {
  private readonly signal: AbortSignal | undefined;
  private readonly counts = new Map<string, number>();
  private last: unknown;
  private isAnyDone = false;

  /** @param signal of the query. */
  constructor(signal: AbortSignal | undefined) {
    this.signal = signal;
  }

  /** What a job answers; undefined when it came too late. */
  async unless<Result>(job: Promise<Result>): Promise<Result | undefined> {
    try {
      const result = await job;
      this.isAnyDone = true;
      return result;
    } catch (err) {
      const reason = this.reasonOf(err);
      if (reason === undefined) throw err;
      this.counts.set(reason, (this.counts.get(reason) ?? 0) + 1);
      this.last = this.signal?.aborted ? this.signal.reason : err;
      return undefined;
    }
  }

  /** What there is to say of an answer. Throws when no job was done: then there is none. */
  reasons(jobs: number): readonly string[] {
    if (this.counts.size > 0 && !this.isAnyDone) throw this.last;
    return [...this.counts].map(([reason, count]) => `${reason}: ${count} of ${jobs} parts were not read`);
  }

  private reasonOf(err: unknown): string | undefined {
    const { signal } = this;
    if (signal?.aborted)
      return signal.reason instanceof TimeIsUpError ? overText(signal.reason.limit) : undefined;
    const isOverdue = err instanceof TempoError && err.code === 'deadline_exceeded';
    return isOverdue ? overText('querier.search.query_timeout') : undefined;
  }
}

function overText(limit: string): string {
  return `${limit} is over`;
}
