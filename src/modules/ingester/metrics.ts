// Metrics of the ingester: Tempo's names, then our own.
import { DISTANCE_BOUNDS_SECONDS } from '../../block/head/arrivals.ts';
import type { TenantStats } from './messages.ts';
import type { CountedHistogram, Counter, Gauge, Histogram, Metrics } from '../../telemetry/metrics.ts';

export interface IngesterMetrics {
  readonly blocksFlushed: Counter;
  readonly blocksCleared: Counter;
  readonly bytesReceived: Counter;
  readonly failedFlushes: Counter;
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
}

const exponential = (start: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => start * 2 ** i);

export function createIngesterMetrics(metrics: Metrics): IngesterMetrics {
  const counter = (name: string, help: string, labels?: string[]): Counter =>
    metrics.counter(name, help, labels);
  const gauge = (name: string, help: string, labels?: string[]): Gauge => metrics.gauge(name, help, labels);
  return {
    blocksFlushed: counter('tempo_ingester_blocks_flushed_total', 'Blocks uploaded to the backend.'),
    blocksCleared: counter('tempo_ingester_blocks_cleared_total', 'Local blocks deleted.'),
    bytesReceived: counter('tempo_ingester_bytes_received_total', 'Bytes received.', ['tenant', 'data_type']),
    failedFlushes: counter(
      'tempo_ingester_failed_flushes_total',
      'Blocks that failed to be written or uploaded.',
    ),
    flushRetries: counter('tempo_ingester_flush_retries_total', 'Repeated tries to write or upload a block.'),
    flushFailedRetries: counter(
      'tempo_ingester_flush_failed_retries_total',
      'Repeated tries that failed again.',
    ),
    flushDuration: metrics.histogram(
      'tempo_ingester_flush_duration_seconds',
      'Time to upload a block.',
      exponential(1, 10),
    ),
    flushSize: metrics.histogram(
      'tempo_ingester_flush_size_bytes',
      'Size of uploaded blocks.',
      exponential(1024 * 1024, 10),
    ),
    liveTraces: gauge('tempo_ingester_live_traces', 'Traces in the live head.', ['tenant']),
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
    attributesTruncated: counter(
      'tempo_distributor_attributes_truncated_total',
      'The total number of attribute keys or values truncated per tenant',
      ['tenant'],
    ),
    warnings: counter('tempo_warnings_total', 'The total number of warnings per tenant with reason.', [
      'tenant',
      'reason',
    ]),
    distanceInPast: metrics.countedHistogram(
      'tempo_spans_distance_in_past_seconds',
      'The number of seconds in the past of the span end time in relation to the ingestion time.',
      DISTANCE_BOUNDS_SECONDS,
      'tenant',
    ),
    distanceInFuture: metrics.countedHistogram(
      'tempo_spans_distance_in_future_seconds',
      'The number of seconds in the future of the span end time in relation to the ingestion time.',
      DISTANCE_BOUNDS_SECONDS,
      'tenant',
    ),
    builderRestarts: counter('tempo_ingester_builder_restarts_total', 'Builder threads that ended unasked.'),
    blockWriterRestarts: counter(
      'tempo_ingester_block_writer_restarts_total',
      'Block writer threads that ended unasked.',
    ),
  };
}

/** Takes in what the builder has counted for a tenant since the last time. */
export function noteStats(metrics: IngesterMetrics, stats: TenantStats): void {
  const { tenant } = stats;
  metrics.tracesCreated.inc({ tenant }, stats.traces);
  metrics.duplicateSpans.inc({ tenant }, stats.duplicates);
  metrics.malformedSpans.inc({ tenant }, stats.malformed);
  metrics.attributesTruncated.inc({ tenant }, stats.truncated);
  if (stats.outsideSlack > 0) {
    metrics.warnings.inc({ tenant, reason: 'outside_ingestion_time_slack' }, stats.outsideSlack);
  }
  metrics.distanceInPast.add(tenant, stats.past);
  metrics.distanceInFuture.add(tenant, stats.future);
  metrics.liveTraces.set({ tenant }, stats.liveTraces);
  metrics.liveTraceBytes.set({ tenant }, stats.liveBytes);
}
