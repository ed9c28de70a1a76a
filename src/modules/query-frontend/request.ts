// What the handlers of the query API share: reading parameters, telling that an answer is partial.
import type { FastifyReply, FastifyRequest } from 'fastify';

export type Handler = (
  request: FastifyRequest,
  reply: FastifyReply,
  signal: AbortSignal,
) => Promise<FastifyReply>;

/** Tells why an answer is not complete, where Tempo's body has no place for it. */
const PARTIAL_HEADER = 'x-tempo-partial';

export function paramsOf(request: FastifyRequest): URLSearchParams {
  const { url } = request;
  const mark = url.indexOf('?');
  return new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1));
}

export function tellPartial(reply: FastifyReply, reasons: readonly string[]): void {
  if (reasons.length > 0) reply.header(PARTIAL_HEADER, headerText(reasons));
}

/** Header values are one line of printable ASCII. */
function headerText(reasons: readonly string[]): string {
  return reasons
    .join('; ')
    .replace(/[^\x20-\x7e]/g, '?')
    .slice(0, 1000);
}
