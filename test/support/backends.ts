// Settings of backends for tests: what a configuration without further keys gives, and what a test changes.
import { openBackend } from '../../src/objectstore/open-bucket.ts';
import type { BucketStore } from '../../src/objectstore/bucket-store.ts';
import type { BackendSettings, BucketSettings, S3Settings } from '../../src/objectstore/settings.ts';

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

const S3: S3Settings = {
  kind: 's3',
  bucket: 'traces',
  endpoint: '',
  region: '',
  accessKey: '',
  secretKey: '',
  sessionToken: '',
  insecure: true,
  tls: {
    certPath: '',
    keyPath: '',
    caPath: '',
    serverName: '',
    skipVerify: false,
    ciphers: '',
    minVersion: '',
  },
  forcePathStyle: false,
  bucketLookup: 0,
  dualStack: false,
  partBytes: 0,
  tags: {},
  metadata: {},
  storageClass: '',
  encryption: { type: '' },
};

export type TestBackend = Common & { readonly bucket: BucketSettings };

/** Keys of the bucket and of the backend alike. */
export function s3Backend(changes: S3Overrides): TestBackend {
  return merged(S3, changes);
}

function merged<B extends BucketSettings>(usual: B, changes: Partial<B> & Partial<Common>): TestBackend {
  const own = Object.fromEntries(Object.entries(changes).filter(([key]) => key in usual));
  const common = Object.fromEntries(Object.entries(changes).filter(([key]) => !(key in usual)));
  return { ...COMMON, ...common, bucket: { ...usual, ...own } };
}

export function openTestStore(settings: TestBackend): Promise<BucketStore> {
  return openBackend(settings, { observe: () => {}, onRetry: () => {}, onHedge: () => {} });
}
