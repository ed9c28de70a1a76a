// What is asked: the lines of a file, or queries over the tags and traces that the first server has.
import { ask, type ServerOptions } from './server-api.ts';

export interface Asked {
  /** Unix seconds. */
  readonly startSec: number;
  readonly endSec: number;
  readonly limit: number;
  /** Tags that are asked for, of each scope. */
  readonly tagsMax: number;
}

const SPANS_PER_SPANSET = 100;
const VALUES_PER_TAG = 2;
const TRACES_MAX = 20;
const SCOPES = ['resource', 'span'];
/** Names that need no quotes in a query. */
const PLAIN_NAME = /^[A-Za-z_][\w.-]*$/;
const KEYWORD = /^\w+$/;

/** A path with its parameters stands as it is; anything else is a query. '#' begins a comment. */
export function pathsOf(text: string, asked: Asked): string[] {
  const lines = text.split('\n').map((line) => line.trim());
  return lines
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => (line.startsWith('/') ? line : searchPath(line, asked)));
}

export async function madePaths(server: ServerOptions, asked: Asked): Promise<string[]> {
  const range = rangeOf(asked);
  const paths = [searchPath('{ }', asked), searchPath('{ status = error }', asked)];
  for (const q of ['{ } | rate() by (resource.service.name)', '{ status = error } | count_over_time()']) {
    paths.push(`/api/metrics/query_range?${params({ q, ...range, step: '60s' })}`);
  }
  paths.push(`/api/v2/search/tags?${params(range)}`, `/api/search/tags?${params(range)}`);
  for (const scope of SCOPES) {
    for (const tag of await tagsOf(server, scope, asked)) {
      const name = `${scope}.${PLAIN_NAME.test(tag) ? tag : JSON.stringify(tag)}`;
      const valuesPath = `/api/v2/search/tag/${encodeURIComponent(name)}/values?${params(range)}`;
      paths.push(valuesPath, searchPath(`{ ${name} != nil }`, asked));
      for (const value of await valuesOf(server, valuesPath)) {
        paths.push(searchPath(`{ ${name} = ${value} }`, asked));
      }
    }
  }
  for (const id of await tracesOf(server, asked)) paths.push(`/api/traces/${id}`, `/api/v2/traces/${id}`);
  return paths;
}

async function tagsOf(server: ServerOptions, scope: string, asked: Asked): Promise<readonly string[]> {
  const { body } = await ask(server, `/api/v2/search/tags?${params({ scope, ...rangeOf(asked) })}`);
  const { scopes = [] } = body as { scopes?: readonly { name?: string; tags?: readonly string[] }[] };
  const tags = scopes.flatMap(({ name, tags: all = [] }) => (name === scope ? all : []));
  return tags.toSorted().slice(0, asked.tagsMax);
}

async function valuesOf(server: ServerOptions, path: string): Promise<readonly string[]> {
  const { body } = await ask(server, path);
  const { tagValues = [] } = body as { tagValues?: readonly { type?: string; value?: string }[] };
  return tagValues
    .map(({ type, value = '' }) =>
      type === 'string' || !KEYWORD.test(value) ? JSON.stringify(value) : value,
    )
    .toSorted()
    .slice(0, VALUES_PER_TAG);
}

async function tracesOf(server: ServerOptions, asked: Asked): Promise<readonly string[]> {
  const { body } = await ask(server, searchPath('{ }', asked));
  const { traces = [] } = body as { traces?: readonly { traceID: string }[] };
  return traces
    .map(({ traceID }) => traceID)
    .toSorted()
    .slice(0, TRACES_MAX);
}

function searchPath(q: string, asked: Asked): string {
  const { limit } = asked;
  return `/api/search?${params({ q, limit, spss: SPANS_PER_SPANSET, ...rangeOf(asked) })}`;
}

function rangeOf({ startSec, endSec }: Asked): Record<string, number> {
  return { start: startSec, end: endSec };
}

function params(values: Readonly<Record<string, string | number>>): string {
  return new URLSearchParams(Object.entries(values).map(([key, value]) => [key, String(value)])).toString();
}
