// The main thread's end of the builder thread: starts it, passes messages, and starts another when it ends
// unasked.
import { setTimeout as pause } from 'node:timers/promises';
import { MessageChannel, type MessagePort, receiveMessageOnPort, type Worker } from 'node:worker_threads';
import { TempoError } from '../../lib/errors.ts';
import { type StartThread, startThread } from '../../lib/start-thread.ts';
import { workerUrl } from '../../lib/worker-url.ts';
import type { AttributeLimits } from '../../overrides/attribute-limits.ts';
import type { ReplayPlan } from '../../store/log/open.ts';
import type { RingMemory, RingWriter } from '../../store/log/ring.ts';
import type { Logger } from '../../telemetry/log.ts';
import type { BuilderData, BuilderSettings, FromBuilder, ToBuilder } from './messages.ts';

export interface BuilderThreadOptions {
  readonly memory: RingMemory;
  readonly ring: RingWriter;
  readonly settings: BuilderSettings;
  /** Answers with the same object until they change. */
  readonly attributeLimits: () => AttributeLimits;
  /** Where frames go that no builder survives. */
  readonly quarantinePath: string;
  /** The code of the thread, in place of the usual one. */
  readonly worker?: URL | undefined;
  readonly startThread?: StartThread | undefined;
  readonly logger: Logger;
  readonly handle: (message: FromBuilder) => void;
  /** The thread ended unasked. */
  readonly ended: () => void;
  /**
   * After a crash: what the next builder has to read from the segments, and the memory of heads still being
   * written.
   */
  readonly restart: () => { readonly replay: ReplayPlan; readonly pendingBytes: number };
}

/** Crashes at the same frame after which it is set aside. */
const CRASHES_MAX = 2;

/** The first crash at a frame is answered by another builder at once, the next ones ever later. */
const RESTART_FIRST_MS = 100;
const RESTART_MAX_MS = 30_000;

/** Queries wait that long for a thread that has not begun. */
const BEGIN_MS_MAX = 30_000;

export class BuilderThread {
  private readonly options: BuilderThreadOptions;
  private worker: Worker | undefined;
  private port: MessagePort | undefined;
  private stopping = false;
  private nextId = 1;
  private readonly flushes = new Map<number, PromiseWithResolvers<void>>();
  private ready = Promise.withResolvers<void>();
  private isReplaying = true;
  private readonly firstRun = Promise.withResolvers<void>();
  private isBegun = false;
  private crashes = 0;
  private crashedAt = NaN;
  private readonly poison: number[] = [];
  /** Those of them that are known to be in files. */
  private readonly setAside = new Set<number>();
  private timer: NodeJS.Timeout | undefined;
  /** Images of frames that no builder has consumed yet, by sequence number: the next one needs them too. */
  private readonly handedOver = new Map<number, SharedArrayBuffer>();
  private limitsKnown: AttributeLimits | undefined;

  constructor(options: BuilderThreadOptions) {
    this.options = options;
    this.ready.promise.catch(() => {});
  }

  /** Resolves when the frames of `replay` are in heads: at once if there are none, before the thread runs. */
  start(replay: ReplayPlan, pendingBytes: number): Promise<void> {
    this.spawn(replay, pendingBytes);
    if (replay.paths.length === 0) this.caughtUpNow();
    return this.ready.promise;
  }

  /** Has a thread run, or will none any more? */
  get hasBegun(): boolean {
    return this.isBegun;
  }

  /** Did threads end before one of them ran? */
  get cannotBegin(): boolean {
    return !this.isBegun && this.crashes > 0;
  }

  /** Resolves when a thread runs, or after half a minute, as it may never do. */
  begun(): Promise<void> {
    return Promise.race([this.firstRun.promise, pause(BEGIN_MS_MAX, undefined, { ref: false })]);
  }

  /** False while frames that were acknowledged are still being read from the segments. */
  get isCaughtUp(): boolean {
    return !this.isReplaying;
  }

  caughtUp(): Promise<void> {
    return this.ready.promise;
  }

  /** Takes in what the builder has said so far. */
  drain(): void {
    const { port } = this;
    if (port === undefined) return;
    for (;;) {
      const received = receiveMessageOnPort(port) as { message: FromBuilder } | undefined;
      if (received === undefined) return;
      this.received(received.message);
    }
  }

  send(message: ToBuilder): void {
    this.port?.postMessage(message);
    this.options.ring.signal();
  }

  /** Gives the builder the image of a frame that is too large for the ring. */
  handOver(sequence: number, image: SharedArrayBuffer): void {
    const consumed = this.options.ring.consumedSequence;
    for (const known of this.handedOver.keys()) if (known <= consumed) this.handedOver.delete(known);
    this.handedOver.set(sequence, image);
    this.send({ kind: 'handOver', sequence, image });
  }

  /** Tells the builder when limits have changed; it looks at messages at least every half second. */
  tellLimits(): void {
    const limits = this.options.attributeLimits();
    if (limits === this.limitsKnown || this.port === undefined) return;
    this.limitsKnown = limits;
    this.send({ kind: 'attributeLimits', limits });
  }

  /** Resolves when the heads that were live have been cut. */
  flush(tenant: string | undefined): Promise<void> {
    const done = Promise.withResolvers<void>();
    const id = this.nextId++;
    this.flushes.set(id, done);
    this.send({ kind: 'flush', id, tenant });
    return done.promise;
  }

  async stop(): Promise<void> {
    this.stopping = true;
    clearTimeout(this.timer);
    this.options.ring.stop();
    const { worker } = this;
    // It has nothing to end, and a machine may take long to begin it: what was pushed is in the log.
    if (!this.isBegun && !this.isReplaying) void worker?.terminate();
    this.begin();
    if (worker !== undefined) await new Promise<void>((resolve) => worker.once('exit', () => resolve()));
    this.failFlushes();
    if (this.isReplaying) this.ready.reject(new TempoError('unavailable', 'the ingester is stopping'));
    this.port?.close();
  }

  private spawn(replay: ReplayPlan, pendingBytes: number): void {
    const { memory, ring, settings } = this.options;
    const channel = new MessageChannel();
    for (const [sequence, image] of this.handedOver) {
      channel.port1.postMessage({ kind: 'handOver', sequence, image } satisfies ToBuilder);
    }
    const attributeLimits = this.options.attributeLimits();
    this.limitsKnown = attributeLimits;
    const position = ring.consumed;
    const { quarantinePath } = this.options;
    const data: BuilderData = {
      memory,
      position,
      replay,
      settings,
      attributeLimits,
      pendingBytes,
      poison: this.poison,
      quarantinePath,
    };
    this.notCaughtUp();
    const { worker: url = workerUrl('builder-worker', import.meta.url), startThread: start = startThread } =
      this.options;
    try {
      this.worker = start(url, {
        workerData: { data, port: channel.port2 },
        transferList: [channel.port2],
        name: 'builder',
      });
    } catch (err) {
      channel.port1.close();
      throw err;
    }
    this.port = channel.port1;
    this.port.on('message', (message: FromBuilder) => this.received(message));
    this.worker.on('error', (err) => this.options.logger.error('builder thread failed', { err }));
    this.worker.on('exit', () => this.exited());
  }

  private received(message: FromBuilder): void {
    if (message.kind === 'setAside') {
      // Every builder comes upon it again until the frames around it are in blocks.
      if (this.setAside.has(message.sequence)) return;
      this.setAside.add(message.sequence);
    }
    if (message.kind === 'replayed') {
      this.caughtUpNow();
      this.begin();
    }
    if (message.kind === 'flushed') {
      this.flushes.get(message.id)?.resolve();
      this.flushes.delete(message.id);
    } else this.options.handle(message);
  }

  private exited(): void {
    this.worker = undefined;
    if (this.stopping) return;
    this.options.ended();
    this.drain();
    this.port?.close();
    this.port = undefined;
    this.failFlushes();
    this.notCaughtUp();
    const { takingSequence, consumedSequence } = this.options.ring;
    const sequence = takingSequence === 0 ? consumedSequence : takingSequence;
    // One that ended between two frames says nothing against the frame before.
    const crashedAt = takingSequence === 0 ? -consumedSequence : takingSequence;
    this.crashes = crashedAt === this.crashedAt ? this.crashes + 1 : 1;
    this.crashedAt = crashedAt;
    if (this.crashes >= CRASHES_MAX && takingSequence !== 0) this.poison.push(takingSequence);
    const laterMs = this.crashes === 1 ? 0 : RESTART_FIRST_MS * 2 ** (this.crashes - 2);
    const delayMs = Math.min(laterMs, RESTART_MAX_MS);
    this.options.logger.warn('builder thread is started again', { sequence, delay_ms: delayMs });
    this.spawnIn(delayMs);
  }

  /** As often as it takes: what was acknowledged waits in the log. */
  private spawnIn(delayMs: number): void {
    this.timer = setTimeout(() => {
      const { replay, pendingBytes } = this.options.restart();
      try {
        this.spawn(replay, pendingBytes);
      } catch (err) {
        const nextMs = Math.min(Math.max(RESTART_FIRST_MS, delayMs * 2), RESTART_MAX_MS);
        this.options.logger.error('builder thread cannot be started', { err, delay_ms: nextMs });
        this.spawnIn(nextMs);
      }
    }, delayMs);
  }

  private notCaughtUp(): void {
    if (!this.isReplaying) this.ready = Promise.withResolvers<void>();
    this.ready.promise.catch(() => {});
    this.isReplaying = true;
  }

  private begin(): void {
    this.isBegun = true;
    this.firstRun.resolve();
  }

  private caughtUpNow(): void {
    this.isReplaying = false;
    this.ready.resolve();
  }

  private failFlushes(): void {
    for (const flush of this.flushes.values()) {
      flush.reject(new TempoError('unavailable', 'the builder thread ended'));
    }
    this.flushes.clear();
  }
}
