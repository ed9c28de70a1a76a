// The measured queries: trace by id, and searches by attribute that find few or many spans of the corpus.
import { readFileSync } from 'node:fs';
import http from 'node:http';
import type { Corpus } from './corpus.ts';
import { cpuSeconds } from './proc.ts';
import { quantile } from './quantile.ts';

export type Query = {
  readonly name: string;
  readonly path: string;
  readonly params?: Readonly<Record<string, string>>;
  /** In their place for the server that is compared with, where it needs other words for the same. */
  readonly againstParams?: Readonly<Record<string, string>>;
};

export type QueryResult = {
  readonly name: string;
  readonly status: number;
  readonly results: number;
  readonly p50Ms: number;
  readonly p90Ms: number;
  readonly cpuMs: number;
  /** Answers whose status was not that of the first. */
  readonly bad: number;
};

const search = (name: string, q: string): Query => ({
  name,
  path: '/api/search',
  params: { q, limit: '100000', spss: '100', start: '${start}', end: '${end}' },
});

export const BY_ID: Query = { name: 'trace by id', path: '/api/v2/traces/${traceID}' };

export const SEARCHES: readonly Query[] = [
  search('search: status code', '{ span.http.method = "DELETE" && span.http.status_code = 404 }'),
  search('search: url needle', '{ span.http.url = "https://cart.shop.example/login?id=12345&page=3" }'),
  search('search: user id', '{ span.user.id = "user-42" }'),
  search('search: duration', '{ duration > 3s }'),
];

/** The query as the server is asked that is compared with. */
export function asAgainst({ againstParams, ...query }: Query): Query {
  return { ...query, params: { ...query.params, ...againstParams } };
}

/** Reads a suite of queries, one JSON object a line: name, path, params, againstParams. */
export function readSuite(path: string): Query[] {
  const lines = readFileSync(path, 'utf8').split('\n');
  return lines.filter((line) => /^\s*\{/.test(line)).map((line) => JSON.parse(line) as Query);
}

const ID_STRIDE = 7919; // so that runs ask for traces all over the corpus
const ID_OFFSET = 17;

function urlOf(query: Query, base: string, corpus: AskedCorpus, run: number): string {
  const id = corpus.traceIds[(run * ID_STRIDE + ID_OFFSET) % corpus.traceIds.length] ?? '';
  const fill = (text: string): string =>
    text
      .replace('${start}', String(corpus.startSec))
      .replace('${end}', String(corpus.endSec))
      .replace('${step}', '30s')
      .replace('${traceID}', id);
  const params = new URLSearchParams(Object.entries(query.params ?? {}).map(([k, v]) => [k, fill(v)]));
  const text = params.toString();
  return `${base}${fill(query.path)}${text === '' ? '' : `?${text}`}`;
}

const COUNTED_LISTS = new Set(['traces', 'spans', 'series', 'tagNames', 'tagValues', 'tags']);

/** The number of traces, spans, series, tags or values in an answer. */
export function countResults(text: string): number {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return 0; // an error's text
  }
  const count = (value: unknown): number => {
    if (typeof value !== 'object' || value === null) return 0;
    let found = 0;
    for (const [key, child] of Object.entries(value)) {
      found += COUNTED_LISTS.has(key) && Array.isArray(child) ? child.length : count(child);
    }
    return found;
  };
  return count(body);
}

function headersOf(tenant: string | undefined): Record<string, string> {
  const headers = { Accept: 'application/json' };
  return tenant === undefined ? headers : { ...headers, 'X-Scope-OrgID': tenant };
}

async function get(url: string, tenant: string | undefined): Promise<{ status: number; text: string }> {
  const response = await fetch(url, { headers: headersOf(tenant) });
  return { status: response.status, text: await response.text() };
}

/** What requests name of a corpus. */
export type AskedCorpus = Pick<Corpus, 'traceIds' | 'startSec' | 'endSec'>;

export type QueryTarget = {
  readonly url: string;
  readonly pids: readonly number[];
  readonly tenant?: string | undefined;
};

/** One request, with its time until the last byte. @param run chooses the trace, where one is asked for. */
export async function askOnce(
  query: Query,
  { url, tenant }: QueryTarget,
  corpus: AskedCorpus,
  run: number,
): Promise<{ readonly status: number; readonly text: string; readonly ms: number }> {
  const sentMs = performance.now();
  const answer = await get(urlOf(query, url, corpus, run), tenant);
  return { ...answer, ms: performance.now() - sentMs };
}

const ANSWER_MS_MAX = 300_000;
const KEPT_ALIVE = new http.Agent({ keepAlive: true });

/** As `askOnce`, but the answer is read and dropped: whoever asks takes next to nothing of the machine. */
export function askAndDrop(
  query: Query,
  { url, tenant }: QueryTarget,
  corpus: AskedCorpus,
  run: number,
): Promise<{ readonly status: number; readonly ms: number }> {
  const sentMs = performance.now();
  const headers = { ...headersOf(tenant), 'Accept-Encoding': 'gzip' };
  return new Promise((resolve, reject) => {
    const answered = (response: http.IncomingMessage): void => {
      response.on('error', reject).resume();
      response.on('end', () => resolve({ status: response.statusCode ?? 0, ms: performance.now() - sentMs }));
    };
    const asked = http.get(urlOf(query, url, corpus, run), { agent: KEPT_ALIVE, headers }, answered);
    asked.setTimeout(ANSWER_MS_MAX, () => asked.destroy(new Error('no answer'))).on('error', reject);
  });
}

/** Runs a query once to warm up and `runs` times measured, one after the other. */
export async function measureQuery(
  query: Query,
  target: QueryTarget,
  corpus: Corpus,
  runs: number,
): Promise<QueryResult> {
  const first = await askOnce(query, target, corpus, 0);
  const latencies: number[] = [];
  let bad = 0;
  const cpuBefore = cpuSeconds(target.pids);
  for (let run = 1; run <= runs; run++) {
    const { status, ms } = await askOnce(query, target, corpus, run);
    latencies.push(ms);
    if (status !== first.status) bad++;
  }
  return {
    name: query.name,
    status: first.status,
    results: countResults(first.text),
    p50Ms: quantile(latencies, 0.5),
    p90Ms: quantile(latencies, 0.9),
    cpuMs: ((cpuSeconds(target.pids) - cpuBefore) * 1000) / Math.max(runs, 1),
    bad,
  };
}
