// What a scan thread does with jobs for tag names and values.
import { parse } from '../traceql/parser.ts';
import { type TaggedSpans, tagNames, tagValues } from '../traceql/engine/tags.ts';
import { mergeValues, type OrderedValues, ValueSet } from '../traceql/engine/value-set.ts';
import { type AttributeScope, fieldKey, type SpanSource } from '../traceql/source.ts';
import type { TagNamesJob, TagNamesJobResult, TagValuesJob, TagValuesJobResult } from './scan-job.ts';
import type { WalkSources } from './source-walk.ts';

/** Longer queries do not name what is kept. */
const NAME_LENGTH_MAX = 1024;
/** What an entry of a cache, and a text, take beside their characters. */
const ENTRY_BYTES = 200;
const TEXT_BYTES = 24;

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
      { query, name: nameOf(job), excluded },
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
  const parts: OrderedValues[] = [];
  let inspectedBytes = 0;
  const failures = await walk(async (source, excluded) => {
    const before = source.bytesRead;
    parts.push(await valuesOf(source, job, { query, name: nameOf(job), excluded }, signal));
    inspectedBytes += source.bytesRead - before;
  });
  return { kind: 'tagValues', values: mergeValues(parts, job.bytesMax), inspectedBytes, failures };
}

/** Those of a source that never changes are kept: the same are asked for whenever somebody writes a query. */
async function valuesOf(
  source: SpanSource,
  { fields, bytesMax }: TagValuesJob,
  spans: TaggedSpans,
  signal: AbortSignal,
): Promise<OrderedValues> {
  const isAlways = spans.excluded === undefined || spans.query === undefined;
  const isNamed = spans.query === undefined || spans.name !== undefined;
  const memo = isAlways && isNamed ? source.memo : undefined;
  const key = `values/${bytesMax}/${fields.map(fieldKey).join('\0')}\0${spans.name ?? ''}`;
  const kept = memo?.get<OrderedValues>(key);
  if (kept !== undefined) return kept;
  const values = new ValueSet(bytesMax);
  await tagValues(source, fields, spans, values, signal);
  const ordered = values.ordered(bytesMax);
  memo?.set(key, ordered, valuesBytes(ordered) + key.length);
  return ordered;
}

/** Undefined: the query is too long to name what is kept. */
function nameOf({ query }: TagNamesJob | TagValuesJob): string | undefined {
  return query !== undefined && query.length <= NAME_LENGTH_MAX ? query : undefined;
}

/** About the memory that they take. */
function valuesBytes({ types }: OrderedValues): number {
  let bytes = ENTRY_BYTES;
  for (const { values } of types) for (const value of values) bytes += TEXT_BYTES + value.length;
  return bytes;
}
