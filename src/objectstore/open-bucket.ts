// Opens the bucket of a cloud; the SDK of that one only is loaded, and only when it is wanted.
import { BucketStore } from './bucket-store.ts';
import type { Bucket, ObserveRequest } from './bucket.ts';
import type { BackendSettings, BucketSettings } from './settings.ts';

export interface BackendEvents {
  readonly observe: ObserveRequest;
  readonly onRetry: () => void;
  readonly onHedge: () => void;
}

export async function openBackend(settings: BackendSettings, events: BackendEvents): Promise<BucketStore> {
  const bucket = await openBucket(settings.bucket, events.observe);
  return new BucketStore({ ...settings, bucket, ...events });
}

async function openBucket(settings: BucketSettings, observe: ObserveRequest): Promise<Bucket> {
  const { openS3 } = await import('./s3.ts');
  return openS3(settings as Extract<BucketSettings, { kind: 's3' }>, observe);
}
