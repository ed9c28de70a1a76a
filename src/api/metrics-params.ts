// Reads the parameters of TraceQL metrics queries: times, the step, limits, and the alignment of the range;
// with Tempo's error texts.
import { formatDuration, formatNanos } from '../lib/duration.ts';
import { TempoError } from '../lib/errors.ts';
import type { Query } from '../traceql/ast.ts';
import { parseDuration } from '../traceql/duration.ts';
import { TraceqlError } from '../traceql/error.ts';
import { parse } from '../traceql/parser.ts';
import { validate } from '../traceql/validate.ts';
import { checkQuerySize, type UrlParams } from './params.ts';
import { FLOAT, INTEGER, NANOS_PER_MILLI, sinceNanos, timeNanos } from './times.ts';

export interface MetricsLimits {
  readonly queryBytesMax: number;
  /** Of the range as it was asked for; 0 = no limit. */
  readonly durationMaxMs: number;
  /** Intervals of a range; 0 = as many as memory bears. */
  readonly intervalsMax: number;
  readonly exemplarsMax: number;
  /** Series of an answer; 0 = no limit. */
  readonly seriesMax: number;
  readonly nowMs: number;
}

/** What a querier is asked: src/contracts/query.ts. */
export interface MetricsParams {
  readonly query: string;
  readonly startUnixNano: bigint;
  readonly endUnixNano: bigint;
  readonly stepNanos: bigint;
  readonly exemplarsMax: number;
  readonly seriesMax: number;
}

interface NanosRange {
  readonly start: bigint;
  readonly end: bigint;
}

const NANOS_PER_SECOND = 1_000_000_000n;
export const DEFAULT_SINCE_NANOS = 3600n * NANOS_PER_SECOND;
const INT64_MAX = (1n << 63n) - 1n;
/** Also where the configuration sets no limit. */
const INTERVALS_MAX = 1_000_000;

const GO_DURATION = /^[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+$/;

/** About 240 intervals: whole multiples of 5 s, short ranges of 1 s. */
const DEFAULT_INTERVALS = 240n;
const DEFAULT_STEP_UNIT = 5n * NANOS_PER_SECOND;

/** `/api/metrics/query_range`: intervals begin at multiples of the step, and there is one more in front. */
export function parseRangeParams(params: UrlParams, limits: MetricsLimits): MetricsParams {
  const query = queryText(params, limits);
  const { start, end } = timeRange(params, limits);
  const step = stepOf(params, start, end);
  if (start > end) throw invalid('end must be greater than start');
  checkIntervals(end - start, step, limits);
  const exemplars = exemplarsHint(compiled(query, ''));
  checkDuration(end - start, limits);
  const seriesMax = seriesLimit(params, limits);
  if (isInstantRange(params)) {
    if (start === end) throw invalid('end must be greater than start');
    const range = { query, startUnixNano: start, endUnixNano: end, stepNanos: end - start };
    return { ...range, exemplarsMax: 0, seriesMax };
  }
  const exemplarsMax = exemplarsLimit(params, exemplars, limits);
  return { query, ...aligned(start, end, step), stepNanos: step, exemplarsMax, seriesMax };
}

/** `/api/metrics/query`: one interval, as long as the range. */
export function parseInstantParams(params: UrlParams, limits: MetricsLimits): MetricsParams {
  const query = queryText(params, limits);
  const { start, end } = timeRange(params, limits);
  compiled(query, COMPILING);
  if (start >= end) throw invalid('end must be greater than start');
  checkDuration(end - start, limits);
  const range = { query, startUnixNano: start, endUnixNano: end, stepNanos: end - start };
  return { ...range, exemplarsMax: 0, seriesMax: limits.seriesMax };
}

const COMPILING = 'compiling query: ';

/** `q` wins over `query`, which Prometheus calls it. */
function queryText(params: UrlParams, { queryBytesMax }: MetricsLimits): string {
  const query = params.get('q') || params.get('query') || '';
  checkQuerySize(query, queryBytesMax);
  return query;
}

/** @param ofParser is put before what the parser says, as `compiling query: ` is before what checks say. */
function compiled(text: string, ofParser: string): Query {
  try {
    const query = parse(text);
    if (query.metrics === undefined) throw invalid('not a metrics query');
    validate(query);
    return query;
  } catch (err) {
    if (!(err instanceof TraceqlError)) throw err;
    throw new TempoError('invalid_argument', `${err.line > 0 ? ofParser : COMPILING}${err.message}`, err);
  }
}

/** The last hour, or `since`, where there is no start. */
function timeRange(params: UrlParams, { nowMs }: Pick<MetricsLimits, 'nowMs'>): NanosRange {
  const now = BigInt(Math.round(nowMs)) * NANOS_PER_MILLI;
  const since = sinceNanos(params) ?? DEFAULT_SINCE_NANOS;
  const end = time(params, 'end') ?? now;
  const last = end < now ? end : now;
  const start = time(params, 'start') ?? (last > since ? last - since : 0n);
  return { start, end };
}

function time(params: UrlParams, name: string): bigint | undefined {
  const text = params.get(name) ?? '';
  if (text === '') return undefined;
  const nanos = timeNanos(text);
  if (nanos !== undefined && nanos >= 0n && nanos <= INT64_MAX) return nanos;
  const forms = 'Unix seconds, Unix nanoseconds or RFC 3339 from 1970 on';
  throw invalid(`could not parse '${name}' parameter: ${JSON.stringify(text)} is no time in ${forms}`);
}

function stepOf(params: UrlParams, start: bigint, end: bigint): bigint {
  const text = params.get('step') ?? '';
  if (text === '') return defaultStep(end - start);
  if (FLOAT.test(text)) {
    const nanos = Math.trunc(Number(text) * 1e9);
    if (Math.abs(nanos) < Number(INT64_MAX)) return BigInt(nanos);
    throw badStep(text, '. It overflows int64');
  }
  const nanos = GO_DURATION.test(text) ? parseDuration(text.replace(/^[+-]/, '')) : undefined;
  if (nanos === undefined) throw badStep(text, '');
  return text.startsWith('-') ? -nanos : nanos;
}

function badStep(text: string, why: string): TempoError {
  return invalid(
    `rpc error: code = Code(400) desc = cannot parse ${JSON.stringify(text)} to a valid duration${why}`,
  );
}

function defaultStep(range: bigint): bigint {
  const step = range / DEFAULT_INTERVALS;
  if (step >= DEFAULT_STEP_UNIT) return step - (step % DEFAULT_STEP_UNIT);
  return step >= NANOS_PER_SECOND ? step - (step % NANOS_PER_SECOND) : NANOS_PER_SECOND;
}

function checkIntervals(range: bigint, step: bigint, { intervalsMax }: MetricsLimits): void {
  const max = BigInt(intervalsMax > 0 ? intervalsMax : INTERVALS_MAX);
  if (step > 0n && range / step <= max) return;
  const least = formatNanos(range / max);
  throw invalid(`step of ${formatNanos(step)} is too small, minimum step for given range is ${least}`);
}

/** Refuses ranges that are too long. */
export function checkDuration(range: bigint, { durationMaxMs }: MetricsLimits): void {
  if (durationMaxMs === 0 || range <= BigInt(Math.floor(durationMaxMs)) * NANOS_PER_MILLI) return;
  const max = formatDuration(durationMaxMs);
  throw invalid(`metrics query time range exceeds the maximum allowed duration of ${max}`);
}

function aligned(
  start: bigint,
  end: bigint,
  step: bigint,
): { readonly startUnixNano: bigint; readonly endUnixNano: bigint } {
  const first = start - (start % step);
  const last = end % step === 0n ? end : end + step - (end % step);
  const startUnixNano = first > step ? first - step : first;
  return { startUnixNano, endUnixNano: last > startUnixNano ? last : startUnixNano + step };
}

/** What the query itself says, which wins: a number or else false, for none; the first of each counts. */
function exemplarsHint({ hints }: Query): number | undefined {
  const values = hints.flatMap(({ name, value }) => (name === 'exemplars' ? [value] : []));
  const number = values.find(({ type }) => type === 'int');
  if (number?.type === 'int') return Math.max(0, Number(number.value));
  const choice = values.find(({ type }) => type === 'bool');
  return choice?.type === 'bool' && !choice.value ? 0 : undefined;
}

function exemplarsLimit(params: UrlParams, hint: number | undefined, limits: MetricsLimits): number {
  const { exemplarsMax } = limits;
  return Math.min(hint ?? (positiveInteger(params, 'exemplars') || exemplarsMax), exemplarsMax);
}

function seriesLimit(params: UrlParams, { seriesMax }: MetricsLimits): number {
  const wanted = positiveInteger(params, 'maxSeries');
  return seriesMax > 0 && (wanted === 0 || wanted > seriesMax) ? seriesMax : wanted;
}

/** Whatever is none counts as not given. */
function positiveInteger(params: UrlParams, name: string): number {
  const text = params.get(name) ?? '';
  return INTEGER.test(text) ? Math.max(0, Number(text)) : 0;
}

/** The whole range in one interval, as the answer of a range query. */
function isInstantRange(params: UrlParams): boolean {
  return ['1', 't', 'T', 'TRUE', 'true', 'True'].includes(params.get('instant') ?? '');
}

function invalid(message: string): TempoError {
  return new TempoError('invalid_argument', message);
}
