// What a querier and an ingester of this program say to each other: what the ingester has of a tenant is
// listed, and stays while the querier has jobs done over it there. One call of gRPC is one query's; its end
// lets go of all. The messages are pieces as `src/rpc/structured-pieces.ts` has them.
import type { RemoteFailure } from '../contracts/remote-query.ts';
import type { TimeRange, TraceTable } from '../contracts/recent-traces.ts';
import type { ScanJob, ScanResult, ScanSource } from './scan-job.ts';

/** With the version of what is said. */
export const RECENT_PATH = '/recent.v1.Recent/Session';

/** A source by its name, as whoever has it knows it. */
export type NamedSource = Pick<ScanSource, 'rowGroups' | 'without' | 'apart' | 'traceCount'> & {
  readonly blockId: string;
};

/** A job whose sources are names; the rest of it is as in a ScanJob of its kind. */
export interface NamedJob {
  readonly kind: ScanJob['kind'];
  readonly sources: readonly NamedSource[];
}

export type ToIngester =
  | {
      readonly kind: 'open';
      readonly tenant: string;
      readonly range: TimeRange;
      /** What the querier knows already: versions of tables by source. */
      readonly known: ReadonlyMap<string, string>;
      /** Of queries that do not look at other traces. */
      readonly needsTables: boolean;
    }
  | { readonly kind: 'job'; readonly id: number; readonly job: NamedJob }
  | { readonly kind: 'cancel'; readonly id: number };

export interface ListedSource {
  readonly blockId: string;
  readonly version: string;
  readonly spanCount: number;
  /** undefined = as it is known. */
  readonly table: TraceTable | undefined;
}

export type FromIngester =
  | {
      readonly kind: 'sources';
      readonly sources: readonly ListedSource[];
      readonly complete: boolean;
      readonly partial: readonly string[];
    }
  | { readonly kind: 'result'; readonly id: number; readonly result: ScanResult }
  | { readonly kind: 'failure'; readonly id: number | undefined; readonly failure: RemoteFailure };
