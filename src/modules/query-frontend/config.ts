// The query_frontend block.
import {
  block,
  bool,
  duration,
  float,
  int,
  list,
  size,
  text,
  type BlockOptions,
} from '../../config/field.ts';

const sloFields = {
  duration_slo: duration('0s', 'an answer within it is within the objective, 0 = off', { hidden: true }),
  throughput_bytes_slo: float(0, 'or read at that many bytes a second', { hidden: true }),
};

/** Tempo had them of trace by id, up to 2.4. */
const hedgeFields = {
  hedge_requests_at: duration('0s', 'a second querier has a query after that long too, 0 = off', {
    hidden: true,
    ours: true,
  }),
  hedge_requests_up_to: int(2, 'queriers that have it at most, with the first', {
    hidden: true,
    ours: true,
  }),
};

export const queryFrontendFields = {
  api_timeout: duration('0s', 'limit of any request, 0 = off', { hidden: true }),
  url_deny_list: list(text('', 'pattern'), [], 'requests whose URL matches one are refused', {
    hidden: true,
  }),
  allowed_headers: list(text('', 'name'), [], 'request headers passed on', { hidden: true }),
  skip_ast_transformations: list(text('', 'name'), [], 'rewriting of queries that is left out', {
    hidden: true,
  }),
  query_end_cutoff: duration('0s', 'the newest that is not queried', { hidden: true }),
  max_grpc_streaming_packet_size: int(2_097_152, 'streamed answers are split above it', { hidden: true }),
  max_outstanding_per_tenant: int(2_000, 'queue length, then 429'),
  max_batch_size: int(7, 'jobs per message'),
  log_query_request_headers: text('', 'comma list of headers added to query logs'),
  max_retries: int(2, 'tries of failed jobs'),
  search: block({
    timeout: duration('0s', 'limit of a search, 0 = off', { hidden: true }),
    concurrent_jobs: int(1_000, 'parallel jobs per query'),
    target_bytes_per_job: int(104_857_600, 'job size'),
    default_result_limit: int(20, 'limit if none given'),
    max_result_limit: int(262_144, 'upper limit (0 = off)'),
    max_duration: duration('168h', 'max end-start, 0 = off'),
    query_backend_after: duration('15m', 'where a range begins that query_end_cutoff has cut'),
    query_ingesters_until: duration('30m', 'older data only from backend'),
    ingester_shards: int(3, 'ingester sub-requests'),
    most_recent_shards: int(200, 'shards for most_recent ordering'),
    default_spans_per_span_set: int(3, 'spss default'),
    max_spans_per_span_set: int(100, 'spss cap, 0 = off'),
    result_cache_bytes: size(
      '0',
      'memory for what parts of searches and metrics queries over blocks have answered, 0 = off',
      {
        hidden: true,
        ours: true,
      },
    ),
    ...hedgeFields,
    ...sloFields,
    metadata_slo: block(sloFields, 'objective of the tag endpoints', { hidden: true }),
  }),
  trace_by_id: block({
    query_shards: int(50, 'trace-by-id sub-requests (2..100000)'),
    concurrent_shards: int(0, 'of them at once, 0 = all', { hidden: true }),
    external_enabled: bool(false, 'ask querier.trace_by_id.external too', { hidden: true }),
    ...hedgeFields,
    ...sloFields,
  }),
  metrics: block({
    concurrent_jobs: int(1_000, 'parallel jobs'),
    target_bytes_per_job: int(104_857_600, 'job size'),
    max_duration: duration('3h', 'max range, 0 = off'),
    query_backend_after: duration('30m', 'younger from generators'),
    interval: duration('5m', 'block time shard (unused now)'),
    max_exemplars: int(100, 'cap'),
    streaming_shards: int(200, 'shards for streaming'),
    max_intervals: int(10_000, 'max points, 0 = off'),
    max_response_series: int(0, 'most series of an answer, 0 = off', { hidden: true }),
    ...hedgeFields,
    ...sloFields,
  }),
  multi_tenant_queries_enabled: bool(true, 'allow a/b tenants'),
  response_consumers: int(10, 'not read'),
  weights: block({
    request_with_weights: bool(true, 'use query weights in batching'),
    retry_with_weights: bool(true, 'add weight on retry'),
    max_traceql_conditions: int(4, 'heavier above'),
    max_regex_conditions: int(1, 'heavier above'),
  }),
  mcp_server: block({
    enabled: bool(false, 'serve /api/mcp (warning logged)', { flag: 'query-frontend.mcp-server.enabled' }),
  }),
  max_query_expression_size_bytes: int(131_072, 'max q length'),
  rf1_after: text('0001-01-01T00:00:00Z', 'RFC 3339; use blocks with replication factor 1 from then'),
};

export const queryFrontendOptions: BlockOptions = {
  aliases: { query_shards: 'trace_by_id.query_shards' },
  obsolete: ['tolerate_failed_blocks', 'querier_forget_delay'],
};
