// Brings the answers of several scan jobs together: in order, each trace once, at most the limit.
import type { QueryStats, SearchQuery } from '../../contracts/query.ts';
import type { SourceRef } from '../../contracts/recent-traces.ts';
import { type UnpackedTrace, unpackFound } from '../../store/pack.ts';
import type { SearchJobResult } from '../../store/scan-job.ts';
import { comparing, NEWEST_FIRST, type TraceOrder } from '../../traceql/engine/order.ts';
import { blockIdOf } from './plan.ts';

/** The answer of a search while its jobs finish. */
export class SearchMerge {
  /** The first that were found so far. */
  traces: readonly UnpackedTrace[] = [];
  /** More match than these. */
  hasMore = false;
  private readonly query: Pick<SearchQuery, 'limit' | 'order'>;
  private readonly sources: readonly SourceRef[];
  private readonly totalJobs: number;
  private completedJobs = 0;
  private inspectedTraces = 0;
  private inspectedSpans = 0;
  private inspectedBytes: number;

  /** @param plannedBytes that were read before the jobs. */
  constructor(
    query: Pick<SearchQuery, 'limit' | 'order'>,
    sources: readonly SourceRef[],
    totalJobs: number,
    plannedBytes: number,
  ) {
    this.query = query;
    this.sources = sources;
    this.totalJobs = totalJobs;
    this.inspectedBytes = plannedBytes;
  }

  add(result: SearchJobResult): void {
    this.completedJobs++;
    this.inspectedTraces += result.inspectedTraces;
    this.inspectedSpans += result.inspectedSpans;
    this.inspectedBytes += result.inspectedBytes;
    const found = unpackFound(result.found);
    const { limit, order } = this.query;
    const isCut = this.traces.length + found.length > limit;
    if (found.length > 0) this.traces = mergeFirst([this.traces, found], limit, order);
    this.hasMore ||= result.hasMore || (isCut && this.traces.length === limit);
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

/** The first `limit` of all, each trace id once: of several parts the first, where they were not combined. */
export function mergeFirst(
  parts: readonly (readonly UnpackedTrace[])[],
  limit: number,
  order: TraceOrder = NEWEST_FIRST,
): UnpackedTrace[] {
  if (parts.length === 1) return parts[0]!.slice(0, limit);
  const all = parts.flat().sort(comparing(order));
  const seen = new Set<string>();
  const merged: UnpackedTrace[] = [];
  for (const trace of all) {
    if (merged.length === limit) break;
    if (seen.has(trace.traceId)) continue;
    seen.add(trace.traceId);
    merged.push(trace);
  }
  return merged;
}
