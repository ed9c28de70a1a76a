// The seam between queriers and whoever holds recent spans (ingester): what there is to scan right now.
import type { BlockMeta } from '../block/meta.ts';

/** Something a scan thread can open. A block id counts once in an answer, wherever its copies are. */
export type SourceRef =
  | {
      readonly kind: 'head';
      /** The id its block will have. */
      readonly blockId: string;
      readonly sab: SharedArrayBuffer;
    }
  | {
      readonly kind: 'block';
      readonly meta: BlockMeta;
      /** `local`: the ingester's own folder; `backend`: object storage. */
      readonly location: 'local' | 'backend';
    }
  | RemoteSource;

/** A head or local block of another process, which evaluates it there. */
export interface RemoteSource {
  readonly kind: 'remote';
  readonly blockId: string;
  /** Of what it holds: equal versions = equal traces. */
  readonly version: string;
  /** With whom: a number that the querier knows. */
  readonly session: number;
  readonly spanCount: number;
  readonly table: TraceTable;
  /** Of some traces, for whoever brings them together. */
  readonly parts?: TraceParts;
}

/** What is known of the traces of a source, in shared memory where threads need it; by their ordinals. */
export interface TraceTable {
  readonly traceCount: number;
  /** 16 bytes each. */
  readonly ids: Uint8Array;
  /** As StoredSpans have them. */
  readonly digests: Int32Array;
  readonly startMicros: Float64Array;
  readonly endMicros: Float64Array;
  readonly newestStart: number;
}

/** Traces as serialised TracesData: that of rows[i] ends at ends[i]. */
export interface TraceParts {
  /** Ordinals, ascending. */
  readonly rows: Int32Array;
  readonly ends: Float64Array;
  readonly bytes: Uint8Array;
}

/** Unix seconds; undefined = open. */
export interface TimeRange {
  readonly startSec: number | undefined;
  readonly endSec: number | undefined;
}

export interface RecentSources {
  readonly sources: readonly SourceRef[];
  /**
   * false: spans acknowledged before the call may be missing (builders lag by more than the wait allowed).
   */
  readonly complete: boolean;
  /** What else may be missing, and why. */
  readonly partial?: readonly string[];
  /** Must be called when the scan is over: until then no file of these sources is deleted. */
  release(): void;
}

/** What of sources in other processes is needed. */
export interface RecentNeeds {
  /** false = the tables of remote sources may be empty. */
  readonly tables: boolean;
}

export interface RecentTraces {
  /** Waits (at most 1 s) until all that was acknowledged before the call can be seen. */
  recentSources(
    tenant: string,
    range: TimeRange,
    signal?: AbortSignal,
    needs?: RecentNeeds,
  ): Promise<RecentSources>;
}

export interface Flusher {
  /**
   * Resolves when all that was acknowledged before the call is in complete, uploaded blocks; rejects with
   * the reason.
   */
  flush(tenant?: string): Promise<void>;
}
