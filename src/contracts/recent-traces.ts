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
    };

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
  /** Must be called when the scan is over: until then no file of these sources is deleted. */
  release(): void;
}

export interface RecentTraces {
  /** Waits (at most 1 s) until all that was acknowledged before the call can be seen. */
  recentSources(tenant: string, range: TimeRange, signal?: AbortSignal): Promise<RecentSources>;
}

export interface Flusher {
  /**
   * Resolves when all that was acknowledged before the call is in complete, uploaded blocks; rejects with
   * the reason.
   */
  flush(tenant?: string): Promise<void>;
}
