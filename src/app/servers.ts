// All listeners that the server block describes, as one service: the HTTP port (with gRPC on it where that
// is on) and the gRPC port.
import type { Service } from '../lib/service.ts';
import { addHealth } from '../rpc/grpc-health.ts';
import type { GrpcRouterOptions } from '../rpc/grpc-http2.ts';
import type { GrpcMethods } from '../rpc/grpc-methods.ts';
import { GrpcServer } from '../rpc/grpc-server.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { TempoConfig } from './config.ts';
import { createHttpServer, type HttpServer } from './http-server.ts';
import type { ServerConfig } from './server-config.ts';
import { ServerMetrics } from './server-metrics.ts';

export interface ServersOptions {
  readonly config: TempoConfig;
  /** What is served by gRPC; modules add to it until the start. Health is added here. */
  readonly grpcMethods: GrpcMethods;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** What /ready answers. */
  readonly readiness: () => string | undefined;
}

export interface Servers {
  /** Where modules add their routes. */
  readonly http: HttpServer;
  /** Starts and stops all listeners. */
  readonly service: Service;
}

/** Running calls may take that long when the server stops. */
const STOP_GRACE_MS = 3000;

export function createServers(options: ServersOptions): Servers {
  const { config, grpcMethods, logger, metrics, readiness } = options;
  const serverMetrics = new ServerMetrics(metrics);
  addHealth(grpcMethods, () => readiness() === undefined);
  const grpc: GrpcRouterOptions = {
    methods: grpcMethods,
    recvMessageBytesMax: config.server.grpcServerMaxRecvMsgSize,
    sendMessageBytesMax: config.server.grpcServerMaxSendMsgSize,
    observer: serverMetrics,
    logger,
  };
  const http = createHttpServer({
    config: config.server,
    httpApiPrefix: config.httpApiPrefix,
    logger,
    metrics,
    serverMetrics,
    grpc: config.streamOverHttpEnabled ? grpc : undefined,
    readiness,
  });
  const listeners = [http, createGrpcListener(config.server, grpc, logger)];
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

function createGrpcListener(config: ServerConfig, grpc: GrpcRouterOptions, logger: Logger): Service {
  const { grpcListenAddress: host, grpcListenPort: port } = config;
  const server = new GrpcServer({
    ...grpc,
    address: { host: host === '' ? undefined : host, port },
    streamsPerSessionMax: config.grpcServerMaxConcurrentStreams,
  });
  return {
    name: 'grpc server',
    async start() {
      const bound = await server.start();
      logger.info('grpc server listens', { address: bound.address, port: bound.port });
    },
    stop: () => server.stop(STOP_GRACE_MS),
  };
}
