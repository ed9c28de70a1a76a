// What a configuration that could be read still has wrong: values that cannot work (problems) or will hurt
// (warnings).
import type { Problem } from '../config/errors.ts';
import type { TempoConfig } from './config.ts';
import { parseEndpoint } from '../rpc/listen.ts';
import { regexMatcher } from '../traceql/regex.ts';
import { targetProblem } from './graph.ts';

export interface Findings {
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
}

export function checkConfig(config: TempoConfig): Findings {
  const problems: Problem[] = [];
  const warnings: Problem[] = [];
  const fail = (path: string, text: string): void => void problems.push({ at: '', path, text });
  const warn = (path: string, text: string): void => void warnings.push({ at: '', path, text });
  const target = targetProblem(config.target);
  if (target !== undefined) fail('target', target);
  checkStorage(config, fail, warn);
  checkFrontend(config, fail);
  checkListeners(config, fail);
  checkUpkeep(config, fail, warn);
  for (const name of ['jaeger', 'zipkin', 'opencensus', 'kafka'] as const) {
    if (config.distributor.receivers[name] === undefined) continue;
    warn(`distributor.receivers.${name}`, 'receiver is not available yet, it is not started');
  }
  return { problems, warnings };
}

type Report = (path: string, text: string) => void;

function checkStorage({ storage: { trace } }: TempoConfig, fail: Report, warn: Report): void {
  const { backend, local, wal, block } = trace;
  if (backend === '') fail('storage.trace.backend', 'no backend is set, use local');
  else if (backend !== 'local')
    fail('storage.trace.backend', `backend "${backend}" is not available yet, use local`);
  else if (local.path === '') fail('storage.trace.local.path', 'is needed for the local backend');
  if (wal.path === '') fail('storage.trace.wal.path', 'is needed');
  const { version } = block;
  if (version !== '' && version !== 'vParquet4') {
    fail('storage.trace.block.version', `blocks of version ${version} cannot be written, use vParquet4`);
  }
  if (trace.blocklistPollConcurrency === 0)
    warn('storage.trace.blocklist_poll_concurrency', 'is 0, 1 is used');
  if (block.v2IndexDownsampleBytes !== 1_048_576 || block.v2IndexPageSizeBytes !== 256_000) {
    warn('storage.trace.block', 'v2_index_downsample_bytes and v2_index_page_size_bytes have no effect');
  }
  if (trace.s3.nativeAwsAuthEnabled) warn('storage.trace.s3.native_aws_auth_enabled', 'has no effect');
  if (trace.cache !== '') warn('storage.trace.cache', 'has no effect, use the cache block');
}

function checkFrontend({ queryFrontend }: TempoConfig, fail: Report): void {
  const positive: readonly (readonly [string, number])[] = [
    ['search.concurrent_jobs', queryFrontend.search.concurrentJobs],
    ['search.target_bytes_per_job', queryFrontend.search.targetBytesPerJob],
    ['search.most_recent_shards', queryFrontend.search.mostRecentShards],
    ['metrics.concurrent_jobs', queryFrontend.metrics.concurrentJobs],
    ['metrics.target_bytes_per_job', queryFrontend.metrics.targetBytesPerJob],
    ['metrics.interval', queryFrontend.metrics.intervalMs],
    ['max_batch_size', queryFrontend.maxBatchSize],
  ];
  for (const [key, value] of positive) {
    if (value <= 0) fail(`query_frontend.${key}`, 'must be more than 0');
  }
  for (const pattern of queryFrontend.urlDenyList) {
    if (regexMatcher(pattern) === undefined) {
      fail('query_frontend.url_deny_list', `${JSON.stringify(pattern)} is no regular expression`);
    }
  }
  const { queryShards } = queryFrontend.traceById;
  if (queryShards < 2 || queryShards > 100_000) {
    fail('query_frontend.trace_by_id.query_shards', `is ${queryShards}, must be between 2 and 100000`);
  }
  const { queryBackendAfterMs, queryIngestersUntilMs } = queryFrontend.search;
  if (queryBackendAfterMs > queryIngestersUntilMs) {
    const text = 'must not be more than query_ingesters_until, or spans between the two are not found';
    fail('query_frontend.search.query_backend_after', text);
  }
}

function checkListeners({ distributor, server }: TempoConfig, fail: Report): void {
  for (const key of ['httpListenPort', 'grpcListenPort'] as const) {
    const path = key === 'httpListenPort' ? 'server.http_listen_port' : 'server.grpc_listen_port';
    if (server[key] < 0 || server[key] > 65_535) fail(path, `is ${server[key]}, no port`);
  }
  for (const name of ['grpc', 'http'] as const) {
    const protocol = distributor.receivers.otlp?.protocols[name];
    if (protocol === undefined) continue;
    try {
      parseEndpoint(protocol.endpoint);
    } catch (err) {
      fail(`distributor.receivers.otlp.protocols.${name}.endpoint`, (err as Error).message);
    }
  }
  if (server.httpTlsConfig.certFile !== '' || server.httpTlsConfig.cert !== '') {
    fail('server.http_tls_config', 'TLS is not available yet');
  }
}

function checkUpkeep(config: TempoConfig, fail: Report, warn: Report): void {
  const { compactor, distributor, ingester, queryFrontend, storage } = config;
  const pollMs = storage.trace.blocklistPollMs;
  if (ingester.completeBlockTimeoutMs < pollMs) {
    warn('ingester.complete_block_timeout', 'is less than storage.trace.blocklist_poll');
  }
  if (compactor.compaction.blockRetentionMs < 0) {
    fail('compactor.compaction.block_retention', 'is negative: every block would be deleted');
  } else if (compactor.compaction.blockRetentionMs < pollMs) {
    warn('compactor.compaction.block_retention', 'is less than storage.trace.blocklist_poll');
  }
  if (compactor.compaction.retentionConcurrency === 0) {
    warn('compactor.compaction.retention_concurrency', 'is 0, the default is used');
  }
  for (const key of ['logReceivedSpans', 'logDiscardedSpans'] as const) {
    if (!distributor[key].enabled) continue;
    const path = key === 'logReceivedSpans' ? 'log_received_spans' : 'log_discarded_spans';
    warn(`distributor.${path}`, 'writes a log line for every span');
  }
  if (queryFrontend.mcpServer.enabled) {
    warn('query_frontend.mcp_server', 'gives a language model access to the traces');
  }
}
