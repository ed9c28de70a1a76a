// What a scan thread does with jobs for tag names and values.
import { parse } from '../traceql/parser.ts';
import { tagNames, tagValues } from '../traceql/engine/tags.ts';
import { ValueSet } from '../traceql/engine/value-set.ts';
import type { AttributeScope } from '../traceql/source.ts';
import type { TagNamesJob, TagNamesJobResult, TagValuesJob, TagValuesJobResult } from './scan-job.ts';
import type { WalkSources } from './source-walk.ts';

export async function scanTagNames(
  job: TagNamesJob,
  walk: WalkSources,
  signal: AbortSignal,
): Promise<TagNamesJobResult> {
  const query = job.query === undefined ? undefined : parse(job.query);
  const names = new Map<AttributeScope, Set<string>>(job.scopes.map((scope) => [scope, new Set()]));
  let inspectedBytes = 0;
  const failures = await walk(async (source, excluded) => {
    const before = source.bytesRead;
    await tagNames(
      source,
      job.scopes,
      { query, excluded },
      (scope, found) => found.forEach((name) => names.get(scope)?.add(name)),
      signal,
    );
    inspectedBytes += source.bytesRead - before;
  });
  return { kind: 'tagNames', names: [...names.values()].map((set) => [...set]), inspectedBytes, failures };
}

export async function scanTagValues(
  job: TagValuesJob,
  walk: WalkSources,
  signal: AbortSignal,
): Promise<TagValuesJobResult> {
  const query = job.query === undefined ? undefined : parse(job.query);
  const values = new ValueSet(job.bytesMax);
  let inspectedBytes = 0;
  const failures = await walk(async (source, excluded) => {
    const before = source.bytesRead;
    await tagValues(source, job.fields, { query, excluded }, values, signal);
    inspectedBytes += source.bytesRead - before;
  });
  return { kind: 'tagValues', values: values.ordered(job.bytesMax), inspectedBytes, failures };
}
