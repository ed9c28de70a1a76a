// The keys of storage.trace.s3, gcs and azure as the settings of a backend, and what is wrong with them.
import type { TempoConfig } from './config.ts';
import type {
  AzureSettings,
  BackendSettings,
  BucketSettings,
  GcsSettings,
  S3Encryption,
  S3Settings,
} from '../objectstore/settings.ts';
import { cipherList } from '../rpc/tls-ciphers.ts';
import { TLS_VERSIONS } from './server-tls.ts';

/** storage.trace, or another block that names an object store. */
export type BackendConfig = Pick<TempoConfig['storage']['trace'], 'backend' | 's3' | 'gcs' | 'azure'>;
type S3Config = BackendConfig['s3'];

interface Problem {
  readonly path: string;
  readonly text: string;
}

/** Azure's and Google's retries are counted by their blocks or not at all; the pauses are alike. */
const FIRST_DELAY_MS = 200;
const DELAY_MS_MAX = 5000;
const AZURE_ATTEMPTS = 4;
const SSE_C_KEY_BYTES = 32;
const SSE_TYPES = ['', 'SSE-S3', 'SSE-KMS', 'SSE-C'];
const LIST_CONCURRENCY = 3;

/** Of what `trace.backend` says, which is not `local`. */
export function backendSettings(
  trace: BackendConfig,
  isWriter: boolean,
  cacheBytes: number,
): BackendSettings {
  const rest = { isWriter, cacheBytes };
  const { s3, gcs, azure } = trace;
  switch (trace.backend) {
    case 's3':
      return {
        ...rest,
        ...common(s3, s3Settings(s3)),
        retry: {
          attemptsMax: Math.max(1, s3.retryMaxAttempts),
          firstDelayMs: s3.retryBackoffInitialMs,
          delayMsMax: s3.retryBackoffMaxMs,
        },
        listConcurrency: Math.max(1, s3.listBlocksConcurrency),
      };
    case 'gcs':
      return {
        ...rest,
        ...common(gcs, gcsSettings(gcs)),
        retry: retryOf(1 + Math.max(0, gcs.maxRetries)),
        listConcurrency: Math.max(1, gcs.listBlocksConcurrency),
      };
    default:
      return {
        ...rest,
        ...common(azure, azureSettings(azure)),
        retry: retryOf(AZURE_ATTEMPTS),
        listConcurrency: LIST_CONCURRENCY,
      };
  }
}

function retryOf(attemptsMax: number): BackendSettings['retry'] {
  return { attemptsMax, firstDelayMs: FIRST_DELAY_MS, delayMsMax: DELAY_MS_MAX };
}

interface CommonKeys {
  readonly prefix: string;
  readonly hedgeRequestsAtMs: number;
  readonly hedgeRequestsUpTo: number;
}

function common(
  { prefix, hedgeRequestsAtMs: afterMs, hedgeRequestsUpTo: requestsMax }: CommonKeys,
  bucket: BucketSettings,
): Pick<BackendSettings, 'bucket' | 'prefix' | 'hedge'> {
  return { bucket, prefix, hedge: { afterMs, requestsMax } };
}

function s3Settings(s3: S3Config): S3Settings {
  return {
    kind: 's3',
    bucket: s3.bucket,
    endpoint: s3.endpoint,
    region: s3.region,
    accessKey: s3.accessKey,
    secretKey: s3.secretKey,
    sessionToken: s3.sessionToken,
    insecure: s3.insecure,
    tls: {
      certPath: s3.tlsCertPath,
      keyPath: s3.tlsKeyPath,
      caPath: s3.tlsCaPath,
      serverName: s3.tlsServerName,
      skipVerify: s3.tlsInsecureSkipVerify,
      ciphers: ciphersOf(s3),
      minVersion: TLS_VERSIONS[s3.tlsMinVersion] ?? '',
    },
    forcePathStyle: s3.forcepathstyle,
    bucketLookup: s3.bucketLookupType,
    dualStack: s3.enableDualStack,
    partBytes: s3.partSize,
    tags: s3.tags,
    metadata: s3.metadata,
    storageClass: s3.storageClass,
    encryption: encryptionOf(s3.sse),
  };
}

/** Node's own where none are named. */
function ciphersOf({ tlsCipherSuites }: S3Config): string {
  const suites = tlsCipherSuites
    .split(',')
    .map((suite) => suite.trim())
    .filter((suite) => suite !== '');
  return suites.length === 0 ? '' : cipherList('storage.trace.s3', suites);
}

function encryptionOf({
  type,
  kmsKeyId,
  kmsEncryptionContext,
  encryptionKey,
}: S3Config['sse']): S3Encryption {
  if (type === 'SSE-S3') return { type };
  if (type === 'SSE-C') return { type, key: Buffer.from(encryptionKey) };
  if (type !== 'SSE-KMS') return { type: '' };
  return { type, keyId: kmsKeyId, context: contextOf(kmsEncryptionContext) };
}

/** undefined = none. @throws SyntaxError where it is no JSON. */
function contextOf(json: string): Readonly<Record<string, string>> | undefined {
  return json === '' ? undefined : (JSON.parse(json) as Record<string, string>);
}

function gcsSettings(gcs: BackendConfig['gcs']): GcsSettings {
  return {
    kind: 'gcs',
    bucket: gcs.bucketName,
    endpoint: gcs.endpoint,
    insecure: gcs.insecure,
    chunkBytes: gcs.chunkBufferSize,
    cacheControl: gcs.objectCacheControl,
    metadata: gcs.objectMetadata,
  };
}

function azureSettings(azure: BackendConfig['azure']): AzureSettings {
  const { env } = process;
  return {
    kind: 'azure',
    account: azure.storageAccountName || (env['AZURE_STORAGE_ACCOUNT'] ?? ''),
    accountKey: azure.storageAccountKey || (env['AZURE_STORAGE_KEY'] ?? ''),
    container: azure.containerName,
    endpointSuffix: azure.endpointSuffix,
    auth: azure.useFederatedToken ? 'federated_token' : azure.useManagedIdentity ? 'managed_identity' : 'key',
    userAssignedId: azure.userAssignedId,
    blockBytes: azure.bufferSize,
    blocksAtOnce: Math.max(1, azure.maxBuffers),
  };
}

/** What cannot work, of the backend that is chosen. @param block the path of its block. */
export function backendProblems(block: string, trace: BackendConfig): readonly Problem[] {
  const path = `${block}.${trace.backend}`;
  const needed = (key: string, value: string): Problem[] =>
    value === '' ? [{ path: `${path}.${key}`, text: `is needed for the ${trace.backend} backend` }] : [];
  switch (trace.backend) {
    case 's3':
      return [...needed('bucket', trace.s3.bucket), ...s3Problems(path, trace.s3)];
    case 'gcs':
      return needed('bucket_name', trace.gcs.bucketName);
    case 'azure':
      return needed('container_name', trace.azure.containerName);
    default:
      return [];
  }
}

function s3Problems(path: string, s3: S3Config): Problem[] {
  const found: Problem[] = [];
  const fail = (key: string, text: string): void => void found.push({ path: `${path}.${key}`, text });
  const { type, kmsKeyId, kmsEncryptionContext, encryptionKey } = s3.sse;
  if (!SSE_TYPES.includes(type))
    fail('sse.type', `is ${type}, must be one of ${SSE_TYPES.slice(1).join(', ')}`);
  if (type === 'SSE-KMS' && kmsKeyId === '') fail('sse.kms_key_id', 'is needed for SSE-KMS');
  if (type === 'SSE-KMS' && !isTextMap(kmsEncryptionContext)) {
    fail('sse.kms_encryption_context', 'must be a JSON object whose values are strings');
  }
  if (type === 'SSE-C' && Buffer.byteLength(encryptionKey) !== SSE_C_KEY_BYTES) {
    fail('sse.encryption_key', `must have ${SSE_C_KEY_BYTES} bytes for SSE-C`);
  }
  if (s3.bucketLookupType < 0 || s3.bucketLookupType > 2) {
    fail('bucket_lookup_type', `is ${s3.bucketLookupType}, must be 0 (auto), 1 (dns) or 2 (path)`);
  }
  if ((s3.accessKey === '') !== (s3.secretKey === '')) {
    fail(s3.accessKey === '' ? 'access_key' : 'secret_key', 'is needed beside the other one');
  }
  if (TLS_VERSIONS[s3.tlsMinVersion] === undefined) {
    fail('tls_min_version', `is ${s3.tlsMinVersion}, must be VersionTLS10 to VersionTLS13`);
  }
  return found;
}

function isTextMap(json: string): boolean {
  try {
    const value: unknown = contextOf(json) ?? {};
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject && Object.values(value).every((item) => typeof item === 'string');
  } catch (err) {
    if (err instanceof SyntaxError) return false;
    throw err;
  }
}
