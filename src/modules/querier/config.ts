// The querier block.
import { block, bool, duration, float, int, text, type BlockOptions } from '../../config/field.ts';
import { grpcClient } from '../../config/shared-blocks.ts';

export const querierFields = {
  search: block({
    query_timeout: duration('30s', 'querier search deadline'),
  }),
  trace_by_id: block({
    query_timeout: duration('10s', 'querier trace-by-id deadline'),
    external: block({
      endpoint: text('', 'second trace-by-id source (HTTP)'),
      timeout: duration('10s', 'its timeout'),
    }),
  }),
  metrics: block({
    concurrent_blocks: int(2, 'parallel blocks per metrics job'),
    time_overlap_cutoff: float(0.2, 'below this overlap ratio use trace time columns'),
    max_samples: int(2_000_000, 'series times intervals, above it a part of the series is answered', {
      hidden: true,
      ours: true,
    }),
  }),
  query_live_store: bool(false, 'ask live stores', { hidden: true }),
  extra_query_delay: duration('0s', 'delay before more replicas are asked', { hidden: true }),
  secondary_ingester_ring: text('', 'key of a second ring', { hidden: true }),
  partition_ring: block({
    minimize_requests: bool(true, 'partition ring reads: one zone first'),
    hedging_delay: duration('3s', 'then hedge after'),
    preferred_zone: text('', 'zone asked first', { hidden: true }),
  }),
  max_concurrent_queries: int(20, 'parallel sub-requests'),
  frontend_worker: block({
    frontend_address: text(
      '',
      'host:port of the query-frontend gRPC; needed unless all modules run in one process',
      {
        flag: 'querier.frontend-address',
      },
    ),
    dns_lookup_duration: duration('10s', 're-resolve period'),
    parallelism: int(2, 'streams per frontend if match_max_concurrent false'),
    match_max_concurrent: bool(true, 'streams = max_concurrent_queries'),
    id: text('', 'querier id, default hostname'),
    grpc_client_config: grpcClient({
      max_send_msg_size: 16_777_216,
      'backoff_config.max_period': '1s',
      'backoff_config.max_retries': 5,
      initial_stream_window_size: '0B',
      initial_connection_window_size: '0B',
      connect_timeout: '0s',
      connect_backoff_base_delay: '0s',
      connect_backoff_max_delay: '0s',
    }),
  }),
  shuffle_sharding_ingesters_enabled: bool(false, "query only the tenant's shard"),
  shuffle_sharding_ingesters_lookback_period: duration('1h', 'shard history'),
  query_relevant_ingesters: bool(false, 'trace by id asks only owners'),
};

export const querierOptions: BlockOptions = {
  aliases: { query_timeout: 'trace_by_id.query_timeout' },
  obsolete: [
    'search.external_endpoints',
    'search.external_backend',
    'search.google_cloud_run',
    'search.prefer_self',
    'search.external_hedge_requests_at',
    'search.external_hedge_requests_up_to',
  ],
};
