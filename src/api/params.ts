// Reads the parameters of the query endpoints, with Tempo's limits and error texts.
import { formatDuration } from '../lib/duration.ts';
import { TempoError } from '../lib/errors.ts';
import { tagSearchQuery } from './tag-search.ts';

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
}

export interface SearchParams {
  readonly query: string;
  /** The query was made of tags and durations: its answer names traces, without spans. */
  readonly isTagSearch: boolean;
  readonly limit: number;
  readonly spansPerSpanSet: number;
  readonly range: SecondsRange;
}

const INT32_MAX = 2147483647;
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

/** `start` and `end` of trace by id: each may be missing. */
export function parseTraceRange(params: UrlParams): SecondsRange {
  const startSec = seconds(params, 'start') ?? 0;
  const endSec = seconds(params, 'end') ?? 0;
  if (startSec !== 0 && endSec !== 0 && endSec <= startSec) throw rangeError(startSec, endSec);
  return { startSec: startSec || undefined, endSec: endSec || undefined };
}

export function parseSearchParams(params: UrlParams, limits: SearchLimits): SearchParams {
  const query = params.get('q') ?? '';
  const isTagSearch = query === '';
  if (!isTagSearch && (params.get('tags') ?? '') !== '') {
    throw invalid("invalid request: can't specify tags and q in the same query");
  }
  if (Buffer.byteLength(query) > limits.queryBytesMax) {
    throw invalid(`TraceQL query is too large: the maximum size is ${limits.queryBytesMax} bytes`);
  }
  return {
    query: isTagSearch ? tagSearchQuery(params, (name) => SEARCH_NAMES.has(name)) : query,
    isTagSearch,
    limit: searchLimit(params, limits),
    spansPerSpanSet: spansPerSpanSet(params, limits),
    range: searchRange(params, limits),
  };
}

function searchLimit(params: UrlParams, limits: SearchLimits): number {
  const limit = integer(params, 'limit', 'Atoi', Number.MAX_SAFE_INTEGER) ?? limits.defaultLimit;
  if (limit <= 0) throw invalid('invalid limit: must be a positive number');
  if (limits.limitMax > 0 && limit > limits.limitMax) {
    throw invalid(`limit ${limit} exceeds max limit ${limits.limitMax}`);
  }
  return limit;
}

function spansPerSpanSet(params: UrlParams, limits: SearchLimits): number {
  const wanted = integer(params, 'spss', 'Atoi', Number.MAX_SAFE_INTEGER) ?? limits.defaultSpansPerSpanSet;
  if (wanted < 0) throw invalid('invalid spss: must be a non-negative number');
  const max = limits.spansPerSpanSetMax;
  if (max > 0 && (wanted > max || wanted === 0))
    throw invalid(`spans per span set exceeds ${max}. received ${wanted}`);
  return wanted;
}

function searchRange(params: UrlParams, limits: SearchLimits): SecondsRange {
  const start = seconds(params, 'start');
  const startSec = start ?? 0;
  const endSec = seconds(params, 'end') ?? 0;
  if (startSec === 0 && endSec === 0) return { startSec: undefined, endSec: undefined };
  if (start === undefined) throw invalid(ONLY_ONE_OF_RANGE);
  if (endSec <= startSec || startSec < 0) throw rangeError(startSec, endSec);
  if (limits.durationMaxMs > 0 && (endSec - startSec) * 1000 > limits.durationMaxMs) {
    const max = formatDuration(limits.durationMaxMs);
    throw invalid(
      `range specified by start and end exceeds ${max}. received start=${startSec} end=${endSec}`,
    );
  }
  return { startSec, endSec };
}

/** Milliseconds and nanoseconds, the usual mistake, are out of its range. */
function seconds(params: UrlParams, name: string): number | undefined {
  return integer(params, name, 'ParseInt', INT32_MAX);
}

/** @param parser of Go, named in its error. */
function integer(params: UrlParams, name: string, parser: string, max: number): number | undefined {
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
