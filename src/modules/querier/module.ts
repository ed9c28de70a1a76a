// The querier: gathers the sources of a query, has scan threads read them, and brings the answers together.
import type {
  MetricsAnswer,
  MetricsProgress,
  MetricsQuery,
  Querier,
  SearchAnswer,
  SearchProgress,
  SearchQuery,
  TagNamesAnswer,
  TagNamesProgress,
  TagNamesQuery,
  TagValuesAnswer,
  TagValuesProgress,
  TagValuesQuery,
  TraceAnswer,
  TraceQuery,
} from '../../contracts/query.ts';
import type { RecentTraces, SourceRef, TimeRange } from '../../contracts/recent-traces.ts';
import { TempoError } from '../../lib/errors.ts';
import { splitTenants } from '../../model/tenant.ts';
import type { Blocklist } from '../../store/blocklist.ts';
import { QueryTurn } from '../../store/job-queue.ts';
import type {
  ScanFailure,
  ScanJob,
  ScanResult,
  SearchJob,
  SearchJobResult,
  TraceJob,
  TraceJobResult,
} from '../../store/scan-job.ts';
import type { RunOptions, ScanPool } from '../../store/scan-pool.ts';
import type { Logger } from '../../telemetry/log.ts';
import type { Metrics } from '../../telemetry/metrics.ts';
import { QuerierCommon } from './common.ts';
import type { ExternalTraces } from './external-traces.ts';
import { LateJobs } from './late-jobs.ts';
import { SearchMerge } from './merge.ts';
import { answerSize, distinctSources, type PlannedJob, planTrace } from './plan.ts';
import type { JobSize, QueryPlan } from './planner.ts';
import { keepUntilSent, type ResultLease } from './result-budget.ts';
import type { ResultCache } from './result-cache.ts';
import { runJobs } from './run-jobs.ts';
import { MatchedParts } from './matched-parts.ts';
import { findMetrics, secondsOf } from './metrics.ts';
import { type Choice, choiceOf, EVERYWHERE, isInRange, rowGroupsOf } from './source-choice.ts';
import { findTagNames, findTagValues } from './tags.ts';

export interface QuerierOptions {
  readonly blocklist: Blocklist;
  /** Rejects when no query may begin; it may wait a while before. */
  readonly admit: (tenant: string, signal: AbortSignal | undefined) => Promise<void>;
  readonly pool: Pick<ScanPool, 'run'>;
  readonly recent: RecentTraces;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly targetBytesPerJob: number;
  readonly scanThreads: number;
  /** `query_frontend.search.concurrent_jobs`: of one query at a time, at most. */
  readonly concurrentJobs: number;
  /** Of metrics queries, which have settings of their own. */
  readonly metricsJobs: { readonly targetBytesPerJob: number; readonly concurrentJobs: number };
  /** Values of series and intervals of a metrics query; more are left out. */
  readonly samplesMax: number;
  /** Of answers of searches and metrics queries that are made or sent; others wait. */
  readonly resultBytesMax: number;
  /** Told what these take whenever that changes. */
  readonly resultBytesTaken: (bytes: number) => void;
  /** Of what jobs of metrics queries answered, until it is one answer; further jobs wait. */
  readonly metricsPartsBytesMax: number;
  /** Of what is known about traces that lie in several sources. */
  readonly sharedCacheBytes: number;
  /** Traces among which one job looks for those in several sources, at most. */
  readonly idsPerJob: number;
  /** Of what jobs over blocks answered; undefined = none. */
  readonly resultCache?: ResultCache | undefined;
  /** Time that a job of this kind may take; 0 = as long as it takes. */
  readonly jobLimitMs: (kind: ScanJob['kind']) => number;
  readonly nowMs: () => number;
  /** Is asked for traces by id too. */
  readonly external?: Pick<ExternalTraces, 'find'> | undefined;
  /** Has jobs over sources of other processes done there. */
  readonly poolOver?: ((pool: Pick<ScanPool, 'run'>) => Pick<ScanPool, 'run'>) | undefined;
}

/** Without start and end a search means the last hour of the backend, and whatever is recent. */
const DEFAULT_RANGE_SEC = 3600;

/** Of one query at a time: those that run, those that are next, and some to choose from. */
const JOBS_PER_THREAD = 4;

const NOT_FOUND: TraceAnswer = { trace: undefined, isCut: false, inspectedBytes: 0, partial: [] };
const ANY_TIME: TimeRange = { startSec: undefined, endSec: undefined };

interface Gathered {
  readonly sources: readonly SourceRef[];
  readonly partial: string[];
  /** Again is nothing. */
  release(): void;
}

export class LocalQuerier implements Querier {
  private readonly options: QuerierOptions;
  private readonly common: QuerierCommon;
  /** Answers jobs for tags as they were answered before. */
  private readonly cachedPool: Pick<ScanPool, 'run'>;

  constructor(options: QuerierOptions, common = new QuerierCommon(options)) {
    this.options = options;
    this.common = common;
    this.cachedPool = { run: (job, how) => this.runCached(job, how) };
  }

  /** One with the same budgets, caches and metrics, over what is recent elsewhere. */
  over(recent: RecentTraces): LocalQuerier {
    return new LocalQuerier({ ...this.options, recent }, this.common);
  }

  async search(
    query: SearchQuery,
    signal?: AbortSignal,
    onProgress?: (progress: SearchProgress) => void,
  ): Promise<SearchAnswer> {
    const gathered = await this.gatherFor(query, query.range, signal);
    let lease: ResultLease | undefined;
    try {
      const { tenant, ...rest } = query;
      const turn = new QueryTurn();
      const { bytes, bytesPerTrace } = answerSize(gathered.sources, query);
      lease = await this.common.results.take(tenant, bytes, signal);
      const plan = await this.plan(gathered, 'search', { tenant, turn, signal }, { bytesPerTrace });
      const { jobs, inPlace, whole } = plan;
      const merge = new SearchMerge(query, gathered.sources, jobs, plan.inspectedBytes);
      const late = new LateJobs(signal);
      const parts = new MatchedParts();
      const isNeeded = ({ newestStart }: PlannedJob): boolean => merge.mayTake(newestStart);
      const pace = { ...this.pace(signal), isNeeded };
      const run = async (planned: PlannedJob, signalOfJob: AbortSignal, as: PlannedJob): Promise<void> => {
        const { input, affinity } = planned;
        // A cached answer is of use for other queries too.
        const isCached = this.options.resultCache !== undefined;
        const notBeforeUnixNano = isCached ? undefined : merge.notBeforeUnixNano;
        const job: SearchJob = { kind: 'search', ...rest, ...input, notBeforeUnixNano };
        const result = await late.unless(
          this.runSearch(job, { tenant, turn, affinity, signal: signalOfJob }),
        );
        parts.add(input, result);
        if (result === undefined) return;
        this.report(result.failures, gathered.partial);
        merge.add(as.input, result);
        lease?.found(merge.heldBytes);
        onProgress?.(merge);
      };
      await runJobs(inPlace, pace, (job, end) => run(job, end, job));
      // Whether such a job was begun is chance, and the answer is not to depend on it.
      if (!inPlace.every(isNeeded)) merge.skipped();
      const chosen = plan.chooseWhole(parts.choice(query.range, merge.notBeforeUnixNano));
      await runJobs(chosen, pace, (job, end) => run(job, end, whole[chosen.indexOf(job)]!));
      if (!chosen.every(isNeeded)) merge.skipped();
      gathered.partial.push(...late.reasons(jobs.length));
      const { traces, hasMore, stats, reports } = merge;
      keepUntilSent(lease, merge.heldBytes, signal);
      const held = lease;
      const letGo = (): void => {
        merge.free();
        held.holds(0);
      };
      // A cache may have them too.
      const isOwn = this.options.resultCache === undefined;
      const { partial } = gathered;
      return { traces, hasMore, stats, partial, reports, letGo: isOwn ? letGo : undefined };
    } catch (err) {
      lease?.drop();
      throw err;
    } finally {
      gathered.release();
    }
  }

  async metrics(
    query: MetricsQuery,
    signal?: AbortSignal,
    onProgress?: (progress: MetricsProgress) => void,
  ): Promise<MetricsAnswer> {
    const { tenant } = query;
    const range = secondsOf(query);
    const gathered = await this.gather(tenant, range, range, signal, choiceOf(query.part));
    try {
      const { samplesMax, metricsJobs } = this.options;
      const turn = new QueryTurn();
      const run = { tenant, turn, signal };
      const { targetBytesPerJob } = metricsJobs;
      const plan = await this.plan(gathered, 'metrics', run, { targetBytesPerJob });
      const { sources, partial } = gathered;
      const { answer, failures, isLimited } = await findMetrics(query, {
        pool: this.cachedPool,
        turn,
        budget: this.common.metricsParts,
        results: this.common.results,
        sources,
        plan,
        samplesMax,
        allRead: () => gathered.release(),
        onProgress,
        ...this.pace(signal, metricsJobs.concurrentJobs),
      });
      this.report(failures, partial);
      if (isLimited) this.common.limitedMetrics.inc();
      return { ...answer, partial: [...partial, ...answer.partial] };
    } finally {
      gathered.release();
    }
  }

  /** Here, and where the configuration says that traces may be too. */
  async findTrace(query: TraceQuery, signal?: AbortSignal): Promise<TraceAnswer> {
    const { external } = this.options;
    const { tenant, id, range, from, format, bytesMax } = query;
    if (from === 'external' && external === undefined) {
      throw new TempoError('invalid_argument', 'external mode is not enabled');
    }
    if (external === undefined || from === 'ingesters' || from === 'blocks') {
      return this.findHere(query, format, bytesMax, signal);
    }
    const [here, there] = await Promise.all([
      from === 'external' ? NOT_FOUND : this.findHere(query, 'part', 0, signal),
      external.find(tenant, id, range, signal).catch((err: unknown) => this.failedPart(err, from)),
    ]);
    const partial = there instanceof TempoError ? [...here.partial, there.message] : here.partial;
    const parts = [here.trace, there].filter((part) => part instanceof Uint8Array);
    if (parts.length === 0) return { ...here, partial };
    const job = { kind: 'trace', id, sources: [], parts, format, bytesMax } as const;
    const combined = await this.runTrace(job, { tenant, affinity: id.at(-1) ?? 0, signal });
    return { ...here, trace: combined.trace, isCut: combined.isCut, partial };
  }

  /** What is here is worth showing without what is elsewhere. */
  private failedPart(err: unknown, from: TraceQuery['from']): TempoError {
    if (!(err instanceof TempoError) || from === 'external') throw err;
    this.options.logger.warn('an external endpoint was asked for a trace in vain', { err });
    return err;
  }

  private async findHere(
    query: TraceQuery,
    format: TraceJob['format'],
    bytesMax: number,
    signal?: AbortSignal,
  ): Promise<TraceAnswer> {
    const choice = { from: query.from, blocks: query.blocks, needsTables: false };
    // What an ingester still holds it looks through whatever the range, as Tempo's do.
    const gathered = await this.gather(query.tenant, ANY_TIME, query.range, signal, choice);
    try {
      const { tenant, id } = query;
      const jobs = planTrace(gathered.sources, this.options.scanThreads);
      const spread = id.at(-1) ?? 0; // ids differ, and so do the threads that look for them
      this.common.jobsPerQuery.observe({ op: 'traces' }, jobs.length);
      if (jobs.length === 0) return this.traceAnswer([], gathered.partial);
      if (jobs.length === 1) {
        const only = { kind: 'trace', id, ...jobs[0]!.input, format, bytesMax } as const;
        return this.traceAnswer(
          [await this.runTrace(only, { tenant, affinity: spread, signal })],
          gathered.partial,
        );
      }
      const found = await Promise.all(
        jobs.map(({ input, affinity }) =>
          this.runTrace(
            { kind: 'trace', id, ...input, format: 'part', bytesMax: 0 },
            { tenant, affinity, signal },
          ),
        ),
      );
      const parts = found.flatMap((result) => (result.trace === undefined ? [] : [result.trace]));
      if (parts.length === 0) return this.traceAnswer(found, gathered.partial);
      const combined = await this.runTrace(
        { kind: 'trace', id, sources: [], parts, format, bytesMax },
        { tenant, affinity: spread, signal },
      );
      return this.traceAnswer([combined, ...found], gathered.partial);
    } finally {
      gathered.release();
    }
  }

  async tagNames(
    query: TagNamesQuery,
    signal?: AbortSignal,
    onProgress?: (progress: TagNamesProgress) => void,
  ): Promise<TagNamesAnswer> {
    return this.tags(query, signal, async (jobs) =>
      findTagNames(query, { pool: this.cachedPool, jobs, onProgress, ...this.pace(signal) }),
    );
  }

  async tagValues(
    query: TagValuesQuery,
    signal?: AbortSignal,
    onProgress?: (progress: TagValuesProgress) => void,
  ): Promise<TagValuesAnswer> {
    const answer = await this.tags(query, signal, async (jobs) =>
      findTagValues(query, { pool: this.cachedPool, jobs, onProgress, ...this.pace(signal) }),
    );
    if (!answer.values.isCut) return answer;
    const cut = `more values than ${query.bytesMax} bytes: the first of them are here`;
    return { ...answer, partial: [...answer.partial, cut] };
  }

  private async tags<Answer extends TagNamesAnswer | TagValuesAnswer>(
    query: TagNamesQuery | TagValuesQuery,
    signal: AbortSignal | undefined,
    find: (jobs: readonly PlannedJob[]) => Promise<{ answer: Answer; failures: readonly ScanFailure[] }>,
  ): Promise<Answer> {
    const gathered = await this.gatherFor(query, query.range, signal);
    try {
      const plan = await this.planTags(query, gathered, signal);
      const { answer, failures } = await find(plan.jobs);
      this.report(failures, gathered.partial);
      const inspectedBytes = answer.inspectedBytes + plan.inspectedBytes;
      return { ...answer, inspectedBytes, partial: [...gathered.partial, ...answer.partial] };
    } finally {
      gathered.release();
    }
  }

  /** Jobs in which each span is once, and each trace whole. */
  private async plan(
    gathered: Gathered,
    op: string,
    run: RunOptions,
    size: JobSize = {},
  ): Promise<QueryPlan> {
    const plan = await this.common.planner.plan(gathered.sources, run, size);
    this.report(plan.failures, gathered.partial);
    this.common.jobsPerQuery.observe({ op }, plan.jobs.length);
    return plan;
  }

  /** Which names and values there are does not depend on whole traces, unless a query filters. */
  private async planTags(
    { query, tenant }: TagNamesQuery | TagValuesQuery,
    gathered: Gathered,
    signal: AbortSignal | undefined,
  ): Promise<QueryPlan> {
    if (query !== undefined) return this.plan(gathered, 'metadata', { tenant, signal });
    const plan = await this.common.planner.planApart(gathered.sources, { tenant, signal });
    this.common.jobsPerQuery.observe({ op: 'metadata' }, plan.jobs.length);
    return plan;
  }

  private defaultRange(range: TimeRange): TimeRange {
    if (range.startSec !== undefined || range.endSec !== undefined) return range;
    return { startSec: Math.floor(this.options.nowMs() / 1000) - DEFAULT_RANGE_SEC, endSec: undefined };
  }

  private gatherFor(
    { tenant, part }: Pick<SearchQuery, 'tenant' | 'part'>,
    range: TimeRange,
    signal: AbortSignal | undefined,
  ): Promise<Gathered> {
    return this.gather(tenant, range, this.defaultRange(range), signal, choiceOf(part));
  }

  private async gather(
    tenant: string,
    recentRange: TimeRange,
    backendRange: TimeRange,
    signal?: AbortSignal,
    choice: Choice = EVERYWHERE,
  ): Promise<Gathered> {
    await this.options.admit(tenant, signal);
    const { recent, blocklist } = this.options;
    const tenants = splitTenants(tenant);
    const asked = await Promise.allSettled(
      choice.from === 'blocks'
        ? []
        : tenants.map((one) =>
            recent.recentSources(one, recentRange, signal, { tables: choice.needsTables ?? true }),
          ),
    );
    const parts = asked.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    const held = new Set(parts);
    const release = (): void => {
      for (const part of held) part.release();
      held.clear();
    };
    for (const one of asked) {
      if (one.status === 'fulfilled') continue;
      release();
      throw one.reason;
    }
    const isComplete = parts.every((part) => part.complete);
    const partial = isComplete ? [] : ['recently acknowledged spans are not searchable yet'];
    partial.push(...new Set(parts.flatMap((part) => part.partial ?? [])));
    const sources = parts.flatMap((part) => part.sources);
    if (choice.from === 'ingesters') return { sources: distinctSources(sources, []), partial, release };
    for (const { code, reason } of tenants.flatMap((one) => blocklist.gaps(one))) {
      this.common.failedSources.inc({ code });
      partial.push(reason);
    }
    const blocks = tenants
      .flatMap((one) => blocklist.overlapping(one, choice.rowGroups === undefined ? backendRange : ANY_TIME))
      .filter(({ blockId }) => isInRange(blockId, choice.blocks));
    const isReplaced = (id: string): boolean => tenants.some((one) => blocklist.isReplaced(one, id));
    const all = distinctSources(sources, blocks, isReplaced);
    if (choice.rowGroups === undefined) return { sources: all, partial, release };
    const chosen = rowGroupsOf(all, choice);
    if (chosen.length === 0)
      partial.push(`block ${choice.blocks?.first} has no such row groups, or is not known`);
    return { sources: chosen, partial, release };
  }

  private async runSearch(job: SearchJob, options: RunOptions): Promise<SearchJobResult> {
    return this.common.cachedJobs.search(job, async (asked) => {
      const result = await this.common.pool.run(asked, options);
      if (result.kind !== 'search') throw new Error('a search job answered as something else');
      return result;
    });
  }

  private runCached(job: ScanJob, options: RunOptions): Promise<ScanResult> {
    return this.common.cachedJobs.other(job, () => this.common.pool.run(job, options));
  }

  private async runTrace(job: TraceJob, options: RunOptions): Promise<TraceJobResult> {
    const result = await this.common.pool.run(job, options);
    if (result.kind !== 'trace') throw new Error('a trace job answered as something else');
    return result;
  }

  private traceAnswer(results: readonly TraceJobResult[], partial: string[]): TraceAnswer {
    for (const result of results) this.report(result.failures, partial);
    const inspectedBytes = results.reduce((sum, result) => sum + result.inspectedBytes, 0);
    const { trace, isCut } = results[0] ?? { trace: undefined, isCut: false };
    return { trace, isCut, inspectedBytes, partial };
  }

  /** As many jobs at a time as keep all threads busy, for each query. */
  private pace(
    signal: AbortSignal | undefined,
    concurrentJobs = this.options.concurrentJobs,
  ): { readonly concurrency: number; readonly signal: typeof signal } {
    const { scanThreads } = this.options;
    return { concurrency: Math.max(1, Math.min(concurrentJobs, scanThreads * JOBS_PER_THREAD)), signal };
  }

  /** Tells each failure once, however many jobs of the query met it. */
  private report(failures: readonly ScanFailure[], partial: string[]): void {
    for (const { source, code, message } of failures) {
      const text = `block ${source} could not be read: ${message}`;
      if (partial.includes(text)) continue;
      this.common.failedSources.inc({ code });
      this.options.logger.error('a source could not be read', { source, code, err: message });
      partial.push(text);
    }
  }
}
