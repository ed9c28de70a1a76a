// Trace by id over HTTP, v1 and v2.
import type { FastifyReply, FastifyRequest } from 'fastify';
import { answerFormat } from '../../api/accept.ts';
import { parseTraceId } from '../../api/params.ts';
import { TempoError } from '../../lib/errors.ts';
import type { FoundTrace, ReadCall, Reads } from './reads.ts';
import { notFound, type Route, send, tellPartial } from './request.ts';
import { partialReasons, traceV1Json, traceV2Json, traceV2Llm, traceV2Proto } from './trace-response.ts';

type Version = (reads: Reads, call: ReadCall, id: Uint8Array, http: Http) => Promise<FastifyReply>;

interface Http {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

export function addTraceRoutes(route: Route, reads: Reads): void {
  const add = (path: string, version: Version): void =>
    route(path, 'traces', async (call, request, reply) => {
      const { traceID } = request.params as { readonly traceID: string };
      if (traceID === '' || traceID.includes('/')) return notFound(reply);
      return version(reads, call, parseTraceId(traceID), { request, reply });
    });
  add('/api/traces/:traceID', traceV1);
  add('/api/v2/traces/:traceID', traceV2);
}

const traceV1: Version = async (reads, call, id, { request, reply }) => {
  const format = answerFormat(request.headers.accept) === 'protobuf' ? 'protobuf' : 'json';
  const found = notMissed(await reads.trace(call, id, format === 'protobuf' ? 'proto' : 'json'));
  const { trace, isCut } = found.answer;
  if (isCut) throw new TempoError('unprocessable', `trace exceeds max size (max bytes: ${found.bytesMax})`);
  tellReasons(reply, found);
  if (call.part !== undefined) return sendPart(reply, format, found);
  if (trace === undefined) return reply.code(404).send();
  return send(reply, format, format === 'protobuf' ? trace : traceV1Json(trace));
};

/** Query-frontends get what was read of the trace in a message of its own, also when that is nothing. */
function sendPart(reply: FastifyReply, format: 'protobuf' | 'json', found: FoundTrace): FastifyReply {
  if (found.answer.trace === undefined) reply.code(404);
  return send(reply, format, format === 'protobuf' ? traceV2Proto(found) : traceV2Json(found));
}

const traceV2: Version = async (reads, call, id, { request, reply }) => {
  const format = answerFormat(request.headers.accept);
  const found = notMissed(await reads.trace(call, id, format === 'protobuf' ? 'proto' : format));
  tellReasons(reply, found);
  if (format === 'protobuf') return send(reply, format, traceV2Proto(found));
  return send(reply, format, format === 'json' ? traceV2Json(found) : traceV2Llm(found));
};

/** A trace that may be where nothing could be read is not told as absent. */
function notMissed(found: FoundTrace): FoundTrace {
  const { trace, partial } = found.answer;
  if (trace !== undefined || partial.length === 0) return found;
  throw new TempoError('internal', `trace not found, and not all was read: ${partial.join('; ')}`);
}

function tellReasons(reply: FastifyReply, { answer, bytesMax }: FoundTrace): void {
  tellPartial(reply, partialReasons(answer, bytesMax));
}
