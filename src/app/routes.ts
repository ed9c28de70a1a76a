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

/** A route as Tempo writes it. Names of tags may have slashes: what answers takes the rest of the path. */
export function templateOf(url: string): string {
  if (url.endsWith('/search/tag/*')) return url.replace('*', '{tagName:.*}/values');
  return url.replace('*', '{path:.*}').replaceAll(/:([A-Za-z]+)(?=\/|$)/g, '{$1}');
}

function routeOf(url: string): Route {
  let variables = 0;
  const parts = templateOf(url)
    .split(/(\{[^}]+\})/)
    .map((part) => {
      if (!part.startsWith('{')) return { name: part, regex: part.replaceAll(/[.+?^$()[\]{}|\\]/g, '\\$&') };
      return { name: part, regex: `(?P<v${variables++}>${part.endsWith(':.*}') ? '.*' : '[^/]+'})` };
    });
  const join = (key: keyof Route): string => parts.map((part) => part[key]).join('');
  return { name: join('name'), regex: `^${join('regex')}$` };
}
