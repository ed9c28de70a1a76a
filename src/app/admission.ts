// Who may come in: pushes and queries are refused with a reason and counted while memory or disk is short.
// Queries wait for a while first, when it is other queries that hold the memory.
import { setTimeout as sleep } from 'node:timers/promises';
import { requestCancelled, RetryLaterError } from '../lib/errors.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { DiskGuard } from './disk-guard.ts';
import type { MemoryGuard } from './memory-guard.ts';
import { TenantLine } from './tenant-line.ts';

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

/** A query that waits for memory. */
interface Waiting {
  readonly tenant: string;
  readonly untilMs: number;
  readonly admitted: PromiseWithResolvers<void>;
}

export class Admission {
  readonly #line = new TenantLine<Waiting>();
  #isLetting = false;
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
      (gauge) => gauge.set(this.#line.length),
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

  /** Rejects when a query may not begin. Those that wait come in by turns of their tenants. */
  async admitQuery(tenant: string, signal?: AbortSignal): Promise<void> {
    const refusal = this.#memory.queryRefusal();
    const line = this.#line;
    if (refusal === undefined && line.length === 0) return;
    if (line.length >= WAITING_MAX) {
      // Without it one tenant would keep all others out.
      const isShort = line.lengthOf(tenant) + 1 < line.longestLength;
      if (!isShort) return this.#refuse('query', 'memory', refusal ?? TOO_MANY);
      this.#sendAway(line.takeLastOfLongest()!, TOO_MANY);
    }
    const untilMs = performance.now() + WAIT_MS_MAX;
    const waiting: Waiting = { tenant, untilMs, admitted: Promise.withResolvers() };
    const leave = (): void => {
      if (!line.remove(tenant, waiting)) return;
      waiting.admitted.reject(requestCancelled());
    };
    line.add(tenant, waiting);
    if (signal?.aborted === true) leave();
    signal?.addEventListener('abort', leave, { once: true });
    if (!this.#isLetting) void this.#letIn();
    await waiting.admitted.promise.finally(() => signal?.removeEventListener('abort', leave));
  }

  /** Lets those that wait come in while there is memory, until none is left. Never rejects. */
  async #letIn(): Promise<void> {
    this.#isLetting = true;
    const line = this.#line;
    for (; line.length > 0; await sleep(LOOK_MS)) {
      const refusal = this.#memory.queryRefusal();
      if (refusal === undefined) {
        line.take()!.admitted.resolve();
        continue;
      }
      const nowMs = performance.now();
      for (const waiting of line.all()) {
        if (!this.#memory.isFilled && nowMs < waiting.untilMs) continue;
        line.remove(waiting.tenant, waiting);
        this.#sendAway(waiting, refusal);
      }
    }
    this.#isLetting = false;
  }

  /** It has left the line. */
  #sendAway({ admitted }: Waiting, refusal: RetryLaterError): void {
    this.#count('query', 'memory', 1);
    admitted.reject(refusal);
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
