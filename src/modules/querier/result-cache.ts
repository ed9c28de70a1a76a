// What jobs over blocks answered: blocks never change, so that the same job need not be done twice.
import { ByteLru } from '../../lib/lru.ts';
import type {
  MetricsJob,
  MetricsJobResult,
  ScanJob,
  ScanResult,
  SearchJob,
  SearchJobResult,
  TagsJob,
  TagsJobResult,
} from '../../store/scan-job.ts';
import type { Metrics } from '../../telemetry/metrics.ts';
import { partBytes } from '../../traceql/engine/metrics/part.ts';
import { fieldKey } from '../../traceql/source.ts';
import { type KeptPart, keptPart, metricsKey, partWithin } from './metrics-cache.ts';
import { coversBlock, onlyBlock } from './only-block.ts';

/** Where answers of a kind are kept. It may forget any, and be in another process. */
export interface AnswerCache<Answer> {
  get(key: string): Promise<Answer | undefined>;
  set(key: string, answer: Answer): void;
}

/** Of searches, and of what else is kept. */
export interface ResultCache extends AnswerCache<SearchJobResult> {
  /** undefined = answers of jobs for tags are not kept. */
  readonly tags?: AnswerCache<TagsJobResult>;
  /** undefined = parts of metrics queries are not. */
  readonly metrics?: AnswerCache<KeptPart>;
}

/** What an entry takes beside its arrays and its key. */
const ENTRY_BYTES = 500;

/** In this process, bounded by bytes. */
export class LocalResultCache implements ResultCache {
  private readonly entries: ByteLru;
  readonly metrics: AnswerCache<KeptPart> = {
    get: async (key) => this.entries.get<KeptPart>(key),
    set: (key, kept) => this.entries.set(key, kept, partBytes(kept.part) + ENTRY_BYTES + 2 * key.length),
  };

  constructor(bytesMax: number, metrics: Metrics) {
    this.entries = new ByteLru(bytesMax);
    metrics.gauge(
      'tempo_querier_result_cache_bytes',
      'Memory of the answers of parts of searches and metrics queries that are kept.',
      [],
      (gauge) => gauge.set(this.entries.sizeBytes),
    );
  }

  async get(key: string): Promise<SearchJobResult | undefined> {
    return this.entries.get<SearchJobResult>(key);
  }

  set(key: string, result: SearchJobResult): void {
    const { ids, starts, durations, chunks, bodyChunks, bodyStarts, bodyEnds } = result.found;
    const arrays = [ids, starts, durations, ...chunks, bodyChunks, bodyStarts, bodyEnds];
    const bytes = arrays.reduce((sum, { byteLength }) => sum + byteLength, ENTRY_BYTES + 2 * key.length);
    this.entries.set(key, result, bytes);
  }
}

/** Does jobs, or answers them as they were answered before. */
export class CachedJobs {
  private readonly cache: ResultCache | undefined;
  private readonly requests;

  /** @param cache undefined = every job is done. */
  constructor(cache: ResultCache | undefined, metrics: Metrics) {
    this.cache = cache;
    this.requests = metrics.counter(
      'tempo_querier_result_cache_requests_total',
      'Parts of queries and lists of tags that were looked for among kept answers, and what came of it.',
      ['result'],
    );
  }

  async search(job: SearchJob, run: (job: SearchJob) => Promise<SearchJobResult>): Promise<SearchJobResult> {
    const key = this.cache === undefined ? undefined : resultKey(job);
    if (this.cache === undefined || key === undefined) return run(job);
    const cached = await this.cache.get(key);
    this.requests.inc({ result: cached === undefined ? 'miss' : 'hit' });
    // As in Tempo what was not read again does not count.
    if (cached !== undefined) {
      return { ...cached, inspectedTraces: 0, inspectedSpans: 0, inspectedBytes: 0 };
    }
    const isRanged = job.range.startSec !== undefined || job.range.endSec !== undefined;
    const result = await run(isRanged ? { ...job, areTimesChecked: true } : job);
    const isOfAnyRange = !isRanged || result.areTimely === true;
    if (isOfAnyRange && result.failures.length === 0) this.cache.set(key, result);
    return result;
  }

  async metrics(job: MetricsJob, run: () => Promise<MetricsJobResult>): Promise<MetricsJobResult> {
    const cache = this.cache?.metrics;
    const key = cache === undefined ? undefined : metricsKey(job);
    if (cache === undefined || key === undefined) return run();
    const kept = await cache.get(key);
    const part = kept === undefined ? undefined : partWithin(kept, job.range);
    this.requests.inc({ result: part === undefined ? 'miss' : 'hit' });
    if (part !== undefined) {
      return {
        kind: 'metrics',
        part,
        inspectedTraces: 0,
        inspectedSpans: 0,
        inspectedBytes: 0,
        failures: [],
      };
    }
    const result = await run();
    const made = keptPart(job, result);
    if (made !== undefined) cache.set(key, made);
    return result;
  }

  /** A job that is no search; those whose answers are not kept are done. */
  other(job: ScanJob, done: () => Promise<ScanResult>): Promise<ScanResult> {
    const run = async <Result>(): Promise<Result> => {
      const result = await done();
      if (result.kind !== job.kind) throw new Error(`a job for ${job.kind} answered as something else`);
      return result as Result;
    };
    if (job.kind === 'metrics') return this.metrics(job, run<MetricsJobResult>);
    if (job.kind !== 'tagNames' && job.kind !== 'tagValues') return done();
    return this.tags(job, run<TagsJobResult>);
  }

  async tags<Result extends TagsJobResult>(job: TagsJob, run: () => Promise<Result>): Promise<Result> {
    const cache = this.cache?.tags;
    const key = cache === undefined ? undefined : tagsKey(job);
    if (cache === undefined || key === undefined) return run();
    const cached = await cache.get(key);
    this.requests.inc({ result: cached === undefined ? 'miss' : 'hit' });
    if (cached !== undefined) return { ...(cached as Result), inspectedBytes: 0 };
    const result = await run();
    if (result.failures.length === 0) cache.set(key, result);
    return result;
  }
}

/** As `resultKey`; times do not count, as tags are those of whole blocks. */
function tagsKey(job: TagsJob): string | undefined {
  const block = onlyBlock(job);
  if (block === undefined) return undefined;
  const asked = job.kind === 'tagNames' ? job.scopes : [job.bytesMax, ...job.fields.map(fieldKey)];
  const { tenantId, blockId } = block.meta;
  return JSON.stringify([tenantId, blockId, block.rowGroups, job.kind, job.query ?? null, asked]);
}

/** Equal keys = equal answers; undefined: the answer may change, or is of this one query only. */
function resultKey(job: SearchJob): string | undefined {
  const { range, notBeforeUnixNano, isExplained = false } = job;
  const block = onlyBlock(job);
  if (notBeforeUnixNano !== undefined || block === undefined || isExplained) return undefined;
  const { meta, rowGroups } = block;
  if (!coversBlock(range, meta)) return undefined;
  const { query, limit, spansPerSpanSet, format, order, after } = job;
  const asked = [
    meta.tenantId,
    meta.blockId,
    rowGroups?.join('-'),
    // Both ends are given, or none: then nothing is left out for its time.
    range.startSec === undefined,
    limit,
    spansPerSpanSet,
    format,
    order?.by,
    order?.isDescending,
    after?.value,
    after?.traceId,
  ];
  return ['search', ...asked.map(String), query].join('|');
}
