// The limits of a tenant: what `overrides.defaults` and each tenant of the overrides file may set.
import { dedicatedColumn } from '../config/shared-blocks.ts';
import {
  block,
  bool,
  days,
  duration,
  float,
  int,
  list,
  map,
  oneOf,
  optional,
  raw,
  text,
  type ConfigOf,
  type Field,
  type FieldOptions,
  type Shape,
} from '../config/field.ts';

/** Keys that Tempo does not print while they are unset. */
function unset(flag?: string): FieldOptions {
  return flag === undefined ? { hidden: true } : { hidden: true, flag };
}

const strings = (doc: string) => optional(list(text('', 'value'), [], doc), doc, unset());
const flag = (doc: string) => optional(bool(false, doc), doc, unset());
const numbers = (doc: string) => optional(list(float(0, 'bound'), [], doc), doc, unset());
const DEDICATED = 'attributes with a column of their own, in place of those of storage.trace.block';
const raws = (doc: string) => optional(list(raw(null, doc), [], doc), doc, unset());
const span = (doc: string) => duration('0s', doc, unset());
const spanOfDays = (doc: string) => days('0s', doc, unset());

const generatorProcessorFields = {
  service_graphs: block(
    {
      histogram_buckets: numbers('seconds'),
      dimensions: strings('attributes as labels'),
      peer_attributes: strings('names of virtual nodes'),
      filter_policies: raws('include and exclude policies'),
      enable_client_server_prefix: flag('client_ and server_ labels'),
      enable_messaging_system_latency_histogram: flag('one more histogram'),
      enable_virtual_node_label: flag('label virtual_node'),
      span_multiplier_key: text('', 'attribute with the sampling ratio', unset()),
      enable_tracestate_span_multiplier: flag('weight from tracestate'),
    },
    'service graphs',
    unset(),
  ),
  span_metrics: block(
    {
      histogram_buckets: numbers('seconds'),
      dimensions: strings('attributes as labels'),
      intrinsic_dimensions: map(bool(false, 'on'), {}, 'intrinsics as labels', unset()),
      filter_policies: raws('include and exclude policies'),
      dimension_mappings: raws('labels made of attributes'),
      enable_target_info: flag('traces_target_info'),
      target_info_excluded_dimensions: strings('attributes left out'),
      enable_instance_label: flag('label instance'),
      span_multiplier_key: text('', 'attribute with the sampling ratio', unset()),
      enable_tracestate_span_multiplier: flag('weight from tracestate'),
    },
    'span metrics',
    unset(),
  ),
  local_blocks: block(
    {
      max_live_traces: int(0, 'live traces, 0 = module value', unset()),
      max_block_duration: span('age at which a block is cut'),
      max_block_bytes: int(0, 'size at which a block is cut', unset()),
      flush_check_period: span('time between cuts'),
      trace_idle_period: span('a trace is cut after that silence'),
      complete_block_timeout: span('how long a complete block is kept'),
    },
    'local blocks',
    unset(),
  ),
  host_info: block(
    { host_identifiers: strings('resource attributes'), metric_name: text('', 'name of the gauge', unset()) },
    'host info',
    unset(),
  ),
};

export const limitsFields = {
  ingestion: block({
    rate_strategy: oneOf(
      ['local', 'global'],
      'local',
      'whether the rate is per distributor or shared by all',
      {
        flag: 'distributor.rate-limit-strategy',
      },
    ),
    rate_limit_bytes: int(15_000_000, 'bytes a second', { flag: 'distributor.ingestion-rate-limit-bytes' }),
    burst_size_bytes: int(20_000_000, 'largest burst, bytes', {
      flag: 'distributor.ingestion-burst-size-bytes',
    }),
    max_traces_per_user: int(10_000, 'live traces in an ingester, 0 = off', {
      flag: 'ingester.max-traces-per-user',
    }),
    max_global_traces_per_user: int(
      0,
      'live traces in the cluster, 0 = off',
      unset('ingester.max-global-traces-per-user'),
    ),
    tenant_shard_size: int(0, 'ingesters of the tenant, 0 = all', unset()),
    max_attribute_bytes: int(0, 'keys and values are cut there, 0 = distributor value', unset()),
    artificial_delay: optional(duration('0s', 'shortest time of a push'), 'shortest time of a push', unset()),
    retry_info_enabled: bool(true, 'tell clients when to retry'),
  }),
  read: block({
    max_bytes_per_tag_values_query: int(1_000_000, 'size of a tag values answer', {
      flag: 'querier.max-bytes-per-tag-values-query',
    }),
    max_blocks_per_tag_values_query: int(
      0,
      'blocks read for tag values, 0 = off',
      unset('querier.max-blocks-per-tag-values-query'),
    ),
    max_search_duration: spanOfDays('longest range of a search, 0 = query_frontend value'),
    max_metrics_duration: spanOfDays('longest range of a metrics query, 0 = query_frontend value'),
    max_condition_groups_per_tag_query: int(100, 'groups joined by or in a tag query', unset()),
    unsafe_query_hints: bool(false, 'allow hints that change results', unset()),
    left_pad_trace_ids: bool(false, 'trace ids of searches have 32 digits', unset()),
    metrics_spanonly_fetch: flag('which way metrics queries read spans'),
  }),
  compaction: block(
    {
      block_retention: spanOfDays('blocks older than that are deleted, 0 = compactor value'),
      compaction_window: spanOfDays('time window of a compaction, 0 = compactor value'),
      compaction_disabled: bool(false, 'no compaction', unset()),
    },
    'compaction',
    unset(),
  ),
  metrics_generator: block({
    ring_size: int(0, 'generators of the tenant, 0 = all', unset()),
    processors: list(text('', 'name'), [], 'processors that run', unset()),
    max_active_series: int(0, 'active series, 0 = off', unset()),
    max_active_entities: int(0, 'active entities, 0 = off', unset()),
    max_cardinality_per_label: int(0, 'values of a label, 0 = off', unset()),
    collection_interval: span('time between samples, 0 = module value'),
    disable_collection: bool(false, 'no samples', unset()),
    generate_native_histograms: oneOf(['classic', 'native', 'both'], 'classic', 'kind of histograms'),
    trace_id_label_name: text('', 'exemplar label, empty = traceID', unset()),
    remote_write_headers: map(text('', 'value'), {}, 'headers of remote writes', {
      hidden: true,
      secret: true,
    }),
    forwarder: block(
      {
        queue_size: int(0, 'queue length, 0 = 100', unset()),
        workers: int(0, 'workers, 0 = 2', unset()),
      },
      'queue to the generators',
      unset(),
    ),
    processor: block(generatorProcessorFields, 'processors', unset()),
    ingestion_time_range_slack: duration('0s', 'spans older or newer are dropped, 0 = module value'),
    native_histogram_bucket_factor: float(1.1, 'growth of native buckets', {
      flag: 'metrics-generator.native-histogram-bucket-factor',
    }),
    native_histogram_max_bucket_number: int(100, 'native buckets at most', {
      flag: 'metrics-generator.native-histogram-max-bucket-number',
    }),
    native_histogram_min_reset_duration: duration('15m', 'shortest time between resets', {
      flag: 'metrics-generator.native-histogram-min-reset-duration',
    }),
    span_name_sanitization: text('', 'how span names are made regular', unset()),
  }),
  forwarders: list(text('', 'name'), [], 'forwarders that get the spans', unset()),
  global: block({
    max_bytes_per_trace: int(5_000_000, 'size of a trace, 0 = off', { flag: 'ingester.max-bytes-per-trace' }),
  }),
  storage: block(
    {
      parquet_dedicated_columns: optional(list(dedicatedColumn, [], DEDICATED), DEDICATED, unset()),
    },
    'storage',
    unset(),
  ),
  cost_attribution: block(
    {
      max_cardinality: int(0, 'label sets, 0 = module value', unset()),
      dimensions: map(text('', 'label'), {}, 'attribute -> label', unset()),
    },
    'cost attribution',
    unset(),
  ),
};

/** What holds for one tenant. */
export type Limits = ConfigOf<typeof limitsFields>;

/** Printed by Tempo even when it is 0. */
const PRINTED = new Set(['generate_native_histograms', 'ingestion_time_range_slack']);

const EMPTY: Readonly<Partial<Record<Field['kind'], unknown>>> = {
  text: '',
  enum: '',
  bool: false,
  int: 0,
  float: 0,
  duration: 0,
  size: 0,
  list: [],
  map: {},
};

function emptied<S extends Shape>(shape: S): S {
  const fields = Object.entries(shape).map(([key, field]): [string, Field] => {
    const hidden = !PRINTED.has(key);
    if (field.kind === 'block') return [key, { ...field, hidden, shape: emptied(field.shape) }];
    const empty = field.kind in EMPTY ? { default: EMPTY[field.kind] } : {};
    return [key, { ...field, ...empty, hidden } as Field];
  });
  return Object.fromEntries(fields) as unknown as S;
}

/**
 * The same keys as a tenant of the overrides file has them: nothing is inherited, what is not set is 0 or
 * empty, and what is 0 is not printed.
 */
export const tenantLimitsFields: typeof limitsFields = emptied(limitsFields);

/** Keys users write in the wrong place. */
export const LIMIT_ALIASES: Readonly<Record<string, string>> = {
  'read.max_bytes_per_trace': 'global.max_bytes_per_trace',
};

const SCOPED_PROCESSOR_PATHS: readonly string[] = Object.entries(generatorProcessorFields).flatMap(
  ([processor, field]) => Object.keys(field.shape).map((key) => `processor.${processor}.${key}`),
);

/** The flat keys of before 2.3 -> where they are now. */
export const LEGACY_LIMIT_KEYS: Readonly<Record<string, string>> = {
  ingestion_rate_strategy: 'ingestion.rate_strategy',
  ingestion_rate_limit_bytes: 'ingestion.rate_limit_bytes',
  ingestion_burst_size_bytes: 'ingestion.burst_size_bytes',
  ingestion_tenant_shard_size: 'ingestion.tenant_shard_size',
  ingestion_max_attribute_bytes: 'ingestion.max_attribute_bytes',
  ingestion_artificial_delay: 'ingestion.artificial_delay',
  ingestion_retry_info_enabled: 'ingestion.retry_info_enabled',
  max_traces_per_user: 'ingestion.max_traces_per_user',
  max_global_traces_per_user: 'ingestion.max_global_traces_per_user',
  max_bytes_per_trace: 'global.max_bytes_per_trace',
  max_bytes_per_tag_values_query: 'read.max_bytes_per_tag_values_query',
  max_blocks_per_tag_values_query: 'read.max_blocks_per_tag_values_query',
  max_search_duration: 'read.max_search_duration',
  max_metrics_duration: 'read.max_metrics_duration',
  unsafe_query_hints: 'read.unsafe_query_hints',
  left_pad_trace_ids: 'read.left_pad_trace_ids',
  metrics_spanonly_fetch: 'read.metrics_spanonly_fetch',
  block_retention: 'compaction.block_retention',
  compaction_window: 'compaction.compaction_window',
  compaction_disabled: 'compaction.compaction_disabled',
  parquet_dedicated_columns: 'storage.parquet_dedicated_columns',
  ...Object.fromEntries(
    [
      ...Object.entries(limitsFields.metrics_generator.shape)
        .filter(([, field]) => field.kind !== 'block')
        .map(([key]) => key),
      'forwarder.queue_size',
      'forwarder.workers',
      ...SCOPED_PROCESSOR_PATHS,
    ].map((path) => [`metrics_generator_${path.replaceAll('.', '_')}`, `metrics_generator.${path}`]),
  ),
};
