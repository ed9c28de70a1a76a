// tempopb.StreamingQuerier: the searches of the query API over gRPC. Requests become the parameters of the
// HTTP API, so that both refuse the same. What is found meanwhile is sent while a search runs, each trace
// once; messages have a size that clients take.
import {
  grpcInstantParams,
  grpcRangeParams,
  grpcSearchParams,
  grpcTagParams,
  grpcTagValueParams,
} from '../../api/grpc-params.ts';
import { TempoError } from '../../lib/errors.ts';
import { TENANT_HEADER, type TenantHeader } from '../../model/tenant.ts';
import type { GrpcCall, GrpcMethods, StreamHandler } from '../../rpc/grpc-methods.ts';
import { growing } from './growing.ts';
import { metricsPartial } from './metrics-response.ts';
import { metricsPackets, namePackets, scopePackets, searchPackets, valuePackets } from './packets.ts';
import type { QueryWatch } from './query-watch.ts';
import type { FoundSearch, Op, ReadCall, Reads } from './reads.ts';
import { partialNote, searchNotes } from './request.ts';
import { listProto, scopesProto, valuesProto } from './tag-response.ts';

export interface StreamingOptions {
  readonly reads: Reads;
  readonly watch: QueryWatch;
  /** Throws for a header that names no tenant. */
  readonly tenantOf: (header: TenantHeader) => string;
  /** Messages are about that large at most. */
  readonly packetBytesMax: number;
}

/** The parameters of a call from its request message. */
type ParamsOf = (message: Uint8Array) => URLSearchParams;
/** The messages of an answer; what is said beside them is put into `trailers`. */
type Answer = (
  call: ReadCall,
  trailers: Record<string, string>,
) => AsyncIterable<Uint8Array> | Promise<Iterable<Uint8Array>>;

const SERVICE = '/tempopb.StreamingQuerier/';
const METHOD = 'POST';
const HTTP_OK = 200;

export function addStreamingMethods(methods: GrpcMethods, options: StreamingOptions): void {
  const { reads, packetBytesMax } = options;
  const add = (name: string, op: Op, paramsOf: ParamsOf, answer: Answer): void => {
    methods.serverStream(SERVICE + name, watched(options, SERVICE + name, op, paramsOf, answer));
  };
  add('Search', 'search', grpcSearchParams, (call, trailers) => searchMessages(options, call, trailers));
  add('SearchTags', 'metadata', grpcTagParams, async (call, trailers) => {
    const { names, inspectedBytes, partial } = await reads.allNames(call);
    Object.assign(trailers, partialNote(partial));
    return namePackets(names, packetBytesMax).map((part) => listProto(part, inspectedBytes));
  });
  add('SearchTagsV2', 'metadata', grpcTagParams, async (call, trailers) => {
    const { scopes, inspectedBytes, partial } = await reads.namesByScope(call);
    Object.assign(trailers, partialNote(partial));
    return scopePackets(scopes, packetBytesMax).map((part) => scopesProto(part, inspectedBytes));
  });
  add('SearchTagValues', 'metadata', grpcTagValueParams, async (call, trailers) => {
    const { texts, inspectedBytes, partial } = await reads.plainValues(call, tagNameOf(call));
    Object.assign(trailers, partialNote(partial));
    return namePackets(texts, packetBytesMax).map((part) => listProto(part, inspectedBytes));
  });
  add('SearchTagValuesV2', 'metadata', grpcTagValueParams, async (call, trailers) => {
    const { types, inspectedBytes, partial } = await reads.typedValues(call, tagNameOf(call));
    Object.assign(trailers, partialNote(partial));
    return valuePackets(types, packetBytesMax).map((part) => valuesProto(part, inspectedBytes));
  });
  for (const [name, isInstant] of [
    ['MetricsQueryRange', false],
    ['MetricsQueryInstant', true],
  ] as const) {
    const paramsOf = isInstant ? grpcInstantParams : grpcRangeParams;
    add(name, 'metrics', paramsOf, async (call, trailers) => {
      const found = await reads.metrics(call, isInstant, 'proto');
      Object.assign(trailers, partialNote(metricsPartial(found)));
      return metricsPackets(found, packetBytesMax);
    });
  }
}

async function* searchMessages(
  { reads, packetBytesMax }: StreamingOptions,
  call: ReadCall,
  trailers: Record<string, string>,
): AsyncGenerator<Uint8Array> {
  const parts = growing<FoundSearch, FoundSearch>(
    (onProgress) => reads.search(call, 'proto', { onProgress }),
    ({ answer }) => answer.traces.length > 0,
  );
  const sent = new Set<string>();
  let next = await parts.next();
  for (; next.done !== true; next = await parts.next()) {
    for (const { traceId } of next.value.answer.traces) sent.add(traceId);
    yield* searchPackets(next.value, packetBytesMax);
  }
  const { value: found } = next;
  Object.assign(trailers, searchNotes(found));
  const traces = found.answer.traces.filter(({ traceId }) => !sent.has(traceId));
  yield* searchPackets({ ...found, answer: { ...found.answer, traces } }, packetBytesMax);
}

/** A handler that counts and logs its calls, and ends when the caller leaves. */
function watched(
  { watch, tenantOf }: StreamingOptions,
  path: string,
  op: Op,
  paramsOf: ParamsOf,
  answer: Answer,
): StreamHandler {
  return async function* ({ message, metadata, signal, trailers }: GrpcCall) {
    const query = watch.begin(op);
    const { seen } = query;
    signal.addEventListener('abort', query.cancel, { once: true });
    let tenant: string | undefined;
    let url = path;
    try {
      tenant = tenantOf(metadata[TENANT_HEADER]);
      const params = paramsOf(message);
      url = `${path}?${params.toString()}`;
      const call = { tenant, params, signal: query.signal, seen };
      for await (const packet of await answer(call, trailers)) {
        query.responseBytes += packet.length;
        yield packet;
      }
      watch.read(query, undefined);
    } catch (err) {
      throw watch.read(query, err);
    } finally {
      signal.removeEventListener('abort', query.cancel);
      // A caller that leaves amid the messages has the generator returned.
      if (signal.aborted && query.failure === undefined) watch.read(query, signal.reason);
      watch.end(query, { tenant, method: METHOD, url, headers: metadata, status: HTTP_OK });
    }
  };
}

function tagNameOf({ params }: ReadCall): string {
  const name = params.get('tagName') ?? '';
  if (name === '') throw new TempoError('invalid_argument', 'please provide a non-empty tagName');
  return name;
}
