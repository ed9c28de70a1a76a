// Brings the answers of several scan jobs together: in order, each trace once, at most the limit.
import type {
  AnsweredTrace,
  JobReport,
  QueryStats,
  SearchProgress,
  SearchQuery,
} from '../../contracts/query.ts';
import type { SourceRef } from '../../contracts/recent-traces.ts';
import { packedBytes, unpackFound } from '../../store/pack.ts';
import type { QueryInput, SearchJobResult } from '../../store/scan-job.ts';
import { comparing, isNewestFirst, NEWEST_FIRST, type TraceOrder } from '../../traceql/engine/order.ts';
import { letGo } from './let-go.ts';
import { blockIdOf, type PlannedJob } from './plan.ts';
import { Settled } from './settled.ts';

const NANOS_PER_MICRO = 1000n;
/** Less is not worth a copy. */
const HELD_BYTES_MIN = 1 << 20;

/** The answer of a search while its jobs finish. */
export class SearchMerge implements SearchProgress {
  /** The first that were found so far. */
  traces: readonly AnsweredTrace[] = [];
  /** More match than these. */
  hasMore = false;
  /** Memory of the bodies. */
  heldBytes = 0;
  /** Of jobs that are explained. */
  readonly reports: JobReport[] = [];
  private readonly query: Pick<SearchQuery, 'limit' | 'order'>;
  private readonly sources: readonly SourceRef[];
  private readonly totalJobs: number;
  private readonly settled: Settled | undefined;
  /** Buffers in which nothing lies but bodies. */
  private buffers: ArrayBuffer[] = [];
  /** Of all traces that were found. */
  private readonly ids = new Set<string>();
  private completedJobs = 0;
  private inspectedTraces = 0;
  private inspectedSpans = 0;
  private inspectedBytes: number;

  /** @param plannedBytes that were read before the jobs. */
  constructor(
    query: Pick<SearchQuery, 'limit' | 'order'>,
    sources: readonly SourceRef[],
    jobs: readonly PlannedJob[],
    plannedBytes: number,
  ) {
    this.query = query;
    this.sources = sources;
    this.totalJobs = jobs.length;
    this.inspectedBytes = plannedBytes;
    if (isNewestFirst(query.order ?? NEWEST_FIRST)) this.settled = new Settled(query.limit, jobs);
  }

  /** Nothing is certain in other orders: how long the longest trace of a block is, nobody knows. */
  takeSettled(): readonly AnsweredTrace[] {
    return this.settled?.take(this.traces) ?? [];
  }

  add(job: QueryInput, result: SearchJobResult): void {
    this.completedJobs++;
    this.settled?.done(job, result.inspectedTraces);
    this.inspectedTraces += result.inspectedTraces;
    this.inspectedSpans += result.inspectedSpans;
    this.inspectedBytes += result.inspectedBytes;
    if (result.report !== undefined) this.reports.push(result.report);
    const found = unpackFound(result.found);
    const { limit, order } = this.query;
    const isCut = this.traces.length + found.length > limit;
    if (found.length > 0) {
      const before = this.ids.size;
      for (const { traceId } of found) this.ids.add(traceId);
      const areNew = this.ids.size === before + found.length;
      this.traces = mergeFirst([this.traces, found], limit, order, areNew);
      this.heldBytes += packedBytes(result.found);
      this.buffers.push(...result.found.chunks.flatMap(ownBuffer));
      this.letGo();
    }
    this.hasMore ||= result.hasMore || (isCut && this.traces.length === limit);
  }

  /** Bodies lie in what their jobs answered, of which little may be of use still. */
  private letGo(): void {
    const usedBytes = this.traces.reduce((sum, { body }) => sum + body.length, 0);
    if (this.heldBytes <= HELD_BYTES_MIN || this.heldBytes <= 2 * usedBytes) return;
    const { traces, heldBytes, copies } = letGo(this.traces);
    this.traces = traces;
    this.heldBytes = heldBytes;
    const used = new Set<ArrayBufferLike>(traces.map(({ body }) => body.buffer));
    this.buffers = this.buffers.filter((buffer) => used.has(buffer));
    if (copies !== undefined) this.buffers.push(copies);
  }

  /**
   * Frees what bodies lie in, of this answer and of all that went into it. It would else be garbage that V8
   * sees as large, and that outlives the collections of young objects: every 64 MiB of it the main thread
   * stood still for 20 to 50 ms.
   */
  free(): void {
    this.traces = [];
    for (const buffer of this.buffers.splice(0)) buffer.transfer(0);
  }

  /** What older traces cannot be in the answer, once it is known that there are more than it takes. */
  get notBeforeUnixNano(): bigint | undefined {
    const { limit, order = NEWEST_FIRST } = this.query;
    if (!this.hasMore || !isNewestFirst(order) || this.traces.length < limit) return undefined;
    return this.traces.at(-1)?.startUnixNano;
  }

  /** Whether a trace that starts at this microsecond, or before, may be in the answer. */
  mayTake(newestStart: number): boolean {
    const { limit, order = NEWEST_FIRST } = this.query;
    if (this.traces.length < limit || !isNewestFirst(order)) return true;
    const oldest = this.traces.at(-1);
    return oldest === undefined || Number(oldest.startUnixNano / NANOS_PER_MICRO) <= newestStart;
  }

  /** Some jobs are not done, because nothing that they may find would be in the answer. */
  skipped(): void {
    this.hasMore = true;
  }

  get stats(): QueryStats {
    const { inspectedTraces, inspectedSpans, inspectedBytes, totalJobs, completedJobs } = this;
    const blocks = this.sources.flatMap((source) => (source.kind === 'block' ? [source.meta] : []));
    return {
      inspectedTraces,
      inspectedSpans,
      inspectedBytes,
      totalBlocks: new Set(this.sources.map(blockIdOf)).size,
      totalBlockBytes: blocks.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      totalJobs,
      completedJobs,
    };
  }
}

/** Where a chunk is all that lies in its buffer: none of a message, nor of a pool. */
function ownBuffer({ buffer, byteLength }: Uint8Array): ArrayBuffer[] {
  return buffer instanceof ArrayBuffer && buffer.byteLength === byteLength ? [buffer] : [];
}

/**
 * The first `limit` of all parts, which are in order, each trace id once: of several parts the first, where
 * they were not combined. `areApart`: each trace is in one part only.
 */
export function mergeFirst(
  parts: readonly (readonly AnsweredTrace[])[],
  limit: number,
  order: TraceOrder = NEWEST_FIRST,
  areApart = false,
): readonly AnsweredTrace[] {
  const compare = comparing(order);
  const merged = parts.reduce((a, b) => mergeTwo(a, b, limit, compare, areApart), []);
  return merged.length > limit ? merged.slice(0, limit) : merged;
}

/** @param areApart each trace is in one of them only: then nothing has to be looked up. */
function mergeTwo(
  a: readonly AnsweredTrace[],
  b: readonly AnsweredTrace[],
  limit: number,
  compare: (a: AnsweredTrace, b: AnsweredTrace) => number,
  areApart: boolean,
): readonly AnsweredTrace[] {
  if (a.length === 0) return b;
  if (b.length === 0 || (a.length >= limit && compare(a.at(-1)!, b[0]!) < 0)) return a;
  const merged: AnsweredTrace[] = [];
  const ids = areApart ? undefined : new Set<string>();
  for (let i = 0, j = 0; merged.length < limit && (i < a.length || j < b.length); ) {
    const isOfA = j === b.length || (i < a.length && compare(a[i]!, b[j]!) <= 0);
    const next = isOfA ? a[i++]! : b[j++]!;
    if (ids?.has(next.traceId) === true) continue;
    ids?.add(next.traceId);
    merged.push(next);
  }
  return merged;
}
