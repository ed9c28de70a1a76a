// The seam between the query API (query-frontend) and whoever executes (querier).
import type { OrderedValues } from '../traceql/engine/value-set.ts';
import type { AttributeScope, Field } from '../traceql/source.ts';
import type { FoundTrace } from '../traceql/engine/search.ts';
import type { TimeRange } from './recent-traces.ts';

export interface SearchQuery {
  /** Several are joined by `|`: their sources are read as if they were one tenant's. */
  readonly tenant: string;
  /** TraceQL text, already parsed and validated once by the frontend. */
  readonly query: string;
  readonly range: TimeRange;
  readonly limit: number;
  /** Spans shown per span set; 0 = all. */
  readonly spansPerSpanSet: number;
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

export interface TraceQuery {
  /** As in a search. */
  readonly tenant: string;
  /** 16 bytes. */
  readonly id: Uint8Array;
  readonly range: TimeRange;
  /** `proto`: serialised OTLP TracesData. `json`: text of the array of ResourceSpans as Tempo prints it. */
  readonly format: 'proto' | 'json';
}

export interface TraceAnswer {
  /** The combined trace, each span once; undefined = not found. */
  readonly trace: Uint8Array | undefined;
  readonly inspectedBytes: number;
  readonly partial: readonly string[];
}

export interface TagNamesQuery {
  readonly tenant: string;
  readonly scopes: readonly AttributeScope[];
  /** Valid TraceQL: only names that spans have which it finds. */
  readonly query: string | undefined;
  readonly range: TimeRange;
}

export interface TagNamesAnswer {
  /** For each scope asked its names, sorted. */
  readonly names: readonly (readonly string[])[];
  readonly inspectedBytes: number;
  readonly partial: readonly string[];
}

export interface TagValuesQuery {
  readonly tenant: string;
  /** The values of all of them together. */
  readonly fields: readonly Field[];
  readonly query: string | undefined;
  readonly range: TimeRange;
  /** The answer has the first values in order, of at most so many bytes. */
  readonly bytesMax: number;
}

export interface TagValuesAnswer {
  readonly values: OrderedValues;
  readonly inspectedBytes: number;
  readonly partial: readonly string[];
}

export interface Querier {
  tagNames(query: TagNamesQuery, signal?: AbortSignal): Promise<TagNamesAnswer>;
  tagValues(query: TagValuesQuery, signal?: AbortSignal): Promise<TagValuesAnswer>;
  search(query: SearchQuery, signal?: AbortSignal): Promise<SearchAnswer>;
  findTrace(query: TraceQuery, signal?: AbortSignal): Promise<TraceAnswer>;
}
