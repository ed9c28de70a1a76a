// Memory for the parts of metrics queries, from the jobs that make them until the series are made. A query
// whose next part might be too much beside what is held begins no job until others are done, but for the
// oldest query of each tenant: that one goes on, one job after another. Queries whose jobs are done may wait
// for the memory of their answers: the next one is the oldest then, unless such ones hold too much by now.
import { requestCancelled } from '../../lib/errors.ts';
import type { Metrics } from '../../telemetry/metrics.ts';

export interface PartsBudgetOptions {
  readonly bytesMax: number;
  readonly metrics: Metrics;
}

export class PartsBudget {
  private readonly options: PartsBudgetOptions;
  /** Oldest first. */
  private readonly leases = new Set<PartsLease>();

  constructor(options: PartsBudgetOptions) {
    this.options = options;
    const { metrics, bytesMax } = options;
    metrics.gauge(
      'tempo_querier_metrics_part_bytes',
      'Parts of metrics queries that were read and are not answered yet, and what jobs under way may add.',
      [],
      (gauge) => gauge.set(this.bytes),
    );
    metrics
      .gauge('tempo_querier_metrics_part_bytes_max', 'Above it jobs of metrics queries wait.')
      .set(bytesMax);
    metrics.gauge(
      'tempo_querier_waiting_metrics_jobs',
      'Jobs of metrics queries that wait for memory.',
      [],
      (gauge) => {
        let waiting = 0;
        for (const lease of this.leases) waiting += lease.waitingCount;
        gauge.set(waiting);
      },
    );
  }

  open(tenant: string): PartsLease {
    const lease = new PartsLease(tenant, () => this.changed(lease));
    this.leases.add(lease);
    return lease;
  }

  private get bytes(): number {
    let bytes = 0;
    for (const lease of this.leases) bytes += lease.bytes;
    return bytes;
  }

  /** Of queries whose jobs are done. */
  private get readBytes(): number {
    let bytes = 0;
    for (const lease of this.leases) if (lease.isRead) bytes += lease.bytes;
    return bytes;
  }

  private changed(lease: PartsLease): void {
    if (lease.isOver) this.leases.delete(lease);
    let { bytes } = this;
    const mayPassRead = this.readBytes <= this.options.bytesMax;
    const tenants = new Set<string>();
    for (const one of this.leases) {
      if (one.isRead && mayPassRead) continue;
      const isOldest = !tenants.has(one.tenant);
      tenants.add(one.tenant);
      for (let next = one.nextBytes; next !== undefined; next = one.nextBytes) {
        const mayBegin = bytes + next <= this.options.bytesMax || (isOldest && one.runningCount === 0);
        if (!mayBegin) break;
        one.beginNext();
        bytes += next;
      }
    }
  }
}

interface WaitingJob {
  readonly bytesMax: number;
  readonly begin: () => void;
}

/** What one query holds. */
export class PartsLease {
  readonly tenant: string;
  isOver = false;
  isRead = false;
  private readonly changed: () => void;
  private readonly waiting = new Set<WaitingJob>();
  /** What each job under way may add. */
  private readonly running: number[] = [];
  private heldBytes = 0;
  private largestPart: number | undefined;

  constructor(tenant: string, changed: () => void) {
    this.tenant = tenant;
    this.changed = changed;
  }

  get bytes(): number {
    return this.running.reduce((sum, bytesMax) => sum + this.expected(bytesMax), this.heldBytes);
  }

  get waitingCount(): number {
    return this.waiting.size;
  }

  get runningCount(): number {
    return this.running.length;
  }

  /** What the job that is next may add; undefined = none waits. */
  get nextBytes(): number | undefined {
    const [next] = this.waiting;
    return next && this.expected(next.bytesMax);
  }

  /** Later parts are hardly larger than those that are known. */
  private expected(bytesMax: number): number {
    return Math.min(bytesMax, this.largestPart ?? Infinity);
  }

  /** Waits until a job may begin whose part has so many bytes at most. Its end must be told. */
  async begin(bytesMax: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) throw requestCancelled();
    await new Promise<void>((resolve, reject) => {
      const over = (): void => {
        signal.removeEventListener('abort', onAbort);
        this.waiting.delete(waiting);
      };
      const waiting: WaitingJob = {
        bytesMax,
        begin: () => {
          over();
          this.running.push(bytesMax);
          resolve();
        },
      };
      const onAbort = (): void => {
        over();
        reject(requestCancelled());
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.waiting.add(waiting);
      this.changed();
    });
  }

  beginNext(): void {
    const [next] = this.waiting;
    next?.begin();
  }

  /** A job is over. @param partBytes of what it answered; undefined = nothing. */
  end(bytesMax: number, partBytes: number | undefined): void {
    this.running.splice(this.running.indexOf(bytesMax), 1);
    if (partBytes !== undefined) this.largestPart = Math.max(this.largestPart ?? 0, partBytes);
    this.heldBytes += partBytes ?? 0;
    this.changed();
  }

  /** Parts became one. */
  replace(partBytes: number, byBytes: number): void {
    this.heldBytes += byBytes - partBytes;
    this.changed();
  }

  /** No more jobs begin. */
  allRead(): void {
    this.isRead = true;
    this.changed();
  }

  drop(): void {
    this.isOver = true;
    this.changed();
  }
}
