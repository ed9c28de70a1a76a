// Tag names and values over HTTP, v1 and v2: what spans can be asked for.
import type { FastifyReply, FastifyRequest } from 'fastify';
import { answerFormat } from '../../api/accept.ts';
import type { ReadCall, Reads } from './reads.ts';
import { notFound, type Route, send, tellPartial } from './request.ts';
import {
  listJson,
  listProto,
  scopesJson,
  scopesProto,
  valuesJson,
  valuesLlm,
  valuesProto,
} from './tag-response.ts';

const VALUES_SUFFIX = '/values';

export function addTagRoutes(route: Route, reads: Reads): void {
  route('/api/search/tags', 'metadata', async (call, request, reply) => {
    const { names, inspectedBytes, partial } = await reads.allNames(call);
    tellPartial(reply, partial);
    if (wantsProto(request)) return send(reply, 'protobuf', listProto(names, inspectedBytes));
    return send(reply, 'json', listJson('tagNames', names, inspectedBytes));
  });
  route('/api/v2/search/tags', 'metadata', async (call, request, reply) => {
    const { scopes, inspectedBytes, partial } = await reads.namesByScope(call);
    tellPartial(reply, partial);
    if (wantsProto(request)) return send(reply, 'protobuf', scopesProto(scopes, inspectedBytes));
    return send(reply, 'json', scopesJson(scopes, inspectedBytes));
  });
  route('/api/search/tag/*', 'metadata', (call, request, reply) =>
    withTagName(request, reply, async (name) => {
      const { texts, inspectedBytes, partial } = await reads.plainValues(call, name);
      tellPartial(reply, partial);
      if (wantsProto(request)) return send(reply, 'protobuf', listProto(texts, inspectedBytes));
      return send(reply, 'json', listJson('tagValues', texts, inspectedBytes));
    }),
  );
  route('/api/v2/search/tag/*', 'metadata', (call, request, reply) =>
    withTagName(request, reply, (name) => typedValues(reads, call, name, request, reply)),
  );
}

async function typedValues(
  reads: Reads,
  call: ReadCall,
  name: string,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { types, inspectedBytes, partial } = await reads.typedValues(call, name);
  tellPartial(reply, partial);
  const format = answerFormat(request.headers.accept);
  if (format === 'protobuf') return send(reply, format, valuesProto(types, inspectedBytes));
  return send(reply, format, (format === 'json' ? valuesJson : valuesLlm)(types, inspectedBytes));
}

/** The name may have slashes in it. */
async function withTagName(
  request: FastifyRequest,
  reply: FastifyReply,
  answer: (name: string) => Promise<FastifyReply>,
): Promise<FastifyReply> {
  const { '*': rest } = request.params as { readonly '*': string };
  const name = rest.slice(0, -VALUES_SUFFIX.length);
  return rest.endsWith(VALUES_SUFFIX) && name !== '' ? answer(name) : notFound(reply);
}

function wantsProto(request: FastifyRequest): boolean {
  return answerFormat(request.headers.accept) === 'protobuf';
}
