// Jobs that wait for a scan thread. Tenants take turns, whatever the number of their jobs. Within a tenant
// the jobs of queries that have cost little so far and those of heavy ones take turns, and of either kind
// those of the oldest query are first: so a flood of heavy queries is answered one after another, and a small
// query does not wait for it. Each job waits in the lane of the thread that it likes.
import type { Pending } from './scan-thread.ts';

/** CPU time of scan threads above which a query is heavy. */
const HEAVY_MS = 250;

let queries = 0;

/** Whose turn it is among the queries of a tenant: one for all jobs of a query. */
export class QueryTurn {
  /** Younger queries have larger ones. */
  readonly sequence = ++queries;
  private cpuMs = 0;

  /** A job of it has taken that long. */
  cost(cpuMs: number): void {
    this.cpuMs += cpuMs;
  }

  get isHeavy(): boolean {
    return this.cpuMs > HEAVY_MS;
  }
}

/** Of one lane the jobs of each query; sets keep them in order and let go of any at once. */
type Lane = Map<QueryTurn, Set<Pending>>;

interface TenantJobs {
  readonly lanes: readonly Lane[];
  /** Whether a job of a heavy query is next, when there are others too. */
  isHeavyNext: boolean;
}

export class JobQueue {
  private readonly laneCount: number;
  /** In the order of their turns. */
  private readonly tenants = new Map<string, TenantJobs>();
  private readonly tenantLengths = new Map<string, number>();
  private readonly laneLengths: number[];

  constructor(laneCount: number) {
    this.laneCount = laneCount;
    this.laneLengths = Array.from({ length: laneCount }, () => 0);
  }

  get length(): number {
    return this.laneLengths.reduce((sum, length) => sum + length, 0);
  }

  lengthOf(tenant: string): number {
    return this.tenantLengths.get(tenant) ?? 0;
  }

  laneLength(lane: number): number {
    return this.laneLengths[lane]!;
  }

  add(job: Pending, at: number): void {
    let jobs = this.tenants.get(job.tenant);
    if (jobs === undefined) {
      jobs = { lanes: Array.from({ length: this.laneCount }, () => new Map()), isHeavyNext: false };
      this.tenants.set(job.tenant, jobs);
    }
    const lane = jobs.lanes[at]!;
    const others = lane.get(job.turn);
    if (others === undefined) lane.set(job.turn, new Set([job]));
    else others.add(job);
    this.laneLengths[at]!++;
    this.tenantLengths.set(job.tenant, this.lengthOf(job.tenant) + 1);
  }

  /**
   * The next job of a lane: of the tenant whose turn it is among those that have one there.
   *
   * @param isLightOnly leaves the jobs of heavy queries where they are.
   */
  take(at: number, isLightOnly = false): Pending | undefined {
    if (this.laneLengths[at] === 0) return undefined;
    for (const [tenant, jobs] of this.tenants) {
      const turn = nextTurn(jobs, at, isLightOnly);
      if (turn === undefined) continue;
      const [job] = jobs.lanes[at]!.get(turn)!;
      this.remove(job!);
      jobs.isHeavyNext = !turn.isHeavy;
      if (this.tenants.delete(tenant)) this.tenants.set(tenant, jobs);
      return job;
    }
    return undefined;
  }

  /** @returns false when it does not wait. */
  remove(job: Pending): boolean {
    const { tenant, turn } = job;
    const lanes = this.tenants.get(tenant)?.lanes ?? [];
    const at = lanes.findIndex((lane) => lane.get(turn)?.delete(job) === true);
    if (at < 0) return false;
    const lane = lanes[at]!;
    if (lane.get(turn)!.size === 0) lane.delete(turn);
    this.laneLengths[at]!--;
    const left = this.lengthOf(tenant) - 1;
    if (left > 0) this.tenantLengths.set(tenant, left);
    else {
      this.tenantLengths.delete(tenant);
      this.tenants.delete(tenant);
    }
    return true;
  }

  takeLane(at: number): Pending[] {
    const jobs = [...this.tenants.values()].flatMap(({ lanes }) =>
      [...lanes[at]!.values()].flatMap((some) => [...some]),
    );
    for (const job of jobs) this.remove(job);
    return jobs;
  }
}

function nextTurn(
  { lanes, isHeavyNext }: TenantJobs,
  at: number,
  isLightOnly: boolean,
): QueryTurn | undefined {
  let light: QueryTurn | undefined;
  let heavy: QueryTurn | undefined;
  for (const turn of lanes[at]!.keys()) {
    if (turn.isHeavy) {
      if (heavy === undefined || turn.sequence < heavy.sequence) heavy = turn;
    } else if (light === undefined || turn.sequence < light.sequence) light = turn;
  }
  if (isLightOnly) return light;
  return isHeavyNext ? (heavy ?? light) : (light ?? heavy);
}
