// The HTTP server: operational endpoints of every target, routes of the modules, plain-text errors. One port
// for HTTP/1.1, HTTP/2 and gRPC.
import type { AddressInfo } from 'node:net';
import { posix } from 'node:path';
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { httpStatusOf } from '../api/errors.ts';
import { RetryLaterError, TempoError } from '../lib/errors.ts';
import type { Service } from '../lib/service.ts';
import type { GrpcRouterOptions } from '../rpc/grpc-http2.ts';
import { cannotListen, resolveHost } from '../rpc/listen.ts';
import { NO_SCHEMAS } from '../rpc/no-schemas.ts';
import { sharePort } from '../rpc/shared-port.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { limitAnswers } from './answer-timeout.ts';
import { createHttp2Front } from './http2-front.ts';
import { registerMetricsRoute } from './metrics-route.ts';
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
}

const TEXT = 'text/plain; charset=utf-8';

/** Running requests may take that long when the server stops. */
const STOP_GRACE_MS = 3000;

/** Bodies are not read by any route here: parameters are in the URL. */
const BODY_BYTES_MAX = 1_048_576;

/** As Go's servers have it: queries are in the URL, and Node's 16 KB would refuse long ones. */
const HEADER_BYTES_MAX = 1_048_576;

export interface HttpServer extends Service {
  /** Where modules add their routes, before start. */
  readonly app: FastifyInstance;
  readonly routes: () => readonly Route[];
}

export function createHttpServer(options: HttpServerOptions): HttpServer {
  const { config, logger } = options;
  const app = fastify({
    ...NO_SCHEMAS,
    logger: false,
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: config.httpServerReadTimeoutMs,
    keepAliveTimeout: config.httpServerIdleTimeoutMs,
    // Without it an answer that nobody reads would be held for ever.
    connectionTimeout: config.httpServerWriteTimeoutMs,
    http: { maxHeaderSize: HEADER_BYTES_MAX },
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: 4096 },
    frameworkErrors: (err, request, reply) => void sendError(err, request, reply, logger),
  });
  if (config.httpListenConnLimit > 0) app.server.maxConnections = config.httpListenConnLimit;
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  app.setNotFoundHandler((request, reply) => {
    const clean = cleanUrl(request.url);
    if (clean !== undefined) return reply.redirect(clean, 301);
    return reply.code(404).type(TEXT).send('404 page not found\n');
  });
  app.setErrorHandler((err, request, reply) => sendError(err, request, reply, logger));
  const routes = watchRoutes(app);
  options.serverMetrics.observe(app);
  limitAnswers(app, config.httpServerWriteTimeoutMs);
  operationalRoutes(app, options);
  const front = createHttp2Front({
    app,
    grpc: options.grpc,
    sessions: {
      logger,
      streamsPerSessionMax: config.grpcServerMaxConcurrentStreams,
      idleMsMax: config.httpServerIdleTimeoutMs,
    },
    streamIdleMsMax: config.httpServerWriteTimeoutMs,
  });
  sharePort(app.server, { http2: front.server, firstBytesMsMax: config.httpServerReadTimeoutMs });
  return {
    name: 'server',
    app,
    routes,
    async start() {
      const address = {
        host: config.httpListenAddress === '' ? undefined : config.httpListenAddress,
        port: config.httpListenPort,
      };
      try {
        const host = (await resolveHost(address)) ?? '::';
        await app.listen({ port: address.port, host, listenTextResolver: () => '' });
      } catch (err) {
        throw err instanceof TempoError ? err : cannotListen(address, err);
      }
      const [bound] = app.addresses() as AddressInfo[];
      logger.info('server listens', { address: bound?.address, port: bound?.port });
    },
    async stop() {
      front.sessions.close();
      const late = setTimeout(() => {
        app.server.closeAllConnections();
        front.sessions.destroy();
      }, STOP_GRACE_MS);
      await app.close().finally(() => clearTimeout(late));
    },
  };
}

/** The URL without empty and dot segments in its path; undefined when it has none. */
function cleanUrl(url: string): string | undefined {
  const mark = url.indexOf('?');
  const path = mark < 0 ? url : url.slice(0, mark);
  const clean = posix.normalize(path.replace(/^\/+/, '/'));
  return clean === path || !clean.startsWith('/') ? undefined : clean + (mark < 0 ? '' : url.slice(mark));
}

function sendError(err: unknown, request: FastifyRequest, reply: FastifyReply, logger: Logger): FastifyReply {
  const status = httpStatusOf(err);
  if (status === 500) logger.error('request failed', { method: request.method, url: request.url, err });
  if (err instanceof RetryLaterError) reply.header('retry-after', Math.ceil(err.retryAfterMs / 1000));
  const message = err instanceof Error ? err.message : String(err);
  return reply
    .code(status)
    .type(TEXT)
    .send(status === 401 ? `${message}\n` : message);
}

function operationalRoutes(
  app: FastifyInstance,
  { httpApiPrefix, metrics, readiness }: HttpServerOptions,
): void {
  app.all('/ready', (_request, reply) => {
    const reason = readiness();
    return reply
      .code(reason === undefined ? 200 : 503)
      .type(TEXT)
      .send(`${reason ?? 'ready'}\n`);
  });
  registerMetricsRoute(app, metrics);
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
