// What jobs over blocks answered: blocks never change, so that the same job need not be done twice.
import { ByteLru } from '../../lib/lru.ts';
import type {
  QueryInput,
  ScanSource,
  SearchJob,
  SearchJobResult,
  TagsJob,
  TagsJobResult,
} from '../../store/scan-job.ts';
import type { Metrics } from '../../telemetry/metrics.ts';
import { fieldKey } from '../../traceql/source.ts';

/** Where answers of jobs are kept. It may forget any, and be in another process. */
export interface ResultCache {
  get(key: string): Promise<SearchJobResult | undefined>;
  set(key: string, result: SearchJobResult): void;
  /** undefined = answers of jobs for tags are not kept. */
  readonly tags?: TagsCache;
}

/** The same for tag names and values. */
export interface TagsCache {
  get(key: string): Promise<TagsJobResult | undefined>;
  set(key: string, result: TagsJobResult): void;
}

/** What an entry takes beside its arrays and its key. */
const ENTRY_BYTES = 500;

/** In this process, bounded by bytes. */
export class LocalResultCache implements ResultCache {
  private readonly entries: ByteLru;

  constructor(bytesMax: number, metrics: Metrics) {
    this.entries = new ByteLru(bytesMax);
    metrics.gauge(
      'tempo_querier_result_cache_bytes',
      'Memory of the answers of parts of searches that are kept.',
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
      'Parts of searches and lists of tags that were looked for among kept answers, and what came of it.',
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

/** The one block that a job reads, whole but for row groups; undefined = it reads something else. */
function onlyBlock({ sources, whole }: QueryInput): Extract<ScanSource, { kind: 'block' }> | undefined {
  const [source, ...others] = sources;
  if (whole !== undefined || source?.kind !== 'block' || others.length > 0) return undefined;
  return source.without === undefined ? source : undefined;
}

/** As `resultKey`; times do not count, as tags are those of whole blocks. */
function tagsKey(job: TagsJob): string | undefined {
  const block = onlyBlock(job);
  if (block === undefined) return undefined;
  const asked = job.kind === 'tagNames' ? job.scopes : [job.bytesMax, ...job.fields.map(fieldKey)];
  return JSON.stringify([block.meta.blockId, block.rowGroups, job.kind, job.query ?? null, asked]);
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
  return [...asked.map(String), query].join('|');
}

/** Of a block that lies within the range nothing is left out, but traces that are not of its times. */
function coversBlock(
  { startSec = -Infinity, endSec = Infinity }: SearchJob['range'],
  block: { readonly startSec: number; readonly endSec: number },
): boolean {
  return startSec < block.startSec && endSec > block.endSec;
}
