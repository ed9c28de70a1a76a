// A container of Azure Blob Storage by Azure's SDK, which only this file imports.
import {
  type BlockBlobClient,
  ContainerClient,
  newPipeline,
  RestError,
  StorageSharedKeyCredential,
} from '@azure/storage-blob';
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
import type { AzureSettings } from './settings.ts';

const BLOCKS_MAX = 50_000;
const REQUEST_MS_MAX = 120_000;
/** Ids of blocks must be equally long. */
const ID_DIGITS = 6;

const PERMISSIONS: Readonly<Record<Action, string>> = {
  list: 'blobs/read',
  stat: 'blobs/read',
  read: 'blobs/read',
  write: 'blobs/write and blobs/add',
  copy: 'blobs/read and blobs/write',
  delete: 'blobs/delete',
};

const KINDS: Readonly<Record<string, FailureKind>> = {
  BlobNotFound: 'not_found',
  ContainerNotFound: 'no_bucket',
  ContainerBeingDeleted: 'no_bucket',
  ResourceNotFound: 'no_bucket',
  AccountIsDisabled: 'no_bucket',
  InvalidRange: 'range',
  AuthorizationFailure: 'denied',
  AuthorizationPermissionMismatch: 'denied',
  InsufficientAccountPermissions: 'denied',
  PublicAccessNotPermitted: 'denied',
  AuthenticationFailed: 'credentials',
  InvalidAuthenticationInfo: 'credentials',
  NoAuthenticationInformation: 'credentials',
  ServerBusy: 'throttled',
  OperationTimedOut: 'busy',
  InternalError: 'busy',
};

/** Said with several codes. */
const UNAUTHENTICATED = /failed to authenticate the request/i;

type Credential = NonNullable<Parameters<typeof newPipeline>[0]>;

export async function openAzure(settings: AzureSettings): Promise<Bucket> {
  const { account, container, endpointSuffix } = settings;
  const base = endpointSuffix.startsWith('blob.')
    ? `https://${account}.${endpointSuffix}`
    : `http://${endpointSuffix}/${account}`;
  const pipeline = newPipeline(await credentialOf(settings), {
    retryOptions: { maxTries: 1, tryTimeoutInMs: REQUEST_MS_MAX },
    userAgentOptions: { userAgentPrefix: 'Tempo' },
  });
  return new AzureContainer(settings, base, new ContainerClient(`${base}/${container}`, pipeline));
}

async function credentialOf(settings: AzureSettings): Promise<Credential> {
  const { auth, account, accountKey, userAssignedId } = settings;
  if (auth === 'key') return new StorageSharedKeyCredential(account, accountKey);
  const { ManagedIdentityCredential, WorkloadIdentityCredential } = await import('@azure/identity');
  if (auth === 'federated_token') return new WorkloadIdentityCredential();
  return userAssignedId === ''
    ? new ManagedIdentityCredential()
    : new ManagedIdentityCredential({ clientId: userAssignedId });
}

/** What answers is perhaps a gateway or another program: nothing follows from it about objects. */
class NotOfAzureError extends Error {}

/** A page of a listing, as the SDK gives it. */
interface Listing {
  readonly segment?: {
    readonly blobPrefixes?: readonly { readonly name: string }[];
    readonly blobItems?: readonly { readonly name: string }[];
  };
  readonly continuationToken?: string;
}

class AzureContainer implements Bucket {
  readonly name: string;
  readonly listsAfter = false;
  private readonly settings: AzureSettings;
  private readonly container: ContainerClient;

  constructor(settings: AzureSettings, base: string, container: ContainerClient) {
    this.settings = settings;
    this.container = container;
    this.name = `azure container ${settings.container} at ${base}`;
  }

  async list(request: ListRequest, abortSignal?: AbortSignal): Promise<ListPage> {
    const { prefix, isFlat, token, pageLength } = request;
    const options = { ...(prefix === '' ? {} : { prefix }), ...(abortSignal && { abortSignal }) };
    const paging = {
      maxPageSize: pageLength,
      ...(token === undefined ? {} : { continuationToken: token }),
    };
    const pages = isFlat
      ? this.container.listBlobsByHierarchy('/', options).byPage(paging)
      : this.container.listBlobsFlat(options).byPage(paging);
    const { value } = await (pages as AsyncIterator<Listing | undefined>).next().catch((err: unknown) => {
      // The SDK looks into whatever is answered.
      throw err instanceof TypeError ? new NotOfAzureError('what answers is no listing') : err;
    });
    if (value?.segment === undefined) throw new NotOfAzureError('what answers is no listing');
    return {
      folders: namesOf(value.segment.blobPrefixes),
      objects: namesOf(value.segment.blobItems),
      next: value.continuationToken || undefined,
    };
  }

  async stat(key: string, abortSignal?: AbortSignal): Promise<ObjectInfo> {
    const info = await this.blob(key).getProperties({ ...(abortSignal && { abortSignal }) });
    if (info.blobType === undefined) throw new NotOfAzureError('what answers tells of no blob');
    return { sizeBytes: info.contentLength ?? 0, modifiedMs: info.lastModified?.getTime() ?? 0 };
  }

  async read(key: string, range: ByteRange | undefined, abortSignal?: AbortSignal): Promise<Uint8Array> {
    const options = { maxRetryRequests: 0, ...(abortSignal && { abortSignal }) };
    const { readableStreamBody, contentLength, blobType } = await this.blob(key)
      .download(range?.offset ?? 0, range?.lengthBytes, options)
      .catch((err: unknown) => {
        // The SDK misses headers.
        throw err instanceof RangeError ? new NotOfAzureError('what answers is no blob') : err;
      });
    if (blobType === undefined) throw new NotOfAzureError('what answers is no blob');
    return collectBody(readableStreamBody as AsyncIterable<Uint8Array>, contentLength);
  }

  async write(key: string, bytes: Uint8Array, abortSignal?: AbortSignal): Promise<void> {
    await this.blob(key).upload(bytes, bytes.length, { ...(abortSignal && { abortSignal }) });
  }

  uploadShape(sizeBytes: number): UploadShape {
    const { blockBytes, blocksAtOnce } = this.settings;
    return {
      partBytes: Math.max(1, blockBytes, Math.ceil(sizeBytes / BLOCKS_MAX)),
      partsAtOnce: blocksAtOnce,
    };
  }

  startUpload(key: string): Promise<Upload> {
    return Promise.resolve(new AzureUpload(this.blob(key)));
  }

  /** Only metas of blocks are copied, which are small; a copy by URL needs a signature of its own. */
  async copy(from: string, to: string, abortSignal?: AbortSignal): Promise<void> {
    await this.write(to, await this.read(from, undefined, abortSignal), abortSignal);
  }

  async delete(key: string, abortSignal?: AbortSignal): Promise<void> {
    await this.blob(key).delete({ deleteSnapshots: 'include', ...(abortSignal && { abortSignal }) });
  }

  failureOf(err: unknown): Failure {
    if (err instanceof RestError && err.statusCode !== undefined) {
      const code = err.code ?? err.response?.headers.get('x-ms-error-code') ?? '';
      const after = retryAfterMs(err.response?.headers.get('retry-after'));
      const isUnknown = UNAUTHENTICATED.test(err.message);
      const isUnsaid = err.statusCode === 404 && code === '';
      return {
        kind: isUnknown ? 'credentials' : (KINDS[code] ?? (isUnsaid ? 'busy' : kindOfStatus(err.statusCode))),
        detail: `${code === '' ? `status ${err.statusCode}` : code}: ${firstLine(err.message)}`,
        ...(after === undefined ? {} : { retryAfterMs: after }),
      };
    }
    if (err instanceof NotOfAzureError) return { kind: 'busy', detail: err.message };
    if (err instanceof Error && /Credential|Authentication/.test(err.name)) {
      return { kind: 'credentials', detail: firstLine(err.message) };
    }
    return networkFailure(err) ?? { kind: 'refused', detail: String(err) };
  }

  permissionFor(action: Action): string {
    const { container, account } = this.settings;
    const role = `role Storage Blob Data Contributor`;
    return `Microsoft.Storage/…/${PERMISSIONS[action]} on the container ${container} of ${account} (${role})`;
  }

  close(): void {
    // The SDK shares one client of its own in the process.
  }

  private blob(key: string): BlockBlobClient {
    return this.container.getBlockBlobClient(key);
  }
}

class AzureUpload implements Upload {
  private readonly blob: BlockBlobClient;
  private readonly ids: string[] = [];

  constructor(blob: BlockBlobClient) {
    this.blob = blob;
  }

  async part(index: number, bytes: Uint8Array, abortSignal?: AbortSignal): Promise<void> {
    const id = Buffer.from(String(index).padStart(ID_DIGITS, '0')).toString('base64');
    await this.blob.stageBlock(id, bytes, bytes.length, { ...(abortSignal && { abortSignal }) });
    this.ids[index] = id;
  }

  async finish(abortSignal?: AbortSignal): Promise<void> {
    await this.blob.commitBlockList(this.ids, { ...(abortSignal && { abortSignal }) });
  }

  /** Blocks that nothing refers to are deleted by Azure after a week. */
  abandon(): Promise<void> {
    return Promise.resolve();
  }
}

function namesOf(items: readonly { readonly name: string }[] | undefined): string[] {
  return (items ?? []).map(({ name }) => name);
}

/** The others are ids of the request. */
function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? '';
}
