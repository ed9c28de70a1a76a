// Metrics of the ingester: Tempo's names, then our own.
import { DISTANCE_BOUNDS_SECONDS } from '../../block/head/arrivals.ts';
import type { OddTraces } from '../../block/vparquet/trace-rows.ts';
import type { TenantActivity } from '../../telemetry/tenant-activity.ts';
import { exponentialBuckets } from '../../lib/exponential-buckets.ts';
import { TRACES_PER_BATCH_BOUNDS } from './batch-bounds.ts';
import type { TenantStats } from './messages.ts';
import {
  type CountedHistogram,
  type Counter,
  type Gauge,
  type Histogram,
  type Metrics,
} from '../../telemetry/metrics.ts';

export interface IngesterMetrics {
  readonly tenants: TenantActivity;
  readonly blocksFlushed: Counter;
  readonly blocksCleared: Counter;
  readonly bytesReceived: Counter;
  readonly failedFlushes: Counter;
  /** The same, under another name that guides use. */
  readonly flushFailed: Counter;
  readonly flushRetries: Counter;
  readonly flushFailedRetries: Counter;
  readonly flushDuration: Histogram;
  readonly flushSize: Histogram;
  readonly liveTraces: Gauge;
  readonly liveTraceBytes: Gauge;
  readonly tracesCreated: Counter;
  readonly replayErrors: Counter;
  readonly headsCut: Counter;
  readonly headBytes: Gauge;
  readonly duplicateSpans: Counter;
  readonly malformedSpans: Counter;
  readonly refusedFrames: Counter;
  readonly attributesTruncated: Counter;
  readonly warnings: Counter;
  readonly distanceInPast: CountedHistogram;
  readonly distanceInFuture: CountedHistogram;
  readonly builderRestarts: Counter;
  readonly blockWriterRestarts: Counter;
  readonly tracesPerBatch: CountedHistogram;
}

export function createIngesterMetrics(metrics: Metrics): IngesterMetrics {
  const counter = (name: string, help: string, labels?: string[]): Counter =>
    metrics.counter(name, help, labels);
  const gauge = (name: string, help: string, labels?: string[]): Gauge => metrics.gauge(name, help, labels);
  return {
    tenants: metrics.tenants,
    blocksFlushed: counter('tempo_ingester_blocks_flushed_total', 'Blocks uploaded to the backend.'),
    blocksCleared: counter('tempo_ingester_blocks_cleared_total', 'Local blocks deleted.'),
    bytesReceived: counter('tempo_ingester_bytes_received_total', 'Bytes received.', ['tenant', 'data_type']),
    failedFlushes: counter(
      'tempo_ingester_failed_flushes_total',
      'Blocks that failed to be written or uploaded.',
    ),
    flushFailed: counter('tempo_ingester_flush_failed_total', 'As tempo_ingester_failed_flushes_total.'),
    flushRetries: counter('tempo_ingester_flush_retries_total', 'Repeated tries to write or upload a block.'),
    flushFailedRetries: counter(
      'tempo_ingester_flush_failed_retries_total',
      'Repeated tries that failed again.',
    ),
    flushDuration: metrics.histogram(
      'tempo_ingester_flush_duration_seconds',
      'Time to upload a block.',
      exponentialBuckets(1, 2, 10),
    ),
    flushSize: metrics.histogram(
      'tempo_ingester_flush_size_bytes',
      'Size of uploaded blocks.',
      exponentialBuckets(1024 * 1024, 2, 10),
    ),
    liveTraces: gauge('tempo_ingester_live_traces', 'Traces that have lately received spans.', ['tenant']),
    liveTraceBytes: gauge('tempo_ingester_live_trace_bytes', 'Memory of the live head.', ['tenant']),
    tracesCreated: counter('tempo_ingester_traces_created_total', 'Traces begun in a head.', ['tenant']),
    replayErrors: counter('tempo_ingester_replay_errors_total', 'Parts of the log not replayed.', ['tenant']),
    headsCut: counter('tempo_ingester_heads_cut_total', 'Heads cut, by reason.', ['reason']),
    headBytes: gauge('tempo_ingester_head_bytes', 'Memory of all heads.'),
    duplicateSpans: counter('tempo_ingester_duplicate_spans_total', 'Spans that the head had.', ['tenant']),
    malformedSpans: counter(
      'tempo_ingester_malformed_total',
      'Spans or parts of spans left out because they cannot be decoded.',
      ['tenant'],
    ),
    refusedFrames: counter('tempo_ingester_refused_frames_total', 'Requests that no head could take in.', [
      'tenant',
    ]),
    ...arrivalMetrics(metrics),
    builderRestarts: counter('tempo_ingester_builder_restarts_total', 'Builder threads that ended unasked.'),
    blockWriterRestarts: counter(
      'tempo_ingester_block_writer_restarts_total',
      'Block writer threads that ended unasked.',
    ),
  };
}

type ArrivalMetrics = Pick<
  IngesterMetrics,
  'attributesTruncated' | 'warnings' | 'distanceInPast' | 'distanceInFuture' | 'tracesPerBatch'
>;

/** What Tempo's distributor tells of requests is known here, where spans are decoded. */
function arrivalMetrics(metrics: Metrics): ArrivalMetrics {
  return {
    attributesTruncated: metrics.counter(
      'tempo_distributor_attributes_truncated_total',
      'Keys and values of attributes that were cut.',
      ['tenant'],
    ),
    warnings: metrics.counter('tempo_warnings_total', 'What is odd about spans, by reason.', [
      'tenant',
      'reason',
    ]),
    distanceInPast: metrics.countedHistogram(
      'tempo_spans_distance_in_past_seconds',
      'How long ago spans had ended when they came.',
      DISTANCE_BOUNDS_SECONDS,
      'tenant',
    ),
    distanceInFuture: metrics.countedHistogram(
      'tempo_spans_distance_in_future_seconds',
      'How far in the future spans ended when they came.',
      DISTANCE_BOUNDS_SECONDS,
      'tenant',
    ),
    tracesPerBatch: metrics.countedHistogram(
      'tempo_distributor_traces_per_batch',
      'Traces in each request.',
      TRACES_PER_BATCH_BOUNDS,
    ),
  };
}

/** Takes in what the builder has counted for a tenant since the last time. */
export function noteStats(metrics: IngesterMetrics, stats: TenantStats): void {
  const { tenant } = stats;
  metrics.tenants.seen(tenant);
  metrics.tracesCreated.inc({ tenant }, stats.traces);
  // What is rare has a series where it has happened: there may be thousands of tenants.
  if (stats.duplicates > 0) metrics.duplicateSpans.inc({ tenant }, stats.duplicates);
  if (stats.malformed > 0) metrics.malformedSpans.inc({ tenant }, stats.malformed);
  if (stats.truncated > 0) metrics.attributesTruncated.inc({ tenant }, stats.truncated);
  if (stats.outsideSlack > 0) {
    metrics.warnings.inc({ tenant, reason: 'outside_ingestion_time_slack' }, stats.outsideSlack);
  }
  metrics.distanceInPast.add(tenant, stats.past);
  metrics.distanceInFuture.add(tenant, stats.future);
  metrics.liveTraces.set({ tenant }, stats.liveTraces);
  metrics.liveTraceBytes.set({ tenant }, stats.liveBytes);
}

/** Takes in how many traces of a block are not whole, under the reasons of Tempo's step from WAL to block. */
export function noteOddTraces({ tenants, warnings }: IngesterMetrics, tenant: string, odd: OddTraces): void {
  const note = (reason: string, count: number): void => {
    if (count === 0) return;
    tenants.seen(tenant);
    warnings.inc({ tenant, reason: `${reason}_wal_to_complete` }, count);
  };
  note('disconnected_trace', odd.disconnected);
  note('rootless_trace', odd.rootless);
}

const STATES = ['ACTIVE', 'JOINING', 'LEAVING', 'PENDING', 'Unhealthy'];

/** The ring of one member that this process is. */
export function showRing(metrics: Metrics, stateNow: () => string | undefined): void {
  const help = 'Members of the ring by their state.';
  metrics.gauge('tempo_ring_members', help, ['name', 'state'], (gauge) => {
    const now = stateNow();
    for (const state of STATES) gauge.set({ name: 'ingester', state }, state === now ? 1 : 0);
  });
}
