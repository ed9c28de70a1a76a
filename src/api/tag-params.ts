// Reads the parameters of the tag endpoints, with Tempo's error texts.
import { TempoError } from '../lib/errors.ts';
import { TraceqlError } from '../traceql/error.ts';
import type { AttributeScope, Field } from '../traceql/source.ts';
import { listedFields, parseTagIdentifier, type TagFilter, tagFilter } from '../traceql/tag-query.ts';
import {
  checkQuerySize,
  checkRf1After,
  type SecondsRange,
  sinceRange,
  tooLong,
  type UrlParams,
} from './params.ts';
import { timeNanos } from './times.ts';

export interface TagLimits {
  readonly durationMaxMs: number;
  readonly queryBytesMax: number;
  readonly nowMs: number;
  /** The end of a range that `since` gives. */
  readonly latestMs: number;
}

export interface TagParams {
  readonly filter: TagFilter;
  readonly range: SecondsRange;
  /** Names (of each scope) or values to answer with; 0 = all. */
  readonly limit: number;
}

export type TagScope = AttributeScope | 'intrinsic';

const UINT32_SIZE = 2 ** 32;
const NANOS_PER_SECOND = 1_000_000_000n;
const SCOPES: readonly TagScope[] = ['resource', 'span', 'event', 'link', 'instrumentation', 'intrinsic'];

/** What both names and values take. `maxStaleValues` would only let an answer end early: it is not needed. */
export function parseTagParams(params: UrlParams, limits: TagLimits): TagParams {
  const query = params.get('q') ?? '';
  checkQuerySize(query, limits.queryBytesMax);
  checkRf1After(params);
  return { filter: tagFilter(query), range: tagRange(params, limits), limit: uint32(params, 'limit') };
}

/** undefined = no scope was asked for. */
export function parseTagScope(params: UrlParams): readonly TagScope[] | undefined {
  const text = params.get('scope') ?? '';
  if (text === '' || text === 'none') return undefined;
  const scope = SCOPES.find((name) => name === text);
  if (scope === undefined) throw invalid(`invalid scope: ${text}`);
  return [scope];
}

export const ALL_TAG_SCOPES: readonly TagScope[] = SCOPES;

/** v2: the stored fields behind a TraceQL identifier; none when its values are not listed. */
export function fieldsOfIdentifier(name: string): readonly Field[] {
  try {
    return listedFields(parseTagIdentifier(name));
  } catch (err) {
    if (!(err instanceof TraceqlError)) throw err;
    const why = `failed to parse identifier ${name}: ${err.message}`;
    throw new TempoError('invalid_argument', `please provide a valid tagName: ${why}`, err);
  }
}

const V1_INTRINSICS: Readonly<Record<string, Field>> = {
  name: { kind: 'intrinsic', name: 'span:name' },
  'status.code': { kind: 'intrinsic', name: 'span:status' },
  'root.name': { kind: 'intrinsic', name: 'trace:rootName' },
  rootName: { kind: 'intrinsic', name: 'trace:rootName' },
  'root.service.name': { kind: 'intrinsic', name: 'trace:rootService' },
  rootServiceName: { kind: 'intrinsic', name: 'trace:rootService' },
};

/** v1: the plain name of an attribute of any scope, or one of a few words. */
export function fieldsOfName(name: string): readonly Field[] {
  const intrinsic = Object.hasOwn(V1_INTRINSICS, name) ? V1_INTRINSICS[name] : undefined;
  if (intrinsic !== undefined) return [intrinsic];
  return listedFields({ kind: 'attribute', scope: 'none', parent: false, name });
}

/** Numbers that are none count as not given. */
function uint32(params: UrlParams, name: string): number {
  const text = params.get(name) ?? '';
  const value = /^\d{1,10}$/.test(text) ? Number(text) : 0;
  return value < UINT32_SIZE ? value : 0;
}

function tagRange(params: UrlParams, limits: TagLimits): SecondsRange {
  const { durationMaxMs, nowMs } = limits;
  const range = sinceRange(params, limits) ?? givenRange(params);
  const { startSec, endSec } = range;
  if (startSec === 0 && endSec === 0) return { startSec: undefined, endSec: undefined };
  const seconds = Math.min(endSec, Math.ceil(nowMs / 1000)) - startSec;
  if (endSec < startSec || (durationMaxMs > 0 && seconds * 1000 > durationMaxMs)) {
    throw tooLong(durationMaxMs, startSec, endSec);
  }
  return range;
}

function givenRange(params: UrlParams): { readonly startSec: number; readonly endSec: number } {
  const isGiven = (name: string): boolean => (params.get(name) ?? '') !== '';
  if (isGiven('start') !== isGiven('end')) {
    const why = 'only one of start and end provided: must provide both or neither';
    throw invalid(`error parsing date range: ${why}`);
  }
  return { startSec: unixSeconds(params, 'start'), endSec: unixSeconds(params, 'end') };
}

/** 0 where it is not given, and where it is before 1970 or far away. */
function unixSeconds(params: UrlParams, name: string): number {
  const text = params.get(name) ?? '';
  if (text === '') return 0;
  const nanos = timeNanos(text);
  if (nanos === undefined) {
    const why = `strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`;
    throw invalid(`error parsing date range: could not parse '${name}' parameter: ${why}`);
  }
  const seconds = Number(nanos / NANOS_PER_SECOND);
  return seconds > 0 && seconds < UINT32_SIZE ? seconds : 0;
}

function invalid(message: string): TempoError {
  return new TempoError('invalid_argument', message);
}
