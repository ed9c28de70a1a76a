// distributor.receivers: which protocols are listened to. A protocol is on when its key is there, even with
// no value.
import {
  block,
  bool,
  duration,
  int,
  list,
  oneOf,
  optional,
  raw,
  size,
  text,
  type ConfigOf,
} from '../config/field.ts';
import { cors, keepalive, responseHeaders, tls } from './transport-config.ts';

const auth = raw(undefined, 'authenticator', { hidden: true });

const otlpGrpcFields = {
  endpoint: text('localhost:4317', 'address to listen on'),
  transport: oneOf(['', 'tcp', 'tcp4', 'tcp6', 'unix'], 'tcp', 'network'),
  max_recv_msg_size_mib: int(0, 'largest message, MiB; 0 = 4'),
  max_concurrent_streams: int(0, 'streams of a connection; 0 = no limit'),
  read_buffer_size: int(524_288, 'not read'),
  write_buffer_size: int(0, 'not read'),
  include_metadata: bool(false, 'not needed: headers are always at hand'),
  keepalive,
  tls,
  auth,
};

const otlpHttpFields = {
  endpoint: text('localhost:4318', 'address to listen on'),
  transport: oneOf(['', 'tcp', 'tcp4', 'tcp6', 'unix'], 'tcp', 'network'),
  traces_url_path: text('/v1/traces', 'path'),
  metrics_url_path: text('/v1/metrics', 'not read'),
  logs_url_path: text('/v1/logs', 'not read'),
  profiles_url_path: text('/v1development/profiles', 'not read'),
  max_request_body_size: size('20971520', 'largest body after decompression, bytes; 0 = 20 MiB'),
  include_metadata: bool(false, 'not needed: headers are always at hand'),
  compression_algorithms: list(text('', 'name'), [], 'accepted encodings; empty = all'),
  response_headers: responseHeaders,
  read_timeout: duration('0s', 'limit of reading a request'),
  read_header_timeout: duration('1m', 'limit of reading its headers'),
  write_timeout: duration('30s', 'limit of writing an answer'),
  idle_timeout: duration('1m', 'idle connections are closed after'),
  keep_alives_enabled: bool(true, 'keep connections'),
  cors,
  keepalive,
  tls,
  auth,
};

const receiversFields = {
  otlp: optional(
    block({
      protocols: block({
        grpc: optional(block(otlpGrpcFields), 'OTLP over gRPC', { hidden: true }),
        http: optional(block(otlpHttpFields), 'OTLP over HTTP', { hidden: true }),
      }),
    }),
    'OpenTelemetry protocol',
    { hidden: true },
  ),
  jaeger: optional(raw(null, 'Jaeger'), 'Jaeger', { hidden: true }),
  zipkin: optional(raw(null, 'Zipkin'), 'Zipkin', { hidden: true }),
  opencensus: optional(raw(null, 'OpenCensus'), 'OpenCensus', { hidden: true }),
  kafka: optional(raw(null, 'Kafka'), 'Kafka', { hidden: true }),
};

export const receivers = block(receiversFields, 'protocols that are listened to', { sparse: true });

export type OtlpGrpcConfig = ConfigOf<typeof otlpGrpcFields>;
export type OtlpHttpConfig = ConfigOf<typeof otlpHttpFields>;
