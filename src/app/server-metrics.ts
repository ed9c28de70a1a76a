// What the servers tell of their requests, HTTP and gRPC, in Tempo's names.
import type { Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { exponentialBuckets } from '../lib/exponential-buckets.ts';
import type { CallObserver } from '../rpc/grpc-call.ts';
import { GRPC_CANCELLED, GRPC_OK } from '../rpc/grpc-status.ts';
import type { Gauge, Histogram, Metrics } from '../telemetry/metrics.ts';
import { templateOf } from './routes.ts';
import type { ServerConfig } from './server-config.ts';

const REQUEST_BUCKETS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 1.5, 2.5, 5, 10, 25, 50, 100];
/** Four to a gigabyte. */
const MESSAGE_BUCKETS = exponentialBuckets(4, 4, 15);

type ServerSettings = Pick<
  ServerConfig,
  | 'httpListenConnLimit'
  | 'grpcListenConnLimit'
  | 'grpcServerMaxConcurrentStreams'
  | 'reportGrpcCodesInInstrumentationLabelEnabled'
>;

export class ServerMetrics implements CallObserver {
  readonly #seconds: Histogram;
  readonly #inflight: Gauge;
  readonly #bytesIn: Histogram;
  readonly #bytesOut: Histogram;
  readonly #connections: Gauge;
  readonly #areCodesNamed: boolean;

  constructor(metrics: Metrics, settings?: ServerSettings) {
    this.#areCodesNamed = settings?.reportGrpcCodesInInstrumentationLabelEnabled ?? false;
    const labels = ['method', 'route'];
    const help = 'Time spent serving HTTP requests.';
    this.#seconds = metrics.histogram('tempo_request_duration_seconds', help, REQUEST_BUCKETS, [
      ...labels,
      'status_code',
      'ws',
    ]);
    this.#inflight = metrics.gauge('tempo_inflight_requests', 'Requests that are being served.', labels);
    this.#bytesIn = metrics.histogram(
      'tempo_request_message_bytes',
      'Size of requests that were received.',
      MESSAGE_BUCKETS,
      labels,
    );
    this.#bytesOut = metrics.histogram(
      'tempo_response_message_bytes',
      'Size of answers that were sent.',
      MESSAGE_BUCKETS,
      labels,
    );
    this.#connections = metrics.gauge('tempo_tcp_connections', 'Connections that are open.', ['protocol']);
    const limit = metrics.gauge('tempo_tcp_connections_limit', 'How many there may be; 0 = no limit.', [
      'protocol',
    ]);
    limit.set({ protocol: 'http' }, settings?.httpListenConnLimit ?? 0);
    limit.set({ protocol: 'grpc' }, settings?.grpcListenConnLimit ?? 0);
    for (const protocol of ['http', 'grpc']) this.#connections.set({ protocol }, 0);
    metrics
      .gauge('tempo_grpc_concurrent_streams_limit', 'Streams that a connection of the gRPC port may have.')
      .set(settings?.grpcServerMaxConcurrentStreams ?? 0);
  }

  /** Counts a connection while it is open. */
  connected(socket: Socket, protocol: 'http' | 'grpc'): void {
    this.#connections.inc({ protocol });
    socket.once('close', () => this.#connections.dec({ protocol }));
  }

  /** Measures the HTTP requests of a server. */
  observe(app: FastifyInstance): void {
    app.addHook('onRequest', async (request, reply) => {
      const labels = { method: request.method, route: routeName(request.routeOptions.url) };
      this.#inflight.inc(labels);
      // There is no `onResponse` when the client leaves before it has got all.
      reply.raw.once('close', () => this.#inflight.dec(labels));
    });
    app.addHook('onResponse', async (request, reply) => {
      const labels = { method: request.method, route: routeName(request.routeOptions.url) };
      const status_code = String(reply.statusCode);
      this.#seconds.observe({ ...labels, status_code, ws: 'false' }, reply.elapsedTime / 1000);
      this.#bytesIn.observe(labels, Number(request.headers['content-length'] ?? 0));
      this.#bytesOut.observe(labels, Number(reply.getHeader('content-length') ?? 0));
    });
  }

  started(path: string): void {
    this.#inflight.inc({ method: 'gRPC', route: path });
  }

  ended(path: string, code: number, seconds: number, bytesIn: number, bytesOut: number): void {
    const labels = { method: 'gRPC', route: path };
    this.#inflight.dec(labels);
    this.#seconds.observe(
      { ...labels, status_code: this.#areCodesNamed ? CODE_NAMES[code] : statusName(code), ws: 'false' },
      seconds,
    );
    this.#bytesIn.observe(labels, bytesIn);
    this.#bytesOut.observe(labels, bytesOut);
  }
}

/** Go's names of codes, for `report_grpc_codes_in_instrumentation_label_enabled`. */
const CODE_NAMES: readonly string[] = [
  'OK',
  'Canceled',
  'Unknown',
  'InvalidArgument',
  'DeadlineExceeded',
  'NotFound',
  'AlreadyExists',
  'PermissionDenied',
  'ResourceExhausted',
  'FailedPrecondition',
  'Aborted',
  'OutOfRange',
  'Unimplemented',
  'Internal',
  'Unavailable',
  'DataLoss',
  'Unauthenticated',
];

function statusName(code: number): string {
  if (code === GRPC_OK) return 'success';
  return code === GRPC_CANCELLED ? 'cancel' : 'error';
}

/** `/api/traces/:traceID` -> `api_traces_traceid`. */
function routeName(url: string | undefined): string {
  if (url === undefined) return 'other';
  return templateOf(url)
    .replace(/^\//, '')
    .replaceAll(/[{}]|:\.\*/g, '')
    .replaceAll(/[^A-Za-z0-9]+/g, '_')
    .toLowerCase();
}
