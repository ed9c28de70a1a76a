// A bucket of S3 or of a store that speaks its protocol, by Amazon's SDK, which only this file imports
// (s3-credentials.ts its sources of credentials). Off AWS it asks for nothing that compatible stores lack: no
// checksums but those that are required, no chunked bodies, one object a delete.
import { Agent as HttpsAgent } from 'node:https';
import type { Readable } from 'node:stream';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  type S3ClientConfig,
  S3ServiceException,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { tlsOptions } from '../cache/tls-options.ts';
import { TempoError } from '../lib/errors.ts';
import { HttpAgent } from '../lib/node-http.ts';
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
import { kindOfStatus, networkFailure, retryAfterMs } from './failures.ts';
import type { ObjectInfo } from './objectstore.ts';
import { s3Credentials } from './s3-credentials.ts';
import { type EndpointShape, endpointShape } from './s3-endpoint.ts';
import { rangeHeader, type SdkClient, type SdkParts, S3Reader, type S3ReaderOptions } from './s3-reader.ts';
import type { S3Settings } from './settings.ts';

const SOCKETS_MAX = 100;
const CONNECT_MS_MAX = 5000;
const IDLE_MS_MAX = 60_000;
const REQUEST_MS_MAX = 300_000;
const PART_BYTES_MIN = 8 * 1024 * 1024;
const PARTS_MAX = 10_000;
const PARTS_AT_ONCE_MAX = 4;
/** Of parts of one upload that are sent at the same time, where one alone is not larger. */
const SENT_BYTES_MAX = 32 * 1024 * 1024;
/** What the permission for an action is called. */
const PERMISSIONS: Readonly<Record<Action, string>> = {
  list: 's3:ListBucket',
  stat: 's3:GetObject',
  read: 's3:GetObject',
  write: 's3:PutObject',
  copy: 's3:GetObject and s3:PutObject',
  delete: 's3:DeleteObject',
};

const KINDS: Readonly<Record<string, FailureKind>> = {
  NoSuchKey: 'not_found',
  NoSuchBucket: 'no_bucket',
  NoSuchUpload: 'refused',
  PermanentRedirect: 'no_bucket',
  AuthorizationHeaderMalformed: 'no_bucket',
  InvalidRange: 'range',
  AccessDenied: 'denied',
  AllAccessDisabled: 'denied',
  InvalidAccessKeyId: 'credentials',
  SignatureDoesNotMatch: 'credentials',
  ExpiredToken: 'credentials',
  InvalidToken: 'credentials',
  TokenRefreshRequired: 'credentials',
  CredentialsProviderError: 'credentials',
  RequestTimeTooSkewed: 'clock',
  SlowDown: 'throttled',
  Throttling: 'throttled',
  ThrottlingException: 'throttled',
  TooManyRequests: 'throttled',
  RequestTimeout: 'busy',
  NotOfS3: 'busy',
  InternalError: 'busy',
  ServiceUnavailable: 'busy',
};

/** What is missing S3 says with this status; with another one the code is not believed. */
const STATUSES: Readonly<Record<string, number>> = {
  NoSuchKey: 404,
  NoSuchBucket: 404,
  NoSuchUpload: 404,
  InvalidRange: 416,
};
const PARTIAL = 206;

/** @param onDetour told when objects are read by all of the SDK, which costs more, and why. */
export async function openS3(settings: S3Settings, onDetour?: (reason: string) => void): Promise<Bucket> {
  const endpoint = endpointShape(settings);
  return new S3Bucket(settings, endpoint, new S3Client(await clientConfig(settings, endpoint)), { onDetour });
}

async function clientConfig(settings: S3Settings, endpoint: EndpointShape): Promise<S3ClientConfig> {
  const agent = { keepAlive: true, maxSockets: SOCKETS_MAX };
  const checksums = endpoint.isAws ? 'WHEN_SUPPORTED' : 'WHEN_REQUIRED';
  return {
    region: endpoint.region,
    ...(endpoint.url === undefined ? {} : { endpoint: endpoint.url }),
    forcePathStyle: endpoint.isPathStyle,
    tls: !settings.insecure,
    useDualstackEndpoint: settings.dualStack && endpoint.isAws,
    followRegionRedirects: endpoint.isAws,
    credentials: await s3Credentials(settings),
    // What is tried again, and when, is decided in one place for all clouds.
    maxAttempts: 1,
    requestChecksumCalculation: checksums,
    responseChecksumValidation: 'WHEN_REQUIRED',
    ...(endpoint.isAws ? {} : { expectContinueHeader: false }),
    requestHandler: {
      httpAgent: new HttpAgent(agent),
      httpsAgent: new HttpsAgent({ ...agent, ...tlsOptions(settings.tls) }),
      connectionTimeout: CONNECT_MS_MAX,
      socketTimeout: IDLE_MS_MAX,
      requestTimeout: REQUEST_MS_MAX,
      throwOnRequestTimeout: true,
    },
  };
}

/** @param input of every read, beside the key. */
export function s3Reader(
  client: S3Client,
  input: { readonly Bucket: string },
  options?: S3ReaderOptions,
): S3Reader {
  const sdk: SdkParts = {
    client: client as unknown as SdkClient,
    async get(key, range, options) {
      const Range = range && rangeHeader(range);
      const command = new GetObjectCommand({ ...input, Key: key, ...(Range !== undefined && { Range }) });
      const { Body, ContentLength, $metadata } = await ofS3(client.send(command, options));
      const body = Body as Readable;
      if (range === undefined || $metadata.httpStatusCode === PARTIAL || isWhole(range, ContentLength)) {
        return { body, lengthBytes: ContentLength };
      }
      // Perhaps a block of gigabytes, of which nothing is to come into memory.
      body.destroy();
      throw notOfS3('the range was not heeded');
    },
    failure(name, message, response) {
      const { statusCode: httpStatusCode } = response;
      const $fault = httpStatusCode < 500 ? 'client' : 'server';
      const failed = new S3ServiceException({ name, message, $fault, $metadata: { httpStatusCode } });
      return Object.assign(failed, { $response: response });
    },
  };
  return new S3Reader(sdk, options);
}

/** What answers is perhaps a gateway or another program: nothing follows from it about objects. */
function notOfS3(message: string): S3ServiceException {
  return new S3ServiceException({ name: 'NotOfS3', message, $fault: 'server', $metadata: {} });
}

/** A gateway's page is no answer: an object is not gone for it, and nothing was changed. */
async function ofS3<T>(asked: Promise<T>): Promise<T> {
  try {
    return await asked;
  } catch (err) {
    if (isMissingUnsaid(err)) throw notOfS3('404 without a code of S3');
    if (isUnread(err, (status) => status < 300)) throw notOfS3('what answers is none of S3');
    throw err;
  }
}

/** S3 says in its body what is missing, and the SDK takes the status for it. */
function isMissingUnsaid(err: unknown): boolean {
  if (!(err instanceof S3ServiceException)) return isUnread(err, (status) => status === 404);
  return err.$metadata.httpStatusCode === 404 && STATUSES[err.name] !== 404;
}

/** An answer has come, and its body is none that the SDK can read. */
function isUnread(err: unknown, isMeant: (status: number) => boolean): boolean {
  const status = err instanceof S3ServiceException ? undefined : answeredStatus(err);
  return status !== undefined && isMeant(status) && networkFailure(err) === undefined;
}

/** S3 numbers its answers and names the tag of what it has made, and no page of a gateway does. */
function tagOf(ETag: string | undefined, requestId?: string): string {
  if (ETag || requestId) return ETag ?? '';
  throw notOfS3('what answers has made no object, as it names no ETag');
}

/** All of the object may be sent as such. */
function isWhole({ offset, lengthBytes }: ByteRange, objectBytes: number | undefined): boolean {
  return offset === 0 && lengthBytes === objectBytes;
}

class S3Bucket implements Bucket {
  readonly name: string;
  readonly listsAfter = true;
  private readonly settings: S3Settings;
  private readonly client: S3Client;
  private readonly reader: S3Reader;
  /** Of every request, of those that make an object, and of those that read one. */
  private readonly target: { readonly Bucket: string };
  private readonly made: object;
  private readonly sealed: object;
  private readonly copied: object;

  constructor(settings: S3Settings, endpoint: EndpointShape, client: S3Client, reads: S3ReaderOptions) {
    this.settings = settings;
    this.client = client;
    this.name = `s3 bucket ${settings.bucket} at ${settings.endpoint || `AWS ${endpoint.region}`}`;
    this.target = { Bucket: settings.bucket };
    const { encryption, storageClass, tags, metadata } = settings;
    const kept = {
      ...(storageClass === '' ? {} : { StorageClass: storageClass }),
      ...atRest(encryption),
    };
    this.sealed = withKey(encryption, '');
    this.reader = s3Reader(client, { ...this.target, ...this.sealed }, reads);
    this.copied = { ...kept, ...this.sealed, ...withKey(encryption, 'CopySource') };
    this.made = {
      ...kept,
      ...this.sealed,
      ...(Object.keys(tags).length === 0 ? {} : { Tagging: new URLSearchParams(tags).toString() }),
      ...(Object.keys(metadata).length === 0 ? {} : { Metadata: { ...metadata } }),
    };
  }

  async list(request: ListRequest, abortSignal?: AbortSignal): Promise<ListPage> {
    const { prefix, isFlat, after, token, pageLength } = request;
    const command = new ListObjectsV2Command({
      ...this.target,
      Prefix: prefix,
      MaxKeys: pageLength,
      ...(isFlat ? { Delimiter: '/' } : {}),
      ...(after === undefined ? {} : { StartAfter: after }),
      ...(token === undefined ? {} : { ContinuationToken: token }),
    });
    const page = await this.client.send(command, { ...(abortSignal && { abortSignal }) });
    // Each says whether it is whole. A page of a gateway would be an empty one, and all blocks gone.
    if (page.IsTruncated === undefined) throw notOfS3('what answers is no listing of S3');
    // As of a store that knows the first version of listings only: what is left would be missing unseen.
    if (page.IsTruncated && !page.NextContinuationToken) {
      throw notOfS3('a listing that goes on says not where');
    }
    return {
      folders: (page.CommonPrefixes ?? []).flatMap(({ Prefix }) => Prefix ?? []),
      objects: (page.Contents ?? []).flatMap(({ Key }) => Key ?? []),
      next: page.IsTruncated ? page.NextContinuationToken : undefined,
    };
  }

  async stat(key: string, abortSignal?: AbortSignal): Promise<ObjectInfo> {
    const command = new HeadObjectCommand({ ...this.target, Key: key, ...this.sealed });
    const info = await this.client.send(command, { ...(abortSignal && { abortSignal }) });
    return { sizeBytes: info.ContentLength ?? 0, modifiedMs: info.LastModified?.getTime() ?? 0 };
  }

  read(key: string, range: ByteRange | undefined, abortSignal?: AbortSignal): Promise<Uint8Array> {
    return this.reader.read(key, range, abortSignal);
  }

  async write(key: string, bytes: Uint8Array, abortSignal?: AbortSignal): Promise<void> {
    const command = new PutObjectCommand({ ...this.target, Key: key, Body: bytes, ...this.made });
    const { ETag, $metadata } = await ofS3(
      this.client.send(command, { ...(abortSignal && { abortSignal }) }),
    );
    tagOf(ETag, $metadata.requestId);
  }

  /** All parts but the last are equally long, which some stores demand. */
  uploadShape(sizeBytes: number): UploadShape {
    const least = this.settings.partBytes > 0 ? this.settings.partBytes : PART_BYTES_MIN;
    const partBytes = Math.max(least, Math.ceil(sizeBytes / PARTS_MAX));
    const atOnce = Math.floor(SENT_BYTES_MAX / partBytes);
    return { partBytes, partsAtOnce: Math.min(Math.max(1, atOnce), PARTS_AT_ONCE_MAX) };
  }

  async startUpload(key: string, abortSignal?: AbortSignal): Promise<Upload> {
    const options = { ...(abortSignal && { abortSignal }) };
    const started = new CreateMultipartUploadCommand({ ...this.target, Key: key, ...this.made });
    const { UploadId } = await ofS3(this.client.send(started, options));
    if (!UploadId) throw notOfS3('what answers has begun no upload');
    return new S3Upload(this.client, { ...this.target, Key: key, UploadId }, this.sealed);
  }

  async copy(from: string, to: string, abortSignal?: AbortSignal): Promise<void> {
    const CopySource = `${this.settings.bucket}/${from}`.split('/').map(encodeURIComponent).join('/');
    const command = new CopyObjectCommand({ ...this.target, Key: to, CopySource, ...this.copied });
    const made = await ofS3(this.client.send(command, { ...(abortSignal && { abortSignal }) }));
    tagOf(made.CopyObjectResult?.ETag, made.$metadata.requestId);
  }

  async delete(key: string, abortSignal?: AbortSignal): Promise<void> {
    const command = new DeleteObjectCommand({ ...this.target, Key: key });
    await ofS3(this.client.send(command, { ...(abortSignal && { abortSignal }) }));
  }

  failureOf(err: unknown): Failure {
    if (err instanceof S3ServiceException) return failureSaid(err);
    const known = err instanceof Error ? KINDS[err.name] : undefined;
    if (known !== undefined && err instanceof Error) return { kind: known, detail: err.message };
    const status = unreadStatus(err);
    if (status !== undefined) return { kind: kindOfStatus(status), detail: `status ${status}` };
    return networkFailure(err) ?? { kind: 'refused', detail: String(err) };
  }

  permissionFor(action: Action): string {
    const { bucket, encryption } = this.settings;
    const place = action === 'list' ? bucket : `${bucket}/*`;
    const kms = encryption.type === 'SSE-KMS' ? ` and kms:GenerateDataKey and kms:Decrypt on its key` : '';
    return `${PERMISSIONS[action]} on arn:aws:s3:::${place}${kms}`;
  }

  close(): void {
    this.client.destroy();
  }
}

class S3Upload implements Upload {
  private readonly client: S3Client;
  private readonly target: { Bucket: string; Key: string; UploadId: string };
  private readonly sealed: object;
  private readonly parts: { PartNumber: number; ETag: string }[] = [];

  constructor(client: S3Client, target: S3Upload['target'], sealed: object) {
    this.client = client;
    this.target = target;
    this.sealed = sealed;
  }

  async part(index: number, bytes: Uint8Array, abortSignal?: AbortSignal): Promise<void> {
    const PartNumber = index + 1;
    const command = new UploadPartCommand({ ...this.target, PartNumber, Body: bytes, ...this.sealed });
    const { ETag } = await ofS3(this.client.send(command, { ...(abortSignal && { abortSignal }) }));
    this.parts[index] = { PartNumber, ETag: tagOf(ETag) };
  }

  async finish(abortSignal?: AbortSignal): Promise<void> {
    const parts = { MultipartUpload: { Parts: this.parts } };
    const command = new CompleteMultipartUploadCommand({ ...this.target, ...parts, ...this.sealed });
    const { ETag, $metadata } = await ofS3(
      this.client.send(command, { ...(abortSignal && { abortSignal }) }),
    );
    tagOf(ETag, $metadata.requestId);
  }

  async abandon(): Promise<void> {
    await ofS3(this.client.send(new AbortMultipartUploadCommand(this.target)));
  }
}

function failureSaid(err: S3ServiceException): Failure {
  const status = err.$metadata.httpStatusCode ?? 0;
  const after = retryAfterMs(err.$response?.headers['retry-after']);
  const isOdd = (STATUSES[err.name] ?? status) !== status;
  const said = err.name === 'Unknown' ? `status ${status}` : err.name;
  return {
    kind: (isOdd ? undefined : KINDS[err.name]) ?? kindOfStatus(status),
    detail: `${isOdd ? `status ${status} with ${said}` : said}: ${err.message}`,
    ...(after === undefined ? {} : { retryAfterMs: after }),
  };
}

/** Of a gateway that is busy and says so in words that the SDK cannot read. */
function unreadStatus(err: unknown): number | undefined {
  const status = answeredStatus(err) ?? 0;
  return status === 429 || status >= 500 ? status : undefined;
}

/** undefined = no answer has come. */
function answeredStatus(err: unknown): number | undefined {
  return (err as { $response?: { statusCode?: number } } | undefined)?.$response?.statusCode;
}

/** What the store encrypts an object with. */
function atRest(encryption: S3Settings['encryption']): object {
  if (encryption.type === 'SSE-S3') return { ServerSideEncryption: 'AES256' };
  if (encryption.type !== 'SSE-KMS') return {};
  const { keyId, context } = encryption;
  return {
    ServerSideEncryption: 'aws:kms',
    SSEKMSKeyId: keyId,
    ...(context === undefined
      ? {}
      : { SSEKMSEncryptionContext: Buffer.from(JSON.stringify(context)).toString('base64') }),
  };
}

/** The key that is ours and goes along with each request. */
function withKey(encryption: S3Settings['encryption'], prefix: '' | 'CopySource'): object {
  if (encryption.type !== 'SSE-C') return {};
  if (encryption.key.length !== 32) throw new TempoError('invalid_argument', 'the SSE-C key needs 32 bytes');
  return { [`${prefix}SSECustomerAlgorithm`]: 'AES256', [`${prefix}SSECustomerKey`]: encryption.key };
}
