// What the modules of every role are constructed with.
import type { BackendMetrics } from '../objectstore/backend-metrics.ts';
import type { Overrides } from '../overrides/overrides.ts';
import type { GrpcMethods } from '../rpc/grpc-methods.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { TempoConfig } from './config.ts';
import type { HttpServer } from './http-server.ts';

export interface Parts {
  /** Memory that the process may use. */
  readonly budgetBytes: number;
  /** What of it is left to share. */
  readonly sharedBytes: number;
  readonly config: TempoConfig;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly backendMetrics: BackendMetrics;
  readonly server: HttpServer;
  /**
   * Where modules add their gRPC methods: served on the gRPC port and, but for internal ones, on the HTTP
   * port where that is on.
   */
  readonly grpcMethods: GrpcMethods;
  readonly overrides: Overrides;
}

export function isMultitenant(config: TempoConfig): boolean {
  return config.multitenancyEnabled || config.authEnabled;
}
