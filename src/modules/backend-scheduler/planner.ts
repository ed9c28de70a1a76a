// Which compactions come next: of all tenants, those with most blocks first, some of each at a time.
import type { BlockMeta } from '../../block/meta.ts';
import type { Blocklist } from '../../store/blocklist.ts';
import { allCompactionJobs, type CompactionLimits } from '../../store/compaction-select.ts';
import type { SchedulerMetrics } from './metrics.ts';

export interface PlannerOptions {
  readonly blocklist: Blocklist;
  /** undefined = nothing of the tenant is compacted. */
  readonly limitsOf: (tenant: string) => CompactionLimits | undefined;
  /** Jobs of a tenant before others have a turn. */
  readonly jobsPerTurn: number;
  /** Blocks that should not be in another job. */
  readonly isTaken: (blockId: string) => boolean;
  /** Blocks that wait, by tenant: is kept up to date for a metric. */
  readonly outstanding: Map<string, number>;
  readonly metrics: SchedulerMetrics;
  readonly nowMs: () => number;
}

export interface PlannedCompaction {
  readonly tenant: string;
  readonly inputs: readonly string[];
}

type Inputs = readonly BlockMeta[];

interface TenantPlan {
  readonly tenant: string;
  readonly priority: number;
  readonly jobs: readonly Inputs[];
}

interface Turn {
  readonly tenant: string;
  readonly jobs: readonly Inputs[];
  next: number;
}

export class CompactionPlanner {
  private readonly options: PlannerOptions;
  private turns: Turn[] = [];

  constructor(options: PlannerOptions) {
    this.options = options;
  }

  /** Looks at all blocks anew. */
  async refresh(): Promise<void> {
    const { blocklist, outstanding, metrics } = this.options;
    const tenants = blocklist.tenants().toSorted();
    const plans: TenantPlan[] = [];
    for (const tenant of tenants) {
      const plan = await this.planOf(tenant);
      outstanding.set(
        tenant,
        plan.jobs.reduce((blocks, inputs) => blocks + inputs.length, 0),
      );
      if (plan.jobs.length > 0) plans.push(plan);
    }
    const known = new Set(tenants);
    for (const tenant of outstanding.keys()) if (!known.has(tenant)) outstanding.delete(tenant);
    if (plans.length === 0) metrics.emptyCycles.inc();
    this.turns = turnsOf(plans, this.options.jobsPerTurn);
  }

  /** The next job whose blocks are still there and free. */
  take(): PlannedCompaction | undefined {
    const { blocklist, isTaken } = this.options;
    for (;;) {
      const [turn] = this.turns;
      if (turn === undefined) return undefined;
      const { tenant, jobs } = turn;
      const inputs = jobs[turn.next++]!;
      if (turn.next === jobs.length) this.endTurn();
      const { live } = blocklist.tenant(tenant);
      const isFree = inputs.every(({ blockId }) => live.has(blockId) && !isTaken(blockId));
      if (isFree) return { tenant, inputs: inputs.map(({ blockId }) => blockId) };
    }
  }

  private endTurn(): void {
    const { metrics } = this.options;
    const ended = this.turns.shift()!;
    metrics.turns.inc({ tenant: ended.tenant });
    // Of this tenant nothing is left to do.
    if (!this.turns.some(({ tenant }) => tenant === ended.tenant)) metrics.emptyTurns.inc();
  }

  private async planOf(tenant: string): Promise<TenantPlan> {
    const { blocklist, limitsOf, isTaken, nowMs } = this.options;
    const { live } = blocklist.tenant(tenant);
    const limits = limitsOf(tenant);
    const free = [...live.values()].filter(({ blockId }) => !isTaken(blockId));
    const jobs = limits === undefined ? [] : await allCompactionJobs(free, limits, nowMs());
    const waiting = jobs.reduce((blocks, inputs) => blocks + inputs.length, 0);
    return { tenant, jobs, priority: live.size + waiting };
  }
}

/** So many jobs of each, the tenant with most blocks first, then the next of each. */
function turnsOf(plans: readonly TenantPlan[], jobsPerTurn: number): Turn[] {
  const ordered = plans.toSorted((a, b) => b.priority - a.priority);
  const longest = Math.max(0, ...ordered.map(({ jobs }) => jobs.length));
  const turns: Turn[] = [];
  for (let from = 0; from < longest; from += jobsPerTurn) {
    for (const { tenant, jobs } of ordered) {
      const part = jobs.slice(from, from + jobsPerTurn);
      if (part.length > 0) turns.push({ tenant, jobs: part, next: 0 });
    }
  }
  return turns;
}
