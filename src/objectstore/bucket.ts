// What the SDK of a cloud does for us, one file for each: single requests on keys of one bucket. Retries,
// hedging, the prefix and the texts of errors are `bucket-store.ts`'s, so that all clouds behave alike.
import type { ObjectInfo } from './objectstore.ts';

export type Action = 'list' | 'stat' | 'read' | 'write' | 'copy' | 'delete';

export type FailureKind =
  /** The object is not there. */
  | 'not_found'
  /** The bucket is not there, or is another's. */
  | 'no_bucket'
  /** The range begins behind the end of the object. */
  | 'range'
  | 'denied'
  /** Who asks is unknown, or its proof has run out. */
  | 'credentials'
  /** The clocks differ too much. */
  | 'clock'
  | 'throttled'
  /** No answer, or half of one. */
  | 'unreachable'
  /** Its certificate is none of those that are trusted. */
  | 'untrusted'
  /** An answer that says that the same may work later. */
  | 'busy'
  /** The caller gave up. */
  | 'cancelled'
  | 'refused';

/** What went wrong with one request. */
export interface Failure {
  readonly kind: FailureKind;
  /** What the store says, in its words. */
  readonly detail: string;
  /** What it asks to wait. */
  readonly retryAfterMs?: number;
}

export interface ListRequest {
  /** Keys begin with it; '' or ends with `/`. */
  readonly prefix: string;
  /** False = all keys below it too. */
  readonly isFlat: boolean;
  /** Keys behind it only, where the cloud can. */
  readonly after?: string | undefined;
  /** `next` of the page before. */
  readonly token?: string | undefined;
  readonly pageLength: number;
}

export interface ListPage {
  /** Whole keys of folders, with the `/` at the end. */
  readonly folders: readonly string[];
  readonly objects: readonly string[];
  /** undefined = the last page. */
  readonly next: string | undefined;
}

export interface ByteRange {
  readonly offset: number;
  readonly lengthBytes: number;
}

/** An object that is written in parts: it is there when `finish` has resolved, and not before. */
export interface Upload {
  /** Parts have numbers from 0. The bytes are read no more when it has resolved. */
  part(index: number, bytes: Uint8Array, signal?: AbortSignal): Promise<void>;
  finish(signal?: AbortSignal): Promise<void>;
  /** Gives up what was uploaded. */
  abandon(): Promise<void>;
}

export interface UploadShape {
  /** Of every part but the last. */
  readonly partBytes: number;
  readonly partsAtOnce: number;
}

export interface Bucket {
  /** For messages, like `s3 bucket traces at minio:9000`. */
  readonly name: string;
  /** Can `ListRequest.after` be used? */
  readonly listsAfter: boolean;
  list(request: ListRequest, signal?: AbortSignal): Promise<ListPage>;
  stat(key: string, signal?: AbortSignal): Promise<ObjectInfo>;
  /** Fewer bytes than asked for when the object ends before. */
  read(key: string, range: ByteRange | undefined, signal?: AbortSignal): Promise<Uint8Array>;
  write(key: string, bytes: Uint8Array, signal?: AbortSignal): Promise<void>;
  /** How an object of that size is cut for `startUpload`. */
  uploadShape(sizeBytes: number): UploadShape;
  startUpload(key: string, signal?: AbortSignal): Promise<Upload>;
  copy(from: string, to: string, signal?: AbortSignal): Promise<void>;
  delete(key: string, signal?: AbortSignal): Promise<void>;
  /** What an error of any of these calls means. */
  failureOf(err: unknown): Failure;
  /** What whoever runs the store has to allow for an action. */
  permissionFor(action: Action): string;
  close(): void;
}
