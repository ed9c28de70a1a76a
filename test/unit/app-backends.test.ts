// What the keys of storage.trace.s3, gcs and azure and those of caches mean, and what of them cannot work.
import t from 'tap';
import { backendSettings } from '../../src/app/backend-settings.ts';
import { blockCaches, cacheSettings } from '../../src/app/cache-settings.ts';
import { checkConfig } from '../../src/app/check.ts';
import { rootBlock, type TempoConfig } from '../../src/app/config.ts';
import { loadConfig } from '../../src/config/load.ts';

const TLS13 = 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256';

function configOf(trace: string): TempoConfig {
  const text = `storage: {trace: {wal: {path: /w}, ${trace}}}\n`;
  return loadConfig(rootBlock, { file: { name: 'tempo.yaml', text } }).config;
}

function settings(trace: string, isWriter = true) {
  return backendSettings(configOf(trace).storage.trace, isWriter, 1000);
}

function problems(trace: string): string[] {
  return checkConfig(configOf(trace)).problems.map(({ path, text }) => `${path} ${text}`);
}

t.test('S3: defaults', (t) => {
  t.same(settings('backend: s3, s3: {bucket: b, endpoint: e}'), {
    isWriter: true,
    cacheBytes: 1000,
    prefix: '',
    hedge: { afterMs: 0, requestsMax: 2 },
    retry: { attemptsMax: 10, firstDelayMs: 200, delayMsMax: 1000 },
    listConcurrency: 3,
    bucket: {
      kind: 's3',
      bucket: 'b',
      endpoint: 'e',
      region: '',
      accessKey: '',
      secretKey: '',
      sessionToken: '',
      insecure: false,
      tls: {
        certPath: '',
        keyPath: '',
        caPath: '',
        serverName: '',
        skipVerify: false,
        ciphers: '',
        minVersion: 'TLSv1.2',
      },
      forcePathStyle: false,
      bucketLookup: 0,
      dualStack: false,
      partBytes: 0,
      tags: {},
      metadata: {},
      storageClass: '',
      encryption: { type: '' },
    },
  });
  t.end();
});

t.test('S3: every key', (t) => {
  const found = settings(
    `backend: s3, s3: {
      bucket: b, prefix: p/q, endpoint: 'e:9000', region: r, access_key: a, secret_key: s, session_token: t,
      insecure: true, part_size: 7, hedge_requests_at: 300ms, hedge_requests_up_to: 3, forcepathstyle: true,
      enable_dual_stack: true, bucket_lookup_type: 2, tags: {x: y}, metadata: {m: n},
      storage_class: GLACIER_IR,
      list_blocks_concurrency: 5, retry_max_attempts: 4, retry_backoff_initial: 1ms, retry_backoff_max: 2ms,
      tls_ca_path: /ca, tls_cert_path: /c, tls_key_path: /k, tls_server_name: n,
      tls_insecure_skip_verify: true,
      tls_min_version: VersionTLS13, tls_cipher_suites: TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
      sse: {type: SSE-KMS, kms_key_id: key, kms_encryption_context: '{"team": "x"}'} }`,
    false,
  );
  t.same(found, {
    isWriter: false,
    cacheBytes: 1000,
    prefix: 'p/q',
    hedge: { afterMs: 300, requestsMax: 3 },
    retry: { attemptsMax: 4, firstDelayMs: 1, delayMsMax: 2 },
    listConcurrency: 5,
    bucket: {
      kind: 's3',
      bucket: 'b',
      endpoint: 'e:9000',
      region: 'r',
      accessKey: 'a',
      secretKey: 's',
      sessionToken: 't',
      insecure: true,
      tls: {
        certPath: '/c',
        keyPath: '/k',
        caPath: '/ca',
        serverName: 'n',
        skipVerify: true,
        ciphers: `${TLS13}:ECDHE-RSA-AES128-GCM-SHA256`,
        minVersion: 'TLSv1.3',
      },
      forcePathStyle: true,
      bucketLookup: 2,
      dualStack: true,
      partBytes: 7,
      tags: { x: 'y' },
      metadata: { m: 'n' },
      storageClass: 'GLACIER_IR',
      encryption: { type: 'SSE-KMS', keyId: 'key', context: { team: 'x' } },
    },
  });
  const sealed = settings(
    `backend: s3, s3: {bucket: b, sse: {type: SSE-C, encryption_key: ${'k'.repeat(32)}}}`,
  );
  t.match(sealed.bucket, { encryption: { type: 'SSE-C', key: Buffer.alloc(32, 'k') } });
  t.end();
});

t.test('GCS: every key', (t) => {
  const found = settings(`backend: gcs, gcs: {
    bucket_name: b, prefix: p, chunk_buffer_size: 300000, endpoint: 'http://e', insecure: true,
    max_retries: 5,
    object_cache_control: no-store, object_metadata: {m: n}, hedge_requests_at: 1s, hedge_requests_up_to: 4,
    list_blocks_concurrency: 2 }`);
  t.match(found, {
    prefix: 'p',
    hedge: { afterMs: 1000, requestsMax: 4 },
    retry: { attemptsMax: 6 },
    listConcurrency: 2,
    bucket: {
      kind: 'gcs',
      bucket: 'b',
      endpoint: 'http://e',
      insecure: true,
      chunkBytes: 300_000,
      cacheControl: 'no-store',
      metadata: { m: 'n' },
    },
  });
  t.end();
});

t.test('Azure: every key, its old names, and what the environment says', (t) => {
  const found = settings(`backend: azure, azure: {
    container-name: c, prefix: p, storage_account_name: a, storage_account_key: k, endpoint_suffix: 'e:1',
    max_buffers: 2, buffer_size: 99, hedge_requests_at: 1s, hedge_requests_up_to: 4 }`);
  t.match(found, {
    prefix: 'p',
    hedge: { afterMs: 1000, requestsMax: 4 },
    bucket: {
      kind: 'azure',
      account: 'a',
      accountKey: 'k',
      container: 'c',
      endpointSuffix: 'e:1',
      auth: 'key',
      blockBytes: 99,
      blocksAtOnce: 2,
    },
  });
  const managed = 'use_managed_identity: true, user_assigned_id: id';
  t.match(settings(`backend: azure, azure: {container_name: c, ${managed}}`).bucket, {
    auth: 'managed_identity',
    userAssignedId: 'id',
  });
  const federated = settings('backend: azure, azure: {container_name: c, use_federated_token: true}');
  t.match(federated.bucket, { auth: 'federated_token', endpointSuffix: 'blob.core.windows.net' });
  process.env['AZURE_STORAGE_ACCOUNT'] = 'of-env';
  process.env['AZURE_STORAGE_KEY'] = 'key-of-env';
  t.teardown(() => {
    delete process.env['AZURE_STORAGE_ACCOUNT'];
    delete process.env['AZURE_STORAGE_KEY'];
  });
  t.match(settings('backend: azure, azure: {container_name: c}').bucket, {
    account: 'of-env',
    accountKey: 'key-of-env',
  });
  t.end();
});

t.test('what cannot work is told by its key', (t) => {
  const s3 = 'backend: s3, s3: {bucket: b, ';
  const cases = [
    { trace: 'backend: s3', want: 'storage.trace.s3.bucket is needed for the s3 backend' },
    { trace: `${s3}sse: {type: KMS}}`, want: 'sse.type is KMS, must be one of SSE-S3, SSE-KMS, SSE-C' },
    { trace: `${s3}sse: {type: SSE-KMS}}`, want: 'sse.kms_key_id is needed for SSE-KMS' },
    {
      trace: `${s3}sse: {type: SSE-KMS, kms_key_id: k, kms_encryption_context: '{"a": 1}'}}`,
      want: 'sse.kms_encryption_context must be a JSON object whose values are strings',
    },
    {
      trace: `${s3}sse: {type: SSE-KMS, kms_key_id: k, kms_encryption_context: '{'}}`,
      want: 'sse.kms_encryption_context must be a JSON object whose values are strings',
    },
    {
      trace: `${s3}sse: {type: SSE-C, encryption_key: short}}`,
      want: 'sse.encryption_key must have 32 bytes',
    },
    { trace: `${s3}bucket_lookup_type: 3}`, want: 'bucket_lookup_type is 3, must be 0 (auto), 1 (dns)' },
    { trace: `${s3}access_key: a}`, want: 'secret_key is needed beside the other one' },
    { trace: `${s3}tls_min_version: TLS12}`, want: 'tls_min_version is TLS12, must be VersionTLS10' },
  ];
  for (const { trace, want } of cases) {
    const [first = 'nothing', ...more] = problems(trace);
    t.ok(first.includes(want), `${first}: ${want}`);
    t.same(more, []);
  }
  t.same(problems(`${s3}sse: {type: SSE-KMS, kms_key_id: k, kms_encryption_context: '{"a": "b"}'}}`), []);
  t.end();
});

function cacheConfig(text: string): TempoConfig {
  return loadConfig(rootBlock, { file: { name: 'tempo.yaml', text } }).config;
}

const S3_TRACE = 'backend: s3, s3: {bucket: b}';

t.test("caches: Tempo's keys, its defaults, and the roles of each", (t) => {
  const [memcached, redis, ...none] = cacheSettings(
    cacheConfig(`
cache:
  background: { writeback_goroutines: 3, writeback_buffer: 7 }
  caches:
    - roles: [bloom, parquet-footer]
      memcached: { addresses: 'dns+m:11211, n:1', tls_enabled: true, tls_ca_path: /ca, ttl: 1h }
      redis:
    - roles: [frontend-search]
      redis: { endpoint: 'r:1,s:2', master_name: m, password: secret, tls_enabled: true, ttl: 1m }
`),
  );
  t.same(none, []);
  t.same(memcached, {
    name: 'bloom|parquet-footer',
    roles: ['bloom', 'parquet-footer'],
    writersMax: 3,
    queueLengthMax: 7,
    client: {
      kind: 'memcached',
      host: '',
      service: 'memcached',
      addresses: ['dns+m:11211', 'n:1'],
      timeoutMs: 100,
      connectionsMax: 16,
      itemBytesMax: 0,
      updateIntervalMs: 60_000,
      isConsistent: false,
      pauses: { failuresMax: 0, longMs: 10_000, forgetMs: 10_000 },
      tls: {
        certPath: '',
        keyPath: '',
        caPath: '/ca',
        serverName: '',
        skipVerify: false,
        ciphers: '',
        minVersion: 'TLSv1.2',
      },
      ttlMs: 3_600_000,
    },
  });
  t.same(redis?.client, {
    kind: 'redis',
    endpoints: ['r:1', 's:2'],
    masterName: 'm',
    timeoutMs: 100,
    db: 0,
    username: '',
    password: 'secret',
    sentinelUsername: '',
    sentinelPassword: '',
    tls: { skipVerify: false },
    ttlMs: 60_000,
  });
  t.same(blockCaches([memcached!, redis!]), [memcached]);
  t.end();
});

t.test('caches: the older keys are for bloom filters, and what cache_control names', (t) => {
  const of = (trace: string) => cacheSettings(cacheConfig(`storage: {trace: {${S3_TRACE}, ${trace}}}`));
  const client = 'memcached: {host: m, service: s, consistent_hash: true, max_item_size: 9}';
  t.same(of(client), [], 'not asked for');
  const [plain] = of(`cache: memcached, ${client}, background_cache: {writeback_buffer: 5}`);
  t.same([plain?.name, plain?.roles, plain?.queueLengthMax], ['legacy', ['bloom', 'trace-id-index'], 5]);
  t.match(plain?.client, { host: 'm', service: 's', isConsistent: true, itemBytesMax: 9 });
  const [more] = of(
    'cache: redis, redis: {endpoint: r}, search: {cache_control: {footer: true, offset_index: true}}',
  );
  t.same(more?.roles, ['bloom', 'trace-id-index', 'parquet-footer', 'parquet-offset-idx']);
  t.end();
});

t.test('caches: what cannot work is told by its key', (t) => {
  const cases = [
    { text: 'cache: {caches: [{redis: {endpoint: r}}]}', want: 'cache.caches[0].roles needs one of bloom, ' },
    {
      text: 'cache: {caches: [{roles: [blooms], redis: {endpoint: r}}]}',
      want: 'has the unknown role blooms',
    },
    { text: 'cache: {caches: [{roles: [bloom]}]}', want: 'cache.caches[0] needs memcached or redis' },
    {
      text: 'cache: {caches: [{roles: [bloom], redis: }]}',
      want: 'cache.caches[0] needs memcached or redis',
    },
    {
      text: 'cache: {caches: [{roles: [bloom], redis: {endpoint: r}, memcached: {host: m}}]}',
      want: 'cache.caches[0] has both memcached and redis',
    },
    {
      text:
        'cache: {caches: [{roles: [bloom], redis: {endpoint: r}}, ' +
        '{roles: [bloom], redis: {endpoint: s}}]}',
      want: 'cache.caches[1].roles has bloom, as cache.caches[0] has already',
    },
    {
      text: 'cache: {caches: [{roles: [bloom], redis: {}}]}',
      want: 'cache.caches[0].redis.endpoint is needed',
    },
    {
      text: 'cache: {caches: [{roles: [bloom], memcached: {}}]}',
      want: 'cache.caches[0].memcached needs addresses or host',
    },
    {
      text: 'cache: {caches: [{roles: [bloom], memcached: {addresses: dns+m}}]}',
      want: 'cache.caches[0].memcached.addresses has dns+m, which has no port',
    },
    {
      text: 'cache: {caches: [{roles: [bloom], memcached: {host: m, tls_min_version: 1}}]}',
      want: 'cache.caches[0].memcached.tls_min_version is 1, must be VersionTLS10',
    },
    { text: `storage: {trace: {${S3_TRACE}, cache: redis}}`, want: 'storage.trace needs memcached or redis' },
    {
      text: `storage: {trace: {${S3_TRACE}, search: {cache_control: {footer: true}}}}`,
      want: 'storage.trace.search.cache_control is for the cache of storage.trace.cache, which is not set',
    },
    {
      text:
        `storage: {trace: {${S3_TRACE}, cache: redis, redis: {endpoint: r}}}\n` +
        'cache: {caches: [{roles: [bloom], redis: {endpoint: r}}]}',
      want: 'storage.trace.cache.roles has bloom, as cache.caches[0] has already',
    },
  ];
  for (const { text, want } of cases) {
    const stored = text.startsWith('storage') ? '' : `storage: {trace: {${S3_TRACE}}}\n`;
    const { problems: found } = checkConfig(cacheConfig(stored + text));
    const [first = 'nothing', ...more] = found.map((problem) => `${problem.path} ${problem.text}`);
    t.ok(first.includes(want), `${first}: ${want}`);
    t.same(more, []);
  }
  t.end();
});
