// The storage block: backend, write-ahead log, new blocks, polling; and the block, log and compaction blocks
// others contain.
import { BLOCK_COMPRESSIONS } from '../block/compression.ts';
import { backgroundFields, memcachedClient, redisClient } from '../cache/config.ts';
import {
  azureFields,
  azureOptions,
  gcsFields,
  localFields,
  s3Fields,
  s3Options,
} from '../objectstore/config.ts';
import { dedicatedColumn } from '../config/shared-blocks.ts';
import {
  block,
  bool,
  duration,
  float,
  int,
  list,
  notNegative,
  oneOf,
  size,
  text,
  type ConfigOf,
} from '../config/field.ts';

/** Attributes that have a column of their own where nothing else is said. */
export const DEDICATED_COLUMNS = [
  { scope: 'resource', name: 'k8s.cluster.name', type: 'string', options: [] },
  { scope: 'resource', name: 'k8s.namespace.name', type: 'string', options: [] },
  { scope: 'resource', name: 'k8s.pod.name', type: 'string', options: [] },
  { scope: 'resource', name: 'k8s.container.name', type: 'string', options: [] },
  { scope: 'span', name: 'http.request.method', type: 'string', options: [] },
  { scope: 'span', name: 'http.response.status_code', type: 'int', options: [] },
  { scope: 'span', name: 'url.path', type: 'string', options: [] },
  { scope: 'span', name: 'url.route', type: 'string', options: [] },
  { scope: 'span', name: 'server.address', type: 'string', options: [] },
  { scope: 'span', name: 'server.port', type: 'int', options: [] },
  { scope: 'span', name: 'http.method', type: 'string', options: [] },
  { scope: 'span', name: 'http.url', type: 'string', options: [] },
  { scope: 'span', name: 'http.route', type: 'string', options: [] },
  { scope: 'span', name: 'http.status_code', type: 'int', options: [] },
] as const;

const dedicatedColumns = list(dedicatedColumn, DEDICATED_COLUMNS, 'attributes with a column of their own');

const BLOCK_VERSIONS = ['', 'v2', 'vParquet', 'vParquet2', 'vParquet3', 'vParquet4', 'vParquet5'] as const;

export const blockFields = {
  bloom_filter_false_positive: float(0.01, 'false positives of the trace id filter', {
    flag: '+v2-bloom-filter-false-positive',
  }),
  bloom_filter_shard_size_bytes: int(102_400, 'size of one shard of that filter', {
    flag: '+v2-bloom-filter-shard-size-bytes',
  }),
  value_filter_max_bytes: size(
    '4MiB',
    'most that the filter over attribute values takes beside a new block; 0 = none is written',
    { hidden: true, ours: true },
  ),
  version: oneOf(BLOCK_VERSIONS, 'vParquet4', 'format of new blocks'),
  search_encoding: text('snappy', 'not read'),
  search_page_size_bytes: int(1_048_576, 'not read'),
  v2_index_downsample_bytes: int(1_048_576, 'not read', { flag: '+v2-index-downsample-bytes' }),
  v2_index_page_size_bytes: int(256_000, 'not read', { flag: '+v2-index-page-size-bytes' }),
  v2_encoding: text('zstd', 'not read'),
  parquet_compression: oneOf(
    BLOCK_COMPRESSIONS,
    'zstd',
    'compression of new blocks; snappy costs more and is for readers that do not know zstd',
    { hidden: true, ours: true },
  ),
  parquet_row_group_size_bytes: int(100_000_000, 'estimated size of a row group'),
  parquet_dedicated_columns: dedicatedColumns,
};

/** Old names of block keys, for the block that contains them. */
export const BLOCK_ALIASES = {
  index_downsample_bytes: 'v2_index_downsample_bytes',
  index_page_size_bytes: 'v2_index_page_size_bytes',
  encoding: 'v2_encoding',
  row_group_size_bytes: 'parquet_row_group_size_bytes',
};

const baseWalFields = {
  path: text('', 'folder'),
  v2_encoding: text('none', 'not read'),
  search_encoding: text('none', 'not read'),
  ingestion_time_range_slack: duration(
    '2m',
    'spans that start or end further from their arrival are counted',
  ),
  version: oneOf(BLOCK_VERSIONS, 'vParquet4', 'not read'),
};

/** A write-ahead log whose own keys have Tempo's defaults for the module. */
export function walFields(path: string, flag?: string) {
  return { ...baseWalFields, path: text(path, 'folder', flag === undefined ? {} : { flag }) };
}

const storageWalFields = {
  ...walFields('/var/tempo/wal', 'storage.trace.wal.path'),
  v2_encoding: text('snappy', 'not read'),
  version: oneOf(BLOCK_VERSIONS, '', 'not read', { hidden: true }),
  min_free: size(
    '512MiB',
    'pushes are refused while the disk of the log or of the local backend has less free, or 5 %',
    { hidden: true, ours: true },
  ),
  sync: oneOf(
    ['always', 'interval', 'never'],
    'always',
    'when the log is synced to the disk before acknowledging',
    { hidden: true, ours: true },
  ),
  log_format: int(1, 'format of new log segments, 1 or 2; earlier versions read 1', {
    hidden: true,
    ours: true,
  }),
};

export const searchFields = {
  chunk_size_bytes: int(1_000_000, 'v2 search chunk'),
  prefetch_trace_count: int(1_000, 'v2 search'),
  read_buffer_count: int(32, 'parquet read buffers'),
  read_buffer_size_bytes: int(1_048_576, 'buffer bytes'),
  cache_control: block({
    footer: bool(false, 'the cache of storage.trace.cache is for footers too'),
    column_index: bool(false, 'for column indexes too'),
    offset_index: bool(false, 'for offset indexes too'),
  }),
};

export const compactionFields = {
  v2_in_buffer_bytes: int(5_242_880, 'v2 only, warn if changed'),
  v2_out_buffer_bytes: int(20_971_520, 'v2 only (S3 needs >= 5 MiB else warning)'),
  v2_prefetch_traces_count: int(1_000, 'v2 only'),
  compaction_window: duration('1h', 'time window of one job', { flag: '+compaction.compaction-window' }),
  max_compaction_objects: int(6_000_000, 'max traces in output', {
    flag: '+compaction.max-objects-per-block',
  }),
  max_block_bytes: int(107_374_182_400, 'max output bytes', { flag: '+compaction.max-block-bytes' }),
  block_retention: notNegative(
    duration('336h', 'delete blocks older than', { flag: '+compaction.block-retention' }),
  ),
  compacted_block_retention: notNegative(duration('1h', 'keep compacted blocks')),
  retention_concurrency: int(10, 'tenants in parallel'),
  max_time_per_tenant: duration('5m', 'then next tenant'),
  compaction_cycle: duration('30s', 'pause between two passes over all tenants'),
};

const traceFields = {
  pool: block({
    max_workers: int(400, 'parallel backend reads (0 outside querier/all)', {
      flag: 'storage.trace.pool.max-workers',
    }),
    queue_depth: int(20_000, 'pending reads', { flag: 'storage.trace.pool.queue-depth' }),
  }),
  wal: block(storageWalFields, 'write-ahead log', {
    aliases: { encoding: 'v2_encoding' },
    obsolete: ['completedfilepath', 'blocksfilepath'],
  }),
  block: block(blockFields, 'new blocks', { flagPrefix: 'storage.trace.block.', aliases: BLOCK_ALIASES }),
  search: block(searchFields),
  blocklist_poll: duration('5m', 'poll period', { flag: 'storage.trace.blocklist_poll' }),
  blocklist_poll_concurrency: int(50, 'meta reads in parallel (0 warns)'),
  blocklist_poll_tenant_concurrency: int(0, 'tenants in parallel, 0 = 8'),
  blocklist_poll_fallback: bool(true, 'list bucket if the index fails'),
  blocklist_poll_tenant_index_builders: int(
    2,
    'of processes that share the upkeep, how many write the index of a tenant; 0 = none is written',
  ),
  blocklist_poll_stale_tenant_index: duration(
    '0s',
    'age at which readers do not believe an index: it is written again when it is half as old; 0 = off',
  ),
  blocklist_poll_jitter_ms: int(0, 'random delay per meta read'),
  blocklist_poll_tolerate_consecutive_errors: int(1, 'retries per tenant'),
  blocklist_poll_tolerate_tenant_failures: int(1, 'failed tenants allowed'),
  empty_tenant_deletion_enabled: bool(false, 'what lies in the folder of a tenant without blocks is deleted'),
  empty_tenant_deletion_age: duration('0s', 'once all of it is that old'),
  backend: oneOf(['', 'local', 's3', 'gcs', 'azure'], '', 'object store (required)', {
    flag: 'storage.trace.backend',
  }),
  local: block(
    {
      ...localFields,
      max_bytes: size(
        '0',
        'most that is kept on disk, above it the oldest blocks are deleted; 0 = no limit',
        {
          hidden: true,
          ours: true,
        },
      ),
    },
    '',
    { flagPrefix: 'storage.trace.local.' },
  ),
  gcs: block(gcsFields, '', { flagPrefix: 'storage.trace.gcs.' }),
  s3: block(s3Fields, '', { flagPrefix: 'storage.trace.s3.', ...s3Options }),
  azure: block(azureFields, '', { flagPrefix: 'storage.trace.azure.', ...azureOptions }),
  cache: text('', 'memcached or redis, a cache for bloom filters; older than the cache block'),
  background_cache: block(backgroundFields),
  memcached: memcachedClient,
  redis: redisClient,
  cache_min_compaction_level: int(0, 'bloom filters of higher levels are not cached; 0 = all are'),
  cache_max_block_age: duration('0s', 'bloom filters of older blocks are not cached; 0 = all are'),
};

export const storageFields = {
  trace: block(traceFields, 'of traces', { aliases: { maintenance_cycle: 'blocklist_poll' } }),
};

export type BlockConfig = ConfigOf<typeof blockFields>;
