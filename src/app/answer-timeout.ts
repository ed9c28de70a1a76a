// The limit of writing an answer: it runs while bytes of the answer wait for the client, and not while the
// server works on it, however long that takes.
import type { FastifyInstance, FastifyRequest } from 'fastify';

/** Suspends the limit of the connection or stream from the end of the request until its answer. */
export function limitAnswers(app: FastifyInstance, writeTimeoutMs: number): void {
  app.addHook('preHandler', (request, _reply, done) => {
    limit(request, 0);
    done();
  });
  app.addHook('onSend', (request, _reply, payload, done) => {
    limit(request, writeTimeoutMs);
    done(null, payload);
  });
}

/** Requests that were injected have no connection. */
function limit({ raw }: FastifyRequest, timeoutMs: number): void {
  if ('setTimeout' in raw) raw.setTimeout(timeoutMs);
}
