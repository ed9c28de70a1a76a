// What queriers of one process have in common, whatever is recent to each: threads, budgets, caches, metrics.
import { exponentialBuckets } from '../../lib/exponential-buckets.ts';
import type { ScanPool } from '../../store/scan-pool.ts';
import type { Counter, Histogram } from '../../telemetry/metrics.ts';
import type { QuerierOptions } from './module.ts';
import { PartsBudget } from './parts-budget.ts';
import { Planner } from './planner.ts';
import { ResultBudget } from './result-budget.ts';
import { CachedJobs } from './result-cache.ts';

/** A query waits for memory as long as so many jobs one after another may take. */
const RESULT_WAIT_JOBS = 4;

export class QuerierCommon {
  readonly pool: Pick<ScanPool, 'run'>;
  readonly planner: Planner;
  readonly cachedJobs: CachedJobs;
  readonly results: ResultBudget;
  readonly metricsParts: PartsBudget;
  readonly failedSources: Counter;
  readonly limitedMetrics: Counter;
  readonly jobsPerQuery: Histogram;

  constructor(options: Omit<QuerierOptions, 'recent'>) {
    const { jobLimitMs, metrics, poolOver = (pool) => pool } = options;
    const pool = poolOver(options.pool);
    this.pool = { run: (job, how) => pool.run(job, { ...how, limitMs: jobLimitMs(job.kind) }) };
    this.results = new ResultBudget({
      bytesMax: options.resultBytesMax,
      waitMs: RESULT_WAIT_JOBS * jobLimitMs('search'),
      taken: options.resultBytesTaken,
      metrics,
    });
    this.metricsParts = new PartsBudget({ bytesMax: options.metricsPartsBytesMax, metrics });
    this.planner = new Planner({ ...options, pool: this.pool });
    this.cachedJobs = new CachedJobs(options.resultCache, metrics);
    this.failedSources = metrics.counter(
      'tempo_querier_failed_sources_total',
      'Blocks or heads that a query could not read; its answer was partial.',
      ['code'],
    );
    this.limitedMetrics = metrics.counter(
      'tempo_querier_limited_metrics_queries_total',
      'Metrics queries that had more samples than querier.metrics.max_samples: some series were left out.',
    );
    this.jobsPerQuery = metrics.histogram(
      'tempo_query_frontend_jobs_per_query',
      'Jobs that a query was cut into.',
      exponentialBuckets(1, 10, 7),
      ['op'],
    );
    metrics.gauge('tempo_querier_ingester_clients', 'Ingesters that are asked for recent spans.').set(1);
  }
}
