// Metrics of compaction, by Tempo's names.
import type { Counter, Gauge, Metrics } from '../telemetry/metrics.ts';

export interface CompactionMetrics {
  /** So many blocks of a level were joined. */
  readonly compacted: (level: string, blocks: number) => void;
  readonly failed: () => void;
  readonly bytesWritten: Counter;
  readonly objectsWritten: Counter;
  readonly objectsCombined: Counter;
  readonly spansCombined: Gauge;
  readonly spansDeduped: Counter;
}

/** @param outstanding blocks that wait, by tenant. */
export function showOutstanding(
  metrics: Metrics,
  outstanding: () => Iterable<readonly [string, number]>,
): void {
  const series = function* (): Generator<[string[], number]> {
    for (const [tenant, blocks] of outstanding()) yield [[tenant], blocks];
  };
  const name = 'tempodb_compaction_outstanding_blocks';
  metrics.computedGauge(name, 'Blocks that wait for their compaction.', ['tenant'], series);
  metrics.computedGauge('tempo_compactor_outstanding_blocks', `As ${name}.`, ['tenant'], series);
}

export function createCompactionMetrics(metrics: Metrics): CompactionMetrics {
  const blocks = twice(
    metrics,
    ['tempodb_compaction_blocks_total', 'tempo_compactor_blocks_total'],
    'Blocks that were compacted.',
    ['level'],
  );
  const errors = twice(
    metrics,
    ['tempodb_compaction_errors_total', 'tempo_compactor_compaction_errors_total'],
    'Compactions that failed.',
    [],
  );
  return {
    compacted: (level, count) => {
      for (const each of blocks) each.inc({ level }, count);
    },
    failed: () => {
      for (const each of errors) each.inc();
    },
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
  };
}

/** By Tempo's name, and by the one that guides of Tempo have. */
function twice(
  metrics: Metrics,
  [name, other]: readonly [string, string],
  help: string,
  labels: readonly string[],
): readonly Counter[] {
  return [metrics.counter(name, help, labels), metrics.counter(other, `As ${name}.`, labels)];
}
