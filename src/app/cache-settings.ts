// The cache block, and the older keys of storage.trace, as settings of caches; and what is wrong with them.
import { CACHE_ROLES, type CacheRole, type CacheSettings } from '../cache/settings.ts';
import { cipherList } from '../rpc/tls-ciphers.ts';
import type { TempoConfig } from './config.ts';
import { TLS_VERSIONS } from './server-tls.ts';

type CacheConfig = TempoConfig['cache']['caches'][number];
type MemcachedConfig = NonNullable<CacheConfig['memcached']>;
type RedisConfig = NonNullable<CacheConfig['redis']>;

interface Problem {
  readonly path: string;
  readonly text: string;
}

const TIMEOUT_MS = 100;
const CONNECTIONS = 16;
const UPDATE_MS = 60_000;
const PAUSE_MS = 60_000;
const BLOCK_ROLES: readonly CacheRole[] = CACHE_ROLES.filter((role) => role !== 'frontend-search');

/** Of a configuration without problems. */
export function cacheSettings(config: TempoConfig): readonly CacheSettings[] {
  const { background, caches } = config.cache;
  const named = caches.map((cache) =>
    settingsOf(cache.roles.filter(isRole), cache, background, cache.roles.join('|')),
  );
  const { trace } = config.storage;
  const old = settingsOf(oldRoles(config), trace, trace.backgroundCache, 'legacy');
  return [...named, old].filter((settings) => settings !== undefined);
}

/** Those for parts of blocks. */
export function blockCaches(all: readonly CacheSettings[]): readonly CacheSettings[] {
  return all.filter(({ roles }) => roles.some((role) => BLOCK_ROLES.includes(role)));
}

function settingsOf(
  roles: readonly CacheRole[],
  { memcached, redis }: Pick<CacheConfig, 'memcached' | 'redis'>,
  background: TempoConfig['cache']['background'],
  name: string,
): CacheSettings | undefined {
  const common = {
    name,
    roles,
    writersMax: Math.max(1, background.writebackGoroutines),
    queueLengthMax: Math.max(0, background.writebackBuffer),
  };
  if (roles.length === 0) return undefined;
  if (memcached !== undefined) return { ...common, client: memcachedSettings(memcached, name) };
  return redis === undefined ? undefined : { ...common, client: redisSettings(redis) };
}

function memcachedSettings(config: MemcachedConfig, name: string): CacheSettings['client'] {
  return {
    kind: 'memcached',
    host: config.host,
    service: config.service,
    addresses: listOf(config.addresses),
    timeoutMs: config.timeoutMs || TIMEOUT_MS,
    connectionsMax: config.maxIdleConns > 0 ? config.maxIdleConns : CONNECTIONS,
    itemBytesMax: Math.max(0, config.maxItemSize),
    updateIntervalMs: config.updateIntervalMs || UPDATE_MS,
    isConsistent: config.consistentHash,
    pauses: {
      failuresMax: config.circuitBreakerConsecutiveFailures,
      longMs: config.circuitBreakerTimeoutMs || PAUSE_MS,
      forgetMs: config.circuitBreakerIntervalMs,
    },
    tls: config.tlsEnabled ? tlsSettings(config, name) : undefined,
    ttlMs: config.ttlMs,
  };
}

function tlsSettings(config: MemcachedConfig, name: string): CacheTls {
  const suites = listOf(config.tlsCipherSuites);
  return {
    certPath: config.tlsCertPath,
    keyPath: config.tlsKeyPath,
    caPath: config.tlsCaPath,
    serverName: config.tlsServerName,
    skipVerify: config.tlsInsecureSkipVerify,
    ciphers: suites.length === 0 ? '' : cipherList(`cache ${name}`, suites),
    minVersion: TLS_VERSIONS[config.tlsMinVersion] ?? '',
  };
}

type CacheTls = NonNullable<Extract<CacheSettings['client'], { kind: 'memcached' }>['tls']>;

function redisSettings(config: RedisConfig): CacheSettings['client'] {
  return {
    kind: 'redis',
    endpoints: listOf(config.endpoint),
    masterName: config.masterName,
    timeoutMs: config.timeoutMs || TIMEOUT_MS,
    db: config.db,
    username: config.username,
    password: config.password,
    sentinelUsername: config.sentinelUsername,
    sentinelPassword: config.sentinelPassword,
    tls: config.tlsEnabled ? { skipVerify: config.tlsInsecureSkipVerify } : undefined,
    ttlMs: config.expirationMs || config.ttlMs,
  };
}

function listOf(text: string): readonly string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

/** What the cache of storage.trace is for; none where it is not asked for. */
function oldRoles({ storage: { trace } }: TempoConfig): readonly CacheRole[] {
  if (trace.cache !== 'memcached' && trace.cache !== 'redis') return [];
  const { footer, columnIndex, offsetIndex } = trace.search.cacheControl;
  return [
    'bloom',
    'trace-id-index',
    ...(columnIndex ? (['parquet-column-idx'] as const) : []),
    ...(footer ? (['parquet-footer'] as const) : []),
    ...(offsetIndex ? (['parquet-offset-idx'] as const) : []),
  ];
}

function isRole(role: string): role is CacheRole {
  return (CACHE_ROLES as readonly string[]).includes(role);
}

export function cacheProblems(config: TempoConfig): readonly Problem[] {
  const claimed = new Map<string, string>();
  const found = config.cache.caches.flatMap((cache, i) => {
    const path = `cache.caches[${i}]`;
    return [...rolesProblems(cache.roles, path, claimed), ...clientProblems(cache, path)];
  });
  const { trace } = config.storage;
  const { footer, columnIndex, offsetIndex } = trace.search.cacheControl;
  const roles = oldRoles(config);
  if (roles.length === 0) {
    if (!footer && !columnIndex && !offsetIndex) return found;
    const text = 'is for the cache of storage.trace.cache, which is not set: use the cache block';
    return [...found, { path: 'storage.trace.search.cache_control', text }];
  }
  const one =
    trace.cache === 'redis' ? { redis: trace.redis, memcached: undefined } : { ...trace, redis: undefined };
  const path = 'storage.trace';
  return [...found, ...rolesProblems(roles, `${path}.cache`, claimed), ...clientProblems(one, path)];
}

/** @param claimed which cache has a role so far. */
function rolesProblems(roles: readonly string[], path: string, claimed: Map<string, string>): Problem[] {
  if (roles.length === 0) return [{ path: `${path}.roles`, text: `needs one of ${CACHE_ROLES.join(', ')}` }];
  return roles.flatMap((role) => {
    const other = claimed.get(role);
    claimed.set(role, path);
    if (!isRole(role)) {
      return [
        { path: `${path}.roles`, text: `has the unknown role ${role}; known: ${CACHE_ROLES.join(', ')}` },
      ];
    }
    return other === undefined
      ? []
      : [{ path: `${path}.roles`, text: `has ${role}, as ${other} has already` }];
  });
}

function clientProblems(cache: Pick<CacheConfig, 'memcached' | 'redis'>, path: string): Problem[] {
  const { memcached, redis } = cache;
  if ((memcached === undefined) === (redis === undefined)) {
    return [
      { path, text: memcached === undefined ? 'needs memcached or redis' : 'has both memcached and redis' },
    ];
  }
  if (memcached !== undefined) return memcachedProblems(memcached, `${path}.memcached`);
  if (redis !== undefined && listOf(redis.endpoint).length === 0) {
    return [{ path: `${path}.redis.endpoint`, text: 'is needed' }];
  }
  return [];
}

function memcachedProblems(config: MemcachedConfig, path: string): Problem[] {
  const found: Problem[] = [];
  const addresses = listOf(config.addresses);
  if (addresses.length === 0 && config.host === '') found.push({ path, text: 'needs addresses or host' });
  for (const address of addresses) {
    if (address.startsWith('dns+') && !/:\d+$/.test(address)) {
      found.push({ path: `${path}.addresses`, text: `has ${address}, which has no port` });
    }
  }
  if (TLS_VERSIONS[config.tlsMinVersion] === undefined) {
    const text = `is ${config.tlsMinVersion}, must be VersionTLS10 to VersionTLS13`;
    found.push({ path: `${path}.tls_min_version`, text });
  }
  return found;
}
