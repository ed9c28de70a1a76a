// The ingester's HTTP endpoints: /flush and /shutdown.
import type { FastifyInstance } from 'fastify';
import type { Flusher } from '../../contracts/recent-traces.ts';
import { TempoError } from '../../lib/errors.ts';
import type { Logger } from '../../telemetry/log.ts';

export interface RouteOptions {
  readonly flusher: Flusher;
  /** Ends the process. */
  readonly requestShutdown: () => void;
  readonly logger: Logger;
}

export function registerIngesterRoutes(app: FastifyInstance, options: RouteOptions): void {
  const { flusher, requestShutdown, logger } = options;
  app.all('/flush', async (request, reply) => {
    const { tenant } = request.query as { readonly tenant?: string };
    try {
      await flusher.flush(tenant === '' ? undefined : tenant);
    } catch (err) {
      if (err instanceof TempoError && err.code === 'not_found') return reply.code(404).send();
      logger.error('flush failed', { tenant, err });
      return reply.code(500).type('text/plain').send(reason(err));
    }
    return reply.code(204).send();
  });
  for (const path of ['/shutdown', '/ingester/shutdown']) {
    app.all(path, async (_request, reply) => {
      flusher
        .flush()
        .catch((err: unknown) => logger.error('flush at shutdown failed, the log keeps the spans', { err }))
        .finally(requestShutdown);
      return reply.type('text/plain').send('shutdown job acknowledged');
    });
  }
}

function reason(err: unknown): string {
  if (!(err instanceof Error)) return String(err);
  return err.cause instanceof Error ? `${err.message}: ${reason(err.cause)}` : err.message;
}
