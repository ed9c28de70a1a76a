// GET /ready: whether the process takes work.
import type { FastifyInstance } from 'fastify';
import { TEXT } from './http-listener.ts';

/** @param readiness undefined = ready, else the text of the 503. */
export function registerReady(app: FastifyInstance, readiness: () => string | undefined): void {
  app.all('/ready', (_request, reply) => {
    const reason = readiness();
    return reply
      .code(reason === undefined ? 200 : 503)
      .type(TEXT)
      .send(`${reason ?? 'ready'}\n`);
  });
}
