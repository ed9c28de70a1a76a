// What the main thread and the thread that compacts say to each other.
import type { MessagePort } from 'node:worker_threads';
import type { BlockCompression } from '../block/compression.ts';
import type { CompactResult } from '../block/compact/compact.ts';
import type { BlockMeta } from '../block/meta.ts';
import type { BloomOptions } from '../block/trace-bloom.ts';
import type { ErrorCode } from '../lib/errors.ts';

export interface CompactionWorkerData {
  /** Where new blocks are written before they are uploaded. */
  readonly scratchPath: string;
  /** The folder that is the backend; '' = calls go over the job's port. */
  readonly backendPath: string;
  readonly bloom: BloomOptions;
  readonly valueFilterBytesMax: number;
  /** undefined = zstd. */
  readonly compression?: BlockCompression | undefined;
}

export interface CompactionJob {
  readonly inputs: readonly BlockMeta[];
  readonly blockId: string;
  /** Most wire bytes of a trace whose parts are brought together; 0 = any. */
  readonly traceBytesMax: number;
}

export interface ToCompactionWorker {
  readonly id: number;
  readonly job: CompactionJob;
  readonly port: MessagePort | undefined;
}

export type FromCompactionWorker =
  | { readonly kind: 'compacted'; readonly id: number; readonly result: CompactResult }
  | { readonly kind: 'failed'; readonly id: number; readonly code: ErrorCode; readonly message: string };
