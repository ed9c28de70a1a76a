// How much memory the process may use: what heads and caches take when the configuration does not say it
// are shares of this.

const QUARTER = 4;
const BUDGET_MAX = 2 * 1024 ** 3;
const UNIT: Readonly<Record<string, number>> = {
  B: 1,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  TiB: 1024 ** 4,
};

export interface MemoryFacts {
  /** What the configuration says; 0 = nothing. */
  readonly configuredBytes: number;
  /** Limit of the cgroup; 0 or undefined = none. */
  readonly constrainedBytes: number | undefined;
  readonly totalBytes: number;
  /** The environment variable GOMEMLIMIT. */
  readonly goMemLimit: string | undefined;
}

export interface MemoryBudget {
  readonly bytes: number;
  /** What says so. */
  readonly from: string;
  /** GOMEMLIMIT says what is no size; undefined = it does not. */
  readonly unreadable?: string | undefined;
}

/**
 * What is configured; else the lesser of the cgroup's limit and GOMEMLIMIT; else the smaller of a quarter of
 * memory and 2 GiB.
 */
export function memoryBudget(facts: MemoryFacts): MemoryBudget {
  const unreadable = isGoMemLimit(facts.goMemLimit) ? undefined : facts.goMemLimit;
  return { ...chosenBudget(facts), unreadable };
}

function chosenBudget(facts: MemoryFacts): MemoryBudget {
  const { configuredBytes, constrainedBytes = 0, totalBytes } = facts;
  if (configuredBytes > 0) return { bytes: configuredBytes, from: 'memory.limit' };
  const goLimit = parseGoMemLimit(facts.goMemLimit);
  const cgroupLimit = constrainedBytes > 0 && constrainedBytes < totalBytes ? constrainedBytes : Infinity;
  if (goLimit < cgroupLimit) return { bytes: goLimit, from: 'GOMEMLIMIT' };
  if (cgroupLimit < Infinity) return { bytes: cgroupLimit, from: 'the limit of the cgroup' };
  const bytes = Math.min(totalBytes / QUARTER, BUDGET_MAX);
  return { bytes, from: 'a quarter of the memory of the machine' };
}

const SIZE = /^(\d+)(B|KiB|MiB|GiB|TiB)?$/;

/** As Go's runtime takes it, which ends the process for anything else. */
function isGoMemLimit(text = ''): boolean {
  return text === '' || text === 'off' || SIZE.test(text);
}

function parseGoMemLimit(text = ''): number {
  const match = SIZE.exec(text);
  return match === null ? Infinity : Number(match[1]) * UNIT[match[2] ?? 'B']!;
}
