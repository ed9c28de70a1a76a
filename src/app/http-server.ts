// The HTTP server: operational endpoints of every target, and where modules add their routes.
import { posix } from 'node:path';
import type { FastifyInstance } from 'fastify';
import type { GrpcRouterOptions } from '../rpc/grpc-http2.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { createHttpListener, type HttpListener, type StopTimes, TEXT } from './http-listener.ts';
import { registerMetricsRoute } from './metrics-route.ts';
import { registerReady } from './ready.ts';
import { watchRoutes, type Route } from './routes.ts';
import type { ServerConfig } from './server-config.ts';
import type { ServerMetrics } from './server-metrics.ts';
import { REVISION, VERSION } from './version.ts';

export interface HttpServerOptions {
  readonly config: ServerConfig;
  readonly httpApiPrefix: string;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly serverMetrics: ServerMetrics;
  /** gRPC on the same port; undefined = none. */
  readonly grpc?: GrpcRouterOptions | undefined;
  /** undefined = ready, else the text of the 503. */
  readonly readiness: () => string | undefined;
  readonly stopTimes?: StopTimes | undefined;
}

const PROFILES_ELSEWHERE =
  'profiles are on the internal server: set internal_server.enable and internal_server.enable_profiles\n';

export interface HttpServer extends HttpListener {
  readonly routes: () => readonly Route[];
}

export function createHttpServer(options: HttpServerOptions): HttpServer {
  const { config, grpc, logger, serverMetrics, stopTimes } = options;
  const listener = createHttpListener({ block: 'server', config, grpc, logger, serverMetrics, stopTimes });
  const { app } = listener;
  app.setNotFoundHandler((request, reply) => {
    const clean = cleanUrl(request.url);
    if (clean !== undefined) return reply.redirect(clean, 301);
    return reply.code(404).type(TEXT).send('404 page not found\n');
  });
  const routes = watchRoutes(app);
  operationalRoutes(app, options);
  return { ...listener, routes };
}

/** The URL without empty and dot segments in its path; undefined when it has none. */
function cleanUrl(url: string): string | undefined {
  const mark = url.indexOf('?');
  const path = mark < 0 ? url : url.slice(0, mark);
  const clean = posix.normalize(path.replace(/^\/+/, '/'));
  return clean === path || !clean.startsWith('/') ? undefined : clean + (mark < 0 ? '' : url.slice(mark));
}

function operationalRoutes(
  app: FastifyInstance,
  { config, httpApiPrefix, metrics, readiness }: HttpServerOptions,
): void {
  registerReady(app, readiness);
  if (config.registerInstrumentation) {
    registerMetricsRoute(app, '/metrics', (format) => metrics.bytes(format));
    app.all('/debug/pprof/*', (_request, reply) => reply.code(404).type(TEXT).send(PROFILES_ELSEWHERE));
  }
  app.all(`${httpApiPrefix}/api/status/buildinfo`, (_request, reply) =>
    reply.type('application/json').send(
      Buffer.from(
        `${JSON.stringify({
          version: VERSION,
          revision: REVISION,
          branch: '',
          buildUser: '',
          buildDate: '',
          goVersion: process.version,
        })}\n`,
      ),
    ),
  );
  app.all(`${httpApiPrefix}/api/echo`, (_request, reply) => reply.type(TEXT).send('echo\n'));
}
