// What the handlers of the query API share: parameters, the forms of an answer, telling that it is partial.
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type AnswerFormat, CONTENT_TYPES } from '../../api/accept.ts';
import { cursorBehind } from '../../api/search-order.ts';
import { bodyOf } from './body.ts';
import type { FoundSearch, Op, ReadCall } from './reads.ts';

export type Handler = (call: ReadCall, request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>;

/** Adds a route below the API's prefix, for every method. */
export type Route = (path: string, op: Op, handler: Handler) => void;

/** Tells why an answer is not complete, where Tempo's body has no place for it. */
const PARTIAL_HEADER = 'x-tempo-partial';
/** Tells that more traces match than the answer has. */
const MORE_HEADER = 'x-tempo-more';
/** The parameter `cursor` that asks for these. */
const NEXT_CURSOR_HEADER = 'x-tempo-next-cursor';

export function paramsOf(request: FastifyRequest): URLSearchParams {
  const { url } = request;
  const mark = url.indexOf('?');
  return new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1));
}

export function tellPartial(reply: FastifyReply, reasons: readonly string[]): void {
  reply.headers(partialNote(reasons));
}

/** A header of HTTP or a trailer of gRPC; none for an answer that is complete. */
export function partialNote(reasons: readonly string[]): Record<string, string> {
  return reasons.length > 0 ? { [PARTIAL_HEADER]: headerText(reasons) } : {};
}

/** What is said of a search beside its body: the same in headers of HTTP and in trailers of gRPC. */
export function searchNotes({ answer, order }: FoundSearch): Record<string, string> {
  const { traces, hasMore, partial } = answer;
  const notes = partialNote(partial);
  const last = traces.at(-1);
  if (!hasMore || last === undefined) return notes;
  return { ...notes, [MORE_HEADER]: 'true', [NEXT_CURSOR_HEADER]: cursorBehind(last, order) };
}

/** Header values are one line of printable ASCII. */
function headerText(reasons: readonly string[]): string {
  return reasons
    .join('; ')
    .replace(/[^\x20-\x7e]/g, '?')
    .slice(0, 1000);
}

/**
 * @param body text, or finished parts.
 * @param copied called when the parts are not needed any more.
 */
export function send(
  reply: FastifyReply,
  format: AnswerFormat,
  body: string | Uint8Array | Iterable<Uint8Array>,
  copied?: () => void,
): FastifyReply {
  reply.type(CONTENT_TYPES[format]);
  if (typeof body === 'string') return reply.send(Buffer.from(body));
  return reply.send(bodyOf(body instanceof Uint8Array ? [body] : body, copied));
}

export function notFound(reply: FastifyReply): FastifyReply {
  reply.callNotFound();
  return reply;
}
