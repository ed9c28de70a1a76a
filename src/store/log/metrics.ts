// Metrics of the write-ahead log.
import type { Counter, Histogram, Metrics } from '../../telemetry/metrics.ts';

export interface LogMetrics {
  readonly appendSeconds: Histogram;
  readonly syncSeconds: Histogram;
  readonly groupFrames: Histogram;
  readonly writtenBytes: Counter;
  readonly writeFailures: Counter;
  readonly tornTails: Counter;
  readonly corruptFrames: Counter;
}

const SECONDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5];

export function createLogMetrics(metrics: Metrics): LogMetrics {
  return {
    appendSeconds: metrics.histogram(
      'tempo_log_append_seconds',
      'Time to write a group of frames, until it lasts where each group does.',
      SECONDS,
    ),
    syncSeconds: metrics.histogram('tempo_log_sync_seconds', 'Time of syncs of their own.', SECONDS),
    groupFrames: metrics.histogram(
      'tempo_log_group_frames',
      'Frames that were written and synced together.',
      [1, 2, 4, 8, 16, 32, 64, 128, 256, 1024],
    ),
    writtenBytes: metrics.counter('tempo_log_written_bytes_total', 'Bytes written to the log.'),
    writeFailures: metrics.counter('tempo_log_write_failures_total', 'Groups of frames that were refused.'),
    tornTails: metrics.counter(
      'tempo_log_torn_tails_total',
      'Segments that ended in bytes that cannot be read.',
    ),
    corruptFrames: metrics.counter(
      'tempo_log_corrupt_frames_total',
      'Stretches of the log that cannot be read.',
    ),
  };
}
