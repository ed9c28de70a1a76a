// Whether distributors leave the ingester out of what they write: asked for some time before it is taken
// away, so that what it has is in the backend by then. Queries go on asking it.
import type { FastifyInstance } from 'fastify';
import { TempoError } from '../../lib/errors.ts';
import type { Logger } from '../../telemetry/log.ts';

/** Its place in the ring, where it has one. */
export interface ReadOnlyPlace {
  /** It is in the ring, and is not leaving it. */
  readonly isMember: boolean;
  readonly isReadOnly: boolean;
  /** Since the epoch, of the last change; 0 = never. */
  readonly readOnlyUpdatedSec: number;
  setReadOnly(readOnly: boolean): Promise<void>;
}

/** As databases of this family are asked by who scales them down. */
const PATH = '/ingester/prepare-instance-ring-downscale';

export function registerReadOnlyRoute(
  app: FastifyInstance,
  place: ReadOnlyPlace | undefined,
  logger: Logger,
): void {
  app.all(PATH, async ({ method }, reply) => {
    const refuse = (status: number, text: string) => reply.code(status).type('text/plain').send(`${text}\n`);
    if (place === undefined) return refuse(404, 'the ingester of a single process is in no ring');
    if (method !== 'GET' && method !== 'POST' && method !== 'DELETE') return reply.code(405).send();
    if (!place.isMember) return refuse(503, 'the ingester is not in the ring, or is leaving it');
    if (method !== 'GET') {
      try {
        await place.setReadOnly(method === 'POST');
      } catch (err) {
        logger.error('the ring could not be told whether the ingester is read-only', { err });
        return refuse(500, err instanceof TempoError ? err.message : 'the ring could not be written');
      }
    }
    return reply.send({ timestamp: place.isReadOnly ? place.readOnlyUpdatedSec : 0 });
  });
}
