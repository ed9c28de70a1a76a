// The query API: reads requests, checks them, asks a querier, and writes Tempo's answers.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { parseSearchParams, parseTraceId, parseTraceRange, type SearchLimits } from '../../api/params.ts';
import type { Querier } from '../../contracts/query.ts';
import { TempoError } from '../../lib/errors.ts';
import { tenantsOfHeader, TENANT_HEADER } from '../../model/tenant.ts';
import type { Counter, Histogram, Metrics } from '../../telemetry/metrics.ts';
import { parse } from '../../traceql/parser.ts';
import { TraceqlError } from '../../traceql/error.ts';
import { validate } from '../../traceql/validate.ts';
import { compressAnswer } from './compress.ts';
import { type Handler, paramsOf, tellPartial } from './request.ts';
import { searchResponseJson } from './search-response.ts';
import { TagEndpoints } from './tags.ts';
import { traceV1Json, traceV2Json, traceV2Proto } from './trace-response.ts';

export interface QueryFrontendOptions {
  readonly querier: Querier;
  readonly searchLimits: SearchLimits;
  /** Longest range of a tenant's searches; 0 = that of `searchLimits`. */
  readonly searchDurationMaxMs: (tenant: string) => number;
  /** Of the tag values of one answer. */
  readonly tagValueBytesMax: (tenant: string) => number;
  /** How far back recent spans are asked at all. */
  readonly recentMs: number;
  readonly nowMs: () => number;
  readonly multitenancyEnabled: boolean;
  readonly multiTenantQueriesEnabled: boolean;
  readonly httpApiPrefix: string;
  readonly metrics: Metrics;
}

const PROTOBUF = 'application/protobuf';
const JSON_TYPE = 'application/json';

const DURATION_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50];

export class QueryFrontend {
  private readonly options: QueryFrontendOptions;
  private readonly queries: Counter;
  private readonly durations: Histogram;
  private readonly bytes: Counter;

  constructor(options: QueryFrontendOptions) {
    this.options = options;
    const { metrics } = options;
    this.queries = metrics.counter('tempo_query_frontend_queries_total', 'Queries received.', [
      'tenant',
      'op',
      'result',
    ]);
    this.bytes = metrics.counter('tempo_query_frontend_bytes_processed_total', 'Bytes read by queries.', [
      'op',
    ]);
    this.durations = metrics.histogram(
      'tempo_query_frontend_query_duration_seconds',
      'Time until the answer is complete.',
      DURATION_BUCKETS,
      ['op'],
    );
  }

  registerRoutes(app: FastifyInstance): void {
    const prefix = this.options.httpApiPrefix;
    const route = (path: string, op: string, handler: Handler): void => {
      const answer = (request: FastifyRequest, reply: FastifyReply) =>
        this.handle(op, handler, request, reply);
      app.all(prefix + path, { onSend: compressAnswer }, answer);
    };
    route('/api/traces/:traceID', 'traces', (request, reply, signal) => this.traceV1(request, reply, signal));
    route('/api/v2/traces/:traceID', 'traces', (request, reply, signal) =>
      this.traceV2(request, reply, signal),
    );
    route('/api/search', 'search', (request, reply, signal) => this.search(request, reply, signal));
    this.tagEndpoints().register(route);
  }

  private tagEndpoints(): TagEndpoints {
    const { querier, searchLimits, tagValueBytesMax, recentMs, nowMs } = this.options;
    const { durationMaxMs, queryBytesMax } = searchLimits;
    return new TagEndpoints({
      querier,
      durationMaxMs,
      queryBytesMax,
      valueBytesMax: tagValueBytesMax,
      recentMs,
      tenantOf: (request) => this.tenant(request),
      onRead: (op, bytes) => this.bytes.inc({ op }, bytes),
      nowMs,
    });
  }

  private async handle(
    op: string,
    handler: Handler,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<FastifyReply> {
    const gone = new AbortController();
    const closed = (): void => gone.abort();
    reply.raw.once('close', closed);
    const begin = performance.now();
    let result = 'completed';
    try {
      return await handler(request, reply, gone.signal);
    } catch (err) {
      result = gone.signal.aborted ? 'canceled' : 'error';
      throw err;
    } finally {
      reply.raw.off('close', closed);
      this.durations.observe({ op }, (performance.now() - begin) / 1000);
      this.queries.inc({ tenant: this.tenantOrNone(request), op, result });
    }
  }

  private async traceV1(
    request: FastifyRequest,
    reply: FastifyReply,
    signal: AbortSignal,
  ): Promise<FastifyReply> {
    const { wantsProto, answer } = await this.findTrace(request, signal);
    tellPartial(reply, answer.partial);
    if (answer.trace === undefined) return reply.code(404).send();
    if (wantsProto) return reply.type(PROTOBUF).send(Buffer.from(answer.trace));
    return reply.type(JSON_TYPE).send(traceV1Json(answer.trace));
  }

  private async traceV2(
    request: FastifyRequest,
    reply: FastifyReply,
    signal: AbortSignal,
  ): Promise<FastifyReply> {
    const { wantsProto, answer } = await this.findTrace(request, signal);
    if (wantsProto) return reply.type(PROTOBUF).send(Buffer.from(traceV2Proto(answer)));
    return reply.type(JSON_TYPE).send(traceV2Json(answer));
  }

  private async findTrace(request: FastifyRequest, signal: AbortSignal) {
    const { traceID } = request.params as { readonly traceID: string };
    const id = parseTraceId(traceID);
    const range = parseTraceRange(paramsOf(request));
    const tenant = this.tenant(request);
    const wantsProto = (request.headers.accept ?? '').includes(PROTOBUF);
    const format = wantsProto ? 'proto' : 'json';
    const answer = await this.options.querier.findTrace({ tenant, id, range, format }, signal);
    this.bytes.inc({ op: 'traces' }, answer.inspectedBytes);
    return { wantsProto, answer };
  }

  private async search(
    request: FastifyRequest,
    reply: FastifyReply,
    signal: AbortSignal,
  ): Promise<FastifyReply> {
    const tenant = this.tenant(request);
    const { searchLimits, searchDurationMaxMs } = this.options;
    const ownMaxMs = searchDurationMaxMs(tenant);
    const limits = ownMaxMs > 0 ? { ...searchLimits, durationMaxMs: ownMaxMs } : searchLimits;
    const { isTagSearch, ...params } = parseSearchParams(paramsOf(request), limits);
    checkQuery(params.query);
    const spansPerSpanSet = isTagSearch ? 1 : params.spansPerSpanSet;
    const answer = await this.options.querier.search({ tenant, ...params, spansPerSpanSet }, signal);
    this.bytes.inc({ op: 'search' }, answer.stats.inspectedBytes);
    tellPartial(reply, answer.partial);
    return reply.type(JSON_TYPE).send(searchResponseJson(answer, isTagSearch));
  }

  private tenant(request: FastifyRequest): string {
    const { multitenancyEnabled, multiTenantQueriesEnabled } = this.options;
    const header = request.headers[TENANT_HEADER];
    return tenantsOfHeader(header, multitenancyEnabled, multiTenantQueriesEnabled);
  }

  /** For metrics: whatever is no tenant counts as none, so that it cannot make up time series. */
  private tenantOrNone(request: FastifyRequest): string {
    try {
      return this.tenant(request);
    } catch {
      return '';
    }
  }
}

/** Refuses what the engine would refuse, before any data is read. */
function checkQuery(text: string): void {
  try {
    validate(parse(text));
  } catch (err) {
    if (!(err instanceof TraceqlError)) throw err;
    throw new TempoError('invalid_argument', `invalid TraceQL query: ${err.message}`, err);
  }
}
