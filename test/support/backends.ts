// Settings of backends for tests: what a configuration without further keys gives, and what a test changes.
import { openBackend } from '../../src/objectstore/open-bucket.ts';
import type { BucketStore } from '../../src/objectstore/bucket-store.ts';
import type {
  AzureSettings,
  BackendSettings,
  BucketSettings,
  GcsSettings,
  S3Settings,
} from '../../src/objectstore/settings.ts';
import type { TlsClientSettings } from '../../src/cache/tls-options.ts';

type Common = Omit<BackendSettings, 'bucket'> & { readonly pageLength?: number };
export type S3Overrides = Partial<S3Settings> & Partial<Common>;

const COMMON: Common = {
  prefix: '',
  retry: { attemptsMax: 3, firstDelayMs: 20, delayMsMax: 100 },
  hedge: { afterMs: 0, requestsMax: 2 },
  listConcurrency: 3,
  isWriter: true,
  cacheBytes: 1 << 24,
};

export const NO_TLS: TlsClientSettings = {
  certPath: '',
  keyPath: '',
  caPath: '',
  serverName: '',
  skipVerify: false,
  ciphers: '',
  minVersion: '',
};

const S3: S3Settings = {
  kind: 's3',
  bucket: 'traces',
  endpoint: '',
  region: '',
  accessKey: '',
  secretKey: '',
  sessionToken: '',
  insecure: true,
  tls: NO_TLS,
  forcePathStyle: false,
  bucketLookup: 0,
  dualStack: false,
  partBytes: 0,
  tags: {},
  metadata: {},
  storageClass: '',
  encryption: { type: '' },
};

const GCS: GcsSettings = {
  kind: 'gcs',
  bucket: 'traces',
  endpoint: '',
  insecure: true,
  chunkBytes: 10_485_760,
  cacheControl: '',
  metadata: {},
};

const AZURE: AzureSettings = {
  kind: 'azure',
  account: '',
  accountKey: '',
  container: 'traces',
  endpointSuffix: 'blob.core.windows.net',
  auth: 'key',
  userAssignedId: '',
  blockBytes: 3_145_728,
  blocksAtOnce: 4,
};

export type TestBackend = Common & { readonly bucket: BucketSettings };

/** Keys of the bucket and of the backend alike. */
export function s3Backend(changes: S3Overrides): TestBackend {
  return merged(S3, changes);
}

export function gcsBackend(changes: Partial<GcsSettings> & Partial<Common>): TestBackend {
  return merged(GCS, changes);
}

export function azureBackend(changes: Partial<AzureSettings> & Partial<Common>): TestBackend {
  return merged(AZURE, changes);
}

function merged<B extends BucketSettings>(usual: B, changes: Partial<B> & Partial<Common>): TestBackend {
  const own = Object.fromEntries(Object.entries(changes).filter(([key]) => key in usual));
  const common = Object.fromEntries(Object.entries(changes).filter(([key]) => !(key in usual)));
  return { ...COMMON, ...common, bucket: { ...usual, ...own } };
}

export function openTestStore(settings: TestBackend): Promise<BucketStore> {
  return openBackend(settings, { onRetry: () => {}, onHedge: () => {} });
}
