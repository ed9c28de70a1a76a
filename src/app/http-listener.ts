// One listening socket for HTTP/1.1, HTTP/2 and gRPC as a server block describes it: limits, times, TLS,
// guards, errors in plain text, metrics and log of requests. Has no routes of its own.
import type { RequestListener, Server as HttpServer } from 'node:http';
import https from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import fastify, {
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerOptions,
} from 'fastify';
import { httpStatusOf } from '../api/errors.ts';
import { RetryLaterError, TempoError } from '../lib/errors.ts';
import { createHttpServer } from '../lib/node-http.ts';
import type { Service } from '../lib/service.ts';
import type { GrpcRouterOptions } from '../rpc/grpc-http2.ts';
import { cannotListen, familyOf, resolveHost } from '../rpc/listen.ts';
import { connectionsMax } from '../rpc/open-files.ts';
import { HEADER_BYTES_MAX, refuseLargeHeads } from '../rpc/large-heads.ts';
import { NO_SCHEMAS } from '../rpc/no-schemas.ts';
import { OpenSockets } from '../rpc/open-sockets.ts';
import { sharePort } from '../rpc/shared-port.ts';
import { ServerTls } from '../rpc/tls.ts';
import type { Logger } from '../telemetry/log.ts';
import { limitAnswers } from './answer-timeout.ts';
import { HostGuard } from './host-guard.ts';
import { createHttp2Front, type Http2Front } from './http2-front.ts';
import { logRequests } from './request-log.ts';
import type { ServerConfig } from './server-config.ts';
import { serverTlsSettings } from './server-tls.ts';
import type { ServerMetrics } from './server-metrics.ts';

export interface HttpListenerOptions {
  /** Its name in configuration. */
  readonly block: 'server' | 'internal_server';
  readonly config: ServerConfig;
  readonly logger: Logger;
  readonly serverMetrics: ServerMetrics;
  /** gRPC on the same port; undefined = none. */
  readonly grpc: GrpcRouterOptions | undefined;
  readonly stopTimes?: StopTimes | undefined;
}

/** Of the stop of an HTTP port. */
export interface StopTimes {
  /** For peers that have connected and said nothing yet. */
  readonly beginMs?: number;
  /** For requests that run, at most. */
  readonly graceMs: number;
}

export interface HttpListener extends Service {
  /** Where routes are added before start. */
  readonly app: FastifyInstance;
}

export const TEXT = 'text/plain; charset=utf-8';

const STOP_TIMES: StopTimes = { graceMs: 1500 };

/** Bodies are not read by any route here: parameters are in the URL. */
const BODY_BYTES_MAX = 1_048_576;

/** Slow requests are looked for that often. */
const CHECK_MS_MAX = 5000;
const CHECK_MS_MIN = 50;

/** A path that no route has: for requests outside of the prefix. */
const NOWHERE = '/%00';

export function createHttpListener(options: HttpListenerOptions): HttpListener {
  const { block, config, logger, serverMetrics, stopTimes = STOP_TIMES } = options;
  const settings = serverTlsSettings(config, block, 'http');
  const tls = settings === undefined ? undefined : new ServerTls(settings, logger);
  const app = createApp(config, tls, logger);
  const guard = new HostGuard(config);
  app.addHook('onRequest', async (request, reply) => {
    const { host = request.headers[':authority'], origin } = request.headers;
    const refusal = guard.refusal(host?.toString(), origin) ?? guard.pageRefusal(request);
    if (refusal !== undefined) return reply.code(403).type(TEXT).send(`${refusal}\n`);
  });
  serverMetrics.observe(app);
  limitAnswers(app, config.httpServerWriteTimeoutMs);
  logRequests(app, config, logger);
  const front = createHttp2Front({
    app,
    grpc: options.grpc,
    sessions: {
      logger,
      streamsPerSessionMax: config.grpcServerMaxConcurrentStreams,
      keepalive: { idleMsMax: config.httpServerIdleTimeoutMs },
    },
    streamIdleMsMax: config.httpServerWriteTimeoutMs,
  });
  app.server.on('connection', (socket: Socket) => serverMetrics.connected(socket, 'http'));
  const firstBytesMsMax = config.httpServerReadTimeoutMs;
  sharePort(app.server, { http2: front.server, isSecure: tls !== undefined, firstBytesMsMax });
  // After it, as it keeps connections from listeners until it knows them.
  const sockets = new OpenSockets(app.server, stopTimes);
  return {
    name: block,
    app,
    async start() {
      const bound = await bind(app, config);
      guard.bound(bound.address);
      if ('setSecureContext' in app.server) tls?.attach(app.server as never);
      const msg = block === 'server' ? 'server listens' : 'internal server listens';
      logger.info(msg, { address: bound.address, port: bound.port });
    },
    async stop() {
      tls?.detach();
      await stop(app, front, sockets, Math.min(config.gracefulShutdownTimeoutMs, stopTimes.graceMs));
    },
  };
}

function createApp(config: ServerConfig, tls: ServerTls | undefined, logger: Logger): FastifyInstance {
  const prefix = config.httpPathPrefix;
  const options: FastifyServerOptions = {
    ...NO_SCHEMAS,
    logger: false,
    bodyLimit: BODY_BYTES_MAX,
    serverFactory: (handler) => createServer(config, tls, handler),
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: 4096 },
    ...(prefix === '' ? {} : { rewriteUrl: (request) => withoutPrefix(request.url ?? NOWHERE, prefix) }),
    frameworkErrors: (err, request, reply) => void sendError(err, request, reply, logger),
  };
  const app = fastify(options);
  app.server.maxConnections = config.httpListenConnLimit > 0 ? config.httpListenConnLimit : connectionsMax();
  refuseLargeHeads(app.server as HttpServer);
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  app.setErrorHandler((err, request, reply) => sendError(err, request, reply, logger));
  return app;
}

function createServer(
  config: ServerConfig,
  tls: ServerTls | undefined,
  handler: RequestListener,
): HttpServer {
  const readMs = config.httpServerReadTimeoutMs;
  const headersMs = config.httpServerReadHeaderTimeoutMs;
  const options = {
    maxHeaderSize: HEADER_BYTES_MAX,
    requestTimeout: readMs,
    headersTimeout: headersMs > 0 && (readMs === 0 || headersMs < readMs) ? headersMs : readMs,
    keepAliveTimeout: config.httpServerIdleTimeoutMs,
    connectionsCheckingInterval: Math.min(Math.max(readMs / 4, CHECK_MS_MIN), CHECK_MS_MAX),
  };
  const server =
    tls === undefined
      ? createHttpServer(options, handler)
      : https.createServer({ ...options, ...tls.optionsFor(['h2', 'http/1.1']) }, handler);
  // Without it an answer that nobody reads would be held for ever.
  server.setTimeout(config.httpServerWriteTimeoutMs);
  return server;
}

/** `/tempo/ready` -> `/ready`. */
function withoutPrefix(url: string, prefix: string): string {
  const base = prefix.replace(/\/+$/, '');
  if (!url.startsWith(base)) return NOWHERE;
  const rest = url.slice(base.length);
  return rest.startsWith('/') ? rest : NOWHERE;
}

async function bind(app: FastifyInstance, config: ServerConfig): Promise<AddressInfo> {
  const family = familyOf(config.httpListenNetwork);
  const address = {
    host: config.httpListenAddress === '' ? undefined : config.httpListenAddress,
    port: config.httpListenPort,
    family,
  };
  try {
    const host = (await resolveHost(address)) ?? (family === 4 ? '0.0.0.0' : '::');
    const ipv6Only = family === 6;
    await app.listen({ port: address.port, host, ipv6Only, listenTextResolver: () => '' });
  } catch (err) {
    throw err instanceof TempoError ? err : cannotListen(address, err);
  }
  return app.server.address() as AddressInfo;
}

async function stop(
  app: FastifyInstance,
  front: Http2Front,
  sockets: OpenSockets,
  graceMs: number,
): Promise<void> {
  await sockets.letIn();
  // At once, and not some turns later, as the framework does: whoever connects meanwhile would be reset.
  app.server.close();
  sockets.destroySilent();
  front.router?.stop();
  front.sessions.close();
  const late = setTimeout(() => {
    front.sessions.destroy();
    sockets.destroyAll();
  }, graceMs);
  await app.close().finally(() => clearTimeout(late));
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
