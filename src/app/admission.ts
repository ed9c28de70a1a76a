// Who may come in: pushes and queries are refused with a reason and counted while memory or disk is short.
import type { RetryLaterError } from '../lib/errors.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { DiskGuard } from './disk-guard.ts';
import type { MemoryGuard } from './memory-guard.ts';

export class Admission {
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
    this.#count('push', 'memory', 0);
    this.#count('push', 'disk', 0);
    this.#count('query', 'memory', 0);
  }

  /** Throws when a push of that size may not come in. */
  admitPush(sizeBytes: number): void {
    this.#refuse('push', 'memory', this.#memory.pushRefusal());
    this.#refuse('push', 'disk', this.#disk.refusal(sizeBytes));
  }

  admitQuery(): void {
    this.#refuse('query', 'memory', this.#memory.queryRefusal());
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
