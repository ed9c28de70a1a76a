// The contract of an object store: flat keys with `/`, whole objects, ranges, no rename. Blocks, indexes and
// everything else that outlives a process goes through here.
import type { ReadUse } from '../cache/settings.ts';

export interface ObjectInfo {
  readonly sizeBytes: number;
  readonly modifiedMs: number;
}

/**
 * Keys look like `tenant/block/data.parquet`. Every call rejects with TempoError: `not_found` when the
 * object does
 * not exist, `unavailable` for what may work later, `internal` for the rest. Calls may run concurrently.
 */
export interface ObjectStore {
  /** Called once, before anything else: rejects when nothing can be stored. */
  prepare(): Promise<void>;
  /**
   * Names of the folders directly under `prefix` ('' = top), in no order; none when the prefix does not
   * exist.
   */
  listFolders(prefix: string, signal?: AbortSignal): Promise<string[]>;
  /** Names of the objects directly under `prefix`. */
  listObjects(prefix: string, signal?: AbortSignal): Promise<string[]>;
  /**
   * Keys of all objects below `prefix`, without it, by few requests: where a store has it, whoever looks for
   * many objects lists once. On a disk it would be dearer than to look at each.
   */
  listTree?(prefix: string, signal?: AbortSignal): Promise<string[]>;
  stat(key: string, signal?: AbortSignal): Promise<ObjectInfo>;
  /** @param use without it caches outside the process are not asked. */
  read(key: string, signal?: AbortSignal, use?: ReadUse): Promise<Uint8Array>;
  /**
   * Exactly `lengthBytes` bytes from `offset`; `block_corrupt` when the object is shorter.
   * @param into memory of that length; a store may use it that has read the bytes when the call returns.
   */
  readRange(
    key: string,
    offset: number,
    lengthBytes: number,
    signal?: AbortSignal,
    use?: ReadUse,
    into?: Uint8Array,
  ): Promise<Uint8Array>;
  /**
   * What was read of objects in a folder turned out to be damaged: from now on it is read from where it is
   * stored, whatever caches hold.
   */
  distrust?(folder: string): Promise<void>;
  /** Durable when it resolves; readers see the old object or the new one, never a part. */
  write(key: string, bytes: Uint8Array, signal?: AbortSignal): Promise<void>;
  /**
   * As `write`, from a local file that will not change any more (linked rather than copied where possible).
   */
  writeFile(key: string, path: string, signal?: AbortSignal): Promise<void>;
  copy(from: string, to: string, signal?: AbortSignal): Promise<void>;
  /** Deleting what is not there is no error. */
  delete(key: string, signal?: AbortSignal): Promise<void>;
  /** Deletes every object under `prefix/`. */
  deleteFolder(prefix: string, signal?: AbortSignal): Promise<void>;
}

/** A store that lists whole trees. */
export type TreeStore = ObjectStore & Required<Pick<ObjectStore, 'listTree'>>;
