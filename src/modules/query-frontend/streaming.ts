// tempopb.StreamingQuerier: the searches of the query API over gRPC. Requests become the parameters of the
// HTTP API, so that both refuse the same; answers are sent when they are complete, in messages of a size
// that clients take.
import { grpcSearchParams, grpcTagParams, grpcTagValueParams } from '../../api/grpc-params.ts';
import { TempoError } from '../../lib/errors.ts';
import { TENANT_HEADER, type TenantHeader } from '../../model/tenant.ts';
import type { GrpcCall, GrpcMethods, StreamHandler } from '../../rpc/grpc-methods.ts';
import { namePackets, scopePackets, searchPackets, valuePackets } from './packets.ts';
import type { QueryWatch } from './query-watch.ts';
import type { Op, ReadCall, Reads } from './reads.ts';
import { noMetricsYet } from './request.ts';
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
type Answer = (call: ReadCall) => Promise<Iterable<Uint8Array>>;

const SERVICE = '/tempopb.StreamingQuerier/';
const METHOD = 'POST';
const HTTP_OK = 200;

export function addStreamingMethods(methods: GrpcMethods, options: StreamingOptions): void {
  const { reads, packetBytesMax } = options;
  const add = (name: string, op: Op, paramsOf: ParamsOf, answer: Answer): void => {
    methods.serverStream(SERVICE + name, watched(options, SERVICE + name, op, paramsOf, answer));
  };
  add('Search', 'search', grpcSearchParams, async (call) =>
    searchPackets(await reads.search(call, 'proto'), packetBytesMax),
  );
  add('SearchTags', 'metadata', grpcTagParams, async (call) => {
    const { names, inspectedBytes } = await reads.allNames(call);
    return namePackets(names, packetBytesMax).map((part) => listProto(part, inspectedBytes));
  });
  add('SearchTagsV2', 'metadata', grpcTagParams, async (call) => {
    const { scopes, inspectedBytes } = await reads.namesByScope(call);
    return scopePackets(scopes, packetBytesMax).map((part) => scopesProto(part, inspectedBytes));
  });
  add('SearchTagValues', 'metadata', grpcTagValueParams, async (call) => {
    const { texts, inspectedBytes } = await reads.plainValues(call, tagNameOf(call));
    return namePackets(texts, packetBytesMax).map((part) => listProto(part, inspectedBytes));
  });
  add('SearchTagValuesV2', 'metadata', grpcTagValueParams, async (call) => {
    const { types, inspectedBytes } = await reads.typedValues(call, tagNameOf(call));
    return valuePackets(types, packetBytesMax).map((part) => valuesProto(part, inspectedBytes));
  });
  for (const name of ['MetricsQueryRange', 'MetricsQueryInstant']) {
    methods.serverStream(SERVICE + name, () => {
      throw noMetricsYet();
    });
  }
}

/** A handler that counts and logs its calls, and ends when the caller leaves. */
function watched(
  { watch, tenantOf }: StreamingOptions,
  path: string,
  op: Op,
  paramsOf: ParamsOf,
  answer: Answer,
): StreamHandler {
  return async function* ({ message, metadata, signal }: GrpcCall) {
    const query = watch.begin(op);
    const { seen } = query;
    signal.addEventListener('abort', query.cancel, { once: true });
    let tenant: string | undefined;
    let url = path;
    try {
      tenant = tenantOf(metadata[TENANT_HEADER]);
      const params = paramsOf(message);
      url = `${path}?${params.toString()}`;
      for (const packet of await answer({ tenant, params, signal: query.signal, seen })) {
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
