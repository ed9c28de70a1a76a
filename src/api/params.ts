// Reads the parameters of the query endpoints, with Tempo's limits and error texts.
import { formatDuration } from '../lib/duration.ts';
import { TempoError } from '../lib/errors.ts';
import { PAGE_PARAMS, type PageParams, parsePage } from './search-order.ts';
import { durationCondition, tagSearchQuery } from './tag-search.ts';
import { NANOS_PER_MILLI, sinceNanos } from './times.ts';

/** Parameters as the URL has them: the first value counts when one is given twice. */
export type UrlParams = URLSearchParams;

export interface SecondsRange {
  readonly startSec: number | undefined;
  readonly endSec: number | undefined;
}

export interface SearchLimits {
  readonly defaultLimit: number;
  readonly limitMax: number;
  readonly defaultSpansPerSpanSet: number;
  /** 0 = no bound. */
  readonly spansPerSpanSetMax: number;
  readonly durationMaxMs: number;
  readonly queryBytesMax: number;
  /** The end of a range that `since` gives. */
  readonly latestMs: number;
}

export interface SearchParams extends PageParams {
  readonly query: string;
  /** The query was made of tags and durations: its answer names traces, without spans. */
  readonly isTagSearch: boolean;
  readonly limit: number;
  readonly spansPerSpanSet: number;
  readonly range: SecondsRange;
}

export interface TraceParams {
  readonly range: SecondsRange;
  readonly from: 'all' | 'ingesters' | 'blocks' | 'external';
  /** Ids of blocks, both included; undefined = all. */
  readonly blocks: { readonly first: string; readonly last: string } | undefined;
}

const INT32_MAX = 2147483647;
/** As exact as a number is. */
const INT64_MAX = 2 ** 63;
const FIRST_UUID = '00000000-0000-0000-0000-000000000000';
const LAST_UUID = 'ffffffff-ffff-ffff-ffff-ffffffffffff';
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
/** As the query-frontends of Tempo write them. */
const UUID_DIGITS = /^([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})$/i;
const RFC3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/i;
const ONLY_ONE_OF_RANGE =
  'error parsing date range: only one of start and end provided: must provide both or neither';
const SEARCH_NAMES: ReadonlySet<string> = new Set([
  'q',
  'limit',
  'spss',
  'start',
  'end',
  'tags',
  'minDuration',
  'maxDuration',
  'rf1After',
  'since',
  ...PAGE_PARAMS,
]);

/** The 16 bytes of a trace id of 1 to 32 hex digits. */
export function parseTraceId(text: string): Uint8Array {
  const bad = /[^0-9a-fA-F]/.exec(text);
  if (bad !== null) {
    const where = `invalid character '${bad[0]}' at position ${bad.index + 1}`;
    throw invalid(`trace IDs can only contain hex characters: ${where}`);
  }
  if (text.length === 0) throw invalid('please provide a traceID');
  if (text.length > 32) throw invalid("trace IDs can't be larger than 128 bits");
  return new Uint8Array(Buffer.from(text.padStart(32, '0'), 'hex'));
}

/** `start`, `end` (each may be missing), `mode`, `blockStart`, `blockEnd` and `rf1After` of trace by id. */
export function parseTraceParams(params: UrlParams): TraceParams {
  const startSec = integerParam(params, 'start', 'ParseInt', INT64_MAX) ?? 0;
  const endSec = integerParam(params, 'end', 'ParseInt', INT64_MAX) ?? 0;
  if (startSec !== 0 && endSec !== 0 && endSec <= startSec) throw rangeError(startSec, endSec);
  const first = uuid(params, 'blockStart') ?? FIRST_UUID;
  const last = uuid(params, 'blockEnd') ?? LAST_UUID;
  checkRf1After(params);
  return {
    range: { startSec: startSec || undefined, endSec: endSec || undefined },
    from: sourceChoice(params),
    blocks: first === FIRST_UUID && last === LAST_UUID ? undefined : { first, last },
  };
}

function sourceChoice(params: UrlParams): TraceParams['from'] {
  const mode = params.get('mode') ?? '';
  if (mode === '') return 'all';
  if (mode === 'all' || mode === 'ingesters' || mode === 'blocks' || mode === 'external') return mode;
  throw invalid(`invalid value for mode ${mode}`);
}

function uuid(params: UrlParams, name: string): string | undefined {
  const text = params.get(name) ?? '';
  if (text === '') return undefined;
  const [, ...parts] = UUID_DIGITS.exec(text) ?? [];
  if (parts.length > 0) return parts.join('-').toLowerCase();
  if (text.length !== FIRST_UUID.length) {
    throw invalid(`invalid value for ${name}: invalid UUID length: ${text.length}`);
  }
  if (!UUID.test(text)) throw invalid(`invalid value for ${name}: invalid UUID format`);
  return text.toLowerCase();
}

/** From when on blocks of one replica count. It is checked only: ours are read by their ids, each once. */
export function checkRf1After(params: UrlParams): void {
  const text = params.get('rf1After') ?? '';
  if (text === '' || (RFC3339.test(text) && !Number.isNaN(Date.parse(text)))) return;
  throw invalid(
    `invalid rf1After: cannot parse ${JSON.stringify(text)} as a time, write 2006-01-02T15:04:05Z`,
  );
}

/** Tells Tempo's sentence, which names the limit. */
export function checkQuerySize(query: string, bytesMax: number): void {
  if (Buffer.byteLength(query) <= bytesMax) return;
  const limit = `TraceQL expression exceeds the configured maximum size of ${bytesMax} bytes`;
  throw invalid(`${limit}, reduce the query expression size or contact your system administrator`);
}

/** @param takesNames other names are tags where neither `q`, `tags`, `start` nor `end` is given. */
export function parseSearchParams(params: UrlParams, limits: SearchLimits, takesNames = false): SearchParams {
  const query = params.get('q') ?? '';
  const isTagSearch = query === '';
  if (!isTagSearch && (params.get('tags') ?? '') !== '') {
    throw invalid("invalid request: can't specify tags and q in the same query");
  }
  checkQuerySize(query, limits.queryBytesMax);
  const duration = durationCondition(params);
  checkRf1After(params);
  const isTag = (name: string): boolean => takesNames && !SEARCH_NAMES.has(name);
  return {
    query: isTagSearch ? tagSearchQuery(params, duration, isTag) : query,
    isTagSearch,
    limit: searchLimit(params, limits),
    spansPerSpanSet: spansPerSpanSet(params, limits),
    range: searchRange(params, limits),
    ...parsePage(params),
  };
}

function searchLimit(params: UrlParams, limits: SearchLimits): number {
  const limit = integerParam(params, 'limit', 'Atoi', Number.MAX_SAFE_INTEGER) ?? limits.defaultLimit;
  if (limit <= 0) throw invalid('invalid limit: must be a positive number');
  if (limits.limitMax > 0 && limit > limits.limitMax) {
    throw invalid(`limit ${limit} exceeds max limit ${limits.limitMax}`);
  }
  return limit;
}

function spansPerSpanSet(params: UrlParams, limits: SearchLimits): number {
  const wanted =
    integerParam(params, 'spss', 'Atoi', Number.MAX_SAFE_INTEGER) ?? limits.defaultSpansPerSpanSet;
  if (wanted < 0) throw invalid('invalid spss: must be a non-negative number');
  const max = limits.spansPerSpanSetMax;
  if (max > 0 && wanted > max) throw invalid(`spans per span set exceeds ${max}. received ${wanted}`);
  // All of them only where there is no limit.
  return wanted === 0 && max > 0 ? limits.defaultSpansPerSpanSet || max : wanted;
}

function searchRange(params: UrlParams, limits: SearchLimits): SecondsRange {
  const start = seconds(params, 'start');
  const end = seconds(params, 'end') ?? 0;
  const since = sinceRange(params, limits);
  if (since === undefined && !start && end === 0) return { startSec: undefined, endSec: undefined };
  if (since === undefined && start === undefined) throw invalid(ONLY_ONE_OF_RANGE);
  const { startSec, endSec } = since ?? { startSec: start ?? 0, endSec: end };
  if (endSec <= startSec || startSec < 0) throw rangeError(startSec, endSec);
  const latestSec = Math.min(endSec, Math.ceil(limits.latestMs / 1000));
  if (limits.durationMaxMs > 0 && (latestSec - startSec) * 1000 > limits.durationMaxMs) {
    throw tooLong(limits.durationMaxMs, startSec, endSec);
  }
  return { startSec, endSec };
}

/** The range of `since`, which wins over `start` and `end`; undefined = it is not given. */
export function sinceRange(
  params: UrlParams,
  { latestMs }: Pick<SearchLimits, 'latestMs'>,
): { readonly startSec: number; readonly endSec: number } | undefined {
  const since = sinceNanos(params, 'error parsing date range: ');
  if (since === undefined) return undefined;
  const startMs = Math.max(0, latestMs - Number(since / NANOS_PER_MILLI));
  // Both are rounded up, so that the range is as long as was asked for and what has just come is in it.
  return { startSec: Math.ceil(startMs / 1000), endSec: Math.ceil(latestMs / 1000) };
}

export function tooLong(durationMaxMs: number, startSec: number, endSec: number): TempoError {
  const max = formatDuration(durationMaxMs);
  return invalid(`range specified by start and end exceeds ${max}. received start=${startSec} end=${endSec}`);
}

/** Milliseconds and nanoseconds, the usual mistake, are out of its range. */
function seconds(params: UrlParams, name: string): number | undefined {
  return integerParam(params, name, 'ParseInt', INT32_MAX);
}

/** undefined = not given. @param parser of Go, named in its error. */
export function integerParam(
  params: UrlParams,
  name: string,
  parser: string,
  max: number,
): number | undefined {
  const text = params.get(name);
  if (text === null || text === '') return undefined;
  const value = Number(text);
  const isNumber = /^[+-]?\d+$/.test(text);
  if (isNumber && Math.abs(value) <= max) return value;
  const why = isNumber ? 'value out of range' : 'invalid syntax';
  throw invalid(`invalid ${name}: strconv.${parser}: parsing ${JSON.stringify(text)}: ${why}`);
}

function rangeError(startSec: number, endSec: number): TempoError {
  return invalid(`http parameter start must be before end. received start=${startSec} end=${endSec}`);
}

function invalid(message: string): TempoError {
  return new TempoError('invalid_argument', message);
}
