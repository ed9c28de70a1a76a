// What is said between the thread of the object store and those that use it. Each user has a port of its own.
import type { MessagePort } from 'node:worker_threads';
import type { CacheReport } from '../cache/outer-cache.ts';
import type { CacheSettings, ReadUse } from '../cache/settings.ts';
import type { BackendSettings } from './settings.ts';

/** The calls that take a key and answer with something else than bytes go by their names. */
export type StoreCall =
  | { readonly op: 'prepare' }
  | {
      readonly op: 'listFolders' | 'listObjects' | 'listTree' | 'stat' | 'delete' | 'deleteFolder';
      readonly key: string;
    }
  | { readonly op: 'read'; readonly key: string; readonly use: ReadUse | undefined }
  | {
      readonly op: 'readRange';
      readonly key: string;
      readonly offset: number;
      readonly lengthBytes: number;
      readonly use: ReadUse | undefined;
    }
  | { readonly op: 'distrust'; readonly key: string }
  | { readonly op: 'write'; readonly key: string; readonly bytes: Uint8Array }
  | { readonly op: 'writeFile'; readonly key: string; readonly path: string }
  | { readonly op: 'copy'; readonly key: string; readonly to: string };

export type ToStoreThread =
  | { readonly kind: 'call'; readonly id: number; readonly call: StoreCall }
  | { readonly kind: 'cancel'; readonly id: number };

export type FromStoreThread =
  | { readonly kind: 'done'; readonly id: number; readonly result: unknown }
  | { readonly kind: 'failed'; readonly id: number; readonly code: string; readonly message: string };

/** From the main thread to the thread itself. */
export type ToStoreWorker =
  | { readonly kind: 'connect'; readonly port: MessagePort }
  | { readonly kind: 'cacheShare'; readonly share: number };

/** From the thread to the main thread: what was counted since the last time. */
export interface StoreReport {
  readonly requests: readonly (readonly [method: string, status: number, seconds: number])[];
  readonly hedged: number;
  readonly retries: number;
  readonly cacheHits: number;
  readonly cacheMisses: number;
  readonly cacheBytes: number;
  /** Folders of blocks that are read past the caches from now on. */
  readonly distrusted: readonly string[];
  /** Why reads cost more from now on: all of an SDK is needed for them. */
  readonly detours: readonly string[];
  /** Of caches outside the process. */
  readonly caches: readonly CacheReport[];
}

export interface StoreWorkerData {
  readonly settings: BackendSettings;
  readonly caches: readonly CacheSettings[];
}
