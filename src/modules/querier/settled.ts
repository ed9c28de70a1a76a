// Which of the traces found so far are in the answer whatever is found yet. The newest are asked for: a trace
// is certain when those that are before it, and all that the jobs not done yet could put before it, are fewer
// than the limit.
import type { AnsweredTrace } from '../../contracts/query.ts';
import type { QueryInput, ScanSource } from '../../store/scan-job.ts';
import { blockIdOf } from './plan.ts';

const NANOS_PER_SECOND = 1_000_000_000n;

/** What has not been read of one source, or of traces that lie in several. */
interface Unread {
  /** None of its traces begins later; undefined = not known. */
  readonly latestUnixNano: bigint | undefined;
  /** As many traces as it may have; unknown ones are without bound. */
  traces: number;
  /** Jobs that read it. */
  jobs: number;
}

export class Settled {
  private readonly limit: number;
  /** What may have the latest traces comes first. */
  private readonly unread: Unread[] = [];
  private readonly byJob = new Map<QueryInput, Unread>();
  private readonly told = new Set<string>();

  constructor(limit: number, jobs: readonly QueryInput[]) {
    this.limit = limit;
    const bySource = new Map<string, Unread>();
    for (const job of jobs) {
      const [source] = job.sources;
      const key = source === undefined ? '' : blockIdOf(source);
      let unread = job.whole === undefined ? bySource.get(key) : undefined;
      if (unread === undefined) this.unread.push((unread = unreadOf(job, source)));
      if (job.whole === undefined) bySource.set(key, unread);
      unread.jobs++;
      this.byJob.set(job, unread);
    }
    this.unread.sort((a, b) => compareLatest(b, a));
  }

  /** @param inspectedTraces that the job looked at. */
  done(job: QueryInput, inspectedTraces: number): void {
    const unread = this.byJob.get(job)!;
    unread.jobs--;
    unread.traces = unread.jobs === 0 ? 0 : Math.max(0, unread.traces - inspectedTraces);
  }

  /**
   * Those that have become certain since the last call.
   * @param found all found so far, newest first.
   */
  take(found: readonly AnsweredTrace[]): AnsweredTrace[] {
    const taken: AnsweredTrace[] = [];
    let before = 0;
    let at = 0;
    for (const trace of found) {
      for (; at < this.unread.length && mayPrecede(this.unread[at]!, trace); at++) {
        before += this.unread[at]!.traces;
      }
      if (before >= this.limit) break;
      before++;
      if (this.told.has(trace.traceId)) continue;
      this.told.add(trace.traceId);
      taken.push(trace);
    }
    return taken;
  }
}

function unreadOf({ whole }: QueryInput, source: ScanSource | undefined): Unread {
  if (source?.kind === 'block') {
    const { endSec, totalObjects } = source.meta;
    // Tempo cuts the fraction of the last second off.
    return { latestUnixNano: BigInt(endSec + 1) * NANOS_PER_SECOND, traces: totalObjects, jobs: 0 };
  }
  const traces = whole === undefined ? source?.traceCount : whole.range[1] - whole.range[0];
  return { latestUnixNano: undefined, traces: traces ?? Infinity, jobs: 0 };
}

function mayPrecede({ latestUnixNano }: Unread, trace: AnsweredTrace): boolean {
  return latestUnixNano === undefined || latestUnixNano >= trace.startUnixNano;
}

function compareLatest({ latestUnixNano: a }: Unread, { latestUnixNano: b }: Unread): number {
  if (a === b) return 0;
  if (a === undefined) return 1;
  return b === undefined || a < b ? -1 : 1;
}
