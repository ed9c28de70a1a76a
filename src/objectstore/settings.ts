// What a bucket needs to be opened, as plain data that can be handed to a thread: the configuration with its
// defaults worked out.
import type { HedgeOptions } from './hedge.ts';
import type { TlsClientSettings } from '../cache/tls-options.ts';
import type { RetryOptions } from './retry.ts';

export type S3Encryption =
  | { readonly type: '' }
  | { readonly type: 'SSE-S3' }
  | {
      readonly type: 'SSE-KMS';
      readonly keyId: string;
      readonly context: Readonly<Record<string, string>> | undefined;
    }
  /** The key is 32 bytes. */
  | { readonly type: 'SSE-C'; readonly key: Uint8Array };

export interface S3Settings {
  readonly kind: 's3';
  readonly bucket: string;
  /** host[:port]; '' = AWS. */
  readonly endpoint: string;
  readonly region: string;
  readonly accessKey: string;
  readonly secretKey: string;
  readonly sessionToken: string;
  readonly insecure: boolean;
  readonly tls: TlsClientSettings;
  readonly forcePathStyle: boolean;
  /** 0 = as the endpoint needs, 1 = the bucket in the host name, 2 = in the path. */
  readonly bucketLookup: number;
  readonly dualStack: boolean;
  /** 0 = by the size of the object. */
  readonly partBytes: number;
  readonly tags: Readonly<Record<string, string>>;
  readonly metadata: Readonly<Record<string, string>>;
  readonly storageClass: string;
  readonly encryption: S3Encryption;
}

export interface GcsSettings {
  readonly kind: 'gcs';
  readonly bucket: string;
  /** Base URL, as `http://host:port/storage/v1/`; '' = Google. */
  readonly endpoint: string;
  /** Without credentials. */
  readonly insecure: boolean;
  readonly chunkBytes: number;
  readonly cacheControl: string;
  readonly metadata: Readonly<Record<string, string>>;
}

export interface AzureSettings {
  readonly kind: 'azure';
  readonly account: string;
  readonly accountKey: string;
  readonly container: string;
  /** Behind the account, or, where it does not begin with `blob.`, host[:port] of an emulator. */
  readonly endpointSuffix: string;
  readonly auth: 'key' | 'managed_identity' | 'federated_token';
  /** Client id of a managed identity; '' = that of the system. */
  readonly userAssignedId: string;
  readonly blockBytes: number;
  readonly blocksAtOnce: number;
}

export type BucketSettings = S3Settings | GcsSettings | AzureSettings;

export interface BackendSettings {
  readonly bucket: BucketSettings;
  readonly prefix: string;
  readonly retry: RetryOptions;
  readonly hedge: HedgeOptions;
  readonly listConcurrency: number;
  readonly isWriter: boolean;
  /** Of blocks, as they are stored. */
  readonly cacheBytes: number;
}
