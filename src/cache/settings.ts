// What a cache in front of stored data needs, as plain data that can be handed to a thread: the configuration
// with its defaults worked out.

import type { TlsClientSettings } from './tls-options.ts';

/** Tempo's names for what is cached. */
export const CACHE_ROLES = [
  'bloom',
  'trace-id-index',
  'parquet-footer',
  'parquet-column-idx',
  'parquet-offset-idx',
  'parquet-page',
  'frontend-search',
] as const;

export type CacheRole = (typeof CACHE_ROLES)[number];

/** What bytes of a store are read for. `uncached`: they are not looked for in caches, and not kept. */
export type ReadUse = CacheRole | 'uncached';

export interface PauseSettings {
  /** After more failures in a row a server is left alone for `longMs`; 0 = pauses only grow. */
  readonly failuresMax: number;
  readonly longMs: number;
  /** Failures that are further apart are none in a row; 0 = they are, whenever they were. */
  readonly forgetMs: number;
}

export interface MemcachedSettings {
  readonly kind: 'memcached';
  /** Its SRV records name the servers, where no addresses are given. */
  readonly host: string;
  readonly service: string;
  /** `host:port`, or `dns+`, `dnssrv+` or `dnssrvnoa+` before a name. */
  readonly addresses: readonly string[];
  readonly timeoutMs: number;
  /** To one server. */
  readonly connectionsMax: number;
  /** 0 = whatever the server takes. */
  readonly itemBytesMax: number;
  readonly updateIntervalMs: number;
  readonly isConsistent: boolean;
  readonly pauses: PauseSettings;
  /** undefined = in the clear. */
  readonly tls: TlsClientSettings | undefined;
  /** 0 = as long as the server likes. */
  readonly ttlMs: number;
}

export interface RedisSettings {
  readonly kind: 'redis';
  /** One server; several are a cluster, or the sentinels of `masterName`. */
  readonly endpoints: readonly string[];
  readonly masterName: string;
  readonly timeoutMs: number;
  readonly db: number;
  readonly username: string;
  readonly password: string;
  readonly sentinelUsername: string;
  readonly sentinelPassword: string;
  readonly tls: { readonly skipVerify: boolean } | undefined;
  readonly ttlMs: number;
}

export interface CacheSettings {
  /** Its roles, joined by `|`, as metrics and logs call it. */
  readonly name: string;
  readonly roles: readonly CacheRole[];
  readonly client: MemcachedSettings | RedisSettings;
  /** What is written at a time, and what may wait for it. */
  readonly writersMax: number;
  readonly queueLengthMax: number;
}
