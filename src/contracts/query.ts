// The seam between the query API (query-frontend) and whoever executes (querier).
import type { FilledText } from '../lib/filled-text.ts';
import type { ReadStep } from '../traceql/engine/explained-source.ts';
import type { TraceOrder, TracePosition } from '../traceql/engine/order.ts';
import type { OrderedValues, TypedValues } from '../traceql/engine/value-set.ts';
import type { AttributeScope, Field } from '../traceql/source.ts';
import type { TimeRange } from './recent-traces.ts';

/** Form of a trace in an answer: protobuf, its JSON, or a short JSON for language models. */
export type TraceFormat = 'proto' | 'json' | 'llm';

/** What another process may ask of this one: what is recent, or row groups [from, to) of a block. */
export type QueryPart =
  | { readonly kind: 'recent' }
  | { readonly kind: 'block'; readonly blockId: string; readonly rowGroups: readonly [number, number] };

export interface SearchQuery {
  /** Several are joined by `|`: their sources are read as if they were one tenant's. */
  readonly tenant: string;
  /** TraceQL text, already parsed and validated once by the frontend. */
  readonly query: string;
  readonly range: TimeRange;
  /** undefined = newest first. */
  readonly order?: TraceOrder | undefined;
  /** Only traces that lie behind it in this order. */
  readonly after?: TracePosition | undefined;
  readonly limit: number;
  /** Spans shown per span set; 0 = all. */
  readonly spansPerSpanSet: number;
  readonly format: 'proto' | 'json';
  /** Has the answer tell what was read. */
  readonly isExplained?: boolean;
  /** Only this part of the data; undefined = all. */
  readonly part?: QueryPart | undefined;
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

/** What a job did with one head or row group, or with traces that were brought together. */
export interface SourceReport {
  readonly name: string;
  readonly traces: number;
  readonly spans: number;
  /** undefined: not known, as a query for metrics counts spans. */
  readonly matchedTraces: number | undefined;
  readonly bytes: number;
  /** With the evaluation. */
  readonly ms: number;
  /** In their order. */
  readonly steps: readonly ReadStep[];
}

/** What a job did in its thread. */
export interface JobReport {
  readonly ms: number;
  readonly sources: readonly SourceReport[];
  /** Ids of blocks that were not read: by their value filters they lack a value that the query needs. */
  readonly spared: readonly string[];
}

export interface AnsweredTrace {
  /** Hex without leading zeros. */
  readonly traceId: string;
  readonly startUnixNano: bigint;
  readonly durationNanos: bigint;
  /** TraceSearchMetadata in the wanted form. */
  readonly body: Uint8Array;
}

export interface SearchAnswer {
  /** In the order asked for, at most `limit`. */
  readonly traces: readonly AnsweredTrace[];
  /** More traces match, or may, behind the last one of these. */
  readonly hasMore: boolean;
  readonly stats: QueryStats;
  /** Why the answer may lack something; empty when it is complete. */
  readonly partial: readonly string[];
  /** Of a query that is explained; jobs that were not needed have none. */
  readonly reports?: readonly JobReport[];
  /** Frees the memory of the bodies, which nothing may read any more; undefined = others have them too. */
  readonly letGo?: (() => void) | undefined;
}

/** An answer while it is made. */
export interface SearchProgress {
  /** So far; the totals are those of the answer. */
  readonly stats: QueryStats;
  /**
   * Traces that will be in the answer whatever else is found, as they will be there, in its order. Each is
   * given once.
   */
  takeSettled(): readonly AnsweredTrace[];
}

/** What is asked: what ingesters have, blocks of the backend, or both. */
type SourceChoice = 'all' | 'ingesters' | 'blocks' | 'external';

/** Ids of blocks, both ends included. */
export interface BlockRange {
  readonly first: string;
  readonly last: string;
}

export interface TraceQuery {
  /** As in a search. */
  readonly tenant: string;
  /** 16 bytes. */
  readonly id: Uint8Array;
  readonly range: TimeRange;
  readonly from: SourceChoice;
  /** Of the backend's blocks only these; undefined = all. */
  readonly blocks: BlockRange | undefined;
  /** Of the trace as protobuf; what is beyond it is left out. 0 = no limit. */
  readonly bytesMax: number;
  /**
   * `proto`: serialised OTLP TracesData. `json`: text of the array of ResourceSpans as Tempo prints it.
   * `llm`: text of the whole trace.
   */
  readonly format: TraceFormat;
}

export interface TraceAnswer {
  /** The combined trace, each span once; undefined = not found. */
  readonly trace: Uint8Array | undefined;
  /** The trace is larger than `bytesMax`: this is a part of it. */
  readonly isCut: boolean;
  readonly inspectedBytes: number;
  readonly partial: readonly string[];
}

export interface TagNamesQuery {
  readonly tenant: string;
  readonly scopes: readonly AttributeScope[];
  /** Valid TraceQL: only names that spans have which it finds. */
  readonly query: string | undefined;
  readonly range: TimeRange;
  /** Only this part of the data; undefined = all. */
  readonly part?: QueryPart | undefined;
}

export interface TagNamesAnswer {
  /** For each scope asked its names, sorted. */
  readonly names: readonly (readonly string[])[];
  readonly inspectedBytes: number;
  readonly partial: readonly string[];
}

/** What was found since the last call, while an answer is made. */
export interface TagNamesProgress {
  /** So far. */
  readonly inspectedBytes: number;
  /** For each scope asked names that were not given before, sorted. */
  takeNames(): readonly (readonly string[])[];
}

export interface TagValuesQuery {
  readonly tenant: string;
  /** The values of all of them together. */
  readonly fields: readonly Field[];
  readonly query: string | undefined;
  readonly range: TimeRange;
  /** The answer has the first values in order, of at most so many bytes. */
  readonly bytesMax: number;
  /** Only this part of the data; undefined = all. */
  readonly part?: QueryPart | undefined;
}

export interface TagValuesAnswer {
  readonly values: OrderedValues;
  readonly inspectedBytes: number;
  readonly partial: readonly string[];
}

/** As of names. */
export interface TagValuesProgress {
  readonly inspectedBytes: number;
  /** Nothing more once they are more bytes than the answer may have. */
  takeTypes(): readonly TypedValues[];
}

/** A TraceQL metrics query over one range of time, cut into intervals of equal length. */
export interface MetricsQuery {
  /** As in a search. */
  readonly tenant: string;
  /** Valid TraceQL with a metrics function. */
  readonly query: string;
  /**
   * Unix ns, aligned: interval i is (start + i*step, start + (i+1)*step], and end - start is a multiple of
   * step. An instant query has one interval.
   */
  readonly startUnixNano: bigint;
  readonly endUnixNano: bigint;
  readonly stepNanos: bigint;
  readonly isInstant: boolean;
  /** 0 = none. */
  readonly exemplarsMax: number;
  /** 0 = no limit. */
  readonly seriesMax: number;
  readonly format: 'proto' | 'json';
  /** Has the answer tell what was read. */
  readonly isExplained?: boolean;
  /** Only this part of the data; undefined = all. */
  readonly part?: QueryPart | undefined;
}

export interface MetricsAnswer {
  /** In a stable order, one series each: tempopb.TimeSeries, of an instant query InstantSeries. */
  readonly series: readonly Uint8Array[];
  /**
   * Of a range as JSON all of them, with commas between them, and `series` is empty then. From an older
   * querier in a process of its own it comes as if it were one series.
   */
  readonly text?: FilledText | undefined;
  /** There are more than `seriesMax`. */
  readonly isCut: boolean;
  readonly stats: QueryStats;
  readonly partial: readonly string[];
  /** Of a query that is explained. */
  readonly reports?: readonly JobReport[];
}

/** A metrics query while it runs. */
export interface MetricsProgress {
  /** So far; the totals are those of the answer. */
  readonly stats: QueryStats;
  /**
   * The series of what was read so far, as those of the answer, without exemplars. Costs a job. undefined:
   * some are left out already, there is no memory for them, or it is too late to make them.
   */
  seriesSoFar(): Promise<readonly Uint8Array[] | undefined>;
}

export interface Querier {
  /** @param onProgress is called as often as a job is done, with the same object. */
  metrics(
    query: MetricsQuery,
    signal?: AbortSignal,
    onProgress?: (progress: MetricsProgress) => void,
  ): Promise<MetricsAnswer>;
  /** Signals and progress are those of `search`. */
  tagNames(
    query: TagNamesQuery,
    signal?: AbortSignal,
    onProgress?: (progress: TagNamesProgress) => void,
  ): Promise<TagNamesAnswer>;
  tagValues(
    query: TagValuesQuery,
    signal?: AbortSignal,
    onProgress?: (progress: TagValuesProgress) => void,
  ): Promise<TagValuesAnswer>;
  /**
   * @param signal aborted with a TimeIsUpError it has what was found answered as a part.
   * @param onProgress is called as often as something has been read, with the same object.
   */
  search(
    query: SearchQuery,
    signal?: AbortSignal,
    onProgress?: (progress: SearchProgress) => void,
  ): Promise<SearchAnswer>;
  findTrace(query: TraceQuery, signal?: AbortSignal): Promise<TraceAnswer>;
}
