// Jobs that wait for a scan thread. Tenants take turns, whatever the number of their jobs; within a tenant
// those that came first go first, each in the lane of the thread that it likes.
import type { Pending } from './scan-thread.ts';

/** The jobs of one tenant, by lane; a set keeps them in order and lets go of any at once. */
type Lanes = readonly Set<Pending>[];

export class JobQueue {
  private readonly laneCount: number;
  /** In the order of their turns. */
  private readonly tenants = new Map<string, Lanes>();
  private readonly laneLengths: number[];

  constructor(laneCount: number) {
    this.laneCount = laneCount;
    this.laneLengths = Array.from({ length: laneCount }, () => 0);
  }

  get length(): number {
    return this.laneLengths.reduce((sum, length) => sum + length, 0);
  }

  lengthOf(tenant: string): number {
    return this.tenants.get(tenant)?.reduce((sum, { size }) => sum + size, 0) ?? 0;
  }

  laneLength(lane: number): number {
    return this.laneLengths[lane]!;
  }

  add(job: Pending, lane: number): void {
    let lanes = this.tenants.get(job.tenant);
    if (lanes === undefined) {
      lanes = Array.from({ length: this.laneCount }, () => new Set());
      this.tenants.set(job.tenant, lanes);
    }
    lanes[lane]!.add(job);
    this.laneLengths[lane]!++;
  }

  /** The next job of a lane: of the tenant whose turn it is among those that have one there. */
  take(lane: number): Pending | undefined {
    if (this.laneLengths[lane] === 0) return undefined;
    for (const [tenant, lanes] of this.tenants) {
      const [job] = lanes[lane]!;
      if (job === undefined) continue;
      this.remove(job);
      if (this.tenants.delete(tenant)) this.tenants.set(tenant, lanes);
      return job;
    }
    return undefined;
  }

  /** @returns false when it does not wait. */
  remove(job: Pending): boolean {
    const lanes = this.tenants.get(job.tenant);
    const lane = lanes?.findIndex((jobs) => jobs.delete(job)) ?? -1;
    if (lanes === undefined || lane < 0) return false;
    this.laneLengths[lane]!--;
    if (lanes.every(({ size }) => size === 0)) this.tenants.delete(job.tenant);
    return true;
  }

  takeLane(lane: number): Pending[] {
    const jobs = [...this.tenants.values()].flatMap((lanes) => [...lanes[lane]!]);
    for (const job of jobs) this.remove(job);
    return jobs;
  }
}
