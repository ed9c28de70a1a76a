// The ingester's HTTP endpoints: /flush, /shutdown, and what orchestrators call before they take an instance
// away.
import type { FastifyInstance } from 'fastify';
import type { Flusher } from '../../contracts/recent-traces.ts';
import { TempoError } from '../../lib/errors.ts';
import type { Logger } from '../../telemetry/log.ts';
import type { Departure } from './departure.ts';

export interface RouteOptions {
  readonly ingester: Flusher & {
    /** Takes no more pushes and flushes all. */
    drain(): Promise<void>;
  };
  readonly departure: Pick<Departure, 'isLast' | 'prepare'>;
  /** Ends the process. */
  readonly requestShutdown: () => void;
  readonly logger: Logger;
}

export function registerIngesterRoutes(app: FastifyInstance, options: RouteOptions): void {
  const { ingester, departure, requestShutdown, logger } = options;
  app.all('/flush', async (request, reply) => {
    const { tenant } = request.query as { readonly tenant?: string };
    try {
      await ingester.flush(tenant === '' ? undefined : tenant);
    } catch (err) {
      if (err instanceof TempoError && err.code === 'not_found') return reply.code(404).send();
      logger.error('flush failed', { tenant, err });
      return reply.code(500).type('text/plain').send(reason(err));
    }
    return reply.code(204).send();
  });
  for (const path of ['/shutdown', '/ingester/shutdown']) {
    app.all(path, async (_request, reply) => {
      ingester
        .drain()
        .catch((err: unknown) => logger.error('flush at shutdown failed, the log keeps the spans', { err }))
        .finally(requestShutdown);
      return reply.type('text/plain').send('shutdown job acknowledged');
    });
  }
  app.all('/ingester/prepare-downscale', async (request, reply) => {
    if (request.method === 'GET')
      return reply.type('text/plain').send(departure.isLast ? 'set\n' : 'unset\n');
    if (request.method !== 'POST' && request.method !== 'DELETE') return reply.code(405).send();
    departure.prepare(request.method === 'POST');
    return reply.code(204).send();
  });
}

function reason(err: unknown): string {
  if (!(err instanceof Error)) return String(err);
  return err.cause instanceof Error ? `${err.message}: ${reason(err.cause)}` : err.message;
}
