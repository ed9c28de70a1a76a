// What vulture asks of Tempo: a trace by id, searches, a count over time.
import type { AnsweredTrace } from './span-facts.ts';

export interface TempoApiOptions {
  readonly queryUrl: string;
  /** Empty = no header. */
  readonly tenant: string;
  readonly queryLiveStores: boolean;
  readonly rf1After: string;
  /** Sent as basic authorization with the tenant as the user; undefined = none. */
  readonly accessToken: string | undefined;
}

export interface TimeRange {
  readonly startUnixSeconds: number;
  readonly endUnixSeconds: number;
}

export interface FoundTrace {
  readonly traceID: string;
  readonly spanSets?: readonly { readonly matched?: number }[];
}

interface Series {
  readonly samples?: readonly { readonly value?: number }[];
}

const REQUEST_TIMEOUT_MS = 60_000;
const NOT_FOUND = 404;
const SEARCH_LIMIT = 20;
const ERROR_TEXT_MAX = 500;

export class TempoApi {
  private readonly options: TempoApiOptions;
  private readonly headers: Readonly<Record<string, string>>;

  constructor(options: TempoApiOptions) {
    this.options = options;
    const { tenant, accessToken, queryLiveStores } = options;
    this.headers = {
      accept: 'application/json',
      ...(tenant === '' ? {} : { 'x-scope-orgid': tenant }),
      ...(accessToken === undefined ? {} : { authorization: basicAuthorization(tenant, accessToken) }),
      ...(queryLiveStores ? { 'Database-Recent-Data-Target': 'live-store' } : {}),
    };
  }

  /** @returns undefined when there is no such trace. */
  async trace(traceId: string, range: TimeRange): Promise<AnsweredTrace | undefined> {
    return (await this.get(`/api/traces/${traceId}`, rangeParams(range))) as AnsweredTrace | undefined;
  }

  searchTag(key: string, value: string, range: TimeRange): Promise<readonly FoundTrace[]> {
    return this.search({ tags: `${key}=${value}` }, range);
  }

  searchTraceql(q: string, range: TimeRange): Promise<readonly FoundTrace[]> {
    return this.search({ q }, range);
  }

  async countOverTime(selector: string, range: TimeRange): Promise<readonly Series[]> {
    const params = { q: `${selector} | count_over_time()`, step: '1m', ...rangeParams(range) };
    const answer = (await this.get('/api/metrics/query_range', params)) as
      | { readonly series?: readonly Series[] }
      | undefined;
    if (answer === undefined) throw new Error('/api/metrics/query_range: status 404');
    return answer.series ?? [];
  }

  private async search(what: Record<string, string>, range: TimeRange): Promise<readonly FoundTrace[]> {
    const params = { ...what, limit: String(SEARCH_LIMIT), ...rangeParams(range) };
    const answer = (await this.get('/api/search', params)) as
      | { readonly traces?: readonly FoundTrace[] }
      | undefined;
    if (answer === undefined) throw new Error('/api/search: status 404');
    return answer.traces ?? [];
  }

  /** @returns undefined for status 404. @throws Error when there is no answer or another status. */
  private async get(path: string, params: Record<string, string>): Promise<unknown> {
    const { queryUrl, rf1After } = this.options;
    const query = new URLSearchParams({ ...params, ...(rf1After === '' ? {} : { rf1After }) });
    const response = await fetch(`${queryUrl}${path}?${query.toString()}`, {
      headers: this.headers,
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
    const text = await response.text();
    if (response.status === NOT_FOUND) return undefined;
    if (response.ok) return JSON.parse(text);
    throw new Error(`${path}: status ${response.status}: ${text.slice(0, ERROR_TEXT_MAX)}`);
  }
}

export function basicAuthorization(tenant: string, accessToken: string): string {
  return `Basic ${Buffer.from(`${tenant}:${accessToken}`).toString('base64')}`;
}

function rangeParams({ startUnixSeconds, endUnixSeconds }: TimeRange): Record<string, string> {
  return { start: String(startUnixSeconds), end: String(endUnixSeconds) };
}
