// Tag names and values: one job for each part of the sources, their answers merged as they come.
import type {
  TagNamesAnswer,
  TagNamesProgress,
  TagNamesQuery,
  TagValuesAnswer,
  TagValuesProgress,
  TagValuesQuery,
} from '../../contracts/query.ts';
import type { ScanFailure, ScanJob, ScanResult, TagValuesJobResult } from '../../store/scan-job.ts';
import type { ScanPool } from '../../store/scan-pool.ts';
import { inSlices } from '../../lib/slices.ts';
import {
  mergingValues,
  type OrderedValues,
  type TagValueType,
  type TypedValues,
} from '../../traceql/engine/value-set.ts';
import { LateJobs } from './late-jobs.ts';
import type { PlannedJob } from './plan.ts';
import { runJobs } from './run-jobs.ts';

export interface TagScan<Progress> {
  readonly pool: Pick<ScanPool, 'run'>;
  readonly jobs: readonly PlannedJob[];
  /** Jobs at a time. */
  readonly concurrency: number;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ((progress: Progress) => void) | undefined;
}

/** Looked at for new ones at a time: the rest can wait, at the latest for the answer. */
const VALUES_A_TAKE = 16_384;

interface Merged<Answer> {
  /** `partial` has what was not done in time. */
  readonly answer: Answer;
  readonly failures: readonly ScanFailure[];
}

export async function findTagNames(
  query: TagNamesQuery,
  scan: TagScan<TagNamesProgress>,
): Promise<Merged<TagNamesAnswer>> {
  const { scopes, tenant } = query;
  const names = new NamesSoFar(scopes.length);
  const failures: ScanFailure[] = [];
  const partial = await runTagJobs(
    scan,
    tenant,
    (input) => ({ kind: 'tagNames', scopes, query: query.query, ...input }),
    (result) => {
      if (result.kind !== 'tagNames') throw new Error('a job for tag names answered as something else');
      names.add(result.names, result.inspectedBytes);
      failures.push(...result.failures);
      scan.onProgress?.(names);
    },
  );
  return { answer: { names: names.all(), inspectedBytes: names.inspectedBytes, partial }, failures };
}

export async function findTagValues(
  query: TagValuesQuery,
  scan: TagScan<TagValuesProgress>,
): Promise<Merged<TagValuesAnswer>> {
  const { fields, bytesMax, tenant } = query;
  const found = new ValuesSoFar(bytesMax);
  const failures: ScanFailure[] = [];
  const partial = await runTagJobs(
    scan,
    tenant,
    (input) => ({ kind: 'tagValues', fields, query: query.query, bytesMax, ...input }),
    (result) => {
      if (result.kind !== 'tagValues') throw new Error('a job for tag values answered as something else');
      found.add(result);
      failures.push(...result.failures);
      scan.onProgress?.(found);
    },
  );
  const values = await found.all();
  return { answer: { values, inspectedBytes: found.inspectedBytes, partial }, failures };
}

/** @returns what was not done in time. */
async function runTagJobs<Progress>(
  scan: TagScan<Progress>,
  tenant: string,
  jobOf: (input: PlannedJob['input']) => ScanJob,
  add: (result: ScanResult) => void,
): Promise<readonly string[]> {
  const late = new LateJobs(scan.signal);
  await runJobs(scan.jobs, scan, async ({ input, affinity }, signal) => {
    const result = await late.unless(scan.pool.run(jobOf(input), { tenant, affinity, signal }));
    if (result !== undefined) add(result);
  });
  return late.reasons(scan.jobs.length);
}

class NamesSoFar implements TagNamesProgress {
  inspectedBytes = 0;
  private readonly found: readonly Set<string>[];
  private fresh: string[][];

  constructor(scopes: number) {
    this.found = Array.from({ length: scopes }, () => new Set<string>());
    this.fresh = this.found.map(() => []);
  }

  add(names: readonly (readonly string[])[], inspectedBytes: number): void {
    this.inspectedBytes += inspectedBytes;
    this.found.forEach((found, scope) => {
      for (const name of names[scope]!) {
        if (found.has(name)) continue;
        found.add(name);
        this.fresh[scope]!.push(name);
      }
    });
  }

  takeNames(): readonly (readonly string[])[] {
    const taken = this.fresh;
    this.fresh = this.found.map(() => []);
    return taken.map((names) => names.sort());
  }

  all(): readonly (readonly string[])[] {
    return this.found.map((names) => [...names].sort());
  }
}

class ValuesSoFar implements TagValuesProgress {
  inspectedBytes = 0;
  private readonly bytesMax: number;
  private readonly parts: OrderedValues[] = [];
  private readonly told = new Map<TagValueType, Set<string>>();
  /** What has not been looked at for new values; of the first as many as `lookedAt` were. */
  private readonly untold: TypedValues[] = [];
  private lookedAt = 0;
  private bytesLeft: number;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
    this.bytesLeft = bytesMax;
  }

  add({ values, inspectedBytes }: TagValuesJobResult): void {
    this.parts.push(values);
    this.untold.push(...values.types);
    this.inspectedBytes += inspectedBytes;
  }

  takeTypes(): readonly TypedValues[] {
    const fresh: TypedValues[] = [];
    for (let left = VALUES_A_TAKE; left > 0 && this.untold.length > 0; ) {
      const { type, values } = this.untold[0]!;
      const some = values.slice(this.lookedAt, this.lookedAt + left);
      this.lookedAt += some.length;
      left -= some.length;
      const unknown = this.newOf(type, some);
      if (unknown.length > 0) fresh.push({ type, values: unknown });
      if (this.lookedAt < values.length) break;
      this.untold.shift();
      this.lookedAt = 0;
    }
    return fresh;
  }

  all(): Promise<OrderedValues> {
    return inSlices(mergingValues(this.parts, this.bytesMax));
  }

  private newOf(type: TagValueType, values: readonly string[]): readonly string[] {
    const told = this.told.get(type) ?? new Set();
    this.told.set(type, told);
    return values.filter((value) => {
      if (told.has(value)) return false;
      this.bytesLeft -= value.length;
      if (this.bytesLeft < 0) return false;
      told.add(value);
      return true;
    });
  }
}
