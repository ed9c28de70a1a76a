// Which of the traces found so far are in the answer whatever is found yet. The newest are asked for: a trace
// is certain when those that are before it, and all that the jobs not done yet could put before it, are fewer
// than the limit.
import type { AnsweredTrace } from '../../contracts/query.ts';
import type { QueryInput } from '../../store/scan-job.ts';
import { blockIdOf, type PlannedJob } from './plan.ts';

const NANOS_PER_MICRO = 1000n;

/** What has not been read of one source, or of traces that lie in several. */
interface Unread {
  /** A microsecond that none of its traces begins after; Infinity = unknown. */
  readonly newestStart: number;
  /** As many traces as it may have; Infinity = unknown. */
  traces: number;
  /** Jobs that read it. */
  jobs: number;
}

export class Settled {
  private readonly limit: number;
  /** What may have the newest traces comes first. */
  private readonly unread: Unread[] = [];
  private readonly byJob = new Map<QueryInput, Unread>();
  private readonly told = new Set<string>();

  constructor(limit: number, jobs: readonly PlannedJob[]) {
    this.limit = limit;
    const bySource = new Map<string, Unread>();
    for (const { input, newestStart } of jobs) {
      const [source] = input.sources;
      const key = source === undefined ? undefined : blockIdOf(source);
      let unread = key === undefined ? undefined : bySource.get(key);
      if (unread === undefined) {
        this.unread.push((unread = { newestStart, traces: tracesOf(input), jobs: 0 }));
        if (key !== undefined) bySource.set(key, unread);
      }
      unread.jobs++;
      this.byJob.set(input, unread);
    }
    this.unread.sort((a, b) => (a.newestStart > b.newestStart ? -1 : a.newestStart < b.newestStart ? 1 : 0));
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

function tracesOf({ sources: [source], whole }: QueryInput): number {
  if (whole !== undefined) return whole.range[1] - whole.range[0];
  return (source?.kind === 'block' ? source.meta.totalObjects : source?.traceCount) ?? Infinity;
}

function mayPrecede({ newestStart }: Unread, { startUnixNano }: AnsweredTrace): boolean {
  return newestStart >= Number(startUnixNano / NANOS_PER_MICRO);
}
