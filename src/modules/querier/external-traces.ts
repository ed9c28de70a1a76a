// Another server that is asked for traces by their id, beside what is stored here: it answers with OTLP, as
// `querier.trace_by_id.external` of Tempo expects.
import type { TimeRange } from '../../contracts/recent-traces.ts';
import { TempoError } from '../../lib/errors.ts';
import { scanRequest } from '../../model/otlp/scan.ts';
import { splitTenants, TENANT_HEADER } from '../../model/tenant.ts';
import { type HttpAnswer, httpGet } from '../../rpc/http-get.ts';
import type { Histogram, Metrics } from '../../telemetry/metrics.ts';

export interface ExternalTracesOptions {
  /** What the paths of Tempo's API follow. */
  readonly endpoint: string;
  readonly timeoutMs: number;
  readonly metrics: Metrics;
}

/** Of an answer; the trace is cut later where a tenant's limit says so. */
const ANSWER_BYTES_MAX = 256 << 20;
const SECONDS_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const HTTP_OK = 200;
const HTTP_NOT_FOUND = 404;
const ERROR_TEXT_MAX = 200;

export class ExternalTraces {
  private readonly options: ExternalTracesOptions;
  private readonly seconds: Histogram;

  /** Throws when the endpoint is no URL. */
  constructor(options: ExternalTracesOptions) {
    if (!URL.canParse(options.endpoint) || !/^https?:/.test(options.endpoint)) {
      throw new TempoError('invalid_argument', 'querier.trace_by_id.external.endpoint is no http(s) URL');
    }
    this.options = options;
    this.seconds = options.metrics.histogram(
      'tempo_querier_external_endpoint_request_duration_seconds',
      'Time of requests to the server that is asked for traces too.',
      SECONDS_BUCKETS,
      ['status_code'],
    );
  }

  /** @returns well-formed OTLP TracesData; undefined when the server does not know the trace. */
  async find(
    tenant: string,
    id: Uint8Array,
    { startSec, endSec }: TimeRange,
    signal?: AbortSignal,
  ): Promise<Uint8Array | undefined> {
    const url = new URL(this.options.endpoint);
    url.pathname = `${url.pathname.replace(/\/$/, '')}/api/v2/traces/${Buffer.from(id).toString('hex')}`;
    if (startSec !== undefined) url.searchParams.set('start', String(startSec));
    if (endSec !== undefined) url.searchParams.set('end', String(endSec));
    const { status, body } = await this.get(url, splitTenants(tenant).join('|'), signal);
    if (status === HTTP_NOT_FOUND || (status === HTTP_OK && body.length === 0)) return undefined;
    if (status !== HTTP_OK) {
      const text = Buffer.from(body.subarray(0, ERROR_TEXT_MAX)).toString();
      throw new TempoError('unavailable', `the external endpoint answered with status ${status}: ${text}`);
    }
    try {
      scanRequest(body);
    } catch (err) {
      throw new TempoError('unavailable', `the external endpoint: ${(err as Error).message}`, err);
    }
    return body;
  }

  private async get(url: URL, tenant: string, signal: AbortSignal | undefined): Promise<HttpAnswer> {
    const { username, password } = url;
    url.username = '';
    url.password = '';
    const headers: Record<string, string> = { accept: 'application/protobuf', [TENANT_HEADER]: tenant };
    if (username !== '') {
      const user = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
      headers['authorization'] = `Basic ${Buffer.from(user).toString('base64')}`;
    }
    const startedMs = performance.now();
    let code = 'error';
    try {
      const { timeoutMs } = this.options;
      const answer = await httpGet(url.href, { headers, timeoutMs, bytesMax: ANSWER_BYTES_MAX, signal });
      code = String(answer.status);
      return answer;
    } catch (err) {
      if (!(err instanceof TempoError)) throw err;
      throw new TempoError(err.code, `the external endpoint: ${err.message}`, err);
    } finally {
      this.seconds.observe({ status_code: code }, (performance.now() - startedMs) / 1000);
    }
  }
}
