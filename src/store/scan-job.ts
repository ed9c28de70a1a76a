// What the main thread asks of scan threads and what they answer: plain data that survives a message.
import type { MessagePort } from 'node:worker_threads';
import type { JobReport, TraceFormat } from '../contracts/query.ts';
import type { SourceRef, TimeRange, TraceParts, TraceTable } from '../contracts/recent-traces.ts';
import type { FilledText } from '../lib/filled-text.ts';
import type { Pressure } from '../lib/pressure.ts';
import type { MetricsPart } from '../traceql/engine/metrics/part.ts';
import type { MetricsRange } from '../traceql/engine/metrics/range.ts';
import type { TraceOrder, TracePosition } from '../traceql/engine/order.ts';
import type { OrderedValues } from '../traceql/engine/value-set.ts';
import type { AttributeScope, Field } from '../traceql/source.ts';
import type { CachedParts } from './block-opener.ts';
import type { CancelFlag } from './cancel-flag.ts';

/** A source of a job. */
export type ScanSource = SourceRef & {
  /** Limits a block to [from, to). */
  readonly rowGroups?: readonly [number, number];
  /** Traces that are evaluated elsewhere: ordinals of a head, rows of a block, ascending. */
  readonly without?: Int32Array;
  /** Of these the parts of traces that have more elsewhere. */
  readonly apart?: Int32Array;
  /** Of a head only the first so many traces: those that came later may be in other sources too. */
  readonly traceCount?: number;
};

/** Where the parts of traces are that lie in several sources, in shared memory. */
interface SharedPlaces {
  /** Trace i has the places [ends[i - 1], ends[i]). Traces ascend by id. */
  readonly ends: Int32Array;
  /** Index of the source. */
  readonly source: Int32Array;
  /** Ordinal in a head, row in a block. */
  readonly row: Int32Array;
}

/** Traces whose parts are brought together before they are evaluated. */
export interface WholeTraces {
  /** Equal names = the same traces of the same sources; undefined = some traces, for one query only. */
  readonly name: string | undefined;
  /** Of their content: heads grow, and some of what they get is of these traces. */
  readonly version: string;
  /** What the places speak of. */
  readonly sources: readonly ScanSource[];
  readonly places: SharedPlaces;
  /** Of the traces these: [from, to). */
  readonly range: readonly [number, number];
}

/** What a query evaluates: a span that lies in several sources of the query is in one job once. */
export interface QueryInput {
  /** Evaluated in place. */
  readonly sources: readonly ScanSource[];
  readonly whole?: WholeTraces;
}

/** Finds the traces that lie in several of the sources. */
export interface SharedTracesJob {
  readonly kind: 'sharedTraces';
  readonly sources: readonly ScanSource[];
  /** Only of ids whose first 32 bits are in [from, to). */
  readonly range: readonly [from: number, to: number];
}

/** What another process must know of the traces of a source before it plans a query. */
export interface TraceTableJob {
  readonly kind: 'traceTable';
  readonly sources: readonly [ScanSource];
  /** Of a head only traces that have spans from this one on. */
  readonly sinceSpan?: number | undefined;
}

/** Some traces of a source as bytes. */
export interface TracePartsJob {
  readonly kind: 'traceParts';
  readonly sources: readonly [ScanSource];
  /** Ordinals of a head, rows of a block, ascending. */
  readonly rows: Int32Array;
}

/** Of a table that is known: rows that are new, or not what they were. */
export interface TraceTableChanges {
  /** Ordinals of the traces in the table, ascending. */
  readonly rows: Int32Array;
  readonly table: TraceTable;
}

export interface SearchJob extends QueryInput {
  readonly kind: 'search';
  readonly query: string;
  readonly range: TimeRange;
  readonly order?: TraceOrder | undefined;
  readonly after?: TracePosition | undefined;
  /** Newest first only: older traces are not in the answer, and that more match than are in it is known. */
  readonly notBeforeUnixNano?: bigint | undefined;
  readonly limit: number;
  readonly spansPerSpanSet: number;
  readonly format: 'proto' | 'json';
  /** What is read is told. */
  readonly isExplained?: boolean | undefined;
  /** Whether the traces are of the times that the meta of their block says is told; of one block only. */
  readonly areTimesChecked?: boolean | undefined;
}

export interface TraceJob {
  readonly kind: 'trace';
  readonly id: Uint8Array;
  readonly sources: readonly ScanSource[];
  /** Parts of the trace found elsewhere (serialised TracesData). */
  readonly parts?: readonly Uint8Array[];
  /** As in a TraceQuery. `part`: TracesData for another job's `parts`, whole. */
  readonly format: TraceFormat | 'part';
  /** As in a TraceQuery; 0 = no limit. */
  readonly bytesMax: number;
}

export interface TagNamesJob extends QueryInput {
  readonly kind: 'tagNames';
  readonly scopes: readonly AttributeScope[];
  /** Only of spans that it finds. */
  readonly query: string | undefined;
}

export interface TagValuesJob extends QueryInput {
  readonly kind: 'tagValues';
  readonly fields: readonly Field[];
  readonly query: string | undefined;
  /** Of all values together; the first in order are kept. */
  readonly bytesMax: number;
}

export interface MetricsAsked {
  readonly query: string;
  readonly range: MetricsRange;
  /** Values of series and intervals, in a job and in the answer; what is beyond it is left out. */
  readonly samplesMax: number;
  /** 0 = none. */
  readonly exemplarsMax: number;
}

export interface MetricsJob extends MetricsAsked, QueryInput {
  readonly kind: 'metrics';
  /** What is read is told. */
  readonly isExplained?: boolean | undefined;
}

/** Makes one part of several, in their order. */
export interface JoinMetricsJob extends MetricsAsked {
  readonly kind: 'joinMetrics';
  readonly sources: readonly [];
  readonly parts: readonly MetricsPart[];
}

export interface FinishMetricsJob extends MetricsAsked {
  readonly kind: 'finishMetrics';
  readonly sources: readonly [];
  readonly parts: readonly MetricsPart[];
  readonly isInstant: boolean;
  /** 0 = no limit. */
  readonly seriesMax: number;
  readonly format: 'proto' | 'json';
}

export type ScanJob =
  | SearchJob
  | TraceJob
  | TagNamesJob
  | TagValuesJob
  | SharedTracesJob
  | TraceTableJob
  | TracePartsJob
  | MetricsJob
  | JoinMetricsJob
  | FinishMetricsJob;

export interface ScanFailure {
  readonly source: string;
  readonly code: string;
  readonly message: string;
}

/** Found traces, packed: id i is at 16 i, its body in a chunk from bodyStarts[i] to bodyEnds[i]. */
export interface PackedTraces {
  readonly count: number;
  readonly ids: Uint8Array;
  readonly starts: BigInt64Array;
  readonly durations: BigInt64Array;
  readonly chunks: readonly Uint8Array[];
  readonly bodyChunks: Int32Array;
  readonly bodyStarts: Float64Array;
  readonly bodyEnds: Float64Array;
}

export interface SearchJobResult {
  readonly kind: 'search';
  /** In the job's order. */
  readonly found: PackedTraces;
  /** More match than were found, behind the last one of these. */
  readonly hasMore: boolean;
  /**
   * Rows of the job's one source that match and are parts of traces which have more elsewhere; undefined =
   * a trace may match though none of its parts does.
   */
  readonly matchedApart?: Int32Array | undefined;
  /** When it is asked for: each trace overlaps the times of its block, which absurd ones do not widen. */
  readonly areTimely?: boolean | undefined;
  readonly inspectedTraces: number;
  readonly inspectedSpans: number;
  readonly inspectedBytes: number;
  readonly failures: readonly ScanFailure[];
  /** When it is explained. */
  readonly report?: JobReport | undefined;
}

export interface TraceJobResult {
  readonly kind: 'trace';
  readonly trace: Uint8Array | undefined;
  readonly isCut: boolean;
  readonly inspectedBytes: number;
  readonly failures: readonly ScanFailure[];
}

export interface TagNamesJobResult {
  readonly kind: 'tagNames';
  /** For each scope of the job its names, in no order. */
  readonly names: readonly (readonly string[])[];
  readonly inspectedBytes: number;
  readonly failures: readonly ScanFailure[];
}

export interface TagValuesJobResult {
  readonly kind: 'tagValues';
  readonly values: OrderedValues;
  readonly inspectedBytes: number;
  readonly failures: readonly ScanFailure[];
}

export type TagsJob = TagNamesJob | TagValuesJob;
export type TagsJobResult = TagNamesJobResult | TagValuesJobResult;

export interface SharedTracesJobResult {
  readonly kind: 'sharedTraces';
  /** For each source of the job what it is evaluated without; in shared memory. */
  readonly without: readonly Int32Array[];
  /** For each source what of it are places below. */
  readonly apart: readonly Int32Array[];
  /** For each source how many traces were looked at. */
  readonly traceCounts: readonly number[];
  /** For each source a microsecond since 1970 that none of its traces starts after; Infinity = unknown. */
  readonly newestStarts: readonly number[];
  /** Of the traces that no source has whole. */
  readonly places: SharedPlaces;
  /** Of these places: equal ones have the same spans, as far as digests tell, also when heads have grown. */
  readonly version: string;
  /** When each of them begins and ends, in microseconds since 1970; NaN = unknown. */
  readonly startMicros: Float64Array;
  readonly endMicros: Float64Array;
  readonly inspectedBytes: number;
  readonly failures: readonly ScanFailure[];
}

export interface TraceTableJobResult {
  readonly kind: 'traceTable';
  readonly table: TraceTable;
  /** Ordinals of the traces in the table, ascending; undefined = all. */
  readonly rows: Int32Array | undefined;
  readonly failures: readonly ScanFailure[];
}

export interface TracePartsJobResult {
  readonly kind: 'traceParts';
  readonly parts: TraceParts;
  readonly failures: readonly ScanFailure[];
}

export interface MetricsJobResult {
  readonly kind: 'metrics';
  /** undefined = nothing could be read. */
  readonly part: MetricsPart | undefined;
  /** No span that matches was left out for its time. */
  readonly areTimely?: boolean;
  readonly inspectedTraces: number;
  readonly inspectedSpans: number;
  readonly inspectedBytes: number;
  /** When it is explained. */
  readonly report?: JobReport | undefined;
  readonly failures: readonly ScanFailure[];
}

export interface JoinMetricsJobResult {
  readonly kind: 'joinMetrics';
  readonly part: MetricsPart;
}

export interface FinishMetricsJobResult {
  readonly kind: 'finishMetrics';
  /** One behind the other; series i ends at ends[i]. None where they are a text. */
  readonly bodies: Uint8Array;
  readonly ends: Float64Array;
  /** Of a range as JSON: all series, with commas between them. */
  readonly text: FilledText | undefined;
  /** There are more than `seriesMax`. */
  readonly isCut: boolean;
  /** There are more than `samplesMax` allows. */
  readonly isPartial: boolean;
  readonly failures: readonly ScanFailure[];
}

export type ScanResult =
  | SearchJobResult
  | TraceJobResult
  | TagNamesJobResult
  | TagValuesJobResult
  | SharedTracesJobResult
  | TraceTableJobResult
  | TracePartsJobResult
  | MetricsJobResult
  | JoinMetricsJobResult
  | FinishMetricsJobResult;

/** How often value filters were asked, and what for. */
export interface FilterCounts {
  /** Blocks that were not read because of it. */
  skipped: number;
  /** Blocks that were. */
  passed: number;
  /** Questions without an answer: no filter where there should be one, or one that cannot be trusted. */
  unusable: number;
  bytesRead: number;
}

/** What a scan thread is told when it begins. */
export interface ScanWorkerData {
  /** Folder of the ingester's complete blocks. */
  readonly localBlocksPath: string;
  /** Folder of the local backend; '' = the backend is reached by a port, which comes as a message. */
  readonly backendPath: string;
  readonly cacheBytes: number;
  /** Of blocks of the backend, in caches outside the process. */
  readonly cached?: CachedParts | undefined;
}

export type ToScanWorker =
  | { readonly kind: 'job'; readonly id: number; readonly job: ScanJob; readonly cancelled: CancelFlag }
  | { readonly kind: 'cancel'; readonly id: number }
  /** A head of that size is gone: its memory is free when no thread holds it. */
  | { readonly kind: 'released'; readonly bytes: number; readonly blockId: string }
  /** Where the backend is from now on. */
  | { readonly kind: 'backend'; readonly port: MessagePort }
  /** Caches take that share of their bytes at most. */
  | { readonly kind: 'cacheShare'; readonly share: number }
  /** Caches shrink while it is not calm. */
  | { readonly kind: 'pressure'; readonly pressure: Pressure };

export type FromScanWorker =
  | {
      readonly kind: 'done';
      readonly id: number;
      readonly result: ScanResult;
      readonly cpuMicros: number;
      /** Of the thread's caches, and of these the ones for value filters and for columns of heads. */
      readonly cachedBytes: number;
      readonly filterBytes: number;
      readonly headBytes: number;
      /** Since the last message. */
      readonly filters: FilterCounts;
    }
  | {
      readonly kind: 'failed';
      readonly id: number;
      readonly code: string;
      readonly message: string;
    };
