// OTLP over gRPC (port 4317): TraceService/Export, raw bytes handed on.
import { TENANT_HEADER } from '../model/tenant.ts';
import { GrpcMethods } from '../rpc/grpc-methods.ts';
import { GrpcServer } from '../rpc/grpc-server.ts';
import { familyOf, parseEndpoint } from '../rpc/listen.ts';
import { ServerTls } from '../rpc/tls.ts';
import type { SessionOptions } from '../rpc/http2-sessions.ts';
import type { Logger } from '../telemetry/log.ts';
import type { OtlpGrpcConfig } from './config.ts';
import { encodeExportResponse } from './otlp-response.ts';
import { type KeepaliveConfig, receiverTlsSettings } from './transport-config.ts';
import type { BoundAddress, Receiver, TraceConsumer } from './receiver.ts';

export type OtlpGrpcOptions = Pick<
  OtlpGrpcConfig,
  'endpoint' | 'maxRecvMsgSizeMib' | 'maxConcurrentStreams'
> &
  Partial<Pick<OtlpGrpcConfig, 'transport' | 'tls' | 'keepalive'>>;

const EXPORT_PATH = '/opentelemetry.proto.collector.trace.v1.TraceService/Export';
const RECV_MSG_SIZE_MIB_DEFAULT = 4;
const TLS_NAME = 'distributor.receivers.otlp.protocols.grpc.tls';
const PING_MS_DEFAULT = 7_200_000;

export class OtlpGrpcReceiver implements Receiver {
  readonly name = 'otlp/grpc';
  readonly #server: GrpcServer;

  constructor(config: OtlpGrpcOptions, consumer: TraceConsumer, logger: Logger) {
    const sizeMib = config.maxRecvMsgSizeMib > 0 ? config.maxRecvMsgSizeMib : RECV_MSG_SIZE_MIB_DEFAULT;
    this.#server = new GrpcServer({
      address: { ...parseEndpoint(config.endpoint), family: familyOf(config.transport ?? '') },
      tls: config.tls && new ServerTls(receiverTlsSettings(config.tls, TLS_NAME), logger),
      keepalive: keepaliveOf(config.keepalive),
      recvMessageBytesMax: sizeMib << 20,
      logger,
      ...(config.maxConcurrentStreams > 0 ? { streamsPerSessionMax: config.maxConcurrentStreams } : {}),
      methods: new GrpcMethods().unary(EXPORT_PATH, async (call) => {
        const tenantHeader = call.metadata[TENANT_HEADER];
        const request = { tenantHeader, body: call.message, transport: 'grpc' } as const;
        return encodeExportResponse(await consumer.consume(request));
      }),
    });
  }

  start(): Promise<BoundAddress> {
    return this.#server.start();
  }

  stop(graceMs: number): Promise<void> {
    return this.#server.stop(graceMs);
  }
}

/** Zero is the default of gRPC servers. */
function keepaliveOf(config: KeepaliveConfig | undefined): SessionOptions['keepalive'] {
  const server = config?.serverParameters;
  const orDefault = (ms: number | undefined): number | undefined => (ms === 0 ? undefined : ms);
  return {
    idleMsMax: server?.maxConnectionIdleMs,
    ageMsMax: server?.maxConnectionAgeMs,
    ageGraceMs: server?.maxConnectionAgeGraceMs,
    pingMs: orDefault(server?.timeMs) ?? PING_MS_DEFAULT,
    pingTimeoutMs: orDefault(server?.timeoutMs),
    minPingIntervalMs: orDefault(config?.enforcementPolicy?.minTimeMs),
  };
}
