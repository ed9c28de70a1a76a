// The seam between the query API (query-frontend) and whoever executes (querier).
import type { TimeRange } from './recent-traces.ts';

export interface SearchQuery {
  readonly tenant: string;
  /** TraceQL text, already parsed and validated once by the frontend. */
  readonly query: string;
  readonly range: TimeRange;
  readonly limit: number;
  /** Spans shown per span set; 0 = all. */
  readonly spansPerSpanSet: number;
}

/** One found trace: sort keys apart, the rest is the finished JSON text of Tempo's TraceSearchMetadata. */
export interface FoundTrace {
  /** Hex without leading zeros. */
  readonly traceId: string;
  readonly startUnixNano: bigint;
  readonly json: Uint8Array;
}

export interface QueryStats {
  readonly inspectedTraces: number;
  readonly inspectedSpans: number;
  readonly inspectedBytes: number;
  readonly totalBlocks: number;
  readonly totalBlockBytes: number;
  readonly totalJobs: number;
  readonly completedJobs: number;
}

export interface SearchAnswer {
  /** Newest first, at most `limit`. */
  readonly traces: readonly FoundTrace[];
  readonly stats: QueryStats;
  /** Why the answer may lack something; empty when it is complete. */
  readonly partial: readonly string[];
}

export interface TraceAnswer {
  /** Serialised OTLP TracesData, combined, each span once; undefined = not found. */
  readonly trace: Uint8Array | undefined;
  readonly inspectedBytes: number;
  readonly partial: readonly string[];
}

export interface Querier {
  search(query: SearchQuery, signal?: AbortSignal): Promise<SearchAnswer>;
  /** @param id 16 bytes. */
  findTrace(tenant: string, id: Uint8Array, range: TimeRange, signal?: AbortSignal): Promise<TraceAnswer>;
}
