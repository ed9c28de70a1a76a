// What a configuration that could be read still has wrong: values that cannot work (problems), what this
// build does not have (missing), and what will hurt (warnings).
import { WRITTEN_FORMATS } from '../block/vparquet/schema.ts';
import type { Problem } from '../config/errors.ts';
import type { MemoryBudget } from '../lib/memory-budget.ts';
import type { TempoConfig } from './config.ts';
import { dimensionsProblem } from '../overrides/cost-attribution.ts';
import { shardSizeProblem } from '../overrides/tenants.ts';
import { regexMatcher } from '../traceql/regex.ts';
import { backendProblems } from './backend-settings.ts';
import { cacheProblems } from './cache-settings.ts';
import { featuresNotYet } from './check-features.ts';
import { checkListeners } from './check-listeners.ts';
import { checkDedicatedColumns } from './check-dedicated.ts';
import { checkRings } from './check-rings.ts';
import { riskySettings } from './check-risks.ts';
import { memoryRisks } from './memory-shares.ts';
import { isLogFormat, LOG_FORMATS } from '../store/log/segment.ts';
import { startOrder, targetMissing, targetProblem, targetsOf } from './graph.ts';

export interface Findings {
  readonly problems: readonly Problem[];
  /** Nothing is wrong with the configuration, but it cannot be started. */
  readonly missing: readonly Problem[];
  readonly warnings: readonly Problem[];
}

type Report = (path: string, text: string) => void;

/** @param budget of the process that it is for; undefined = not known. */
export function checkConfig(config: TempoConfig, budget?: MemoryBudget): Findings {
  const problems: Problem[] = [];
  const missing: Problem[] = [];
  const warnings: Problem[] = [];
  const fail = (path: string, text: string): void => void problems.push({ at: '', path, text });
  const miss = (path: string, text: string): void => void missing.push({ at: '', path, text });
  const warn = (path: string, text: string): void => void warnings.push({ at: '', path, text });
  checkTarget(config, fail, miss);
  checkPrefix(config, fail);
  checkJobs(config, fail, warn);
  checkStorage(config, fail, miss, warn);
  checkDedicatedColumns(config, fail, warn);
  checkRings(config, fail, warn);
  checkFrontend(config, fail);
  checkListeners(config, fail, warn);
  checkTimes(config, fail);
  checkLimits(config, fail);
  checkUserOverrides(config, fail);
  for (const { path, text } of cacheProblems(config)) fail(path, text);
  if (budget?.unreadable !== undefined) fail('GOMEMLIMIT', notASize(budget.unreadable));
  const ofMemory = budget === undefined ? [] : memoryRisks(config, budget);
  const risks = [...riskySettings(config), ...ofMemory, ...featuresNotYet(config)];
  for (const [path, text] of risks) warn(path, text);
  return { problems, missing, warnings };
}

const notASize = (text: string): string =>
  `is ${JSON.stringify(text)} in the environment, must be a size: 512MiB, 2GiB, bytes, or off`;

function checkTarget({ target }: TempoConfig, fail: Report, miss: Report): void {
  const unknown = targetProblem(target);
  if (unknown !== undefined) fail('target', unknown);
  const notYet = targetMissing(target);
  if (notYet !== undefined) miss('target', notYet);
}

function checkPrefix({ httpApiPrefix }: TempoConfig, fail: Report): void {
  if (httpApiPrefix === '' || httpApiPrefix.startsWith('/')) return;
  fail('http_api_prefix', `is ${httpApiPrefix}, must begin with a slash: /${httpApiPrefix}`);
}

function checkJobs(config: TempoConfig, fail: Report, warn: Report): void {
  const targets = targetsOf(config.target);
  const { backendScheduler: scheduler, backendWorker: worker } = config;
  const isScheduler = targets.includes('backend-scheduler');
  const isWorker = targets.includes('backend-worker');
  if (isWorker && !isScheduler && worker.backendSchedulerAddr === '') {
    fail(
      'backend_worker.backend_scheduler_addr',
      'is needed by a backend-worker: host:port of the scheduler',
    );
  }
  const { minInputBlocks: least, maxInputBlocks: most } = scheduler.provider.compaction;
  const path = 'backend_scheduler.provider.compaction';
  if (isScheduler && least < 2) fail(`${path}.min_input_blocks`, `is ${least}, must be at least 2`);
  if (isScheduler && most < least) fail(`${path}.max_input_blocks`, `is ${most}, less than min_input_blocks`);
  const positive: readonly (readonly [string, number])[] = [
    ['work.prune_age', scheduler.work.pruneAgeMs],
    ['maintenance_interval', scheduler.maintenanceIntervalMs],
    ['backend_flush_interval', scheduler.backendFlushIntervalMs],
    ['job_timeout', scheduler.jobTimeoutMs],
    ['provider.retention.interval', scheduler.provider.retention.intervalMs],
  ];
  for (const [key, value] of isScheduler ? positive : []) {
    if (value <= 0) fail(`backend_scheduler.${key}`, 'must be more than 0');
  }
  if (isWorker && worker.aliveIntervalMs <= 0) fail('backend_worker.alive_interval', 'must be more than 0');
  const compacts = targets.some((each) => each === 'all' || each === 'compactor');
  if (compacts && isWorker && !config.compactor.disabled) {
    warn('target', 'has a compactor and a backend-worker: blocks may be compacted twice');
  }
}

/** Less is surely meant in another unit: a process that does nothing takes a hundred times as much. */
const MEMORY_BYTES_MIN = 1 << 20;

function checkLimits({ overrides, memory, ingester }: TempoConfig, fail: Report): void {
  if (memory.limit > 0 && memory.limit < MEMORY_BYTES_MIN) {
    fail(
      'memory.limit',
      `is ${memory.limit} bytes, nothing can be done with it: a unit may be missing, as in 1GiB`,
    );
  }
  const all = Object.entries({ defaults: overrides.defaults, ...overrides.inlineTenants });
  for (const [name, { costAttribution, ingestion }] of all) {
    const { replicationFactor } = ingester.lifecycler.ring;
    const small = shardSizeProblem(ingestion.tenantShardSize, replicationFactor);
    if (small !== undefined) fail(`overrides.${name}.ingestion.tenant_shard_size`, small);
    const wrong = dimensionsProblem(costAttribution.dimensions);
    if (wrong !== undefined) fail(`overrides.${name}.cost_attribution.dimensions`, wrong);
  }
}

function checkUserOverrides({ overrides }: TempoConfig, fail: Report): void {
  const { enabled, client } = overrides.userConfigurableOverrides;
  const path = 'overrides.user_configurable_overrides.client';
  if (!enabled) return;
  if (client.backend === '')
    fail(`${path}.backend`, 'is needed where user_configurable_overrides is enabled');
  else if (client.backend === 'local' && client.local.path === '') {
    fail(`${path}.local.path`, 'is needed for the local backend');
  } else for (const found of backendProblems(path, client)) fail(found.path, found.text);
}

function checkStorage({ storage: { trace } }: TempoConfig, fail: Report, miss: Report, warn: Report): void {
  const { backend, local, wal, block } = trace;
  if (backend === '') {
    miss('storage.trace.backend', 'failed to create store: unknown backend "": it is not set, use local');
  } else if (backend !== 'local') {
    for (const { path, text } of backendProblems('storage.trace', trace)) fail(path, text);
  } else if (local.path === '') fail('storage.trace.local.path', 'is needed for the local backend');
  if (wal.path === '') fail('storage.trace.wal.path', 'is needed');
  if (!isLogFormat(wal.logFormat)) {
    fail('storage.trace.wal.log_format', `is ${wal.logFormat}, must be one of ${LOG_FORMATS.join(', ')}`);
  }
  if (block.version !== '' && !WRITTEN_FORMATS.some((format) => format === block.version)) {
    warn('storage.trace.block.version', `is ${block.version}, new blocks are vParquet4`);
  }
  const { bloomFilterFalsePositive: share, bloomFilterShardSizeBytes: shardBytes } = block;
  if (!(share > 0 && share < 1)) {
    fail('storage.trace.block.bloom_filter_false_positive', `is ${share}, must be between 0 and 1`);
  }
  if (shardBytes <= 0) {
    fail('storage.trace.block.bloom_filter_shard_size_bytes', `is ${shardBytes}, must be more than 0`);
  }
  if (block.valueFilterMaxBytes < 0) {
    fail('storage.trace.block.value_filter_max_bytes', `is ${block.valueFilterMaxBytes}, must be 0 or more`);
  }
}

function checkFrontend({ querier, queryFrontend, target }: TempoConfig, fail: Report): void {
  const { search, metrics } = queryFrontend;
  const modules = startOrder(target);
  const isAlone = modules.includes('querier') && !modules.includes('query-frontend');
  if (isAlone && querier.frontendWorker.frontendAddress === '') {
    const text = 'frontend worker address not specified: host:port of the query-frontend';
    fail('querier.frontend_worker.frontend_address', text);
  }
  if (querier.metrics.maxSamples <= 0) fail('querier.metrics.max_samples', 'must be more than 0');
  const positive: readonly (readonly [string, number])[] = [
    ['search.concurrent_jobs', search.concurrentJobs],
    ['search.target_bytes_per_job', search.targetBytesPerJob],
    ['search.most_recent_shards', search.mostRecentShards],
    ['metrics.concurrent_jobs', metrics.concurrentJobs],
    ['metrics.target_bytes_per_job', metrics.targetBytesPerJob],
    ['metrics.interval', metrics.intervalMs],
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
  if (search.queryBackendAfterMs > search.queryIngestersUntilMs) {
    const text = 'must not be more than query_ingesters_until, or spans between the two are not found';
    fail('query_frontend.search.query_backend_after', text);
  }
  if (queryFrontend.queryEndCutoffMs > search.queryBackendAfterMs) {
    fail(
      'query_frontend.query_end_cutoff',
      'must not be more than query_frontend.search.query_backend_after',
    );
  }
}

function checkTimes({ ingester, storage }: TempoConfig, fail: Report): void {
  const positive: readonly (readonly [string, number])[] = [
    ['storage.trace.blocklist_poll', storage.trace.blocklistPollMs],
    ['ingester.flush_check_period', ingester.flushCheckPeriodMs],
  ];
  for (const [path, value] of positive) if (value <= 0) fail(path, 'must be more than 0');
}
