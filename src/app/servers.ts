// All listeners that the server block describes, as one service: the HTTP port (with gRPC on it where that
// is on), the gRPC port and the internal server.
import type { Service } from '../lib/service.ts';
import { addHealth } from '../rpc/grpc-health.ts';
import type { GrpcRouterOptions } from '../rpc/grpc-http2.ts';
import type { GrpcMethods } from '../rpc/grpc-methods.ts';
import { GrpcServer } from '../rpc/grpc-server.ts';
import { familyOf } from '../rpc/listen.ts';
import { ServerTls } from '../rpc/tls.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { apiPrefixOf, type TempoConfig } from './config.ts';
import type { StopTimes } from './http-listener.ts';
import { createHttpServer, type HttpServer } from './http-server.ts';
import type { ServerConfig } from './server-config.ts';
import { createInternalServer } from './internal-server.ts';
import { serverTlsSettings } from './server-tls.ts';
import { ServerMetrics } from './server-metrics.ts';

export interface ServersOptions {
  readonly config: TempoConfig;
  /**
   * What is served by gRPC, on the HTTP port without what is internal; modules add to it until the start.
   * Health is added here.
   */
  readonly grpcMethods: GrpcMethods;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** What /ready answers. */
  readonly readiness: () => string | undefined;
  /** What health checks of gRPC are answered. */
  readonly isServing: () => boolean;
  /** Of the HTTP port; undefined = as for a process that is to end soon. */
  readonly stopTimes?: StopTimes;
}

export interface Servers {
  /** Where modules add their routes. */
  readonly http: HttpServer;
  /** Starts and stops all listeners. */
  readonly service: Service;
}

/** Running calls may take that long when the server stops. */
const STOP_GRACE_MS = 1500;

export function createServers(options: ServersOptions): Servers {
  const { config, grpcMethods, logger, metrics, readiness } = options;
  const serverMetrics = new ServerMetrics(metrics, config.server);
  addHealth(grpcMethods, options.isServing);
  const grpc: GrpcRouterOptions = {
    methods: grpcMethods,
    recvMessageBytesMax: config.server.grpcServerMaxRecvMsgSize,
    sendMessageBytesMax: config.server.grpcServerMaxSendMsgSize,
    observer: serverMetrics,
    logger,
  };
  const http = createHttpServer({
    config: config.server,
    httpApiPrefix: apiPrefixOf(config),
    logger,
    metrics,
    serverMetrics,
    grpc: config.streamOverHttpEnabled ? { ...grpc, servesInternal: false } : undefined,
    readiness,
    stopTimes: options.stopTimes,
  });
  const listeners: Service[] = [http, createGrpcListener(config.server, grpc, logger, serverMetrics)];
  if (config.internalServer.enable) {
    const internal = { config: config.internalServer, logger, metrics, readiness, serverMetrics };
    listeners.push(createInternalServer(internal));
  }
  const stop = async (): Promise<void> => void (await Promise.all(listeners.map((each) => each.stop())));
  return {
    http,
    service: {
      name: http.name,
      stop,
      async start() {
        try {
          for (const listener of listeners) await listener.start();
        } catch (err) {
          await stop();
          throw err;
        }
      },
    },
  };
}

function createGrpcListener(
  config: ServerConfig,
  grpc: GrpcRouterOptions,
  logger: Logger,
  serverMetrics: ServerMetrics,
): Service {
  const { grpcListenAddress: host, grpcListenPort: port } = config;
  const settings = serverTlsSettings(config, 'server', 'grpc');
  const server = new GrpcServer({
    ...grpc,
    address: { host: host === '' ? undefined : host, port, family: familyOf(config.grpcListenNetwork) },
    tls: settings === undefined ? undefined : new ServerTls(settings, logger),
    streamsPerSessionMax: config.grpcServerMaxConcurrentStreams,
    connectionsMax: config.grpcListenConnLimit,
    onConnection: (socket) => serverMetrics.connected(socket, 'grpc'),
    keepalive: {
      idleMsMax: config.grpcServerMaxConnectionIdleMs,
      ageMsMax: config.grpcServerMaxConnectionAgeMs,
      ageGraceMs: config.grpcServerMaxConnectionAgeGraceMs,
      pingMs: config.grpcServerKeepaliveTimeMs,
      pingTimeoutMs: config.grpcServerKeepaliveTimeoutMs,
      minPingIntervalMs: config.grpcServerMinTimeBetweenPingsMs,
    },
  });
  return {
    name: 'grpc server',
    async start() {
      const bound = await server.start();
      logger.info('grpc server listens', { address: bound.address, port: bound.port });
    },
    stop: () => server.stop(Math.min(config.gracefulShutdownTimeoutMs, STOP_GRACE_MS)),
  };
}
