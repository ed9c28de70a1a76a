// The builder thread: takes frames out of the log, first from the segments what is not in blocks yet, then
// from the ring as it becomes durable. It never yields: it sleeps on the ring's signal, and messages are
// fetched.
import { Buffer } from 'node:buffer';
import { type MessagePort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { collectGarbage, collectReleased, IDLE_MS, noteReleasedBytes } from '../../lib/garbage.ts';
import { FRAME_HEADER_BYTES, FrameType, headerFields } from '../../store/log/frame.ts';
import { setAside } from '../../store/log/quarantine.ts';
import { isCovered } from '../../store/log/recover.ts';
import { type RingFrame, RingReader } from '../../store/log/ring.ts';
import { readSegment, type SegmentFrame, type SegmentReport } from '../../store/log/segment.ts';
import { Builder, type PushFrame } from './builder.ts';
import type { BuilderData, FromBuilder, ToBuilder } from './messages.ts';

/** Longest sleep: ages are looked at that often. */
const TICK_MS = 500;

class BuilderLoop {
  private readonly data: BuilderData;
  private readonly port: MessagePort;
  private readonly ring: RingReader;
  private readonly builder: Builder;
  private readonly poison: ReadonlySet<number>;
  /** Images of frames that were too large for the ring, by sequence number. */
  private readonly handedOver = new Map<number, SharedArrayBuffer>();
  private nextTickMs = 0;
  /** When it had something to do the last time. */
  private busyMs = 0;

  constructor(data: BuilderData, port: MessagePort) {
    this.data = data;
    this.port = port;
    this.ring = new RingReader(data.memory, data.position);
    this.builder = new Builder(data, (message) => this.post(message));
    this.poison = new Set(data.poison);
  }

  run(): void {
    this.replay();
    while (!this.ring.stopped) {
      const { signal } = this.ring;
      this.receive();
      this.takeDurable();
      this.tick();
      this.ring.wait(signal, TICK_MS);
    }
  }

  private post(message: FromBuilder): void {
    this.port.postMessage(message);
  }

  private replay(): void {
    const { paths, covered, untilSequence } = this.data.replay;
    let frames = 0;
    let spans = 0;
    for (const path of paths) {
      const report = readIfThere(path, ({ header, tenant, payload }: SegmentFrame) => {
        if (this.ring.stopped || header.sequence > untilSequence) return false;
        if (header.type !== FrameType.push || isCovered(covered, tenant, header.sequence)) return undefined;
        this.waitForMemory();
        const { sequence, arrivalMs, spanCount } = header;
        const end = payload.length;
        this.take({ tenant, sequence, arrivalMs, spanCount, bytes: payload, start: 0, end });
        frames++;
        spans += spanCount;
        return undefined;
      });
      if (report !== undefined) this.post({ kind: 'damage', path, report });
      if (this.ring.stopped) return;
    }
    this.builder.forgetArrivals();
    this.builder.report(Date.now());
    this.post({ kind: 'replayed', frames, spans });
  }

  private takeDurable(): void {
    for (let frame = this.ring.next(); frame !== undefined; frame = this.ring.next()) {
      this.waitForMemory();
      if (this.ring.stopped) return;
      this.takeFrame(frame);
      this.ring.consume(frame.header.sequence);
      this.busyMs = Date.now();
      if (this.busyMs >= this.nextTickMs) {
        this.receive();
        this.tick();
      }
    }
  }

  private takeFrame({ header, tenantOffset, payloadOffset }: RingFrame): void {
    const { type, sequence, arrivalMs, spanCount, payloadLength } = header;
    const { bytes } = this.ring;
    const tenant = Buffer.from(bytes.subarray(tenantOffset, payloadOffset)).toString();
    if (type === FrameType.push) {
      const end = payloadOffset + payloadLength;
      this.take({ tenant, sequence, arrivalMs, spanCount, bytes, start: payloadOffset, end });
      return;
    }
    this.receive();
    const image = this.handedOver.get(sequence);
    // Those of refused groups never show up in the ring.
    for (const key of this.handedOver.keys()) if (key <= sequence) this.handedOver.delete(key);
    if (image === undefined) {
      const message = 'the body of a large request did not arrive';
      this.post({ kind: 'refused', tenant, sequence, spanCount, message });
      return;
    }
    const whole = headerFields(new DataView(image, 0, FRAME_HEADER_BYTES));
    const start = FRAME_HEADER_BYTES + whole.tenantLength;
    const end = start + whole.payloadLength;
    this.take({ tenant, sequence, arrivalMs, spanCount, bytes: new Uint8Array(image), start, end });
  }

  private take(frame: PushFrame): void {
    if (this.poison.has(frame.sequence)) {
      this.setAside(frame);
      return;
    }
    this.ring.taking(frame.sequence);
    this.builder.take(frame);
    this.ring.taking(0);
  }

  /** Nothing goes on before the frame is safe: then it is passed over, and with that leaves the log. */
  private setAside(frame: PushFrame): void {
    const { tenant, sequence, spanCount, bytes, start, end } = frame;
    for (let tries = 1; !this.ring.stopped; tries++) {
      try {
        const path = setAside(this.data.quarantinePath, tenant, sequence, bytes.subarray(start, end));
        this.builder.passOver(frame);
        this.post({ kind: 'setAside', tenant, sequence, spanCount, path });
        return;
      } catch (err) {
        const message = err instanceof Error ? err.message : String(err);
        if (tries === 1) this.post({ kind: 'notSetAside', tenant, sequence, message });
        this.ring.wait(this.ring.signal, TICK_MS);
      }
    }
  }

  /** Sleeps until blocks have been written, when heads use all their memory. */
  private waitForMemory(): void {
    while (this.builder.mustWait && !this.ring.stopped) {
      const { signal } = this.ring;
      this.receive();
      if (!this.builder.mustWait) return;
      this.ring.wait(signal, TICK_MS);
    }
  }

  private receive(): void {
    for (;;) {
      const received = receiveMessageOnPort(this.port) as { message: ToBuilder } | undefined;
      if (received === undefined) return;
      this.handle(received.message);
    }
  }

  private handle(message: ToBuilder): void {
    switch (message.kind) {
      case 'handOver':
        this.handedOver.set(message.sequence, message.image);
        break;
      case 'released':
        this.builder.released(message.bytes);
        noteReleasedBytes(message.bytes);
        this.busyMs = Date.now();
        break;
      case 'attributeLimits':
        this.builder.limitAttributes(message.limits);
        break;
      case 'pressure':
        this.builder.setPressure(message.pressure);
        if (message.pressure !== 'calm') collectGarbage();
        break;
      case 'flush':
        this.builder.flush(message.tenant);
        this.builder.report(Date.now());
        if (message.id !== 0) this.post({ kind: 'flushed', id: message.id });
        break;
    }
  }

  private tick(): void {
    const now = Date.now();
    if (now < this.nextTickMs) return;
    this.nextTickMs = now + TICK_MS;
    this.builder.cutAged(now);
    this.builder.report(now);
    if (now - this.busyMs >= IDLE_MS) collectReleased();
  }
}

/** A segment that is gone meanwhile was deleted because all its frames are in complete blocks. */
function readIfThere(path: string, visit: Parameters<typeof readSegment>[2]): SegmentReport | undefined {
  try {
    return readSegment(path, 'all', visit);
  } catch (err) {
    if (err instanceof Error && 'code' in err && err.code === 'ENOENT') return undefined;
    throw err;
  }
}

const { data, port } = workerData as { data: BuilderData; port: MessagePort };
new BuilderLoop(data, port).run();
port.close();
