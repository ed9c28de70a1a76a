// The blocks of the object stores. Flags are completed by the block that contains them.
import { tlsFields } from '../config/shared-blocks.ts';
import {
  block,
  bool,
  duration,
  int,
  map,
  secret,
  text,
  withDefaults,
  type BlockOptions,
} from '../config/field.ts';

export const localFields = {
  path: text('', 'directory', { flag: '+path' }),
};

export const gcsFields = {
  bucket_name: text('', 'bucket', { flag: '+bucket' }),
  prefix: text('', 'object prefix', { flag: '+prefix' }),
  chunk_buffer_size: int(10_485_760, 'upload chunk'),
  endpoint: text('', 'emulator'),
  hedge_requests_at: duration('0s', '0 = off'),
  hedge_requests_up_to: int(2, 'max copies'),
  insecure: bool(false, 'no auth + http'),
  object_cache_control: text('', 'header'),
  object_metadata: map(text('', 'value'), {}, 'map'),
  list_blocks_concurrency: int(3, 'parallel listing', { flag: '+list_blocks_concurrency' }),
  max_retries: int(3, 'retries', { flag: '+max_retries' }),
};

const s3TlsFields = withDefaults(
  { ...tlsFields, tls_min_version: text('', 'VersionTLS10 to VersionTLS13', { flag: '+tls_min_version' }) },
  { tls_min_version: 'VersionTLS12' },
);

export const s3Fields = {
  ...s3TlsFields,
  bucket: text('', 'bucket', { flag: '+bucket' }),
  prefix: text('', 'object prefix', { flag: '+prefix' }),
  endpoint: text('', 'host[:port] without scheme', { flag: '+endpoint' }),
  region: text('', 'region'),
  access_key: secret('static credential', { flag: '+access_key' }),
  secret_key: secret('static credential', { flag: '+secret_key' }),
  session_token: secret('static credential', { flag: '+session_token' }),
  insecure: bool(false, 'plain http'),
  part_size: int(0, 'multipart bytes, 0 = auto'),
  hedge_requests_at: duration('0s', '0 = off'),
  hedge_requests_up_to: int(2, 'max copies'),
  signature_v2: bool(false, 'old signing'),
  forcepathstyle: bool(false, 'path style'),
  enable_dual_stack: bool(false, 'IPv6 endpoints'),
  bucket_lookup_type: int(0, '0 auto 1 dns 2 path'),
  tags: map(text('', 'value'), {}, 'object tags'),
  storage_class: text('', 'e.g. STANDARD_IA'),
  metadata: map(text('', 'value'), {}, 'user metadata'),
  native_aws_auth_enabled: bool(false, 'ignored, warning'),
  list_blocks_concurrency: int(3, 'parallel listing', { flag: '+list_blocks_concurrency' }),
  sse: block({
    type: text('', 'SSE-KMS SSE-S3 SSE-C', { flag: '+sse.type' }),
    kms_key_id: text('', 'KMS key', { flag: '+sse.kms-key-id' }),
    kms_encryption_context: text('', 'JSON', { flag: '+sse.kms-encryption-context' }),
    encryption_key: secret('SSE-C key', { flag: '+sse.encryption-key' }),
  }),
  retry_max_attempts: int(10, 'tries of one request', { hidden: true }),
  retry_backoff_initial: duration('200ms', 'first delay between tries', { hidden: true }),
  retry_backoff_max: duration('1s', 'longest delay between tries', { hidden: true }),
};

export const s3Options: BlockOptions = { aliases: { insecure_skip_verify: 'tls_insecure_skip_verify' } };

export const azureFields = {
  storage_account_name: text('', 'account', { flag: '+storage_account_name' }),
  storage_account_key: secret('secret', { flag: '+storage_account_key' }),
  use_managed_identity: bool(false, 'MSI'),
  use_federated_token: bool(false, 'workload identity'),
  user_assigned_id: text('', 'MSI id'),
  container_name: text('', 'container', { flag: '+container_name' }),
  prefix: text('', 'object prefix', { flag: '+prefix' }),
  endpoint_suffix: text('blob.core.windows.net', 'host suffix', { flag: '+endpoint' }),
  max_buffers: int(4, 'parallel uploads', { flag: '+max_buffers' }),
  buffer_size: int(3_145_728, 'upload block'),
  hedge_requests_at: duration('0s', '0 = off'),
  hedge_requests_up_to: int(2, 'max copies'),
};

/** The names of before 2.0. */
export const azureOptions: BlockOptions = {
  aliases: Object.fromEntries(
    [
      'storage_account_name',
      'storage_account_key',
      'container_name',
      'endpoint_suffix',
      'max_buffers',
      'buffer_size',
      'hedge_requests_at',
      'hedge_requests_up_to',
    ].map((key) => [key.replaceAll('_', '-'), key]),
  ),
  obsolete: ['use_v2_sdk'],
};
