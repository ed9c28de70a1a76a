// The internal server: readiness and metrics on a port of their own, for probes where the other port asks
// for client certificates, and profiles where they are enabled.
import type { ConfigOf } from '../config/field.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { createHttpListener, type HttpListener, type HttpListenerOptions, TEXT } from './http-listener.ts';
import { registerMetricsRoute } from './metrics-route.ts';
import { registerProfiles } from './profiles.ts';
import { registerReady } from './ready.ts';
import type { internalServerFields } from './server-config.ts';

export interface InternalServerOptions extends Pick<HttpListenerOptions, 'logger' | 'serverMetrics'> {
  readonly config: ConfigOf<typeof internalServerFields>;
  readonly metrics: Metrics;
  /** What /ready answers. */
  readonly readiness: () => string | undefined;
}

export function createInternalServer(options: InternalServerOptions): HttpListener {
  const { config, logger, metrics, readiness, serverMetrics } = options;
  const listener = createHttpListener({
    block: 'internal_server',
    config,
    grpc: undefined,
    logger,
    serverMetrics,
  });
  const { app } = listener;
  app.setNotFoundHandler((_request, reply) => reply.code(404).type(TEXT).send('404 page not found\n'));
  registerReady(app, readiness);
  registerMetricsRoute(app, '/metrics', (format) => metrics.bytes(format));
  if (config.enableProfiles) registerProfiles(app);
  return listener;
}
