// Metrics of the store: Tempo's names for polling, retention and the queue of jobs, then our own.
import { exponentialBuckets } from '../lib/exponential-buckets.ts';
import {
  type Counter,
  type Gauge,
  type Histogram,
  type Metrics,
  SECONDS_BUCKETS,
} from '../telemetry/metrics.ts';
import type { BlockMeta } from '../block/meta.ts';
import type { Blocklist } from './blocklist.ts';
import type { FilterCounts } from './scan-job.ts';

export interface StoreMetrics {
  readonly pollSeconds: Histogram;
  readonly pollErrors: Counter;
  readonly indexErrors: Counter;
  readonly retentionSeconds: Histogram;
  readonly retentionMarked: Counter;
  readonly retentionDeleted: Counter;
  readonly retentionErrors: Counter;
  readonly sizeDeleted: Counter;
  readonly unfinishedDeleted: Counter;
}

/** @param ownsIndex whether this process writes the index of the tenant. */
export function createStoreMetrics(
  metrics: Metrics,
  blocklist: Blocklist,
  ownsIndex: (tenant: string) => boolean,
): StoreMetrics {
  showBlocklist(metrics, blocklist, ownsIndex);
  return {
    pollSeconds: metrics.histogram(
      'tempodb_blocklist_poll_duration_seconds',
      'Time of one poll of the backend.',
      SECONDS_BUCKETS,
    ),
    pollErrors: metrics.counter('tempodb_blocklist_poll_errors_total', 'Polls that failed.', ['tenant']),
    indexErrors: metrics.counter(
      'tempodb_blocklist_tenant_index_errors_total',
      'Tenant indexes that could not be written.',
      ['tenant'],
    ),
    retentionSeconds: metrics.histogram(
      'tempodb_retention_duration_seconds',
      'Time of one pass of retention.',
      exponentialBuckets(0.25, 2, 6),
    ),
    retentionMarked: metrics.counter(
      'tempodb_retention_marked_for_deletion_total',
      'Blocks marked for deletion.',
    ),
    retentionDeleted: metrics.counter('tempodb_retention_deleted_total', 'Blocks deleted.'),
    retentionErrors: metrics.counter('tempodb_retention_errors_total', 'Failures of retention.'),
    sizeDeleted: metrics.counter(
      'tempodb_size_deleted_blocks_total',
      'Blocks deleted because more than max_bytes was kept.',
    ),
    unfinishedDeleted: metrics.counter(
      'tempodb_unfinished_deleted_blocks_total',
      'Blocks deleted that had had no meta for a day: uploads that were never finished.',
    ),
  };
}

/** What the last poll found. */
function showBlocklist(metrics: Metrics, blocklist: Blocklist, ownsIndex: (tenant: string) => boolean): void {
  const byTenant = (name: string, help: string, valueOf: (tenant: string) => number): void => {
    metrics.computedGauge(name, help, ['tenant'], function* () {
      for (const tenant of blocklist.tenants()) yield [[tenant], valueOf(tenant)];
    });
  };
  byTenant('tempodb_blocklist_length', 'Blocks of a tenant.', (tenant) => blocklist.tenant(tenant).live.size);
  byTenant(
    'tempodb_blocklist_unfinished_blocks',
    'Blocks of a tenant without a meta: uploads under way, or never finished.',
    (tenant) => blocklist.tenant(tenant).unfinished.size,
  );
  byTenant(
    'tempodb_blocklist_tenant_index_builder',
    'Whether this process writes the tenant index.',
    (tenant) => Number(ownsIndex(tenant)),
  );
  byTenant('tempodb_blocklist_tenant_index_age_seconds', '0: blocks are listed, no index is read.', () => 0);
  const byStatus = (name: string, help: string, valueOf: (meta: BlockMeta) => number): void => {
    metrics.computedGauge(name, help, ['tenant', 'status'], function* () {
      for (const tenant of blocklist.tenants()) {
        const { live, compacted } = blocklist.tenant(tenant);
        let sum = 0;
        for (const meta of live.values()) sum += valueOf(meta);
        yield [[tenant, 'live'], sum];
        sum = 0;
        for (const { meta } of compacted.values()) sum += valueOf(meta);
        yield [[tenant, 'compacted'], sum];
      }
    });
  };
  byStatus('tempodb_backend_objects_total', 'Traces in the backend.', ({ totalObjects }) => totalObjects);
  byStatus('tempodb_backend_bytes_total', 'Bytes in the backend.', ({ sizeBytes }) => sizeBytes);
}

const BATCH_BUCKETS = 5;

/** Of the jobs of queries. */
export class ScanMetrics {
  readonly jobs: Counter;
  readonly cpuSeconds: Counter;
  readonly executed: Counter;
  readonly restarts: Counter;
  readonly queueLength: Gauge;
  readonly queueSeconds: Histogram;
  readonly discarded: Counter;
  readonly batchSize: Histogram;
  readonly retries: Histogram;
  private readonly filterBlocks: Counter;
  private readonly filterUnusable: Counter;
  private readonly filterBytes: Counter;

  /** @param batchSizeMax as configured. */
  constructor(metrics: Metrics, batchSizeMax: number) {
    const user = ['user'];
    this.jobs = metrics.counter('tempo_scan_jobs_total', 'Jobs of scan threads.', ['kind', 'result']);
    this.cpuSeconds = metrics.counter('tempo_scan_cpu_seconds_total', 'CPU time of scan jobs.', ['kind']);
    this.executed = metrics.counter(
      'tempo_querier_worker_request_executed_total',
      'Jobs that scan threads have done.',
    );
    this.restarts = metrics.counter('tempo_scan_thread_restarts_total', 'Scan threads that ended unasked.');
    this.filterBlocks = metrics.counter(
      'tempo_value_filter_blocks_total',
      'Blocks, or parts of them, whose value filter a query asked: skipped, or read.',
      ['result'],
    );
    this.filterUnusable = metrics.counter(
      'tempo_value_filter_unusable_total',
      'Value filters that were missing, damaged or of another block or version; blocks were read.',
    );
    this.filterBytes = metrics.counter(
      'tempo_value_filter_read_bytes_total',
      'Bytes of value filters that were read for queries.',
    );
    this.queueLength = metrics.gauge(
      'tempo_query_frontend_queue_length',
      'Jobs of a tenant that wait for a scan thread.',
      user,
    );
    this.queueSeconds = metrics.histogram(
      'tempo_query_frontend_queue_duration_seconds',
      'Time that jobs waited for a scan thread.',
      SECONDS_BUCKETS,
    );
    this.discarded = metrics.counter(
      'tempo_query_frontend_discarded_requests_total',
      'Jobs that were refused because the queue was full.',
      user,
    );
    this.batchSize = metrics.histogram(
      'tempo_query_frontend_actual_batch_size',
      'Jobs that a scan thread was given at once.',
      Array.from({ length: BATCH_BUCKETS }, (_, i) => 1 + (i * batchSizeMax) / BATCH_BUCKETS),
    );
    this.retries = metrics.histogram(
      'tempo_query_frontend_retries',
      'How often a job was tried again.',
      [0, 1, 2, 3, 4, 5],
    );
  }

  filtered({ skipped, passed, unusable, bytesRead }: FilterCounts): void {
    if (skipped > 0) this.filterBlocks.inc({ result: 'skipped' }, skipped);
    if (passed > 0) this.filterBlocks.inc({ result: 'read' }, passed);
    if (unusable > 0) this.filterUnusable.inc(unusable);
    if (bytesRead > 0) this.filterBytes.inc(bytesRead);
  }
}
