// What a scan thread does with jobs for tag names and values.
import { parse } from '../traceql/parser.ts';
import { tagNames, tagValues } from '../traceql/engine/tags.ts';
import { ValueSet } from '../traceql/engine/value-set.ts';
import type { AttributeScope, SpanSource } from '../traceql/source.ts';
import type {
  ScanFailure,
  TagNamesJob,
  TagNamesJobResult,
  TagValuesJob,
  TagValuesJobResult,
} from './scan-job.ts';

/** Goes over the sources of a job. @returns what could not be read. */
export type VisitSources = (visit: (source: SpanSource) => Promise<void>) => Promise<ScanFailure[]>;

export async function scanTagNames(
  job: TagNamesJob,
  visitSources: VisitSources,
  signal: AbortSignal,
): Promise<TagNamesJobResult> {
  const query = job.query === undefined ? undefined : parse(job.query);
  const names = new Map<AttributeScope, Set<string>>(job.scopes.map((scope) => [scope, new Set()]));
  let inspectedBytes = 0;
  const failures = await visitSources(async (source) => {
    const before = source.bytesRead;
    await tagNames(
      source,
      job.scopes,
      query,
      (scope, found) => found.forEach((name) => names.get(scope)?.add(name)),
      signal,
    );
    inspectedBytes += source.bytesRead - before;
  });
  return { kind: 'tagNames', names: [...names.values()].map((set) => [...set]), inspectedBytes, failures };
}

export async function scanTagValues(
  job: TagValuesJob,
  visitSources: VisitSources,
  signal: AbortSignal,
): Promise<TagValuesJobResult> {
  const query = job.query === undefined ? undefined : parse(job.query);
  const values = new ValueSet(job.bytesMax);
  let inspectedBytes = 0;
  const failures = await visitSources(async (source) => {
    const before = source.bytesRead;
    await tagValues(source, job.fields, query, values, signal);
    inspectedBytes += source.bytesRead - before;
  });
  return { kind: 'tagValues', values: values.ordered(job.bytesMax), inspectedBytes, failures };
}
