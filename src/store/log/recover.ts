// What a log folder holds when the process starts: which frames are in complete blocks already, which are
// not, and what is damaged. Cuts a torn tail off the last segment.
import * as fs from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import type { Logger } from '../../telemetry/log.ts';
import { decodeRecord, FrameType, type RangeRecord } from './frame.ts';
import type { LogMetrics } from './metrics.ts';
import { listSegments, readSegment, type SegmentFile, type SegmentReport } from './segment.ts';

/** Ascending [from, to] pairs, from < sequence <= to, by tenant. */
export type CoveredRanges = ReadonlyMap<string, readonly (readonly [number, number])[]>;

interface RecoveredSegment extends SegmentFile {
  readonly sizeBytes: number;
  /** Of its first frame that can be read. */
  readonly firstSequence: number;
  /** Sequence numbers of push frames by tenant. */
  readonly pushes: ReadonlyMap<string, readonly number[]>;
}

interface Scan {
  readonly file: SegmentFile;
  readonly report: SegmentReport;
  readonly frames: number;
  readonly firstSequence: number;
  readonly pushes: ReadonlyMap<string, readonly number[]>;
  readonly isLast: boolean;
}

export interface Recovered {
  readonly segments: readonly RecoveredSegment[];
  readonly cuts: readonly RangeRecord[];
  readonly completed: readonly RangeRecord[];
  /** Highest sequence number seen anywhere. */
  readonly lastSequence: number;
}

/** Tells of damage, once for each place: a segment may be read several times. */
export class DamageReporter {
  private readonly told = new Set<string>();
  private readonly logger: Logger;
  private readonly metrics: LogMetrics;
  private readonly onDamage: () => void;

  /** @param onDamage called when something acknowledged may be lost. */
  constructor(logger: Logger, metrics: LogMetrics, onDamage: () => void = () => {}) {
    this.logger = logger;
    this.metrics = metrics;
    this.onDamage = onDamage;
  }

  report(path: string, report: SegmentReport, isLast: boolean): void {
    for (const { offset, bytes } of report.corrupt) {
      if (!this.isNew(path, offset)) continue;
      this.metrics.corruptFrames.inc();
      this.onDamage();
      this.logger.error('log segment is damaged, what can be read is kept', { segment: path, offset, bytes });
    }
    if (report.tornAt === undefined || !this.isNew(path, report.tornAt)) return;
    const fields = { segment: path, offset: report.tornAt, bytes: report.sizeBytes - report.tornAt };
    this.metrics.tornTails.inc();
    if (isLast)
      this.logger.warn(
        'log ends in bytes that are no whole frame (a write cut short, or damage): they are cut off',
        fields,
      );
    else this.logger.error('log segment ends in bytes that cannot be read', fields);
  }

  private isNew(path: string, offset: number): boolean {
    const place = `${path}:${offset}`;
    if (this.told.has(place)) return false;
    this.told.add(place);
    return true;
  }
}

/**
 * Reads everything before it changes anything.
 * @throws TempoError when a segment, or a frame in it, is of a kind that is not known.
 */
export async function recoverLog(folder: string, damage: DamageReporter): Promise<Recovered> {
  const files = listSegments(folder);
  const found = {
    segments: [] as RecoveredSegment[],
    cuts: [] as RangeRecord[],
    completed: [] as RangeRecord[],
  };
  let lastSequence = 0;
  const scans: Scan[] = [];
  for (const [i, file] of files.entries()) {
    const pushes = new Map<string, number[]>();
    let frames = 0;
    let firstSequence = 0;
    const isLast = i === files.length - 1;
    const report = readSegment(file.path, isLast ? 'all' : 'records', ({ header, tenant, payload }) => {
      if (frames++ === 0) firstSequence = header.sequence;
      lastSequence = Math.max(lastSequence, header.sequence);
      if (header.type === FrameType.push) {
        const sequences = pushes.get(tenant);
        if (sequences === undefined) pushes.set(tenant, [header.sequence]);
        else sequences.push(header.sequence);
        return undefined;
      }
      const record = decodeRecord(payload);
      lastSequence = Math.max(lastSequence, record.toSequence);
      if (header.type === FrameType.cut) found.cuts.push(record);
      else if (header.type === FrameType.completed) found.completed.push(record);
      return undefined;
    });
    scans.push({ file, report, frames, firstSequence, pushes, isLast });
    // Others have their turn between segments.
    await new Promise(setImmediate);
  }
  for (const { file, report, frames, firstSequence, pushes, isLast } of scans) {
    damage.report(file.path, report, isLast);
    const sizeBytes = report.tornAt ?? report.sizeBytes;
    if (await tidySegment(file, report, frames, isLast)) {
      found.segments.push({ ...file, sizeBytes, firstSequence, pushes });
    }
  }
  return { ...found, lastSequence };
}

/**
 * Cuts a torn tail, removes what is empty, moves aside what is all damage; answers whether the segment stays.
 */
async function tidySegment(
  { path }: SegmentFile,
  report: SegmentReport,
  frames: number,
  isLast: boolean,
): Promise<boolean> {
  const isDamaged = report.corrupt.length > 0;
  if (frames === 0) {
    if (isDamaged) await rename(path, `${path}.corrupt`);
    else if (report.tornAt === undefined || isLast) await rm(path);
    else await rename(path, `${path}.corrupt`);
    return false;
  }
  if (report.tornAt !== undefined && isLast) cutTail(path, report.tornAt);
  return true;
}

function cutTail(path: string, length: number): void {
  const fd = fs.openSync(path, 'r+');
  try {
    fs.ftruncateSync(fd, length);
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

export function coveredRanges(records: readonly RangeRecord[]): CoveredRanges {
  const ranges = new Map<string, [number, number][]>();
  for (const { tenant, fromSequence, toSequence } of records) {
    const list = ranges.get(tenant);
    if (list === undefined) ranges.set(tenant, [[fromSequence, toSequence]]);
    else list.push([fromSequence, toSequence]);
  }
  for (const list of ranges.values()) list.sort((a, b) => a[0] - b[0]);
  return ranges;
}

/** The way back from `coveredRanges`, without the ids of blocks. */
export function recordsOf(ranges: CoveredRanges): RangeRecord[] {
  return [...ranges].flatMap(([tenant, list]) =>
    list.map(([fromSequence, toSequence]) => ({ tenant, blockId: '', fromSequence, toSequence })),
  );
}

export function isCovered(ranges: CoveredRanges, tenant: string, sequence: number): boolean {
  const list = ranges.get(tenant);
  return list !== undefined && list.some(([from, to]) => from < sequence && sequence <= to);
}
