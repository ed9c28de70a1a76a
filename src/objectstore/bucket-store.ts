// An object store in a bucket of a cloud: keys below a prefix, requests tried again and hedged, large files
// in parts, and errors that say what to do. Which cloud it is only the `Bucket` knows.
import { randomUUID } from 'node:crypto';
import * as fs from 'node:fs/promises';
import { eachConcurrently } from '../lib/concurrent.ts';
import { TempoError } from '../lib/errors.ts';
import type { Action, Bucket, ListPage, ListRequest } from './bucket.ts';
import { storeError } from './failures.ts';
import { hedged, type HedgeOptions } from './hedge.ts';
import type { ObjectInfo, TreeStore } from './objectstore.ts';
import { Retrier, type RetryOptions } from './retry.ts';
import { uuidBounds } from './uuid-ranges.ts';

export interface BucketStoreOptions {
  readonly bucket: Bucket;
  /** '' or a path; keys are below it. */
  readonly prefix: string;
  readonly retry: RetryOptions;
  readonly hedge: HedgeOptions;
  /** Long listings are cut into so many. */
  readonly listConcurrency: number;
  /** Does the process write? Then it is checked at start that it may. */
  readonly isWriter: boolean;
  /** Keys in one answer of a listing. */
  readonly pageLength?: number;
  readonly onRetry: () => void;
  readonly onHedge: () => void;
}

const PAGE_LENGTH = 1000;
const DELETES_AT_ONCE = 8;
/** As in all stores of Tempo. */
const COMPACTED_MARK = '/meta.compacted.json';
/** At start nobody waits long: what runs the process starts it again. */
const ATTEMPTS_AT_START = 3;
const CHECK_TEXT = new TextEncoder().encode('written by Tempo to check that it may; it can be deleted\n');

export class BucketStore implements TreeStore {
  private readonly options: BucketStoreOptions;
  private readonly bucket: Bucket;
  private readonly prefix: string;
  private readonly retrier: Retrier;

  constructor(options: BucketStoreOptions) {
    const { bucket, retry, onRetry } = options;
    this.options = options;
    this.bucket = bucket;
    const trimmed = options.prefix.replaceAll(/^\/+|\/+$/g, '');
    this.prefix = trimmed === '' ? '' : `${trimmed}/`;
    this.retrier = new Retrier(retry, (err) => bucket.failureOf(err), onRetry);
  }

  /** Whoever reads only must list and read; who writes must write and delete, too. */
  async prepare(): Promise<void> {
    const { bucket } = this;
    const attempt = <T>(action: Action, key: string, work: () => Promise<T>): Promise<T> =>
      this.attempt(action, key, work, undefined, ATTEMPTS_AT_START);
    await attempt('list', '', () => bucket.list(this.listRequest(''), undefined));
    // Beside the folders of tenants: nobody takes it for one.
    const key = `${this.prefix}tempo_check_${randomUUID()}`;
    if (!this.options.isWriter) {
      await attempt('read', key, () => this.readNothing(key));
      return;
    }
    await attempt('write', key, () => bucket.write(key, CHECK_TEXT));
    const read = await attempt('read', key, () => bucket.read(key, undefined));
    if (Buffer.compare(read, CHECK_TEXT) !== 0) {
      throw new TempoError('unavailable', `what was written to ${bucket.name} is not what is read from it`);
    }
    await attempt('delete', key, () => bucket.delete(key));
  }

  async listFolders(prefix: string, signal?: AbortSignal): Promise<string[]> {
    const folder = this.folder(prefix);
    const found = await this.listAll(folder, true, signal);
    return found.folders.map((key) => key.slice(folder.length, -1)).filter((name) => name !== '');
  }

  async listObjects(prefix: string, signal?: AbortSignal): Promise<string[]> {
    const folder = this.folder(prefix);
    const found = await this.listAll(folder, true, signal);
    return found.objects.map((key) => key.slice(folder.length)).filter((name) => name !== '');
  }

  async listTree(prefix: string, signal?: AbortSignal): Promise<string[]> {
    const folder = this.folder(prefix);
    const { objects } = await this.listAll(folder, false, signal);
    return objects.map((key) => key.slice(folder.length));
  }

  stat(key: string, signal?: AbortSignal): Promise<ObjectInfo> {
    return this.attempt('stat', key, () => this.bucket.stat(this.full(key), signal), signal);
  }

  read(key: string, signal?: AbortSignal): Promise<Uint8Array> {
    return this.hedgedRead(key, (abort) => this.bucket.read(this.full(key), undefined, abort), signal);
  }

  async readRange(
    key: string,
    offset: number,
    lengthBytes: number,
    signal?: AbortSignal,
  ): Promise<Uint8Array> {
    if (lengthBytes === 0) return new Uint8Array(0);
    const range = { offset, lengthBytes };
    const read = (abort: AbortSignal): Promise<Uint8Array> => this.bucket.read(this.full(key), range, abort);
    const bytes = await this.hedgedRead(key, read, signal);
    if (bytes.length === lengthBytes) return bytes;
    throw new TempoError('block_corrupt', `${key} ends before byte ${offset + lengthBytes}`);
  }

  write(key: string, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    return this.attempt('write', key, () => this.bucket.write(this.full(key), bytes, signal), signal);
  }

  /** In parts, of which few are in memory. */
  async writeFile(key: string, path: string, signal?: AbortSignal): Promise<void> {
    const file = await fs.open(path, 'r');
    try {
      const { size } = await file.stat();
      const { partBytes, partsAtOnce } = this.bucket.uploadShape(size);
      if (size <= partBytes) {
        await this.write(key, await readPart(file, 0, new Uint8Array(size)), signal);
        return;
      }
      await this.uploadParts(key, file, { size, partBytes, partsAtOnce }, signal);
    } finally {
      await file.close();
    }
  }

  copy(from: string, to: string, signal?: AbortSignal): Promise<void> {
    return this.attempt('copy', from, () => this.bucket.copy(this.full(from), this.full(to), signal), signal);
  }

  async delete(key: string, signal?: AbortSignal): Promise<void> {
    await this.attempt('delete', key, () => this.deleteIfThere(this.full(key), signal), signal);
  }

  /**
   * One by one: not every store that speaks S3 deletes many at once. The meta goes first, and last the mark
   * of a block that is compacted: whoever finds neither may write the block again. Unfinished blocks, and
   * those that go to make room, have no mark: whoever wrote one again looks whether all of it stayed.
   */
  async deleteFolder(prefix: string, signal?: AbortSignal): Promise<void> {
    const { objects } = await this.listAll(this.folder(prefix), false, signal);
    const isMark = (key: string): boolean => key.endsWith(COMPACTED_MARK);
    const isMeta = (key: string): boolean => key.endsWith('.json') && !isMark(key);
    const others = objects.filter((key) => !isMeta(key) && !isMark(key));
    for (const keys of [objects.filter(isMeta), others, objects.filter(isMark)]) {
      await eachConcurrently(keys, DELETES_AT_ONCE, (key) =>
        this.attempt('delete', key, () => this.deleteIfThere(key, signal), signal),
      );
    }
  }

  close(): void {
    this.bucket.close();
  }

  private full(key: string): string {
    if (key.split('/').some((part) => part === '..' || part === '.')) {
      throw new TempoError('invalid_argument', `object key ${key} leaves the store`);
    }
    return this.prefix + key;
  }

  private folder(prefix: string): string {
    return prefix === '' ? this.prefix : `${this.full(prefix)}/`;
  }

  private listRequest(prefix: string): ListRequest {
    return { prefix, isFlat: true, pageLength: this.options.pageLength ?? PAGE_LENGTH };
  }

  /** The first page alone; what is left of a long list of blocks, by ranges of their ids at once. */
  private async listAll(
    prefix: string,
    isFlat: boolean,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly folders: string[]; readonly objects: string[] }> {
    const folders: string[] = [];
    const objects: string[] = [];
    const take = (page: ListPage, end?: string): boolean => {
      for (const key of page.folders) if (end === undefined || key < end) folders.push(key);
      for (const key of page.objects) if (end === undefined || key < end) objects.push(key);
      const last = page.folders.at(-1) ?? page.objects.at(-1);
      return end !== undefined && last !== undefined && last >= end;
    };
    const request = { ...this.listRequest(prefix), isFlat };
    const page = (more: Partial<ListRequest>): Promise<ListPage> =>
      this.attempt('list', prefix, () => this.bucket.list({ ...request, ...more }, signal), signal);
    const first = await page({});
    take(first);
    if (first.next === undefined) return { folders, objects };
    const { listConcurrency } = this.options;
    const lastName = (first.folders.at(-1) ?? first.objects.at(-1) ?? '').slice(prefix.length);
    const bounds = this.bucket.listsAfter ? uuidBounds(lastName, listConcurrency) : [];
    const ranges = [undefined, ...bounds].map((begin, i) => ({
      after: begin === undefined ? undefined : prefix + begin,
      token: begin === undefined ? first.next : undefined,
      end: bounds[i] === undefined ? undefined : prefix + bounds[i],
    }));
    await eachConcurrently(ranges, ranges.length, async ({ after, token, end }) => {
      let next = await page({ after, token });
      while (!take(next, end) && next.next !== undefined) next = await page({ token: next.next });
    });
    return { folders, objects };
  }

  /** Each part is read into memory of one that is sent: a large file would leave as much garbage. */
  private async uploadParts(
    key: string,
    file: fs.FileHandle,
    { size, partBytes, partsAtOnce }: { size: number; partBytes: number; partsAtOnce: number },
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const again = <T>(work: () => Promise<T>): Promise<T> => this.attempt('write', key, work, signal);
    const upload = await again(() => this.bucket.startUpload(this.full(key), signal));
    try {
      const count = Math.ceil(size / partBytes);
      const sent: Uint8Array[] = [];
      await eachConcurrently(Array(count).keys(), Math.min(partsAtOnce, count), async (index) => {
        const offset = index * partBytes;
        const memory = sent.pop() ?? new Uint8Array(partBytes);
        const bytes = await readPart(file, offset, memory.subarray(0, size - offset));
        await again(() => upload.part(index, bytes, signal));
        sent.push(memory);
      });
      await again(() => upload.finish(signal));
    } catch (err) {
      await upload.abandon().catch((cause: unknown) => {
        const { detail } = this.bucket.failureOf(cause);
        const code = err instanceof TempoError ? err.code : 'unavailable';
        throw new TempoError(code, `${messageOf(err)}; its parts are left there: ${detail}`, err);
      });
      throw err;
    }
  }

  private hedgedRead(
    key: string,
    read: (signal: AbortSignal) => Promise<Uint8Array>,
    signal: AbortSignal | undefined,
  ): Promise<Uint8Array> {
    const { hedge, onHedge } = this.options;
    const once = (): Promise<Uint8Array> =>
      hedge.afterMs > 0 && hedge.requestsMax > 1
        ? hedged(read, hedge, onHedge, signal)
        : read(signal ?? NEVER);
    return this.attempt('read', key, once, signal);
  }

  private async deleteIfThere(key: string, signal: AbortSignal | undefined): Promise<void> {
    try {
      await this.bucket.delete(key, signal);
    } catch (err) {
      if (this.bucket.failureOf(err).kind !== 'not_found') throw err;
    }
  }

  /** An object that is not there: to be told so is to be allowed to read. */
  private async readNothing(key: string): Promise<void> {
    try {
      await this.bucket.read(key, undefined);
    } catch (err) {
      if (this.bucket.failureOf(err).kind !== 'not_found') throw err;
    }
  }

  private async attempt<T>(
    action: Action,
    key: string,
    work: () => Promise<T>,
    signal?: AbortSignal,
    attemptsMax?: number,
  ): Promise<T> {
    try {
      return await this.retrier.run(work, signal, attemptsMax);
    } catch (err) {
      if (err instanceof TempoError) throw err;
      const failure = this.bucket.failureOf(err);
      // A listing finds nothing where there is no bucket only.
      const kind = action === 'list' && failure.kind === 'not_found' ? 'no_bucket' : failure.kind;
      throw storeError(this.bucket, action, key, { ...failure, kind });
    }
  }
}

const NEVER = new AbortController().signal;

/** Fills the bytes with those of the file from `offset` on. */
async function readPart(file: fs.FileHandle, offset: number, bytes: Uint8Array): Promise<Uint8Array> {
  let filled = 0;
  while (filled < bytes.length) {
    const { bytesRead } = await file.read(bytes, filled, bytes.length - filled, offset + filled);
    if (bytesRead === 0) throw new TempoError('internal', 'the file became shorter while it was uploaded');
    filled += bytesRead;
  }
  return bytes;
}

function messageOf(err: unknown): string {
  return err instanceof Error ? err.message : String(err);
}
