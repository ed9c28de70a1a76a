// The query API: finds the tenant of a request, refuses what must not be asked, ends what nobody waits for,
// counts and logs. What is read is in reads.ts.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { answerFormat } from '../../api/accept.ts';
import { httpStatusOf } from '../../api/errors.ts';
import { TempoError } from '../../lib/errors.ts';
import { tenantsOfHeader, TENANT_HEADER } from '../../model/tenant.ts';
import type { Logger } from '../../telemetry/log.ts';
import type { Metrics } from '../../telemetry/metrics.ts';
import { type RegexMatcher, regexMatcher } from '../../traceql/regex.ts';
import { compressAnswer } from './compress.ts';
import { FrontendMetrics, type Objectives } from './metrics.ts';
import { QueryLog } from './query-log.ts';
import { type Op, type ReadCall, Reads, type ReadsOptions } from './reads.ts';
import { type Handler, paramsOf, type Route, send, tellPartial } from './request.ts';
import { searchJson, searchProto } from './search-response.ts';
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
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Of each kind of query; without them every answer is good enough. */
  readonly objectives?: Objectives;
}

/** One that is being answered. */
interface Query {
  readonly op: Op;
  readonly seen: ReadCall['seen'];
  failure: unknown;
}

export class QueryFrontend {
  private readonly options: QueryFrontendOptions;
  private readonly reads: Reads;
  private readonly log: QueryLog;
  private readonly denied: readonly RegexMatcher[];
  private readonly open = new WeakMap<FastifyRequest, Query>();
  private readonly metrics: FrontendMetrics;

  constructor(options: QueryFrontendOptions) {
    this.options = options;
    this.reads = new Reads(options);
    this.log = new QueryLog(options.logger, options.logHeaders);
    this.denied = options.urlDenyList.map((pattern) => {
      const matcher = regexMatcher(`.*(?:${pattern}).*`);
      if (matcher === undefined) throw new TempoError('invalid_argument', `invalid pattern ${pattern}`);
      return matcher;
    });
    this.metrics = new FrontendMetrics(options.metrics, options.objectives);
  }

  registerRoutes(app: FastifyInstance): void {
    const prefix = this.options.httpApiPrefix;
    const onResponse = async (request: FastifyRequest, reply: FastifyReply): Promise<void> =>
      this.answered(request, reply);
    const route: Route = (path, op, handler) => {
      const answer = (request: FastifyRequest, reply: FastifyReply) =>
        this.handle(op, handler, request, reply);
      app.all(prefix + path, { onSend: compressAnswer, onResponse }, answer);
    };
    const { reads } = this;
    addTraceRoutes(route, reads);
    route('/api/search', 'search', async (call, request, reply) => {
      const isProto = answerFormat(request.headers.accept) === 'protobuf';
      const found = await reads.search(call, isProto ? 'proto' : 'json');
      tellPartial(reply, found.answer.partial);
      return isProto ? send(reply, 'protobuf', searchProto(found)) : send(reply, 'json', searchJson(found));
    });
    addTagRoutes(route, reads);
  }

  private async handle(
    op: Op,
    handler: Handler,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<FastifyReply> {
    const { apiTimeoutMs } = this.options;
    const ended = new AbortController();
    const closed = (): void => ended.abort(new TempoError('cancelled', 'the client closed the request'));
    reply.raw.once('close', closed);
    const timer =
      apiTimeoutMs > 0 && Number.isFinite(apiTimeoutMs)
        ? setTimeout(() => ended.abort(timedOut()), apiTimeoutMs)
        : undefined;
    const query: Query = { op, seen: { bytes: 0 }, failure: undefined };
    this.open.set(request, query);
    try {
      this.checkUrl(request.url);
      const { seen } = query;
      const tenant = this.tenant(request);
      return await handler({ tenant, params: paramsOf(request), signal: ended.signal, seen }, request, reply);
    } catch (err) {
      query.failure = ended.signal.aborted ? ended.signal.reason : err;
      throw query.failure;
    } finally {
      clearTimeout(timer);
      reply.raw.off('close', closed);
      // An answer that cannot be sent has no end that would be told.
      if (reply.raw.destroyed) this.answered(request, reply);
    }
  }

  /** Counts and logs what was answered, or not taken any more. */
  private answered(request: FastifyRequest, reply: FastifyReply): void {
    const query = this.open.get(request);
    if (query === undefined) return;
    this.open.delete(request);
    const { op, seen, failure } = query;
    const tenant = this.tenantOrNone(request);
    const status = failure === undefined ? reply.statusCode : httpStatusOf(failure);
    const durationMs = reply.elapsedTime;
    const inspectedBytes = seen.bytes;
    if (tenant !== undefined) {
      const outcome = outcomeOf(failure, status);
      this.metrics.answered({ op, tenant, durationMs, inspectedBytes, outcome });
    }
    this.log.write({
      tenant: tenant ?? '',
      method: request.method,
      url: request.url,
      headers: request.headers,
      durationMs,
      inspectedBytes,
      responseBytes: Number(reply.raw.getHeader('content-length') ?? 0),
      status,
    });
  }

  private checkUrl(url: string): void {
    if (!this.denied.some((pattern) => pattern.matchesText(url))) return;
    const why = 'it matches query_frontend.url_deny_list';
    throw new TempoError('invalid_argument', `invalid request ${url}: ${why}`);
  }

  private tenant(request: FastifyRequest): string {
    const { multitenancyEnabled, multiTenantQueriesEnabled } = this.options;
    const header = request.headers[TENANT_HEADER];
    return tenantsOfHeader(header, multitenancyEnabled, multiTenantQueriesEnabled);
  }

  /** For metrics: whatever is no tenant is not counted, so that it cannot make up time series. */
  private tenantOrNone(request: FastifyRequest): string | undefined {
    try {
      return this.tenant(request);
    } catch {
      return undefined;
    }
  }
}

function timedOut(): TempoError {
  return new TempoError('unavailable', 'unable to process request in the configured timeout');
}

function outcomeOf(failure: unknown, status: number): 'answered' | 'refused' | 'failed' | 'canceled' {
  if (status >= 500) return 'failed';
  if (failure === undefined) return 'answered';
  return failure instanceof TempoError && failure.code === 'cancelled' ? 'canceled' : 'refused';
}
