// Reads one known trace back in one way and says what is wrong with it.
import type { PlainAttributes } from '../../src/model/otlp/plain-fields.ts';
import type { KnownTrace } from './known-trace.ts';
import { factsOfAnswer, factsOfKnown } from './span-facts.ts';
import type { FoundTrace, TempoApi, TimeRange } from './tempo-api.ts';

/** The values of the label `error`, as Tempo's vulture has them. */
export const PROBLEM_KINDS = [
  'incorrectresult',
  'incorrect_metrics_result',
  'missingspans',
  'notfound_search',
  'notfound_traceql',
  'notfound_byid',
  'notfound_metrics',
  'inaccurate_metrics',
  'requestfailed',
  'notfound_search_attribute',
] as const;
type ProblemKind = (typeof PROBLEM_KINDS)[number];

export interface Problem {
  readonly kind: ProblemKind;
  readonly detail: string;
}

/** @returns undefined when all is as it was written. */
export type Check = (api: TempoApi, trace: KnownTrace) => Promise<Problem | undefined>;

const RANGE_SECONDS = 1800;
const DETAIL_MAX = 2000;

/** Half an hour around the trace. */
function rangeOf({ timestampMs }: KnownTrace): TimeRange {
  const seconds = Math.floor(timestampMs / 1000);
  return { startUnixSeconds: seconds - RANGE_SECONDS, endUnixSeconds: seconds + RANGE_SECONDS };
}

export const checkById: Check = (api, trace) =>
  failing(async () => {
    const answer = await api.trace(trace.traceId, rangeOf(trace));
    if (answer === undefined) return problem('notfound_byid', 'status 404');
    const found = factsOfAnswer(answer);
    if (found.size === 0) return problem('notfound_byid', 'the trace has no spans');
    const known = factsOfKnown(trace);
    const missing = [...known.keys()].filter((id) => !found.has(id));
    if (missing.length > 0) {
      return problem('missingspans', `${missing.length} of ${known.size}: ${missing.join(' ')}`);
    }
    const wrong = [...found].find(([id, line]) => known.get(id) !== line);
    if (wrong === undefined) return undefined;
    const [id, line] = wrong;
    return problem('incorrectresult', `span ${id}: got ${line}, want ${known.get(id) ?? 'no such span'}`);
  });

export const checkTagSearch: Check = (api, trace) =>
  failing(async () => {
    const attribute = pickAttribute(trace, (value) => typeof value === 'string');
    if (attribute === undefined) return problem('notfound_search_attribute', 'no attribute to search by');
    const [key, value] = attribute;
    const found = await api.searchTag(key, String(value), rangeOf(trace));
    return has(found, trace) ? undefined : problem('notfound_search', `${key}=${value}`);
  });

export const checkTraceqlSearch: Check = (api, trace) =>
  failing(async () => {
    const selector = pickSelector(trace);
    if (selector === undefined) return problem('notfound_search_attribute', 'no attribute to search by');
    const found = await api.searchTraceql(selector, rangeOf(trace));
    return has(found, trace) ? undefined : problem('notfound_traceql', selector);
  });

/** One series whose sum is the number of spans that a search finds. */
export const checkMetrics: Check = (api, trace) =>
  failing(async () => {
    const selector = pickSelector(trace);
    if (selector === undefined) return problem('notfound_search_attribute', 'no attribute to search by');
    const series = await api.countOverTime(selector, rangeOf(trace));
    if (series.length > 1) return problem('incorrect_metrics_result', `${series.length} series: ${selector}`);
    const sum = (series[0]?.samples ?? []).reduce((total, { value = 0 }) => total + value, 0);
    if (sum < 1) return problem('notfound_metrics', selector);
    const found = await api.searchTraceql(selector, rangeOf(trace));
    const spans = found
      .flatMap(({ spanSets = [] }) => spanSets)
      .reduce((total, { matched = 0 }) => total + matched, 0);
    return spans === sum
      ? undefined
      : problem('inaccurate_metrics', `${sum} by metrics, ${spans} by search: ${selector}`);
  });

function problem(kind: ProblemKind, detail: string): Problem {
  return { kind, detail: detail.slice(0, DETAIL_MAX) };
}

async function failing(check: () => Promise<Problem | undefined>): Promise<Problem | undefined> {
  try {
    return await check();
  } catch (err) {
    const cause = err instanceof Error && err.cause instanceof Error ? `: ${err.cause.message}` : '';
    return problem('requestfailed', `${err instanceof Error ? err.message : String(err)}${cause}`);
  }
}

function has(found: readonly FoundTrace[], { traceId }: KnownTrace): boolean {
  return found.some(({ traceID }) => traceID.padStart(traceId.length, '0') === traceId);
}

function pickSelector(trace: KnownTrace): string | undefined {
  const attribute = pickAttribute(trace, () => true);
  return attribute === undefined ? undefined : `{ .${attribute[0]} = ${JSON.stringify(attribute[1])} }`;
}

/** One attribute of any span or resource, such that few other traces have its value. */
function pickAttribute(
  trace: KnownTrace,
  accepts: (value: string | number) => boolean,
): readonly [key: string, value: string | number] | undefined {
  const owners: readonly PlainAttributes[] = trace.writes
    .flat()
    .flatMap(({ resource, spans }) => [resource, ...spans.map(({ attributes }) => attributes)]);
  const pairs = owners.flatMap((attributes) =>
    Object.entries(attributes).filter(
      (pair): pair is [string, string | number] =>
        pair[0] !== 'service.name' &&
        pair[0] !== 'vulture-write' &&
        typeof pair[1] !== 'boolean' &&
        accepts(pair[1]),
    ),
  );
  return pairs[Math.floor(Math.random() * pairs.length)];
}
