// Tag names and values: one job for each part of the sources, their answers merged.
import type {
  TagNamesAnswer,
  TagNamesQuery,
  TagValuesAnswer,
  TagValuesQuery,
} from '../../contracts/query.ts';
import type { ScanFailure, TagNamesJobResult, TagValuesJobResult } from '../../store/scan-job.ts';
import type { ScanPool } from '../../store/scan-pool.ts';
import { mergeValues } from '../../traceql/engine/value-set.ts';
import type { PlannedJob } from './plan.ts';
import { runJobs } from './run-jobs.ts';

export interface TagScan {
  readonly pool: Pick<ScanPool, 'run'>;
  readonly jobs: readonly PlannedJob[];
  /** Jobs at a time. */
  readonly concurrency: number;
  readonly signal: AbortSignal | undefined;
}

/** An answer without what its sources say about being complete. */
interface Merged<Answer> {
  readonly answer: Omit<Answer, 'partial'>;
  readonly failures: readonly ScanFailure[];
}

export async function findTagNames(query: TagNamesQuery, scan: TagScan): Promise<Merged<TagNamesAnswer>> {
  const { scopes } = query;
  const results: TagNamesJobResult[] = [];
  await runJobs(scan.jobs, scan, async ({ input, affinity }, signal) => {
    const job = { kind: 'tagNames', scopes, query: query.query, ...input } as const;
    const result = await scan.pool.run(job, { tenant: query.tenant, affinity, signal });
    if (result.kind !== 'tagNames') throw new Error('a job for tag names answered as something else');
    results.push(result);
  });
  const names = scopes.map((_, i) => [...new Set(results.flatMap((result) => result.names[i]!))].sort());
  return { answer: { names, inspectedBytes: sumBytes(results) }, failures: failuresOf(results) };
}

export async function findTagValues(query: TagValuesQuery, scan: TagScan): Promise<Merged<TagValuesAnswer>> {
  const { fields, bytesMax } = query;
  const results: TagValuesJobResult[] = [];
  await runJobs(scan.jobs, scan, async ({ input, affinity }, signal) => {
    const job = { kind: 'tagValues', fields, query: query.query, bytesMax, ...input } as const;
    const result = await scan.pool.run(job, { tenant: query.tenant, affinity, signal });
    if (result.kind !== 'tagValues') throw new Error('a job for tag values answered as something else');
    results.push(result);
  });
  const values = mergeValues(
    results.map((result) => result.values),
    bytesMax,
  );
  return { answer: { values, inspectedBytes: sumBytes(results) }, failures: failuresOf(results) };
}

function sumBytes(results: readonly { readonly inspectedBytes: number }[]): number {
  return results.reduce((sum, { inspectedBytes }) => sum + inspectedBytes, 0);
}

function failuresOf(results: readonly { readonly failures: readonly ScanFailure[] }[]): ScanFailure[] {
  return results.flatMap(({ failures }) => failures);
}
