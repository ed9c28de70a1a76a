// Tag names and values, v1 and v2: what spans can be asked for.
import type { FastifyReply, FastifyRequest } from 'fastify';
import { answerFormat, CONTENT_TYPES } from '../../api/accept.ts';
import {
  ALL_TAG_SCOPES,
  fieldsOfIdentifier,
  fieldsOfName,
  parseTagParams,
  parseTagScope,
  type TagParams,
  type TagScope,
} from '../../api/tag-params.ts';
import type { Querier, TagValuesAnswer } from '../../contracts/query.ts';
import type { SecondsRange } from '../../api/params.ts';
import type { TypedValues } from '../../traceql/engine/value-set.ts';
import type { AttributeScope, Field } from '../../traceql/source.ts';
import { INTRINSIC_TAGS, KEYWORDS } from './tag-lists.ts';
import { type Handler, paramsOf, tellPartial } from './request.ts';
import {
  listJson,
  listProto,
  scopesJson,
  type ScopeNames,
  scopesProto,
  valuesJson,
  valuesLlm,
  valuesProto,
} from './tag-response.ts';

export interface TagEndpointsOptions {
  readonly querier: Querier;
  readonly durationMaxMs: number;
  readonly queryBytesMax: number;
  /** Of the values of one answer. */
  readonly valueBytesMax: (tenant: string) => number;
  /** Older ranges are not asked of recent spans: what is there is what blocks store. */
  readonly recentMs: number;
  readonly tenantOf: (request: FastifyRequest) => string;
  readonly onRead: (op: string, bytes: number) => void;
  readonly nowMs: () => number;
}

type Route = (path: string, op: string, handler: Handler) => void;

const VALUES_SUFFIX = '/values';
const OP = 'metadata';

interface FoundNames {
  readonly scopes: readonly ScopeNames[];
  readonly inspectedBytes: number;
}

export class TagEndpoints {
  private readonly options: TagEndpointsOptions;

  constructor(options: TagEndpointsOptions) {
    this.options = options;
  }

  register(route: Route): void {
    route('/api/search/tags', OP, (request, reply, signal) => this.namesV1(request, reply, signal));
    route('/api/v2/search/tags', OP, (request, reply, signal) => this.namesV2(request, reply, signal));
    route('/api/search/tag/*', OP, (request, reply, signal) => this.valuesV1(request, reply, signal));
    route('/api/v2/search/tag/*', OP, (request, reply, signal) => this.valuesV2(request, reply, signal));
  }

  private async namesV1(request: FastifyRequest, reply: FastifyReply, signal: AbortSignal) {
    const scopes = parseTagScope(paramsOf(request));
    const attributeScopes = ALL_TAG_SCOPES.filter((scope) => scope !== 'intrinsic');
    const { params, found } = await this.names(request, reply, scopes ?? attributeScopes, signal);
    const names = [...new Set(found.scopes.flatMap(({ tags }) => tags))].sort();
    const texts = limited(names, params.limit);
    if (wantsProto(request)) return sendProto(reply, listProto(texts, found.inspectedBytes));
    return sendJson(reply, listJson('tagNames', texts, found.inspectedBytes));
  }

  private async namesV2(request: FastifyRequest, reply: FastifyReply, signal: AbortSignal) {
    const scopes = parseTagScope(paramsOf(request)) ?? ALL_TAG_SCOPES;
    const { params, found } = await this.names(request, reply, scopes, signal);
    const shown = found.scopes
      .filter(({ tags }) => tags.length > 0)
      .map(({ name, tags }) => ({ name, tags: name === 'intrinsic' ? tags : limited(tags, params.limit) }));
    if (wantsProto(request)) return sendProto(reply, scopesProto(shown, found.inspectedBytes));
    return sendJson(reply, scopesJson(shown, found.inspectedBytes));
  }

  private async names(
    request: FastifyRequest,
    reply: FastifyReply,
    scopes: readonly TagScope[],
    signal: AbortSignal,
  ): Promise<{ readonly params: TagParams; readonly found: FoundNames }> {
    const tenant = this.options.tenantOf(request);
    const params = this.params(request);
    const { filter, range } = params;
    const stored = scopes.filter((scope): scope is AttributeScope => scope !== 'intrinsic');
    const found: ScopeNames[] = [];
    let inspectedBytes = 0;
    if (stored.length > 0 && filter.kind !== 'none') {
      const query = filter.kind === 'some' ? filter.query : undefined;
      const answer = await this.options.querier.tagNames({ tenant, scopes: stored, query, range }, signal);
      tellPartial(reply, answer.partial);
      stored.forEach((name, i) => found.push({ name, tags: answer.names[i]! }));
      ({ inspectedBytes } = answer);
    }
    if (scopes.includes('intrinsic')) found.push({ name: 'intrinsic', tags: INTRINSIC_TAGS });
    this.options.onRead(OP, inspectedBytes);
    return { params, found: { scopes: found, inspectedBytes } };
  }

  private async valuesV1(request: FastifyRequest, reply: FastifyReply, signal: AbortSignal) {
    const name = tagNameOf(request);
    if (name === undefined) return notFound(reply);
    const { params, types, inspectedBytes } = await this.values(request, reply, fieldsOfName(name), signal);
    const texts = limited([...new Set(types.flatMap(({ values }) => values))].sort(), params.limit);
    if (wantsProto(request)) return sendProto(reply, listProto(texts, inspectedBytes));
    return sendJson(reply, listJson('tagValues', texts, inspectedBytes));
  }

  private async valuesV2(request: FastifyRequest, reply: FastifyReply, signal: AbortSignal) {
    const name = tagNameOf(request);
    if (name === undefined) return notFound(reply);
    const fields = fieldsOfIdentifier(name);
    const { params, types, inspectedBytes } = await this.values(request, reply, fields, signal);
    const shown = limitedTypes(types, params.limit);
    const format = answerFormat(request.headers.accept);
    if (format === 'protobuf') return sendProto(reply, valuesProto(shown, inspectedBytes));
    if (format === 'json') return sendJson(reply, valuesJson(shown, inspectedBytes));
    return reply.type(CONTENT_TYPES.llm).send(Buffer.from(valuesLlm(shown, inspectedBytes)));
  }

  private async values(
    request: FastifyRequest,
    reply: FastifyReply,
    fields: readonly Field[],
    signal: AbortSignal,
  ): Promise<{
    readonly params: TagParams;
    readonly types: readonly TypedValues[];
    readonly inspectedBytes: number;
  }> {
    const tenant = this.options.tenantOf(request);
    const params = this.params(request);
    const { filter, range } = params;
    const known = this.keywords(fields, range);
    if (known !== undefined) return { params, types: known, inspectedBytes: 0 };
    if (fields.length === 0 || filter.kind === 'none') return { params, types: [], inspectedBytes: 0 };
    const bytesMax = this.options.valueBytesMax(tenant);
    const query = filter.kind === 'some' ? filter.query : undefined;
    const answer: TagValuesAnswer = await this.options.querier.tagValues(
      { tenant, fields, query, range, bytesMax: bytesMax > 0 ? bytesMax : Infinity },
      signal,
    );
    tellPartial(reply, answer.partial);
    this.options.onRead(OP, answer.inspectedBytes);
    return { params, types: answer.values.types, inspectedBytes: answer.inspectedBytes };
  }

  /**
   * Statuses and kinds are words of the language. A range that only blocks can answer gives the numbers that
   * those store, as in Tempo.
   */
  private keywords(fields: readonly Field[], { endSec }: SecondsRange): readonly TypedValues[] | undefined {
    const [field] = fields;
    if (field?.kind !== 'intrinsic') return undefined;
    const values = KEYWORDS[field.name];
    const isRecent = endSec === undefined || endSec * 1000 > this.options.nowMs() - this.options.recentMs;
    return values !== undefined && isRecent ? [{ type: 'keyword', values }] : undefined;
  }

  private params(request: FastifyRequest): TagParams {
    const { durationMaxMs, queryBytesMax, nowMs } = this.options;
    return parseTagParams(paramsOf(request), { durationMaxMs, queryBytesMax, nowMs: nowMs() });
  }
}

/** The name may have slashes in it. undefined = this is no path of ours. */
function tagNameOf(request: FastifyRequest): string | undefined {
  const { '*': rest } = request.params as { readonly '*': string };
  if (!rest.endsWith(VALUES_SUFFIX)) return undefined;
  const name = rest.slice(0, -VALUES_SUFFIX.length);
  return name === '' ? undefined : name;
}

function notFound(reply: FastifyReply): FastifyReply {
  reply.callNotFound();
  return reply;
}

function wantsProto(request: FastifyRequest): boolean {
  return answerFormat(request.headers.accept) === 'protobuf';
}

function sendJson(reply: FastifyReply, body: string): FastifyReply {
  return reply.type(CONTENT_TYPES.json).send(Buffer.from(body));
}

function sendProto(reply: FastifyReply, body: Uint8Array): FastifyReply {
  return reply.type(CONTENT_TYPES.protobuf).send(Buffer.from(body));
}

function limited(texts: readonly string[], limit: number): readonly string[] {
  return limit > 0 ? texts.slice(0, limit) : texts;
}

function limitedTypes(types: readonly TypedValues[], limit: number): readonly TypedValues[] {
  if (limit === 0) return types;
  let left = limit;
  const kept: TypedValues[] = [];
  for (const { type, values } of types) {
    if (left === 0) break;
    kept.push({ type, values: values.slice(0, left) });
    left -= Math.min(left, values.length);
  }
  return kept;
}
