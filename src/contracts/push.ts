// The seam between whoever takes spans in (distributor) and whoever keeps them (ingester).
import type { SpanSink } from '../model/otlp/scan.ts';
import type { TraceRuns } from '../model/otlp/trace-runs.ts';

export interface PushRequest {
  readonly tenant: string;
  /**
   * A serialised OTLP ExportTraceServiceRequest in which every span has valid ids. Not changed by the
   * callee, and not read any more once the push has settled: its memory is used again.
   */
  readonly body: Uint8Array;
  readonly spanCount: number;
  /**
   * The traces of `body`, when the tenant has limits on traces. Read before `push` returns its promise: it is
   * used again for the next request.
   */
  readonly traces?: TraceRuns | undefined;
  /** The answer should name the traces of spans that were not kept. */
  readonly namesRejected?: boolean;
}

export interface PushResult {
  /** Spans that were not kept, by Tempo's discard reason (live_traces_exceeded, trace_too_large, ...). */
  readonly rejected: readonly {
    readonly reason: string;
    readonly spanCount: number;
    readonly message: string;
    /** Hex; when the request asked for it. */
    readonly traceIds?: ReadonlySet<string> | undefined;
  }[];
}

export interface Pusher {
  /**
   * Is to be told of the body by the scan before `push`, which reads it before it returns its promise;
   * undefined = it wants `traces` where the tenant's are limited.
   */
  readonly layout?: SpanSink;
  /**
   * Resolves when the spans are durable: in the synced log, or in those of a quorum of ingesters. Rejects
   * with TempoError: `unavailable` (disk full or failing, shutting down, too few ingesters),
   * `resource_exhausted` (memory budget).
   */
  push(request: PushRequest): Promise<PushResult>;
}
