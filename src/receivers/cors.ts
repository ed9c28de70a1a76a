// Requests of pages of other origins (CORS), as the Collector's receivers answer them: credentials are
// allowed, methods are those of simple requests.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { CorsConfig } from './transport-config.ts';

const METHODS: readonly string[] = ['GET', 'POST', 'HEAD'];
const USUAL_HEADERS: readonly string[] = ['accept', 'content-type', 'x-requested-with', 'origin'];
const VARY_OF_PREFLIGHT = 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers';

/** Adds the headers to every answer, and answers what browsers ask beforehand. */
export function allowOrigins(app: FastifyInstance, config: CorsConfig): void {
  if (config.allowedOrigins.length === 0) return;
  const isAllowed = matcher(config.allowedOrigins);
  const isAny = config.allowedOrigins.includes('*');
  const headers = new Set([...USUAL_HEADERS, ...config.allowedHeaders.map((name) => name.toLowerCase())]);
  app.addHook('onRequest', async (request, reply) => {
    const { origin } = request.headers;
    const method = request.headers['access-control-request-method'];
    const isPreflight = request.method === 'OPTIONS' && method !== undefined;
    reply.header('vary', isPreflight ? VARY_OF_PREFLIGHT : 'Origin');
    if (origin !== undefined && isAllowed(origin.toLowerCase())) {
      const asked = isPreflight ? askedHeaders(request) : [];
      const isFit = asked.every((name) => headers.has(name) || headers.has('*'));
      if (!isPreflight || (METHODS.includes(method) && isFit)) {
        allow(reply, isAny ? '*' : origin);
        if (isPreflight) describe(reply, method, asked, config.maxAge);
      }
    }
    if (isPreflight) return reply.code(204).send();
  });
}

function allow(reply: FastifyReply, origin: string): void {
  reply.header('access-control-allow-origin', origin);
  reply.header('access-control-allow-credentials', 'true');
}

function describe(reply: FastifyReply, method: string, headers: readonly string[], maxAge: number): void {
  reply.header('access-control-allow-methods', method);
  if (headers.length > 0) reply.header('access-control-allow-headers', headers.join(', '));
  if (maxAge > 0) reply.header('access-control-max-age', String(maxAge));
}

function askedHeaders(request: FastifyRequest): readonly string[] {
  return String(request.headers['access-control-request-headers'] ?? '')
    .toLowerCase()
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
}

/** `https://*.example.com` allows every name below it. */
function matcher(patterns: readonly string[]): (origin: string) => boolean {
  const tests = patterns.map((pattern) => {
    const parts = pattern.toLowerCase().split('*');
    const escaped = parts.map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&'));
    return new RegExp(`^${escaped.join('.*')}$`);
  });
  return (origin) => tests.some((test) => test.test(origin));
}
