// Which routes the HTTP server has, in the words of Tempo's /status/endpoints.
import type { FastifyInstance } from 'fastify';

export interface Route {
  /** `/api/traces/{traceID}`. */
  readonly name: string;
  readonly regex: string;
}

/** Notes every route added after this call. @returns what was noted so far, by name. */
export function watchRoutes(app: FastifyInstance): () => readonly Route[] {
  const urls = new Set<string>();
  app.addHook('onRoute', ({ url }) => void urls.add(url));
  return () => [...urls].map(routeOf).toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

function routeOf(url: string): Route {
  let variables = 0;
  const parts = url.split(/(:[A-Za-z]+|\*)/).map((part) => {
    if (part === '*') return { name: '{path:.*}', regex: `(?P<v${variables++}>.*)` };
    if (!part.startsWith(':')) return { name: part, regex: part.replaceAll(/[.+?^$()[\]{}|\\]/g, '\\$&') };
    return { name: `{${part.slice(1)}}`, regex: `(?P<v${variables++}>[^/]+)` };
  });
  const join = (key: keyof Route): string => parts.map((part) => part[key]).join('');
  return { name: join('name'), regex: `^${join('regex')}$` };
}
