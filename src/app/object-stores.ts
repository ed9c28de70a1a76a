// The object stores that a configuration names: a local folder, or a bucket behind a thread.
import path from 'node:path';
import type { BackendMetrics } from '../objectstore/backend-metrics.ts';
import { LocalStore } from '../objectstore/local.ts';
import type { ObjectStore } from '../objectstore/objectstore.ts';
import { type OuterCacheOptions, RemoteStore } from '../objectstore/remote-store.ts';
import type { Logger } from '../telemetry/log.ts';
import { type BackendConfig, backendSettings } from './backend-settings.ts';

export interface ConfiguredStore {
  readonly store: ObjectStore;
  /** The same, where it is in a thread of its own. */
  readonly remote: RemoteStore | undefined;
  /** The folder; '' = none. */
  readonly path: string;
}

export interface StoreParts {
  readonly logger: Logger;
  readonly metrics: BackendMetrics;
  /** For parts of blocks. */
  readonly cacheBytes: number;
  readonly caches?: OuterCacheOptions | undefined;
  /** false = only listing and reading are needed, and thus checked at start. */
  readonly isWriter?: boolean;
}

export function configuredStore(
  config: BackendConfig & { readonly local: { readonly path: string } },
  { logger, metrics, cacheBytes, caches, isWriter = true }: StoreParts,
): ConfiguredStore {
  if (config.backend === 'local') {
    const folder = path.resolve(config.local.path);
    return { store: new LocalStore(folder, isWriter), remote: undefined, path: folder };
  }
  const settings = backendSettings(config, isWriter, cacheBytes);
  const remote = new RemoteStore({ settings, logger, metrics, caches });
  return { store: remote, remote, path: '' };
}
