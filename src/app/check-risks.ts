// Settings that work and will hurt: what Tempo warns of, plus limits that refuse everything.
import { valuesFitting } from '../block/value-filter/filter-lines.ts';
import type { TempoConfig } from './config.ts';
import { startOrder } from './graph.ts';

/** What says how recent spans are kept, with the defaults of 2.10 and of 3.0. */
const LIVE_STORE_DEFAULTS: Partial<Record<keyof TempoConfig['liveStore'], readonly number[]>> = {
  completeBlockTimeoutMs: [3_600_000, 1_200_000],
  maxBlockDurationMs: [1_800_000, 30_000],
  maxBlockBytes: [104_857_600, 52_428_800],
  maxTraceLiveMs: [30_000],
  maxTraceIdleMs: [5000],
  maxLiveTracesBytes: [250_000_000],
};

type Risk = readonly [path: string, text: string];

export function riskySettings(config: TempoConfig): readonly Risk[] {
  return [
    ...upkeepRisks(config),
    ...storageRisks(config),
    ...obsoleteFormatRisks(config),
    ...moduleRisks(config),
    ...limitRisks(config),
    ...externalRisks(config),
    ...hedgeRisks(config),
    ...cacheRisks(config),
    ...when(
      saysHowSpansAreKept(config),
      'live_store',
      'has no effect in a single process: how recent spans are kept is said by the ingester block',
    ),
  ];
}

function saysHowSpansAreKept({ liveStore }: TempoConfig): boolean {
  return Object.entries(LIVE_STORE_DEFAULTS).some(
    ([key, defaults]) => !defaults.includes(Number(liveStore[key as keyof typeof liveStore])),
  );
}

/** Both must be said, or nobody else is asked for traces. */
function externalRisks({ querier, queryFrontend }: TempoConfig): readonly Risk[] {
  const isEnabled = queryFrontend.traceById.externalEnabled;
  const hasEndpoint = querier.traceById.external.endpoint !== '';
  const enabled = 'query_frontend.trace_by_id.external_enabled';
  const endpoint = 'querier.trace_by_id.external.endpoint';
  return [
    ...when(hasEndpoint && !isEnabled, endpoint, `has no effect without ${enabled}`),
    ...when(isEnabled && !hasEndpoint, enabled, `has no effect without ${endpoint}`),
  ];
}

/** Queries are given to a further querier where there may be one. */
function hedgeRisks({ queryFrontend, target }: TempoConfig): readonly Risk[] {
  const modules = startOrder(target);
  if (!modules.includes('query-frontend')) return [];
  const { search, metrics, traceById: trace_by_id } = queryFrontend;
  return Object.entries({ search, metrics, trace_by_id }).flatMap(([block, keys]) => {
    if (keys.hedgeRequestsAtMs === 0) return [];
    const path = `query_frontend.${block}.hedge_requests_at`;
    return [
      ...when(modules.includes('querier'), path, 'has no effect beside the only querier that is asked'),
      ...when(keys.hedgeRequestsUpTo < 2, path, 'has no effect with hedge_requests_up_to below 2'),
    ];
  });
}

/** Blocks on a disk of this machine are read faster than any cache is asked. */
function cacheRisks({ cache, storage: { trace } }: TempoConfig): readonly Risk[] {
  const isOfBlocks = cache.caches.some(({ roles }) => roles.some((role) => role !== 'frontend-search'));
  const isKnown = ['', 'memcached', 'redis'].includes(trace.cache);
  return [
    ...when(!isKnown, 'storage.trace.cache', `is ${trace.cache}, which is no cache: memcached or redis are`),
    ...when(isKnown && trace.cache !== '', 'storage.trace.cache', 'is older than the cache block: use that'),
    ...when(
      trace.backend === 'local' && (isOfBlocks || trace.cache !== ''),
      isOfBlocks ? 'cache.caches' : 'storage.trace.cache',
      'has no effect on blocks of the local backend, which are on a disk',
    ),
  ];
}

/** Less has no room for the values of a usual block. */
const FILTER_BYTES_USEFUL = 16 * 1024;

/** A risk when the condition holds. */
function when(isRisky: boolean, path: string, text: string): readonly Risk[] {
  return isRisky ? [[path, text]] : [];
}

function upkeepRisks({ backendScheduler, compactor, ingester, storage }: TempoConfig): readonly Risk[] {
  const pollMs = storage.trace.blocklistPollMs;
  const { blockRetentionMs, retentionConcurrency } = compactor.compaction;
  const poll = 'storage.trace.blocklist_poll';
  return [
    ...when(
      ingester.completeBlockTimeoutMs < pollMs,
      'ingester.complete_block_timeout',
      `is less than ${poll}: a trace may not be found between its upload and the next poll`,
    ),
    ...when(
      blockRetentionMs < pollMs,
      'compactor.compaction.block_retention',
      `is less than ${poll}: blocks may be read that are deleted already`,
    ),
    ...when(
      retentionConcurrency === 0,
      'compactor.compaction.retention_concurrency',
      'is 0, the default is used',
    ),
    ...when(
      backendScheduler.work.pruneAgeMs <= 2 * pollMs,
      'backend_scheduler.work.prune_age',
      `must be more than twice ${poll}: jobs would be forgotten before their blocks are seen`,
    ),
  ];
}

function storageRisks({ overrides, storage: { trace }, target }: TempoConfig): readonly Risk[] {
  const { client } = overrides.userConfigurableOverrides;
  const isSamePlace =
    overrides.userConfigurableOverrides.enabled &&
    client.backend === trace.backend &&
    (trace.backend === 'local'
      ? client.local.path === trace.local.path
      : trace.backend === 's3'
        ? client.s3.bucket === trace.s3.bucket && client.s3.prefix === trace.s3.prefix
        : trace.backend === 'gcs'
          ? client.gcs.bucketName === trace.gcs.bucketName && client.gcs.prefix === trace.gcs.prefix
          : client.azure.containerName === trace.azure.containerName &&
            client.azure.prefix === trace.azure.prefix);
  const { valueFilterMaxBytes: filterBytes } = trace.block;
  const isShared = target !== 'all' && target !== 'scalable-single-binary';
  return [
    ...when(
      trace.backend === 'local' && isShared,
      'storage.trace.backend',
      'is local: modules of several processes need one disk that all of them see',
    ),
    ...when(
      trace.backend === 'local' && target === 'scalable-single-binary',
      'storage.trace.backend',
      'is local: several replicas need one disk that all of them see, else each answers without the ' +
        'blocks of the others, and retention, which they share, does not delete all',
    ),
    ...when(
      trace.blocklistPollConcurrency === 0,
      'storage.trace.blocklist_poll_concurrency',
      'is 0, 1 is used',
    ),
    ...when(
      trace.emptyTenantDeletionEnabled && trace.emptyTenantDeletionAgeMs <= 0,
      'storage.trace.empty_tenant_deletion_age',
      'is 0: nothing is deleted until it is more',
    ),
    ...when(trace.s3.signatureV2, 'storage.trace.s3.signature_v2', 'has no effect, version 4 is used'),
    ...when(trace.s3.nativeAwsAuthEnabled, 'storage.trace.s3.native_aws_auth_enabled', 'has no effect'),
    ...when(
      filterBytes > 0 && filterBytes < FILTER_BYTES_USEFUL,
      'storage.trace.block.value_filter_max_bytes',
      `is ${filterBytes}: blocks with more than some ${valuesFitting(filterBytes)} values get no filter`,
    ),
    ...when(
      isSamePlace,
      'overrides.user_configurable_overrides.client',
      'is the place of the traces, too: overrides of tenants would be taken for blocks',
    ),
  ];
}

const V2_IN_BUFFER_BYTES = 5_242_880;
const V2_OUT_BUFFER_BYTES = 20_971_520;
const V2_PREFETCH_TRACES = 1000;
const V2_INDEX_DOWNSAMPLE_BYTES = 1_048_576;
const V2_INDEX_PAGE_SIZE_BYTES = 256_000;

/** Settings of the format v2, which nothing writes any more. */
function obsoleteFormatRisks({ compactor: { compaction }, storage }: TempoConfig): readonly Risk[] {
  const { block } = storage.trace;
  const changed: readonly (readonly [string, number, number])[] = [
    [
      'storage.trace.block.v2_index_downsample_bytes',
      block.v2IndexDownsampleBytes,
      V2_INDEX_DOWNSAMPLE_BYTES,
    ],
    ['storage.trace.block.v2_index_page_size_bytes', block.v2IndexPageSizeBytes, V2_INDEX_PAGE_SIZE_BYTES],
    ['compactor.compaction.v2_in_buffer_bytes', compaction.v2InBufferBytes, V2_IN_BUFFER_BYTES],
    ['compactor.compaction.v2_out_buffer_bytes', compaction.v2OutBufferBytes, V2_OUT_BUFFER_BYTES],
    ['compactor.compaction.v2_prefetch_traces_count', compaction.v2PrefetchTracesCount, V2_PREFETCH_TRACES],
  ];
  return changed.flatMap(([path, value, usual]) =>
    when(value !== usual, path, 'has no effect, it is for blocks of version v2'),
  );
}

function moduleRisks({ blockBuilder, distributor, queryFrontend }: TempoConfig): readonly Risk[] {
  const { concurrentShards, queryShards } = queryFrontend.traceById;
  const { assignedPartitions, partitionsPerInstance } = blockBuilder;
  const line = 'writes a log line for every span: for debugging, not for production';
  return [
    ...when(distributor.logReceivedSpans.enabled, 'distributor.log_received_spans', line),
    ...when(distributor.logDiscardedSpans.enabled, 'distributor.log_discarded_spans', line),
    ...when(
      queryFrontend.mcpServer.enabled,
      'query_frontend.mcp_server',
      'gives a language model, and whoever runs it, access to the traces',
    ),
    ...when(
      concurrentShards > queryShards,
      'query_frontend.trace_by_id.concurrent_shards',
      'is more than query_shards, which is used',
    ),
    ...when(
      blockBuilder.block.version !== blockBuilder.wal.version,
      'block_builder.wal.version',
      'is not block_builder.block.version, which is used',
    ),
    ...when(
      Object.keys(assignedPartitions).length > 0 && partitionsPerInstance > 0,
      'block_builder.partitions_per_instance',
      'has no effect beside assigned_partitions',
    ),
  ];
}

function limitRisks({ overrides }: TempoConfig): readonly Risk[] {
  const { rateLimitBytes, burstSizeBytes } = overrides.defaults.ingestion;
  const missing = rateLimitBytes <= 0 ? 'rate_limit_bytes' : 'burst_size_bytes';
  return when(
    rateLimitBytes <= 0 || burstSizeBytes <= 0,
    `overrides.defaults.ingestion.${missing}`,
    'is not more than 0: all spans are refused',
  );
}
