// The builder's work without its thread: takes frames into the heads of their tenants and decides when a head
// is cut.
import { randomUUID } from 'node:crypto';
import { ArenaFullError } from '../../block/head/arena.ts';
import { Arrivals } from '../../block/head/arrivals.ts';
import { HeadBuilder } from '../../block/head/builder.ts';
import { LiveTraces } from '../../block/head/live-traces.ts';
import type { Pressure } from '../../lib/pressure.ts';
import type { AttributeLimits } from '../../overrides/attribute-limits.ts';
import { TRACES_PER_BATCH_BOUNDS } from './batch-bounds.ts';
import type { BuilderData, BuilderSettings, CutReason, FromBuilder, TenantStats } from './messages.ts';

export type BuilderStart = Pick<BuilderData, 'settings' | 'attributeLimits' | 'pendingBytes'>;

export interface PushFrame {
  readonly tenant: string;
  readonly sequence: number;
  readonly arrivalMs: number;
  readonly spanCount: number;
  /** The request is bytes[start, end). */
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
}

interface LiveHead {
  readonly blockId: string;
  readonly builder: HeadBuilder;
  readonly live: LiveTraces;
  readonly firstArrivalMs: number;
  usedBytes: number;
}

class Tenant {
  readonly name: string;
  head: LiveHead | undefined;
  /** The last frame that was taken in. */
  sequence = 0;
  traces = 0;
  duplicates = 0;
  malformed = 0;
  truncated = 0;
  readonly arrivals = new Arrivals();
  /** As last reported. */
  liveTraces = 0;
  changed = false;

  constructor(name: string) {
    this.name = name;
  }
}

/** Address space of a head, a multiple of what it may use: columns are reserved in chunks that double. */
const HEAD_RESERVE_FACTOR = 4;
const HEAD_RESERVE_MAX = 0xffff_0000;
/**
 * Heads begin to be cut at this share of the memory, so that there is room for more while blocks are written.
 */
const PRESSURE_SHARE = 0.6;
/** Live heads; each takes mappings of the process, of which Linux grants 65,530. */
const HEADS_MAX = 16_384;

/** Share of the memory of heads in which they have to do while memory is short. */
const SHARE_UNDER: Readonly<Record<Pressure, number>> = { calm: 1, tight: 0.5, full: 0.25 };

export class Builder {
  private readonly settings: BuilderSettings;
  private attributeLimits: AttributeLimits;
  /** Of the frame at hand: one that has to be taken in twice counts once. */
  private readonly arrivals = new Arrivals();
  private readonly post: (message: FromBuilder) => void;
  private readonly tenants = new Map<string, Tenant>();
  private liveBytes = 0;
  private liveHeads = 0;
  /** Requests by how many traces they hold, then the sum of these. */
  private readonly tracesPerBatch = new Float64Array(TRACES_PER_BATCH_BOUNDS.length + 2);
  /** Memory of heads that were cut and are no blocks yet. */
  private pendingBytes: number;
  private pressure: Pressure = 'calm';
  private reportedBytes = 0;

  constructor(data: BuilderStart, post: (message: FromBuilder) => void) {
    this.settings = data.settings;
    this.attributeLimits = data.attributeLimits;
    this.pendingBytes = data.pendingBytes;
    this.post = post;
  }

  limitAttributes(limits: AttributeLimits): void {
    this.attributeLimits = limits;
  }

  take(frame: PushFrame): void {
    const tenant = this.tenant(frame.tenant);
    try {
      this.append(tenant, frame);
    } catch (err) {
      this.refuse(tenant, frame, err);
    }
    tenant.sequence = frame.sequence;
    tenant.changed = true;
    if (tenant.head !== undefined && tenant.head.builder.estimatedBlockBytes >= this.settings.maxBlockBytes) {
      this.cut(tenant, 'size');
    }
    this.relieve();
  }

  /** A frame that is kept elsewhere: the range of the tenant's head goes over it. */
  passOver(frame: PushFrame): void {
    const tenant = this.tenant(frame.tenant);
    const head = tenant.head ?? this.begin(tenant, frame);
    tenant.sequence = frame.sequence;
    tenant.changed = true;
    if (head.builder.spanCount === 0) this.cut(tenant, 'full');
  }

  private tenant(name: string): Tenant {
    let tenant = this.tenants.get(name);
    if (tenant === undefined) {
      tenant = new Tenant(name);
      this.tenants.set(name, tenant);
    }
    return tenant;
  }

  private append(tenant: Tenant, frame: PushFrame): void {
    const head = tenant.head ?? this.begin(tenant, frame);
    try {
      this.appendTo(tenant, head, frame);
    } catch (err) {
      if (!(err instanceof ArenaFullError) || head.builder.spanCount === 0) throw err;
      this.cut(tenant, 'full');
      this.appendTo(tenant, this.begin(tenant, frame), frame);
    }
  }

  private appendTo(tenant: Tenant, head: LiveHead, frame: PushFrame): void {
    const { byTenant, otherwise } = this.attributeLimits;
    head.builder.attributeBytesMax = (byTenant.get(tenant.name) ?? otherwise) || Infinity;
    this.arrivals.clear();
    this.arrivals.begin(frame.arrivalMs, this.settings.timeSlackMs);
    head.live.advance(frame.arrivalMs);
    const result = head.builder.append(frame.bytes, frame.start, frame.end);
    tenant.arrivals.add(this.arrivals);
    tenant.truncated += result.truncated;
    tenant.traces += result.traces + result.awakenedTraces;
    this.countBatch(result.touchedTraces);
    tenant.duplicates += result.duplicates;
    tenant.malformed += result.malformed;
    const used = head.builder.usedBytes;
    this.liveBytes += used - head.usedBytes;
    head.usedBytes = used;
  }

  private countBatch(traces: number): void {
    const bin = TRACES_PER_BATCH_BOUNDS.findIndex((bound) => traces <= bound);
    const { tracesPerBatch } = this;
    tracesPerBatch[bin < 0 ? TRACES_PER_BATCH_BOUNDS.length : bin]!++;
    tracesPerBatch[tracesPerBatch.length - 1]! += traces;
  }

  /** What was replayed arrived earlier, and was counted then. */
  forgetArrivals(): void {
    this.tracesPerBatch.fill(0);
    for (const { arrivals } of this.tenants.values()) arrivals.clear();
  }

  private begin(tenant: Tenant, frame: PushFrame): LiveHead {
    const reserve = Math.min(this.settings.headBytesMax * HEAD_RESERVE_FACTOR, HEAD_RESERVE_MAX);
    const live = new LiveTraces(this.settings.traceIdleMs, frame.arrivalMs);
    const builder = new HeadBuilder({ maxBytes: reserve, arrivals: this.arrivals, live });
    const head = { blockId: randomUUID(), builder, live, firstArrivalMs: frame.arrivalMs, usedBytes: 0 };
    tenant.head = head;
    this.liveHeads++;
    // Not the tenant's last frame: in between may be frames that an earlier head holds.
    const fromSequence = frame.sequence - 1;
    this.post({ kind: 'head', tenant: tenant.name, blockId: head.blockId, sab: builder.sab, fromSequence });
    return head;
  }

  /** A frame that cannot be taken in must not stop the others. The head is not trusted with more after it. */
  private refuse(tenant: Tenant, frame: PushFrame, err: unknown): void {
    const message = err instanceof Error ? err.message : String(err);
    const { sequence, spanCount } = frame;
    this.post({ kind: 'refused', tenant: tenant.name, sequence, spanCount, message });
    tenant.sequence = sequence;
    if (tenant.head !== undefined) this.cut(tenant, 'full');
  }

  private cut(tenant: Tenant, reason: CutReason): void {
    const head = tenant.head;
    if (head === undefined) return;
    tenant.head = undefined;
    this.liveHeads--;
    tenant.changed = true;
    this.liveBytes -= head.usedBytes;
    this.pendingBytes += head.usedBytes;
    this.post({
      kind: 'cut',
      tenant: tenant.name,
      blockId: head.blockId,
      toSequence: tenant.sequence,
      spanCount: head.builder.spanCount,
      usedBytes: head.usedBytes,
      reason,
    });
  }

  /** Cuts the largest head when memory gets short and no other is on its way out. */
  private relieve(): void {
    while (this.liveHeads > HEADS_MAX) this.cutLargest();
    const max = this.settings.headBytesMax * SHARE_UNDER[this.pressure];
    while (this.liveBytes > 0 && this.liveBytes + this.pendingBytes > max * PRESSURE_SHARE) {
      if (this.pendingBytes > (max * PRESSURE_SHARE) / 2) return;
      this.cutLargest();
    }
  }

  private cutLargest(): void {
    let largest: Tenant | undefined;
    for (const tenant of this.tenants.values()) {
      if (tenant.head === undefined) continue;
      if (largest?.head === undefined || tenant.head.usedBytes > largest.head.usedBytes) largest = tenant;
    }
    if (largest !== undefined) this.cut(largest, 'memory');
  }

  /**
   * True while no frame may be taken in: all memory is in use, and blocks are on their way that will give
   * some back.
   */
  get mustWait(): boolean {
    return this.pendingBytes > 0 && this.liveBytes + this.pendingBytes > this.settings.headBytesMax;
  }

  released(bytes: number): void {
    this.pendingBytes -= bytes;
    this.relieve();
  }

  setPressure(pressure: Pressure): void {
    this.pressure = pressure;
    this.relieve();
  }

  cutAged(nowMs: number): void {
    for (const tenant of this.tenants.values()) {
      const head = tenant.head;
      if (head !== undefined && nowMs - head.firstArrivalMs >= this.settings.maxBlockDurationMs) {
        this.cut(tenant, 'age');
      }
    }
  }

  flush(name: string | undefined): void {
    for (const tenant of this.tenants.values()) {
      if (name === undefined || tenant.name === name) this.cut(tenant, 'flush');
    }
  }

  /** Posts what happened since the last time, if anything. */
  report(nowMs: number): void {
    const tenants: TenantStats[] = [];
    for (const tenant of this.tenants.values()) {
      if (!tenant.changed && tenant.liveTraces === 0) continue;
      const { name, traces, duplicates, malformed, truncated, arrivals, head } = tenant;
      head?.live.advance(nowMs);
      tenant.liveTraces = head?.live.count ?? 0;
      tenants.push({
        tenant: name,
        traces,
        duplicates,
        malformed,
        truncated,
        outsideSlack: arrivals.outsideSlack,
        past: arrivals.past.slice(),
        future: arrivals.future.slice(),
        liveTraces: tenant.liveTraces,
        liveBytes: head?.usedBytes ?? 0,
      });
      tenant.traces = tenant.duplicates = tenant.malformed = tenant.truncated = 0;
      arrivals.clear();
      tenant.changed = false;
      if (head === undefined) this.tenants.delete(name);
    }
    const headBytes = this.liveBytes + this.pendingBytes;
    if (tenants.length === 0 && headBytes === this.reportedBytes) return;
    this.reportedBytes = headBytes;
    this.post({ kind: 'stats', tenants, headBytes, tracesPerBatch: this.tracesPerBatch.slice() });
    this.tracesPerBatch.fill(0);
  }
}
