// The write-ahead log: frames are put into the ring, written and synced in groups, and only then acknowledged
// and shown to the builder. A group is whatever came in while the one before was being written.
import { Buffer } from 'node:buffer';
import { TempoError } from '../../lib/errors.ts';
import type { Logger } from '../../telemetry/log.ts';
import type { LogFiles } from './files.ts';
import {
  encodeRecord,
  frameBytes,
  type FrameInput,
  FrameType,
  FrameWriter,
  type RangeRecord,
  TENANT_BYTES_MAX,
} from './frame.ts';
import type { LogMetrics } from './metrics.ts';
import type { RingWriter } from './ring.ts';
import { type LogFormat, segmentHead, segmentName, SEGMENT_HEAD_BYTES } from './segment.ts';
import type { Segment, SegmentSet } from './segment-set.ts';

export type SyncMode = 'always' | 'interval' | 'never';

export interface LogOptions {
  readonly folder: string;
  readonly ring: RingWriter;
  readonly segments: SegmentSet;
  readonly files: LogFiles;
  readonly logger: Logger;
  readonly metrics: LogMetrics;
  readonly sync: SyncMode;
  /** For `interval`. */
  readonly syncIntervalMs: number;
  readonly segmentBytes: number;
  /** Of new segments. */
  readonly format: LogFormat;
  /** How long a push waits for space in the ring before it is refused. */
  readonly ringWaitMs: number;
  readonly nowMs: () => number;
  readonly lastSequence: number;
  /**
   * Gives the builder the image of a frame that is too large for the ring; called before its stand-in is
   * shown.
   */
  readonly handOver: (sequence: number, frame: SharedArrayBuffer) => void;
}

/** Part of the ring that one frame may take; larger ones travel apart. */
const RING_SHARE = 4;

interface Group {
  /** What goes to the file, in order. */
  readonly parts: Uint8Array[];
  bytes: number;
  frames: number;
  /** Stretch of the ring. */
  readonly from: number;
  readonly firstSequence: number;
  readonly lastSequence: Map<string, number>;
  readonly done: PromiseWithResolvers<void>;
}

interface Waiting {
  readonly tenant: Uint8Array;
  readonly name: string;
  readonly body: Uint8Array;
  readonly spanCount: number;
  readonly deadlineMs: number;
  readonly done: PromiseWithResolvers<void>;
}

export class Log {
  private readonly options: LogOptions;
  private readonly ring: RingWriter;
  private readonly tenants = new Map<string, Uint8Array>();
  private readonly waiting: Waiting[] = [];
  private group: Group | undefined;
  /** Offset in the ring where the part of the group that is still growing begins. */
  private openFrom = 0;
  private sequence: number;
  private writing = false;
  private pumping = false;
  private stopped = false;
  private isClosed = false;
  private fd: number | undefined;
  private needsSync = false;
  /** Each group lasts when it is written: by itself, or by a sync behind it. */
  private readonly writesThrough: boolean;
  private readonly syncsEach: boolean;
  private syncTimer: NodeJS.Timeout | undefined;
  private readonly idle = new Set<() => void>();

  constructor(options: LogOptions) {
    this.options = options;
    this.ring = options.ring;
    this.sequence = options.lastSequence;
    const lastsEach = options.sync === 'always';
    this.writesThrough = lastsEach && options.files.canWriteThrough;
    this.syncsEach = lastsEach && !this.writesThrough;
    if (options.sync === 'interval') {
      this.syncTimer = setInterval(() => void this.syncNow(), options.syncIntervalMs).unref();
    }
  }

  /** Position in the ring behind everything that was ever appended. */
  get position(): number {
    return this.ring.appended;
  }

  get lastSequence(): number {
    return this.sequence;
  }

  /** Resolves when the push is durable. The body must not change until then. */
  push(tenant: string, body: Uint8Array, spanCount: number): Promise<void> {
    if (this.stopped) return Promise.reject(new TempoError('unavailable', 'the ingester is stopping'));
    const name = this.tenantBytes(tenant);
    if (this.waiting.length === 0 && this.ring.fits(this.ringBytes(name, body))) {
      return this.append(tenant, name, body, spanCount);
    }
    const done = Promise.withResolvers<void>();
    const deadlineMs = this.options.nowMs() + this.options.ringWaitMs;
    this.waiting.push({ tenant: name, name: tenant, body, spanCount, deadlineMs, done });
    void this.pump();
    return done.promise;
  }

  /**
   * Resolves when the record is durable. Records do not travel through the ring, so a full one cannot hold
   * them up.
   */
  record(type: typeof FrameType.cut | typeof FrameType.completed, record: RangeRecord): Promise<void> {
    if (this.isClosed) {
      return Promise.reject(new TempoError('unavailable', 'the log is closed'));
    }
    const group = this.openGroup();
    // Of a tenant that may have been forgotten: its name is not kept again.
    const tenant = this.tenants.get(record.tenant) ?? nameBytes(record.tenant);
    const payload = encodeRecord(record);
    const image = new FrameWriter(new ArrayBuffer(frameBytes(tenant.length, payload.length)));
    image.write(0, this.frame(type, tenant, payload, 0));
    this.closePart(group);
    this.addPart(group, image.bytes);
    return group.done.promise;
  }

  /** Resolves when nothing is being written and nothing waits. */
  whenIdle(): Promise<void> {
    if (!this.writing && this.waiting.length === 0) return Promise.resolve();
    return new Promise((resolve) => this.idle.add(resolve));
  }

  /** Refuses pushes from now on; resolves when those under way are decided. Records can still be written. */
  async refusePushes(): Promise<void> {
    this.stopped = true;
    await this.whenIdle();
  }

  async close(): Promise<void> {
    this.stopped = true;
    clearInterval(this.syncTimer);
    await this.whenIdle();
    this.isClosed = true;
    await this.closeSegment();
    await this.deleteCovered();
  }

  /** They may come again. */
  forget(tenants: ReadonlySet<string>): void {
    for (const tenant of tenants) this.tenants.delete(tenant);
  }

  private tenantBytes(tenant: string): Uint8Array {
    const known = this.tenants.get(tenant);
    if (known !== undefined) return known;
    const bytes = nameBytes(tenant);
    this.tenants.set(tenant, bytes);
    return bytes;
  }

  private isOversized(bytes: number): boolean {
    return bytes * RING_SHARE > this.ring.sizeBytes;
  }

  /** What a push takes of the ring. */
  private ringBytes(tenant: Uint8Array, body: Uint8Array): number {
    const bytes = frameBytes(tenant.length, body.length);
    return this.isOversized(bytes) ? frameBytes(tenant.length, 0) : bytes;
  }

  private frame(type: FrameType, tenant: Uint8Array, payload: Uint8Array, spanCount: number): FrameInput {
    return { type, sequence: ++this.sequence, arrivalMs: this.options.nowMs(), spanCount, tenant, payload };
  }

  /** There is space. */
  private append(name: string, tenant: Uint8Array, body: Uint8Array, spanCount: number): Promise<void> {
    const group = this.openGroup();
    const bytes = frameBytes(tenant.length, body.length);
    const frame = this.frame(FrameType.push, tenant, body, spanCount);
    if (this.isOversized(bytes)) this.appendApart(group, frame, bytes);
    else {
      this.makeRoom(group, bytes);
      this.ring.frames.write(this.ring.offset(this.ring.appended), frame);
      this.ring.appended += bytes;
      group.bytes += bytes;
      group.frames++;
      // It ends with the ring: what follows is at the start.
      if (this.ring.offset(this.ring.appended) === 0) this.closePart(group);
    }
    group.lastSequence.set(name, frame.sequence);
    return group.done.promise;
  }

  private appendApart(group: Group, frame: FrameInput, bytes: number): void {
    const image = new SharedArrayBuffer(bytes);
    const writer = new FrameWriter(image);
    writer.write(0, frame);
    this.options.handOver(frame.sequence, image);
    const standIn = { ...frame, type: FrameType.handedOver, payload: new Uint8Array(0) };
    const standInBytes = frameBytes(frame.tenant.length, 0);
    this.makeRoom(group, standInBytes);
    this.closePart(group);
    this.ring.frames.write(this.ring.offset(this.ring.appended), standIn);
    this.ring.appended += standInBytes;
    this.openFrom = this.ring.appended;
    this.addPart(group, writer.bytes);
  }

  private makeRoom(group: Group, bytes: number): void {
    const lost = this.ring.wrapBytes(bytes);
    if (lost === 0) return;
    this.closePart(group);
    this.ring.wrap(lost);
    this.openFrom = this.ring.appended;
  }

  private openGroup(): Group {
    if (this.group !== undefined) return this.group;
    const done = Promise.withResolvers<void>();
    done.promise.catch(() => {});
    this.openFrom = this.ring.appended;
    const firstSequence = this.sequence + 1;
    const from = this.openFrom;
    this.group = { parts: [], bytes: 0, frames: 0, from, firstSequence, lastSequence: new Map(), done };
    if (!this.writing) {
      this.writing = true;
      // Whatever else comes in during this turn joins the group.
      setImmediate(() => void this.writeGroups());
    }
    return this.group;
  }

  /** Ends the stretch of the ring that goes to the file as one part. */
  private closePart(group: Group): void {
    const { ring } = this;
    if (ring.appended === this.openFrom) return;
    const start = ring.offset(this.openFrom);
    group.parts.push(ring.frames.bytes.subarray(start, start + ring.appended - this.openFrom));
    this.openFrom = ring.appended;
  }

  private addPart(group: Group, bytes: Uint8Array): void {
    group.parts.push(bytes);
    group.bytes += bytes.length;
    group.frames++;
  }

  private async writeGroups(): Promise<void> {
    for (let group = this.group; group !== undefined; group = this.group) {
      this.closePart(group);
      this.group = undefined;
      const to = this.ring.appended;
      try {
        await this.writeGroup(group);
        this.ring.publish(to);
        group.done.resolve();
      } catch (err) {
        this.options.metrics.writeFailures.inc();
        this.options.logger.error('write-ahead log cannot be written, spans are refused', { err });
        this.ring.skip(group.from, to);
        this.ring.publish(to);
        group.done.reject(new TempoError('unavailable', 'write-ahead log cannot be written', err));
      }
    }
    this.writing = false;
    if (this.waiting.length === 0) this.becameIdle();
  }

  private becameIdle(): void {
    for (const resolve of this.idle) resolve();
    this.idle.clear();
  }

  private async writeGroup(group: Group): Promise<void> {
    const { files, metrics } = this.options;
    const partBytes = group.parts.reduce((sum, part) => sum + part.length, 0);
    if (partBytes !== group.bytes) throw new Error(`${partBytes} of ${group.bytes} bytes are in the group`);
    const segment = await this.openSegment(group.firstSequence);
    const fd = this.fd!;
    const started = performance.now();
    try {
      await files.write(fd, group.parts, segment.sizeBytes);
      if (this.syncsEach) await this.datasync(fd);
      else this.needsSync = !this.writesThrough;
      metrics.appendSeconds.observe((performance.now() - started) / 1000);
    } catch (err) {
      await this.undo(segment, err);
      throw err;
    }
    segment.sizeBytes += group.bytes;
    for (const [tenant, sequence] of group.lastSequence) segment.lastSequence.set(tenant, sequence);
    metrics.groupFrames.observe(group.frames);
    metrics.writtenBytes.inc(group.bytes);
  }

  /**
   * Takes back what a failed write may have left. A file that failed for another reason than space is written
   * no more.
   */
  private async undo(segment: Segment, cause: unknown): Promise<void> {
    const { files, logger } = this.options;
    try {
      await files.truncate(this.fd!, segment.sizeBytes);
      await files.datasync(this.fd!);
      if (isOutOfSpace(cause)) return;
    } catch (err) {
      logger.error('log segment cannot be cut back to what was acknowledged', { segment: segment.path, err });
    }
    await this.closeSegment();
  }

  /** The segment for the next group; begins another when it is full. */
  private async openSegment(firstSequence: number): Promise<Segment> {
    const { files, folder, segments, segmentBytes } = this.options;
    const { written } = segments;
    if (written !== undefined && written.sizeBytes < segmentBytes) return written;
    await this.closeSegment();
    const number = segments.nextNumber;
    const path = `${folder}/${segmentName(number)}`;
    const fd = await files.create(path, this.writesThrough);
    try {
      await files.write(fd, [segmentHead(this.options.format)], 0);
      await files.datasync(fd);
      await files.syncFolder(folder);
    } catch (err) {
      await files.close(fd).catch(() => {});
      await files.remove(path).catch(() => {});
      throw err;
    }
    const sizeBytes = SEGMENT_HEAD_BYTES;
    const segment: Segment = { number, path, sizeBytes, firstSequence, lastSequence: new Map() };
    segments.begin(segment);
    this.fd = fd;
    void this.deleteCovered();
    return segment;
  }

  private async closeSegment(): Promise<void> {
    const { fd } = this;
    this.fd = undefined;
    this.options.segments.endCurrent();
    if (fd === undefined) return;
    if (this.needsSync) await this.datasync(fd).catch((err) => this.syncFailed(err));
    this.needsSync = false;
    await this.options.files.close(fd).catch((err) => this.syncFailed(err));
  }

  private async syncNow(): Promise<void> {
    if (!this.needsSync || this.fd === undefined) return;
    this.needsSync = false;
    await this.datasync(this.fd).catch((err) => this.syncFailed(err));
  }

  private async datasync(fd: number): Promise<void> {
    const started = performance.now();
    await this.options.files.datasync(fd);
    this.options.metrics.syncSeconds.observe((performance.now() - started) / 1000);
  }

  private syncFailed(err: unknown): void {
    this.options.metrics.writeFailures.inc();
    this.options.logger.error('log segment cannot be synced', { err });
  }

  /** Deletes the segments that nobody needs. */
  async deleteCovered(): Promise<void> {
    try {
      await this.options.segments.deleteCovered();
    } catch (err) {
      this.options.logger.error('log segment cannot be deleted', { err });
    }
  }

  /** Lets waiting pushes in as the builder gives space back. */
  private async pump(): Promise<void> {
    if (this.pumping) return;
    this.pumping = true;
    for (let first = this.waiting[0]; first !== undefined; first = this.waiting[0]) {
      if (this.ring.fits(this.ringBytes(first.tenant, first.body))) {
        this.waiting.shift();
        this.append(first.name, first.tenant, first.body, first.spanCount).then(
          first.done.resolve,
          first.done.reject,
        );
        continue;
      }
      const leftMs = first.deadlineMs - this.options.nowMs();
      if (leftMs > 0) await this.ring.progress(leftMs);
      else {
        this.waiting.shift();
        first.done.reject(new TempoError('unavailable', 'the ingester cannot keep up: its log ring is full'));
      }
    }
    this.pumping = false;
    if (!this.writing) this.becameIdle();
  }
}

function nameBytes(tenant: string): Uint8Array {
  const bytes = new Uint8Array(Buffer.from(tenant));
  if (bytes.length > TENANT_BYTES_MAX) throw new TempoError('invalid_argument', 'tenant is too long');
  return bytes;
}

function isOutOfSpace(err: unknown): boolean {
  const code = err instanceof Error && 'code' in err ? err.code : undefined;
  return code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG';
}
