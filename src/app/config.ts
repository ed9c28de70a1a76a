// The whole configuration: the sum of the modules' blocks, in the order in which it is printed.
import { cacheFields } from '../cache/config.ts';
import { backendSchedulerFields } from '../modules/backend-scheduler/config.ts';
import { backendWorkerFields } from '../modules/backend-worker/config.ts';
import { blockBuilderFields } from '../modules/block-builder/config.ts';
import { compactorFields } from '../modules/compactor/config.ts';
import { distributorFields } from '../modules/distributor/config.ts';
import { ingesterFields } from '../modules/ingester/config.ts';
import { liveStoreFields } from '../modules/live-store/config.ts';
import { metricsGeneratorFields } from '../modules/metrics-generator/config.ts';
import { querierFields, querierOptions } from '../modules/querier/config.ts';
import { queryFrontendFields, queryFrontendOptions } from '../modules/query-frontend/config.ts';
import { overridesFields, overridesOptions } from '../overrides/config.ts';
import { memberlistFields } from '../ring/config.ts';
import { storageFields } from '../store/config.ts';
import { internalServerFields, serverFields } from './server-config.ts';
import { block, bool, duration, float, int, size, text, type ConfigOf } from '../config/field.ts';
import { grpcClient, kafkaFields, poolClientFields } from '../config/shared-blocks.ts';

const hidden = { hidden: true };
const ours = { hidden: true, ours: true };

const rootFields = {
  target: text('all', 'module or group of modules to run', { flag: 'target' }),
  auth_enabled: bool(false, 'old name of multitenancy_enabled', { ...hidden, flag: 'auth.enabled' }),
  multitenancy_enabled: bool(false, 'every request names its tenant', {
    ...hidden,
    flag: 'multitenancy.enabled',
  }),
  stream_over_http_enabled: bool(false, 'serve gRPC on the HTTP port', hidden),
  http_api_prefix: text('', 'put before the paths of the query API', { flag: 'http-api-prefix' }),
  shutdown_delay: duration('0s', 'not ready for that long before stopping', {
    ...hidden,
    flag: 'shutdown-delay',
  }),
  enable_go_runtime_metrics: bool(false, 'not read', { ...hidden, flag: 'enable-go-runtime-metrics' }),
  partition_ring_live_store: bool(false, 'not read', hidden),
  span_profiling: bool(false, 'not read', hidden),
  memory: block(
    {
      automemlimit_enabled: bool(false, 'not read', hidden),
      automemlimit_ratio: float(0.8, 'not read', hidden),
      limit: size(
        '0B',
        '0 = the limit of the cgroup or GOMEMLIMIT, else the smaller of a quarter of all and 2GiB',
        ours,
      ),
      idle_tenant_timeout: duration('15m', 'nothing is kept of tenants that are silent for so long', ours),
    },
    'memory the process may use',
    hidden,
  ),
  server: block(serverFields, 'listening sockets and log'),
  internal_server: block(internalServerFields, 'second HTTP server for probes'),
  distributor: block(distributorFields, 'takes spans in', {
    aliases: { log_received_traces: 'log_received_spans.enabled' },
  }),
  ingester_client: block(poolClientFields, 'connections to ingesters'),
  metrics_generator_client: block(poolClientFields, 'connections to metrics-generators'),
  live_store_client: block(poolClientFields, 'connections to live-stores'),
  querier: block(querierFields, 'executes queries', querierOptions),
  query_frontend: block(queryFrontendFields, 'serves the query API', queryFrontendOptions),
  compactor: block(compactorFields, 'compacts and deletes blocks'),
  ingester: block(ingesterFields, 'keeps recent spans and makes blocks of them', {
    obsolete: ['use_flatbuffer_search', 'traces_per_block'],
  }),
  metrics_generator: block(metricsGeneratorFields, 'makes metrics of spans', {
    aliases: { remote_write: 'storage.remote_write' },
    obsolete: ['processor.service_graphs.enabled', 'processor.span_metrics.enabled'],
  }),
  ingest: block({
    enabled: bool(false, 'pass spans through Kafka'),
    kafka: block(kafkaFields, 'Kafka', { flagPrefix: 'ingest.' }),
  }),
  block_builder: block(blockBuilderFields, 'makes blocks of what Kafka holds'),
  storage: block(storageFields, 'where blocks are'),
  overrides: block(overridesFields, 'limits', overridesOptions),
  memberlist: block(memberlistFields, 'gossip between instances'),
  usage_report: block({
    reporting_enabled: bool(true, 'nothing is reported, whatever this says', { flag: 'reporting.enabled' }),
    backoff: block(
      {
        min_period: duration('100ms', 'not read', { flag: 'reporting.backoff-min-period' }),
        max_period: duration('10s', 'not read', { flag: 'reporting.backoff-max-period' }),
        max_retries: int(0, 'not read', { flag: 'reporting.backoff-retries' }),
      },
      'not read',
    ),
  }),
  cache: block(cacheFields, 'caches of parts of blocks'),
  backend_scheduler: block(backendSchedulerFields, 'hands out compaction and retention jobs', {
    aliases: { tenant_measurement_interval: 'provider.compaction.measure_interval' },
    obsolete: ['provider.compaction.backoff'],
  }),
  backend_scheduler_client: block(
    { grpc_client_config: grpcClient() },
    'connection to the backend-scheduler',
  ),
  backend_worker: block(backendWorkerFields, 'does those jobs'),
  live_store: block(liveStoreFields, 'keeps recent spans that came through Kafka'),
};

export const rootBlock = block(rootFields, 'configuration', {
  obsolete: [
    'search_enabled',
    'metrics_generator_enabled',
    'autocomplete_filtering_enabled',
    'use_otel_tracer',
  ],
});

export type TempoConfig = ConfigOf<typeof rootFields>;

/** What is put before the paths of the query API, without a slash at its end. */
export function apiPrefixOf({ httpApiPrefix }: Pick<TempoConfig, 'httpApiPrefix'>): string {
  return httpApiPrefix.replace(/\/+$/, '');
}
