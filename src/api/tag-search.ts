// Searches from before TraceQL: conditions as logfmt in `tags`, as `minDuration` and `maxDuration`, or as any
// parameters of a sub-request. They are written as a TraceQL query in which each condition may hold on
// another span.
import { TempoError } from '../lib/errors.ts';

const CONDITIONS: Readonly<Record<string, (value: string) => string>> = {
  name: (value) => contains('name', value),
  'root.name': (value) => contains('rootName', value),
  'root.service.name': (value) => contains('rootServiceName', value),
  'status.code': (value) => `status = ${value === 'ok' || value === 'error' ? value : 'unset'}`,
};

/**
 * Attributes with columns of their own: Tempo looks for parts of their values, of others for whole values.
 */
const SEARCHED_IN: Readonly<Record<string, 'span' | 'resource'>> = {
  'service.name': 'resource',
  cluster: 'resource',
  namespace: 'resource',
  pod: 'resource',
  container: 'resource',
  'k8s.cluster.name': 'resource',
  'k8s.namespace.name': 'resource',
  'k8s.pod.name': 'resource',
  'k8s.container.name': 'resource',
  'http.method': 'span',
  'http.url': 'span',
  'http.request.method': 'span',
  'http.route': 'span',
  'url.path': 'span',
  'url.route': 'span',
  'server.address': 'span',
};

/**
 * The query of a search without `q`. `isTag` tells which names of parameters are tags.
 * @param duration the condition on durations, empty for none.
 */
export function tagSearchQuery(
  params: URLSearchParams,
  duration: string,
  isTag: (name: string) => boolean,
): string {
  const tags = tagsOf(params, isTag);
  const spansets = [...tags].map(([name, value]) => `{ ${condition(name, value)} }`);
  if (duration !== '') spansets.push(`{ ${duration} }`);
  return spansets.length === 0 ? '{ }' : spansets.join(' && ');
}

function tagsOf(params: URLSearchParams, isTag: (name: string) => boolean): ReadonlyMap<string, string> {
  if (params.has('tags')) return parseLogfmt(params.get('tags') ?? '');
  const tags = new Map<string, string>();
  if (params.has('start') || params.has('end')) return tags;
  for (const [name, value] of params) if (isTag(name) && !tags.has(name)) tags.set(name, value);
  return tags;
}

function condition(name: string, value: string): string {
  if (Object.hasOwn(CONDITIONS, name)) return CONDITIONS[name]!(value);
  if (name === 'http.status_code' && /^\d{1,9}$/.test(value)) return `span.http.status_code = ${value}`;
  const quoted = quote(name);
  const scope = Object.hasOwn(SEARCHED_IN, name) ? SEARCHED_IN[name] : undefined;
  if (scope !== undefined) return contains(`${scope}.${quoted}`, value);
  return `span.${quoted} = ${quote(value)} || resource.${quoted} = ${quote(value)}`;
}

function contains(field: string, value: string): string {
  return `${field} =~ ${quote(`.*${value.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&')}.*`)}`;
}

/** A string of TraceQL. */
function quote(text: string): string {
  return `"${text.replaceAll(/["\\]/g, '\\$&').replaceAll('\n', '\\n')}"`;
}

/** What `minDuration` and `maxDuration` say, empty for nothing. */
export function durationCondition(params: URLSearchParams): string {
  const min = duration(params, 'minDuration');
  const max = duration(params, 'maxDuration');
  if (min !== undefined && max !== undefined && max !== 0 && max < min) {
    throw invalid('invalid maxDuration: must be greater than minDuration');
  }
  const parts: string[] = [];
  if (min !== undefined && min !== 0) parts.push(`trace:duration >= ${nanos(min)}`);
  if (max !== undefined && max !== 0) parts.push(`trace:duration <= ${nanos(max)}`);
  return parts.join(' && ');
}

function nanos(duration: number): string {
  return duration < 0 ? `-${-duration}ns` : `${duration}ns`;
}

const UNIT_NANOS: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  µs: 1e3, // U+00B5
  μs: 1e3, // U+03BC
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};

/** A Go duration in whole nanoseconds; undefined = not given. */
function duration(params: URLSearchParams, name: string): number | undefined {
  const text = params.get(name) ?? '';
  if (text === '') return undefined;
  const fail = (why: string): TempoError => invalid(`invalid ${name}: time: ${why} ${JSON.stringify(text)}`);
  const sign = text.startsWith('-') ? -1 : 1;
  let rest = text.replace(/^[+-]/, '');
  if (rest === '0') return 0;
  if (rest === '') throw fail('invalid duration');
  let sum = 0;
  while (rest !== '') {
    const number = /^(?:\d+\.?\d*|\.\d+)/.exec(rest)?.[0];
    if (number === undefined) throw fail('invalid duration');
    const unit = /^[^\d.]*/.exec(rest.slice(number.length))![0];
    if (unit === '') throw fail('missing unit in duration');
    if (!Object.hasOwn(UNIT_NANOS, unit)) throw fail(`unknown unit ${JSON.stringify(unit)} in duration`);
    sum += Number(number) * UNIT_NANOS[unit]!;
    rest = rest.slice(number.length + unit.length);
  }
  if (sum > Number.MAX_SAFE_INTEGER) throw fail('invalid duration');
  return sign * Math.round(sum);
}

/** `a=b c="d e" f`; positions in errors count from 1. */
function parseLogfmt(text: string): ReadonlyMap<string, string> {
  const tags = new Map<string, string>();
  const isEnd = (at: number): boolean => at >= text.length || text[at]! <= ' ';
  const unexpected = (at: number): TempoError =>
    invalid(`invalid tags: unexpected '${text[at]}' at pos ${at + 1}`);
  let at = 0;
  for (;;) {
    while (at < text.length && isEnd(at)) at++;
    if (at >= text.length) return tags;
    const start = at;
    while (!isEnd(at) && text[at] !== '=' && text[at] !== '"') at++;
    if (at === start || text[at] === '"') throw unexpected(at);
    const key = text.slice(start, at);
    let value = '';
    if (text[at] === '=') {
      const from = ++at;
      if (text[at] === '"') {
        at = endOfQuoted(text, at);
        value = unquoted(text.slice(from, at), at);
      } else {
        while (!isEnd(at) && text[at] !== '=' && text[at] !== '"') at++;
        if (!isEnd(at)) throw unexpected(at);
        value = text.slice(from, at);
      }
    }
    if (tags.has(key)) throw invalid(`invalid tags: tag ${key} has been set twice`);
    tags.set(key, value);
  }
}

/** Behind the closing quote of the value that begins with the quote at `open`. */
function endOfQuoted(text: string, open: number): number {
  for (let at = open + 1; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === '"') return at + 1;
  }
  throw invalid(`invalid tags: unterminated quoted value at pos ${text.length + 1}`);
}

function unquoted(quoted: string, end: number): string {
  try {
    return JSON.parse(quoted) as string;
  } catch {
    throw invalid(`invalid tags: invalid quoted value at pos ${end + 1}`);
  }
}

function invalid(message: string): TempoError {
  return new TempoError('invalid_argument', message);
}
