// Who may come in: pushes and queries are refused with a reason and counted while memory or disk is short.
// Queries wait for a while first, when it is other queries that hold the memory.
import { setTimeout as sleep } from 'node:timers/promises';
import { RetryLaterError, TempoError } from '../lib/errors.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { DiskGuard } from './disk-guard.ts';
import type { MemoryGuard } from './memory-guard.ts';

/** Queries that wait for memory, and how long; others are refused. */
const WAITING_MAX = 100;
const TOO_MANY = new RetryLaterError(
  'resource_exhausted',
  `${WAITING_MAX} queries wait for memory, try again later`,
  1000,
);
const WAIT_MS_MAX = 10_000;
/** One after another: the jobs of the one before are seen by then. */
const LOOK_MS = 20;

export class Admission {
  #waiting = 0;
  #turn: Promise<unknown> = Promise.resolve();
  readonly #memory: MemoryGuard;
  readonly #disk: DiskGuard;
  readonly #count: (kind: string, reason: string, by: number) => void;

  constructor(memory: MemoryGuard, disk: DiskGuard, metrics: Metrics) {
    this.#memory = memory;
    this.#disk = disk;
    const refused = metrics.counter(
      'tempo_refused_requests_total',
      'Pushes and queries that were refused because the process is short of memory or disk.',
      ['kind', 'reason'],
    );
    this.#count = (kind, reason, by) => refused.inc({ kind, reason }, by);
    metrics.gauge(
      'tempo_memory_waiting_queries',
      'Queries that wait until those that run have given memory back.',
      [],
      (gauge) => gauge.set(this.#waiting),
    );
    this.#count('push', 'memory', 0);
    this.#count('push', 'disk', 0);
    this.#count('query', 'memory', 0);
  }

  /** Throws when a push of that size may not come in. */
  admitPush(sizeBytes: number): void {
    this.#refuse('push', 'memory', this.#memory.pushRefusal());
    this.#refuse('push', 'disk', this.#disk.refusal(sizeBytes));
  }

  /** Rejects when a query may not begin. */
  async admitQuery(signal?: AbortSignal): Promise<void> {
    const refusal = this.#memory.queryRefusal();
    if (refusal === undefined && this.#waiting === 0) return;
    // They would overtake those that wait, and memory is needed for these first.
    if (this.#waiting >= WAITING_MAX) return this.#refuse('query', 'memory', refusal ?? TOO_MANY);
    const untilMs = performance.now() + WAIT_MS_MAX;
    this.#waiting++;
    const turn = this.#turn.then(() => this.#waitForMemory(untilMs, signal));
    this.#turn = turn.then(
      () => sleep(LOOK_MS),
      () => undefined,
    );
    await turn.finally(() => this.#waiting--);
  }

  async #waitForMemory(untilMs: number, signal: AbortSignal | undefined): Promise<void> {
    for (;;) {
      if (signal?.aborted === true) throw new TempoError('cancelled', 'the request was cancelled');
      const refusal = this.#memory.queryRefusal();
      if (refusal === undefined) return;
      const isOver = this.#memory.isFilled || performance.now() >= untilMs;
      if (isOver) return this.#refuse('query', 'memory', refusal);
      await sleep(LOOK_MS);
    }
  }

  /** Why work that can wait should not begin, if it writes so much; undefined = it may. */
  upkeepRefusal(sizeBytes: number): string | undefined {
    if (this.#memory.pressure !== 'calm') return 'memory is short';
    return this.#disk.hasRoom(sizeBytes) ? undefined : 'the disk has no room for another block';
  }

  stop(): void {
    this.#memory.stop();
    this.#disk.stop();
  }

  #refuse(kind: string, reason: string, refusal: RetryLaterError | undefined): void {
    if (refusal === undefined) return;
    this.#count(kind, reason, 1);
    throw refusal;
  }
}
