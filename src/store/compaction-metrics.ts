// Metrics of compaction, by Tempo's names.
import type { Counter, Gauge, Metrics } from '../telemetry/metrics.ts';

export interface CompactionMetrics {
  readonly blocks: Counter;
  readonly bytesWritten: Counter;
  readonly objectsWritten: Counter;
  readonly objectsCombined: Counter;
  readonly spansCombined: Gauge;
  readonly spansDeduped: Counter;
  readonly errors: Counter;
}

/** @param outstanding blocks that wait, by tenant. */
export function showOutstanding(
  metrics: Metrics,
  outstanding: () => Iterable<readonly [string, number]>,
): void {
  metrics.computedGauge(
    'tempodb_compaction_outstanding_blocks',
    'Blocks that wait for their compaction.',
    ['tenant'],
    function* () {
      for (const [tenant, blocks] of outstanding()) yield [[tenant], blocks];
    },
  );
}

export function createCompactionMetrics(metrics: Metrics): CompactionMetrics {
  return {
    blocks: metrics.counter('tempodb_compaction_blocks_total', 'Blocks that were compacted.', ['level']),
    bytesWritten: metrics.counter(
      'tempodb_compaction_bytes_written_total',
      'Bytes of the blocks that came out of compaction.',
      ['level'],
    ),
    objectsWritten: metrics.counter(
      'tempodb_compaction_objects_written_total',
      'Traces of the blocks that came out of compaction.',
      ['level'],
    ),
    objectsCombined: metrics.counter(
      'tempodb_compaction_objects_combined_total',
      'Traces whose parts were brought together.',
      ['level'],
    ),
    spansCombined: metrics.gauge(
      'tempodb_compaction_spans_combined_total',
      'Spans that were in several blocks and are left once.',
      ['replication_factor'],
    ),
    spansDeduped: metrics.counter(
      'tempodb_compaction_spans_deduped_total',
      'Spans that were in several blocks and are left once.',
      ['replication_factor'],
    ),
    errors: metrics.counter('tempodb_compaction_errors_total', 'Compactions that failed.'),
  };
}
