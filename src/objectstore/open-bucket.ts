// Opens the bucket of a cloud; the SDK of that one only is loaded, and only when it is wanted.
import { BucketStore } from './bucket-store.ts';
import type { Bucket } from './bucket.ts';
import type { BackendSettings, BucketSettings } from './settings.ts';

export interface BackendEvents {
  readonly onRetry: () => void;
  readonly onHedge: () => void;
  /** Reads cost more from now on, as all of an SDK is needed for them. */
  readonly onDetour?: (reason: string) => void;
}

export async function openBackend(settings: BackendSettings, events: BackendEvents): Promise<BucketStore> {
  return new BucketStore({ ...settings, bucket: await openBucket(settings.bucket, events), ...events });
}

async function openBucket(settings: BucketSettings, { onDetour }: BackendEvents): Promise<Bucket> {
  switch (settings.kind) {
    case 's3':
      return (await import('./s3.ts')).openS3(settings, onDetour);
    case 'gcs':
      return (await import('./gcs.ts')).openGcs(settings);
    case 'azure':
      return (await import('./azure.ts')).openAzure(settings);
  }
}
