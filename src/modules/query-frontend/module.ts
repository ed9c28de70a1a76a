// The query API over HTTP: finds the tenant of a request, refuses what must not be asked, ends what nobody
// waits for. What is read is in reads.ts; over gRPC it is streaming.ts.
import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { answerFormat } from '../../api/accept.ts';
import { EARLY_SERIES_MS, MESSAGE_BYTES_MAX } from '../../contracts/early-series.ts';
import { TempoError } from '../../lib/errors.ts';
import { tenantsOfHeader, TENANT_HEADER, type TenantHeader } from '../../model/tenant.ts';
import type { GrpcMethods } from '../../rpc/grpc-methods.ts';
import type { Logger } from '../../telemetry/log.ts';
import type { Metrics } from '../../telemetry/metrics.ts';
import { type RegexMatcher, regexMatcher } from '../../traceql/regex.ts';
import { compressAnswer, isStream } from './compress.ts';
import { addExplainRoutes } from './explain.ts';
import { FrontendMetrics, type Objectives } from './metrics.ts';
import { addMetricsRoutes } from './metrics-routes.ts';
import { addQuerierMethods } from './querier-methods.ts';
import { QueryLog } from './query-log.ts';
import { parseQueryPart } from './query-part.ts';
import { type OpenQuery, QueryWatch } from './query-watch.ts';
import { type Op, Reads, type ReadsOptions } from './reads.ts';
import { type Handler, paramsOf, type Route, searchNotes, send } from './request.ts';
import { searchJson, searchProtoParts } from './search-response.ts';
import { endWhenStalled } from './stalled.ts';
import { addStreamingMethods, type StreamingOptions } from './streaming.ts';
import { addTagRoutes } from './tags.ts';
import { addTraceRoutes } from './traces.ts';

export interface QueryFrontendOptions extends ReadsOptions {
  readonly multitenancyEnabled: boolean;
  readonly multiTenantQueriesEnabled: boolean;
  readonly httpApiPrefix: string;
  /** Of one request; 0 = no limit. */
  readonly apiTimeoutMs: number;
  /** Patterns of URLs that are refused, RE2; each is valid. */
  readonly urlDenyList: readonly string[];
  /** A comma list of headers whose values are logged. */
  readonly logHeaders: string;
  /** Streamed answers are split into messages of about this size; 0 = as large as clients take. */
  readonly packetBytesMax: number;
  /** A large answer of which nothing could be sent for that long is given up. */
  readonly answerStallMs?: number;
  /** Series of metrics queries that still run are streamed that often at most. */
  readonly earlySeriesMs?: number;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Of each kind of query; without them every answer is good enough. */
  readonly objectives?: Objectives;
}

/** Below it queriers are asked for parts of the data. */
const QUERIER_ROOT = '/querier';

/** As long as gRPC waits for a reader (`src/rpc/grpc-http2.ts`). */
const ANSWER_STALL_MS = 30_000;

export class QueryFrontend {
  private readonly options: QueryFrontendOptions;
  private readonly reads: Reads;
  private readonly watch: QueryWatch;
  private readonly denied: readonly RegexMatcher[];
  private readonly open = new WeakMap<FastifyRequest, OpenQuery>();

  constructor(options: QueryFrontendOptions) {
    this.options = options;
    this.reads = new Reads(options);
    const log = new QueryLog(options.logger, options.logHeaders);
    const metrics = new FrontendMetrics(options.metrics, options.objectives);
    options.metrics.gauge(
      'tempo_query_frontend_trace_answer_bytes',
      'Bytes of traces and metrics summaries that are made or sent.',
      [],
      (gauge) => gauge.set(this.reads.bytesHeld),
    );
    this.watch = new QueryWatch({ apiTimeoutMs: options.apiTimeoutMs, log, metrics });
    this.denied = options.urlDenyList.map((pattern) => {
      const matcher = regexMatcher(`.*(?:${pattern}).*`);
      if (matcher === undefined) throw new TempoError('invalid_argument', `invalid pattern ${pattern}`);
      return matcher;
    });
  }

  /** What clients ask, and what is asked of queriers. */
  registerRoutes(app: FastifyInstance): void {
    this.addRoutes(this.routeAt(app, ''));
    addExplainRoutes(this.routeAt(app, ''), this.reads);
    this.registerQuerierRoutes(app);
  }

  /** Requests of the query-frontends of other processes, for parts of the data. */
  registerQuerierRoutes(app: FastifyInstance): void {
    this.addRoutes(this.routeAt(app, QUERIER_ROOT));
  }

  private addRoutes(route: Route): void {
    const { reads } = this;
    addTraceRoutes(route, reads);
    addSearchRoute(route, reads);
    addTagRoutes(route, reads);
    addMetricsRoutes(route, reads);
  }

  private routeAt(app: FastifyInstance, root: string): Route {
    const prefix = this.options.httpApiPrefix;
    const onResponse = async (request: FastifyRequest, reply: FastifyReply): Promise<void> =>
      this.answered(request, reply);
    const onSend = async (request: FastifyRequest, reply: FastifyReply, body: unknown): Promise<unknown> =>
      this.measured(request, reply, body);
    return (path, op, handler) => {
      const answer = (request: FastifyRequest, reply: FastifyReply) =>
        this.handle(op, handler, request, reply, root !== '');
      app.all(root + prefix + path, { onSend: [onSend, compressAnswer], onResponse }, answer);
    };
  }

  /** The same over gRPC, as streams. */
  registerMethods(methods: GrpcMethods): void {
    addStreamingMethods(methods, this.streaming());
  }

  /** Requests of the queriers of other processes for what is recent. */
  registerQuerierMethods(methods: GrpcMethods): void {
    addQuerierMethods(methods, this.streaming());
  }

  private streaming(): StreamingOptions {
    const { packetBytesMax } = this.options;
    return {
      reads: this.reads,
      watch: this.watch,
      tenantOf: (header: TenantHeader) => this.tenant(header),
      packetBytesMax: packetBytesMax > 0 ? Math.min(packetBytesMax, MESSAGE_BYTES_MAX) : MESSAGE_BYTES_MAX,
      earlySeriesMs: this.options.earlySeriesMs ?? EARLY_SERIES_MS,
    };
  }

  private async handle(
    op: Op,
    handler: Handler,
    request: FastifyRequest,
    reply: FastifyReply,
    isSubRequest: boolean,
  ): Promise<FastifyReply> {
    const query = this.watch.begin(op, isSubRequest);
    const { seen, signal, cancel } = query;
    reply.raw.once('close', cancel);
    this.open.set(request, query);
    try {
      this.checkUrl(request.url);
      const tenant = this.tenant(request.headers[TENANT_HEADER]);
      const params = paramsOf(request);
      const part = isSubRequest ? parseQueryPart(params) : undefined;
      const call = { tenant, params, signal, seen, part };
      const sent = await handler(call, request, reply);
      this.watch.read(query, undefined);
      return sent;
    } catch (err) {
      throw this.watch.read(query, err);
    } finally {
      reply.raw.off('close', cancel);
      // An answer that cannot be sent has no end that would be told.
      if (reply.raw.destroyed) this.answered(request, reply);
    }
  }

  private measured(request: FastifyRequest, reply: FastifyReply, body: unknown): unknown {
    const query = this.open.get(request);
    if (query === undefined) return body;
    if (isStream(body)) {
      endWhenStalled(reply.raw, this.options.answerStallMs ?? ANSWER_STALL_MS);
      return Readable.from(counted(body, query), { objectMode: false });
    }
    const isSized = typeof body === 'string' || body instanceof Uint8Array;
    if (isSized) query.responseBytes = Buffer.byteLength(body);
    return body;
  }

  private answered(request: FastifyRequest, reply: FastifyReply): void {
    const query = this.open.get(request);
    if (query === undefined) return;
    this.open.delete(request);
    const { method, url, headers } = request;
    this.watch.end(query, {
      tenant: this.tenantOrNone(request),
      method,
      url,
      headers,
      status: reply.statusCode,
    });
  }

  private checkUrl(url: string): void {
    if (!this.denied.some((pattern) => pattern.matchesText(url))) return;
    const why = 'it matches query_frontend.url_deny_list';
    throw new TempoError('invalid_argument', `invalid request ${url}: ${why}`);
  }

  private tenant(header: TenantHeader): string {
    const { multitenancyEnabled, multiTenantQueriesEnabled } = this.options;
    return tenantsOfHeader(header, multitenancyEnabled, multiTenantQueriesEnabled);
  }

  /** For metrics: whatever is no tenant is not counted, so that it cannot make up time series. */
  private tenantOrNone(request: FastifyRequest): string | undefined {
    try {
      return this.tenant(request.headers[TENANT_HEADER]);
    } catch {
      return undefined;
    }
  }
}

async function* counted(body: Readable, query: OpenQuery): AsyncGenerator<Buffer> {
  for await (const chunk of body as AsyncIterable<Buffer>) {
    query.responseBytes += chunk.length;
    yield chunk;
  }
}

function addSearchRoute(route: Route, reads: Reads): void {
  route('/api/search', 'search', async (call, request, reply) => {
    const isProto = answerFormat(request.headers.accept) === 'protobuf';
    const found = await reads.search(call, isProto ? 'proto' : 'json');
    reply.headers(searchNotes(found));
    const { letGo } = found.answer;
    if (isProto) return send(reply, 'protobuf', searchProtoParts(found), letGo);
    return send(reply, 'json', searchJson(found), letGo);
  });
}
