// OTLP over HTTP (port 4318): POST /v1/traces as protobuf or JSON, compressed or not. Statuses and texts
// are those of the OpenTelemetry Collector; errors are a google.rpc.Status in the request's encoding.
import type { RequestListener, Server as HttpServer } from 'node:http';
import https, { type Server as HttpsServer } from 'node:https';
import type { Readable } from 'node:stream';
import fastify, {
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerOptions,
} from 'fastify';
import { requestBodies } from '../lib/byte-ledger.ts';
import { TempoError } from '../lib/errors.ts';
import { noteShortLivedBytes } from '../lib/garbage.ts';
import { createHttpServer } from '../lib/node-http.ts';
import { requestOfJson } from '../model/otlp/json.ts';
import { TENANT_HEADER } from '../model/tenant.ts';
import { encodeStatus, GRPC_INTERNAL, type GrpcStatus, statusOfError } from '../rpc/grpc-status.ts';
import { bodyThreads } from '../rpc/body-threads.ts';
import { ENCODINGS, inflate } from '../rpc/inflate.ts';
import { HEADER_BYTES_MAX, refuseLargeHeads } from '../rpc/large-heads.ts';
import { familyOf, listen, parseEndpoint } from '../rpc/listen.ts';
import { NO_SCHEMAS } from '../rpc/no-schemas.ts';
import { OpenSockets, type OpenSocketsOptions } from '../rpc/open-sockets.ts';
import { ServerTls } from '../rpc/tls.ts';
import type { Logger } from '../telemetry/log.ts';
import { allowOrigins } from './cors.ts';
import { headersOf, receiverTlsSettings } from './transport-config.ts';
import type { OtlpHttpConfig } from './config.ts';
import { encodeExportResponse, exportResponseJson } from './otlp-response.ts';
import type { BoundAddress, Receiver, TraceConsumer } from './receiver.ts';
import { refuseGrpc } from './wrong-port.ts';

export type OtlpHttpOptions = Pick<
  OtlpHttpConfig,
  | 'endpoint'
  | 'tracesUrlPath'
  | 'maxRequestBodySize'
  | 'compressionAlgorithms'
  | 'readTimeoutMs'
  | 'readHeaderTimeoutMs'
  | 'idleTimeoutMs'
> &
  Partial<Pick<OtlpHttpConfig, 'transport' | 'tls' | 'cors' | 'responseHeaders' | 'keepAlivesEnabled'>>;

const TLS_NAME = 'distributor.receivers.otlp.protocols.http.tls';
const PROTOBUF = 'application/x-protobuf';
const JSON_TYPE = 'application/json';
const TEXT = 'text/plain';
const BODY_BYTES_MAX_DEFAULT = 20 << 20;
const REQUEST_TIMEOUT_MS_DEFAULT = 300_000;
/** Larger ones are read on another thread: this much takes a few milliseconds. */
const JSON_SYNC_BYTES_MAX = 64 << 10;
/** How long a client may go on sending a body that was refused. */
const REFUSED_BODY_MS = 1000;
const NO_BODY = new Uint8Array(0);
/** An empty ExportTracePartialSuccess, as the Collector answers. */
const ALL_KEPT = Uint8Array.of(0x0a, 0x00);

/** HTTP status by gRPC code where it is not 500 (OTLP specification, "OTLP/HTTP response"). */
const HTTP_STATUS: Readonly<Record<number, number>> = {
  1: 503,
  3: 400,
  4: 503,
  7: 403,
  8: 429,
  10: 503,
  11: 503,
  12: 404,
  14: 503,
  15: 503,
  16: 401,
};

export class OtlpHttpReceiver implements Receiver {
  readonly name = 'otlp/http';
  readonly app: FastifyInstance;
  readonly #config: OtlpHttpOptions;
  readonly #consumer: TraceConsumer;
  readonly #logger: Logger;
  readonly #refusals: Logger;
  readonly #bodyBytesMax: number;
  readonly #tls: ServerTls | undefined;
  readonly #sockets: OpenSockets;
  #isStopping = false;

  /**
   * @param sockets how long connections are waited for at the stop.
   * @param refusals gets a line for each request that is not read as far as to its consumer.
   */
  constructor(
    config: OtlpHttpOptions,
    consumer: TraceConsumer,
    logger: Logger,
    sockets: OpenSocketsOptions = {},
    refusals: Logger = logger,
  ) {
    checkEncodings(config.compressionAlgorithms);
    this.#config = config;
    this.#consumer = consumer;
    this.#logger = logger;
    this.#refusals = refusals;
    this.#bodyBytesMax = config.maxRequestBodySize > 0 ? config.maxRequestBodySize : BODY_BYTES_MAX_DEFAULT;
    this.#tls = config.tls && new ServerTls(receiverTlsSettings(config.tls, TLS_NAME), logger);
    const options: FastifyServerOptions = {
      ...NO_SCHEMAS,
      exposeHeadRoutes: false,
      serverFactory: (handler) => createServer(config, this.#tls, handler),
    };
    this.app = fastify(options);
    this.#sockets = new OpenSockets(this.app.server, sockets);
    refuseGrpc(this.app.server, logger);
    refuseLargeHeads(this.app.server);
    this.#transport();
    this.#routes();
  }

  async start(): Promise<BoundAddress> {
    const { server } = this.app;
    const { endpoint, transport = '' } = this.#config;
    await this.app.ready();
    const bound = await listen(server, { ...parseEndpoint(endpoint), family: familyOf(transport) });
    if ('setSecureContext' in server) this.#tls?.attach(server as HttpsServer);
    return bound;
  }

  async stop(graceMs: number): Promise<void> {
    this.#isStopping = true;
    this.#tls?.detach();
    const { server } = this.app;
    if (server.listening) {
      await this.#sockets.letIn();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      this.#sockets.destroySilent();
      const timer = setTimeout(() => this.#sockets.destroyAll(), graceMs);
      await closed;
      clearTimeout(timer);
    }
    await this.app.close();
  }

  /** What answers have whatever they say. */
  #transport(): void {
    const { cors, keepAlivesEnabled = true, responseHeaders } = this.#config;
    if (cors !== undefined) allowOrigins(this.app, cors);
    const fixed = headersOf(responseHeaders);
    if (fixed.length === 0 && keepAlivesEnabled) return;
    this.app.addHook('onRequest', async (_request, reply) => {
      for (const [name, value] of fixed) void reply.header(name, value);
      if (!keepAlivesEnabled) void reply.header('connection', 'close');
    });
  }

  #routes(): void {
    const { app } = this;
    app.removeAllContentTypeParsers();
    app.addContentTypeParser('*', (request, payload, done) => this.#read(request, payload, done));
    app.setNotFoundHandler((_request, reply) => {
      void reply.code(404).type('text/plain; charset=utf-8').send('404 page not found\n');
    });
    app.setErrorHandler((err, request, reply) => this.#sendError(request, reply, err));
    app.all(this.#config.tracesUrlPath, {
      onRequest: (request, reply, done) => {
        if (!refuseForm(request, reply)) done();
      },
      handler: (request, reply) => this.#export(request, reply),
    });
  }

  async #export(request: FastifyRequest, reply: FastifyReply): Promise<Buffer> {
    const isJson = mediaType(request) === JSON_TYPE;
    const body = request.body instanceof Uint8Array ? request.body : NO_BODY;
    let held = body.length;
    try {
      const raw = await this.#inflated(request, body);
      if (raw !== body) {
        requestBodies.hold(raw.length);
        held += raw.length;
      }
      const message = isJson ? await this.#protobufOf(raw) : raw;
      noteShortLivedBytes(body.length + raw.length);
      const consumed = await this.#consumer.consume({
        tenantHeader: request.headers[TENANT_HEADER],
        body: message,
        transport: 'http',
      });
      if (this.#isStopping) void reply.header('connection', 'close');
      void reply.type(isJson ? JSON_TYPE : PROTOBUF);
      if (isJson) return Buffer.from(exportResponseJson(consumed));
      const answer = encodeExportResponse(consumed);
      return Buffer.from(answer.length === 0 ? ALL_KEPT : answer);
    } finally {
      requestBodies.drop(held);
    }
  }

  /** Reads a body within its limit and that of all requests; what it took is given back by `#export`. */
  #read(request: FastifyRequest, payload: Readable, done: (err: Error | null, body?: Buffer) => void): void {
    const max = this.#bodyBytesMax;
    if (Number(request.headers['content-length'] ?? 0) > max) return done(bodyTooLarge());
    const chunks: Buffer[] = [];
    let length = 0;
    const finish = (err: Error | null): void => {
      payload.off('data', take).off('end', end).off('close', close);
      if (err === null) return done(null, chunks.length === 1 ? chunks[0] : Buffer.concat(chunks, length));
      requestBodies.drop(length);
      payload.resume();
      done(err);
    };
    const take = (chunk: Buffer): void => {
      try {
        if (length + chunk.length > max) throw bodyTooLarge();
        requestBodies.hold(chunk.length);
      } catch (err) {
        return finish(err as Error);
      }
      length += chunk.length;
      chunks.push(chunk);
    };
    const end = (): void => finish(null);
    const close = (): void =>
      finish(new TempoError('cancelled', 'the client left in the middle of its request'));
    payload.on('data', take).on('end', end).on('close', close);
  }

  async #protobufOf(body: Uint8Array): Promise<Uint8Array> {
    try {
      return await protobufOf(body);
    } catch (err) {
      this.#refusals.error('pusher failed to consume trace data', { err });
      throw err;
    }
  }

  async #inflated(request: FastifyRequest, body: Uint8Array): Promise<Uint8Array> {
    const encoding = (request.headers['content-encoding'] ?? '').toLowerCase();
    if (encoding === '' || encoding === 'identity') return body;
    const allowed = this.#config.compressionAlgorithms;
    if (!ENCODINGS.includes(encoding) || (allowed.length > 0 && !allowed.includes(encoding))) {
      throw new TempoError('invalid_argument', `unsupported Content-Encoding: ${encoding}`);
    }
    return await inflate(encoding, body, this.#bodyBytesMax);
  }

  #sendError(request: FastifyRequest, reply: FastifyReply, thrown: unknown): void {
    const err = ofFramework(thrown);
    const status = statusOfError(err);
    if (status.code === GRPC_INTERNAL) this.#logger.error('otlp http request failed', { err });
    const isTooLarge = err instanceof TempoError && err.code === 'too_large';
    if (!request.raw.complete) {
      // Fastify would close at once, and Node where the client asks for it.
      const { keepAlivesEnabled = true } = this.#config;
      if (keepAlivesEnabled && !this.#isStopping) {
        void reply.removeHeader('connection');
        reply.raw.shouldKeepAlive = true;
      }
      dropRest(request);
    }
    if (status.retryAfterMs !== undefined) {
      void reply.header('retry-after', String(Math.ceil(status.retryAfterMs / 1000)));
    }
    const isJson = mediaType(request) === JSON_TYPE;
    void reply
      .code(isTooLarge ? 413 : (HTTP_STATUS[status.code] ?? 500))
      .type(isJson ? JSON_TYPE : PROTOBUF)
      .send(Buffer.from(isJson ? statusJson(status) : encodeStatus(status)));
  }
}

function createServer(
  config: OtlpHttpOptions,
  tls: ServerTls | undefined,
  handler: RequestListener,
): HttpServer {
  const options = {
    maxHeaderSize: HEADER_BYTES_MAX,
    requestTimeout: config.readTimeoutMs > 0 ? config.readTimeoutMs : REQUEST_TIMEOUT_MS_DEFAULT,
    keepAliveTimeout: config.idleTimeoutMs,
    headersTimeout: config.readHeaderTimeoutMs,
  };
  if (tls === undefined) return createHttpServer(options, handler);
  return https.createServer({ ...options, ...tls.optionsFor(['http/1.1']) }, handler);
}

/** Answers what is no export request by its method or content type; true = answered. */
function refuseForm(request: FastifyRequest, reply: FastifyReply): boolean {
  if (request.method !== 'POST') {
    void reply.code(405).header('allow', 'POST').type(TEXT).send('405 method not allowed, supported: [POST]');
    return true;
  }
  const type = mediaType(request);
  if (type === PROTOBUF || type === JSON_TYPE) return false;
  const text = `415 unsupported media type, supported: [${JSON_TYPE}, ${PROTOBUF}]`;
  void reply.code(415).type(TEXT).send(text);
  return true;
}

/** An empty name stands for bodies that are not compressed, which are taken in any case. */
function checkEncodings(names: readonly string[]): void {
  const unknown = names.find((name) => name !== '' && !ENCODINGS.includes(name));
  if (unknown === undefined) return;
  const key = 'distributor.receivers.otlp.protocols.http.compression_algorithms';
  throw new TempoError(
    'invalid_argument',
    `${key}: ${JSON.stringify(unknown)} is none of ${ENCODINGS.join(', ')}`,
  );
}

/**
 * Reads what is left of a refused body, for a while: closing at once would reset the connection, and a client
 * that is still sending might never read the answer.
 */
function dropRest({ raw }: FastifyRequest): void {
  raw.resume();
  if (raw.httpVersionMajor > 1 || raw.destroyed) return;
  const timer = setTimeout(() => raw.socket.destroy(), REFUSED_BODY_MS).unref();
  raw.once('close', () => clearTimeout(timer));
}

async function protobufOf(json: Uint8Array): Promise<Uint8Array> {
  if (json.length <= JSON_SYNC_BYTES_MAX) return requestOfJson(json);
  return await bodyThreads.run({ kind: 'otlpJson', bytes: json });
}

function mediaType(request: FastifyRequest): string {
  const [type = ''] = (request.headers['content-type'] ?? '').split(';', 1);
  return type.trim().toLowerCase();
}

/** Gives fastify's own refusals the code of ours. */
function ofFramework(err: unknown): unknown {
  if (err instanceof TempoError || !(err instanceof Error) || !('statusCode' in err)) return err;
  return Number(err.statusCode) < 500 ? new TempoError('invalid_argument', err.message, err) : err;
}

function bodyTooLarge(): TempoError {
  return new TempoError('too_large', 'http: request body too large');
}

function statusJson(status: GrpcStatus): string {
  return JSON.stringify({ code: status.code, message: status.message });
}
