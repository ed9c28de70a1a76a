// What the main thread and the ingester's threads say to each other: plain data that survives a message.
import type { Distances } from '../../block/head/arrivals.ts';
import type { BlockCompression } from '../../block/compression.ts';
import type { BlockMeta, DedicatedColumn } from '../../block/meta.ts';
import type { BloomOptions } from '../../block/trace-bloom.ts';
import type { Pressure } from '../../lib/pressure.ts';
import type { AttributeLimits } from '../../overrides/attribute-limits.ts';
import type { ReplayPlan } from '../../store/log/open.ts';
import type { RingMemory } from '../../store/log/ring.ts';
import type { SegmentReport } from '../../store/log/segment.ts';
import type { WrittenFormat } from '../../block/vparquet/schema.ts';
import type { OddTraces } from '../../block/vparquet/trace-rows.ts';
import type { ImportReport } from './wal-import.ts';

export interface BuilderSettings {
  /** Estimated bytes of the block at which a head is cut. */
  readonly maxBlockBytes: number;
  /** Age of a head's first span at which it is cut. */
  readonly maxBlockDurationMs: number;
  /** Memory of all heads, live and being written: above it the builder waits. */
  readonly headBytesMax: number;
  /** Spans further than that from their arrival are counted. */
  readonly timeSlackMs: number;
  /** A trace counts as live until no span came for so long. */
  readonly traceIdleMs: number;
}

export interface BuilderData {
  readonly memory: RingMemory;
  /** Position of the first frame in the ring. */
  readonly position: number;
  readonly replay: ReplayPlan;
  readonly settings: BuilderSettings;
  readonly attributeLimits: AttributeLimits;
  /** Memory of heads that are being written already. */
  readonly pendingBytes: number;
  /** Push frames that ended a builder more than once: set aside. */
  readonly poison: readonly number[];
  /** Where those go. */
  readonly quarantinePath: string;
}

export type CutReason = 'size' | 'age' | 'memory' | 'flush' | 'full';

export type FromBuilder =
  | {
      readonly kind: 'head';
      readonly tenant: string;
      readonly blockId: string;
      readonly sab: SharedArrayBuffer;
      /** The head's first frame is the next one of the tenant. */
      readonly fromSequence: number;
    }
  | {
      readonly kind: 'cut';
      readonly tenant: string;
      readonly blockId: string;
      readonly toSequence: number;
      readonly spanCount: number;
      readonly usedBytes: number;
      readonly reason: CutReason;
    }
  /** A frame that ends every builder is in a file of its own. */
  | {
      readonly kind: 'setAside';
      readonly tenant: string;
      readonly sequence: number;
      readonly spanCount: number;
      readonly path: string;
    }
  /** It could not be written; it is tried until it can. */
  | {
      readonly kind: 'notSetAside';
      readonly tenant: string;
      readonly sequence: number;
      readonly message: string;
    }
  | { readonly kind: 'replayed'; readonly frames: number; readonly spans: number }
  | { readonly kind: 'damage'; readonly path: string; readonly report: SegmentReport }
  | { readonly kind: 'flushed'; readonly id: number }
  | {
      readonly kind: 'stats';
      readonly tenants: readonly TenantStats[];
      readonly headBytes: number;
      /** The requests by how many traces they held, then the sum of these. */
      readonly tracesPerBatch: Float64Array;
    }
  | {
      readonly kind: 'refused';
      readonly tenant: string;
      readonly sequence: number;
      readonly spanCount: number;
      readonly message: string;
    };

/** What a tenant's frames brought since the last report. */
export interface TenantStats {
  readonly tenant: string;
  readonly traces: number;
  readonly duplicates: number;
  readonly malformed: number;
  /** Keys and strings of attributes that were cut. */
  readonly truncated: number;
  /** Spans with times far from their arrival. */
  readonly outsideSlack: number;
  /** How far the ends of spans were from their arrival. */
  readonly past: Distances;
  readonly future: Distances;
  /** Of the live head now. */
  readonly liveTraces: number;
  readonly liveBytes: number;
}

export type ToBuilder =
  | { readonly kind: 'handOver'; readonly sequence: number; readonly image: SharedArrayBuffer }
  /** Cut the heads of this tenant, or all; answered by `flushed` when the id is not 0. */
  | { readonly kind: 'flush'; readonly id: number; readonly tenant: string | undefined }
  | { readonly kind: 'attributeLimits'; readonly limits: AttributeLimits }
  /** Heads of that size have become blocks. */
  | { readonly kind: 'released'; readonly bytes: number }
  /** Heads are cut earlier while it is not calm. */
  | { readonly kind: 'pressure'; readonly pressure: Pressure };

/** What the block writer is told when it begins. */
export interface BlockWorkerData {
  /** `<wal.path>/blocks` */
  readonly path: string;
  readonly format: WrittenFormat;
  readonly dedicatedColumns: readonly DedicatedColumn[];
  readonly bloom: BloomOptions;
  readonly valueFilterBytesMax: number;
  /** undefined = zstd. */
  readonly compression?: BlockCompression | undefined;
}

export interface WriteJob {
  readonly blockId: string;
  readonly tenant: string;
  readonly sab: SharedArrayBuffer;
  /** The tenant's own; undefined = those that the thread has. */
  readonly dedicatedColumns: readonly DedicatedColumn[] | undefined;
}

export type ToBlockWorker = { readonly id: number; readonly job: WriteJob };

export type FromBlockWorker =
  | { readonly kind: 'written'; readonly id: number; readonly meta: BlockMeta; readonly odd: OddTraces }
  | { readonly kind: 'failed'; readonly id: number; readonly message: string };

export type FromImportWorker =
  | { readonly kind: 'imported'; readonly report: ImportReport }
  /** A block could not be written. */
  | { readonly kind: 'failed'; readonly message: string };
