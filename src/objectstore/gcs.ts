// A bucket of Google Cloud Storage by Google's SDK, which only this file imports.
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import {
  ApiError,
  type Bucket as GcsHandle,
  type CreateWriteStreamOptions,
  type File,
  type FileMetadata,
  Storage,
} from '@google-cloud/storage';
import { TempoError } from '../lib/errors.ts';
import type {
  Action,
  Bucket,
  ByteRange,
  Failure,
  FailureKind,
  ListPage,
  ListRequest,
  Upload,
  UploadShape,
} from './bucket.ts';
import { collectBody } from './collect-body.ts';
import { kindOfStatus, networkFailure, retryAfterMs } from './failures.ts';
import type { ObjectInfo } from './objectstore.ts';
import type { GcsSettings } from './settings.ts';

/** Google's uploads go on in steps of that. */
const CHUNK_STEP_BYTES = 256 * 1024;
/** A host of Google's that is not the usual one: the SDK sends no credentials there unless it is told to. */
const ANONYMOUS_ENDPOINT = 'https://www.googleapis.com';
const REQUEST_MS_MAX = 120_000;
/** One more chance for a piece of an upload, which cannot be sent again from outside. */
const UPLOAD_RETRIES = 3;

const PERMISSIONS: Readonly<Record<Action, string>> = {
  list: 'storage.objects.list',
  stat: 'storage.objects.get',
  read: 'storage.objects.get',
  write: 'storage.objects.create and storage.objects.delete',
  copy: 'storage.objects.get and storage.objects.create',
  delete: 'storage.objects.delete',
};

const LISTING = 'storage#object';
/** Google explains in words or JSON. */
const PAGE = /<html|<!doctype/i;
const NO_BUCKET = /bucket does not exist/i;
const NO_CREDENTIALS = /default credentials|invalid_grant|access token|reauth|unauthorized_client/i;

export function openGcs(settings: GcsSettings): Promise<Bucket> {
  const endpoint = settings.endpoint.replace(/\/+$/, '').replace(/\/storage\/v1$/, '');
  const apiEndpoint = endpoint === '' && settings.insecure ? ANONYMOUS_ENDPOINT : endpoint;
  const storageOf = (autoRetry: boolean): Storage =>
    new Storage({
      ...(apiEndpoint === '' ? {} : { apiEndpoint }),
      useAuthWithCustomEndpoint: !settings.insecure,
      retryOptions: { autoRetry, maxRetries: UPLOAD_RETRIES },
      timeout: REQUEST_MS_MAX,
    });
  return Promise.resolve(new GcsBucket(settings, storageOf(false), storageOf(true)));
}

/** A listing, as the API has it. */
interface Listing {
  readonly kind?: string;
  readonly prefixes?: string[];
  readonly items?: readonly { readonly name: string }[];
  readonly nextPageToken?: string;
}

/** Emulators name another kind, or none. */
function isListing(page: Listing | undefined): page is Listing {
  const { kind, items, prefixes } = page ?? {};
  return String(kind).startsWith(LISTING) || Array.isArray(items) || Array.isArray(prefixes);
}

/** What answers is perhaps a gateway or another program: nothing follows from it about objects. */
class NotOfGcsError extends Error {}

class GcsBucket implements Bucket {
  readonly name: string;
  readonly listsAfter = true;
  private readonly settings: GcsSettings;
  private readonly bucket: GcsHandle;
  /** The same, where the SDK tries again. */
  private readonly uploading: GcsHandle;
  private readonly chunkBytes: number;

  constructor(settings: GcsSettings, storage: Storage, uploading: Storage) {
    this.settings = settings;
    this.bucket = storage.bucket(settings.bucket);
    this.uploading = uploading.bucket(settings.bucket);
    this.name = `gcs bucket ${settings.bucket}${settings.endpoint === '' ? '' : ` at ${settings.endpoint}`}`;
    const steps = Math.max(1, Math.round(settings.chunkBytes / CHUNK_STEP_BYTES));
    this.chunkBytes = steps * CHUNK_STEP_BYTES;
  }

  async list({ prefix, isFlat, after, token, pageLength }: ListRequest): Promise<ListPage> {
    const qs = {
      prefix,
      maxResults: pageLength,
      ...(isFlat ? { delimiter: '/' } : {}),
      ...(after === undefined ? {} : { startOffset: after }),
      ...(token === undefined ? {} : { pageToken: token }),
    };
    // Not by `getFiles`, which takes whatever is answered for a listing, and throws where nothing is.
    const [page] = (await this.bucket.request({ uri: '/o', qs })) as readonly (Listing | undefined)[];
    if (!isListing(page)) throw new NotOfGcsError('what answers is no listing');
    return {
      folders: page.prefixes ?? [],
      objects: (page.items ?? []).map(({ name }) => name),
      next: page.nextPageToken === '' ? undefined : page.nextPageToken,
    };
  }

  async stat(key: string): Promise<ObjectInfo> {
    const [info] = (await this.bucket.file(key).getMetadata()) as [FileMetadata | undefined, unknown];
    if (info?.size === undefined) throw new NotOfGcsError('what answers tells of no object');
    const modified = info.updated ?? info.timeCreated ?? '';
    return { sizeBytes: Number(info.size), modifiedMs: Date.parse(modified) };
  }

  read(key: string, range: ByteRange | undefined, signal?: AbortSignal): Promise<Uint8Array> {
    const bounds =
      range === undefined ? {} : { start: range.offset, end: range.offset + range.lengthBytes - 1 };
    const stream = this.bucket
      .file(key)
      .createReadStream({ ...bounds, validation: false, decompress: false });
    return readAll(stream, signal);
  }

  async write(key: string, bytes: Uint8Array): Promise<void> {
    await this.bucket.file(key).save(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), {
      ...this.made(),
      resumable: false,
    });
  }

  uploadShape(): UploadShape {
    return { partBytes: this.chunkBytes, partsAtOnce: 1 };
  }

  startUpload(key: string): Promise<Upload> {
    const file = this.uploading.file(key);
    const options = { ...this.made(), resumable: true, chunkSize: this.chunkBytes, validation: false };
    return Promise.resolve(new GcsUpload(file, file.createWriteStream(options)));
  }

  async copy(from: string, to: string): Promise<void> {
    await this.bucket.file(from).copy(this.bucket.file(to));
  }

  async delete(key: string): Promise<void> {
    await this.bucket.file(key).delete();
  }

  failureOf(err: unknown): Failure {
    if (!(err instanceof Error)) return { kind: 'refused', detail: String(err) };
    if (err instanceof NotOfGcsError) return { kind: 'busy', detail: err.message };
    if (NO_CREDENTIALS.test(err.message)) return { kind: 'credentials', detail: err.message };
    const status = statusOf(err);
    if (status === undefined) return networkFailure(err) ?? { kind: 'refused', detail: err.message };
    const after = err instanceof ApiError ? headerOf(err, 'retry-after') : undefined;
    const isPage = status === 404 && PAGE.test(err.message);
    const ofStatus = isPage ? 'busy' : kindOfStatus(status);
    const kind: FailureKind = NO_BUCKET.test(err.message) ? 'no_bucket' : ofStatus;
    return {
      kind,
      detail: `status ${status}: ${err.message}`,
      ...(after === undefined ? {} : { retryAfterMs: after }),
    };
  }

  permissionFor(action: Action): string {
    return `${PERMISSIONS[action]} on the bucket ${this.settings.bucket} (role Storage Object User)`;
  }

  close(): void {
    // The SDK keeps no agent of its own that would have to be closed.
  }

  private made(): Pick<CreateWriteStreamOptions, 'metadata'> {
    const { cacheControl, metadata } = this.settings;
    return {
      metadata: {
        ...(cacheControl === '' ? {} : { cacheControl }),
        ...(Object.keys(metadata).length === 0 ? {} : { metadata: { ...metadata } }),
      },
    };
  }
}

/** One stream that the SDK cuts into chunks: parts come in order, and none can be sent again. */
class GcsUpload implements Upload {
  private readonly file: File;
  private readonly stream: Writable;
  private failed: Error | undefined;

  constructor(file: File, stream: Writable) {
    this.file = file;
    this.stream = stream;
    stream.on('error', (err: Error) => (this.failed ??= err));
  }

  async part(_index: number, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    await this.attempt(async () => {
      // a copy: the stream keeps what is not sent yet
      if (this.stream.write(Buffer.from(bytes))) return;
      await once(this.stream, 'drain', signal === undefined ? {} : { signal });
    });
  }

  async finish(signal?: AbortSignal): Promise<void> {
    await this.attempt(async () => {
      this.stream.end();
      await once(this.stream, 'finish', signal === undefined ? {} : { signal });
    });
  }

  abandon(): Promise<void> {
    this.stream.destroy();
    return Promise.resolve();
  }

  private async attempt(work: () => Promise<void>): Promise<void> {
    try {
      if (this.failed !== undefined) throw this.failed;
      await work();
    } catch (err) {
      const reason = err instanceof Error ? err.message : String(err);
      throw new TempoError(
        'unavailable',
        `cannot write ${this.file.name}: ${reason}; it is begun again`,
        err,
      );
    }
  }
}

function readAll(stream: Readable, signal: AbortSignal | undefined): Promise<Uint8Array> {
  if (signal === undefined) return collectBody(stream, undefined);
  const abort = (): void => void stream.destroy(new DOMException('the request was cancelled', 'AbortError'));
  signal.addEventListener('abort', abort, { once: true });
  return collectBody(stream, undefined).finally(() => signal.removeEventListener('abort', abort));
}

/** Errors of the API have a number, those of the transport a name. */
function statusOf(err: Error): number | undefined {
  const { code, status } = err as { code?: unknown; status?: unknown };
  const found = [code, status].map(Number).find((value) => value >= 100 && value < 600);
  return found;
}

function headerOf(err: ApiError, name: string): number | undefined {
  const headers = err.response?.headers as unknown;
  if (headers instanceof Headers) return retryAfterMs(headers.get(name));
  return retryAfterMs((headers as Record<string, string> | undefined)?.[name]);
}
