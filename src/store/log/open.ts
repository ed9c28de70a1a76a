// Opens the log of a data folder: locks it, finds out what it holds, and makes the ring and the writing end.
import { TempoError } from '../../lib/errors.ts';
import { makeFolder } from '../../objectstore/make-folder.ts';
import type { Logger } from '../../telemetry/log.ts';
import type { Metrics } from '../../telemetry/metrics.ts';
import { type LogFiles, realFiles } from './files.ts';
import type { RangeRecord } from './frame.ts';
import { type FolderLock, lockFolder } from './lock.ts';
import { Log, type SyncMode } from './log.ts';
import { createLogMetrics } from './metrics.ts';
import { type CoveredRanges, coveredRanges, DamageReporter, isCovered, recoverLog } from './recover.ts';
import { createRingMemory, type RingMemory, RingWriter } from './ring.ts';
import type { LogFormat } from './segment.ts';
import { SegmentSet } from './segment-set.ts';

export interface OpenLogOptions {
  /** `<wal.path>`; the segments are in its folder `log`. */
  readonly path: string;
  readonly sync: SyncMode;
  readonly syncIntervalMs: number;
  readonly ringBytes: number;
  readonly ringWaitMs: number;
  readonly segmentBytes: number;
  readonly format: LogFormat;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly nowMs: () => number;
  readonly handOver: (sequence: number, frame: SharedArrayBuffer) => void;
  /** Called when frames cannot be read. */
  readonly onDamage?: () => void;
  /**
   * Tells which of the cuts without a `completed` record have a complete block all the same: the process died
   * between the two.
   */
  readonly isComplete: (cut: RangeRecord) => Promise<boolean>;
  readonly files?: LogFiles;
}

export interface OpenedLog {
  readonly log: Log;
  readonly ring: RingWriter;
  readonly memory: RingMemory;
  readonly segments: SegmentSet;
  readonly damage: DamageReporter;
  /** What the builder has to take from the segments before it turns to the ring. */
  readonly replay: ReplayPlan;
  /** Cuts whose `completed` record is missing although the block is there. */
  readonly unrecorded: readonly RangeRecord[];
  close(): Promise<void>;
}

export interface ReplayPlan {
  readonly paths: readonly string[];
  readonly covered: CoveredRanges;
  readonly untilSequence: number;
}

export async function openLog(options: OpenLogOptions): Promise<OpenedLog> {
  const folder = `${options.path}/log`;
  try {
    makeFolder(folder);
  } catch (err) {
    throw new TempoError('unavailable', `data folder ${options.path} cannot be written`, err);
  }
  const lock = await takeLock(options.path);
  try {
    return await openLocked(folder, lock, options);
  } catch (err) {
    lock.release();
    throw err;
  }
}

async function takeLock(path: string): Promise<FolderLock> {
  try {
    return await lockFolder(path);
  } catch (err) {
    if (err instanceof TempoError) throw err;
    throw new TempoError('unavailable', `data folder ${path} cannot be written`, err);
  }
}

async function openLocked(folder: string, lock: FolderLock, options: OpenLogOptions): Promise<OpenedLog> {
  const { logger, ringBytes } = options;
  const files = options.files ?? realFiles;
  const metrics = createLogMetrics(options.metrics);
  const damage = new DamageReporter(logger, metrics, options.onDamage);
  const recovered = await recoverLog(folder, damage);
  const unrecorded = await unrecordedOf(recovered.cuts, recovered.completed, options.isComplete);
  const covered = coveredRanges([...recovered.completed, ...unrecorded]);
  const segments = new SegmentSet(folder, files);
  const paths: string[] = [];
  for (const { number, path, sizeBytes, firstSequence, pushes } of recovered.segments) {
    const lastSequence = new Map<string, number>();
    for (const [tenant, sequences] of pushes) {
      const last = sequences.findLast((sequence) => !isCovered(covered, tenant, sequence));
      if (last !== undefined) lastSequence.set(tenant, last);
    }
    segments.add({ number, path, sizeBytes, firstSequence, lastSequence });
    if (lastSequence.size > 0) paths.push(path);
  }
  const memory = createRingMemory(ringBytes);
  const ring = new RingWriter(memory);
  const { lastSequence } = recovered;
  const log = new Log({ ...options, folder, ring, segments, files, metrics, lastSequence });
  options.metrics.gauge('tempo_log_ring_bytes', 'Bytes of the ring in use.', [], (g) =>
    g.set(ring.usedBytes),
  );
  options.metrics.gauge('tempo_log_segments', 'Segment files.', [], (g) => g.set(segments.count));
  options.metrics.gauge('tempo_log_size_bytes', 'Bytes of all segment files.', [], (g) =>
    g.set(segments.sizeBytes),
  );
  const close = async (): Promise<void> => {
    await log.close();
    lock.release();
  };
  const replay = { paths, covered, untilSequence: lastSequence };
  return { log, ring, memory, segments, damage, replay, unrecorded, close };
}

async function unrecordedOf(
  cuts: readonly RangeRecord[],
  completed: readonly RangeRecord[],
  isComplete: (cut: RangeRecord) => Promise<boolean>,
): Promise<RangeRecord[]> {
  const known = new Set(completed.map((record) => record.blockId));
  const found: RangeRecord[] = [];
  for (const cut of cuts) if (!known.has(cut.blockId) && (await isComplete(cut))) found.push(cut);
  return found;
}
