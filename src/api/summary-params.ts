// Reads the parameters of the metrics summary: spans that a query finds, grouped by a few fields.
import { TempoError } from '../lib/errors.ts';
import type { FieldRef } from '../traceql/ast.ts';
import { TraceqlError } from '../traceql/error.ts';
import { parse } from '../traceql/parser.ts';
import { printField, printQuery } from '../traceql/print.ts';
import { parseTagIdentifier } from '../traceql/tag-query.ts';
import { validate } from '../traceql/validate.ts';
import { checkDuration, DEFAULT_SINCE_NANOS, type MetricsLimits } from './metrics-params.ts';
import { checkQuerySize, integerParam, type UrlParams } from './params.ts';
import { NANOS_PER_MILLI } from './times.ts';

export interface SummaryParams {
  /** Without a metrics function: spans are counted in several ways. */
  readonly query: string;
  readonly groupBy: readonly GroupField[];
  readonly startUnixNano: bigint;
  readonly endUnixNano: bigint;
}

export interface GroupField {
  readonly field: FieldRef;
  /** As labels of series have it. */
  readonly label: string;
}

const GROUPS_MAX = 5;
const NANOS_PER_SECOND = 1_000_000_000n;
const INT32_MAX = 2147483647;

export function parseSummaryParams(params: UrlParams, limits: MetricsLimits): SummaryParams {
  const text = params.get('q') ?? '';
  checkQuerySize(text, limits.queryBytesMax);
  const range = summaryRange(params, limits);
  // The limit has no effect, as in Tempo; what is no number is a mistake.
  integerParam(params, 'limit', 'Atoi', Number.MAX_SAFE_INTEGER);
  return { query: spansQuery(text), groupBy: groupFields(params.get('groupBy') ?? ''), ...range };
}

/** Spans that begin from `start` on and before `end`; an interval is without its start and with its end. */
function summaryRange(
  params: UrlParams,
  limits: MetricsLimits,
): Pick<SummaryParams, 'startUnixNano' | 'endUnixNano'> {
  const start = integerParam(params, 'start', 'ParseInt', INT32_MAX);
  const end = integerParam(params, 'end', 'ParseInt', INT32_MAX);
  if ((start === undefined) !== (end === undefined)) {
    const why = 'only one of start and end provided: must provide both or neither';
    throw invalid(`error parsing date range: ${why}`);
  }
  if (start === undefined || end === undefined) {
    const now = BigInt(Math.round(limits.nowMs)) * NANOS_PER_MILLI;
    return { startUnixNano: now - DEFAULT_SINCE_NANOS, endUnixNano: now };
  }
  if (start < 1 || start >= end) throw invalid('end must be greater than start');
  const range = { startUnixNano: BigInt(start) * NANOS_PER_SECOND - 1n };
  checkDuration(BigInt(end - start) * NANOS_PER_SECOND, limits);
  return { ...range, endUnixNano: BigInt(end) * NANOS_PER_SECOND - 1n };
}

function spansQuery(text: string): string {
  try {
    const query = { ...parse(text), metrics: undefined, second: [], hints: [] };
    validate(query);
    return printQuery(query);
  } catch (err) {
    if (!(err instanceof TraceqlError)) throw err;
    throw new TempoError('invalid_argument', `invalid TraceQL query: ${err.message}`, err);
  }
}

function groupFields(text: string): readonly GroupField[] {
  const names = text.split(',').map((name) => name.trim());
  if (names.length > GROUPS_MAX) throw invalid(`max group by ${GROUPS_MAX} attributes exceeded`);
  return names.map((name) => {
    const field = groupField(name);
    return { field, label: printField(field) };
  });
}

function groupField(name: string): FieldRef {
  try {
    const field = parseTagIdentifier(name);
    validate(parse(`{} | by(${printField(field)})`));
    return field;
  } catch (err) {
    if (!(err instanceof TraceqlError)) throw err;
    const why = `failed to parse identifier ${name}: ${err.message}`;
    throw new TempoError('invalid_argument', `parsing groupby attribute: ${why}`, err);
  }
}

function invalid(message: string): TempoError {
  return new TempoError('invalid_argument', message);
}
