// The cache block, and the clients of caches wherever they are configured.
import { block, bool, duration, int, list, optional, secret, size, text } from '../config/field.ts';
import { tlsFields } from '../config/shared-blocks.ts';

const { tls_cert_path, tls_key_path, tls_ca_path, tls_server_name, tls_cipher_suites, tls_min_version } =
  tlsFields;

const memcachedFields = {
  host: text('', 'name whose SRV records are the servers, where there are no addresses'),
  service: text('memcached', 'service of these records'),
  addresses: text('', 'comma list of host:port, dns+host:port, dnssrv+name or dnssrvnoa+name'),
  timeout: duration('100ms', 'a request that takes longer is given up'),
  max_idle_conns: int(16, 'connections to one server'),
  max_item_size: int(0, 'larger values are not sent; 0 = all are'),
  update_interval: duration('1m', 'how often the servers are looked for again'),
  consistent_hash: bool(false, 'a server more or less moves few keys'),
  circuit_breaker_consecutive_failures: int(
    0,
    'after more failures in a row a server is left alone for long',
  ),
  circuit_breaker_timeout: duration('10s', 'for so long; 0 = 60s'),
  circuit_breaker_interval: duration('10s', 'failures further apart are not in a row; 0 = always'),
  tls_enabled: bool(false, 'use TLS'),
  tls_cert_path: plain(tls_cert_path),
  tls_key_path: plain(tls_key_path),
  tls_ca_path: plain(tls_ca_path),
  tls_server_name: plain(tls_server_name),
  tls_insecure_skip_verify: bool(false, 'accept any server certificate'),
  tls_cipher_suites: plain(tls_cipher_suites),
  tls_min_version: plain(tls_min_version),
  ttl: duration('0s', 'how long a value is kept; 0 = as long as the server likes'),
};

const redisFields = {
  endpoint: text('', 'host:port; a comma list is a cluster, or the sentinels of master_name'),
  master_name: text('', 'name of the master that sentinels know'),
  timeout: duration('100ms', 'a request that takes longer is given up'),
  expiration: duration('0s', 'how long a value is kept; 0 = as ttl says'),
  db: int(0, 'number of the database'),
  pool_size: int(0, 'most connections'),
  username: text('', 'user'),
  password: secret('password'),
  sentinel_username: text('', 'user at the sentinels'),
  sentinel_password: secret('password at the sentinels'),
  tls_enabled: bool(false, 'use TLS'),
  tls_insecure_skip_verify: bool(false, 'accept any server certificate'),
  idle_timeout: duration('0s', 'close idle connections'),
  max_connection_age: duration('0s', 'close old connections'),
  ttl: duration('0s', 'how long a value is kept; 0 = as long as the server likes'),
};

/** Without a flag, which a client in a list cannot have. */
function plain(field: { readonly default: string; readonly doc: string }): ReturnType<typeof text> {
  return text(field.default, field.doc);
}

export const memcachedClient = optional(block(memcachedFields), 'memcached client', { orNull: true });
export const redisClient = optional(block(redisFields), 'redis client', { orNull: true });

export const backgroundFields = {
  writeback_goroutines: int(10, 'writes to a cache at a time'),
  writeback_buffer: int(10_000, 'values that may wait to be written'),
};

export const cacheFields = {
  background: block(backgroundFields),
  caches: list(
    block({
      roles: list(
        text('', 'role'),
        [],
        'bloom, parquet-footer, parquet-offset-idx, parquet-page, frontend-search, ...',
      ),
      memcached: memcachedClient,
      redis: redisClient,
    }),
    [],
    'caches; a role only once',
  ),
  in_process: size('0', 'memory for parts of blocks of an object store, as they are stored; 0 = a share', {
    hidden: true,
    ours: true,
  }),
};
