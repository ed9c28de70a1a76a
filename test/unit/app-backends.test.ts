// What the keys of storage.trace.s3, gcs and azure mean, and what of them cannot work.
import t from 'tap';
import { backendSettings } from '../../src/app/backend-settings.ts';
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
