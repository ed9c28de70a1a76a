// tempopb.StreamingQuerier: the searches of the query API over gRPC. Requests become the parameters of the
// HTTP API, so that both refuse the same. The messages of answers are made in streamed-answers.ts.
import {
  grpcInstantParams,
  grpcRangeParams,
  grpcSearchParams,
  grpcTagParams,
  grpcTagValueParams,
} from '../../api/grpc-params.ts';
import { Slice } from '../../lib/slices.ts';
import { TENANT_HEADER, type TenantHeader } from '../../model/tenant.ts';
import type { GrpcCall, GrpcMethods, StreamHandler } from '../../rpc/grpc-methods.ts';
import { parseQueryPart } from './query-part.ts';
import type { QueryWatch } from './query-watch.ts';
import type { Op, ReadCall } from './reads.ts';
import { METRICS_STREAMS, searchMessages, type StreamedReads, TAG_STREAMS } from './streamed-answers.ts';

export interface StreamingOptions extends StreamedReads {
  readonly watch: QueryWatch;
  /** Throws for a header that names no tenant. */
  readonly tenantOf: (header: TenantHeader) => string;
}

/** The parameters of a call from its request message. */
export type ParamsOf = (message: Uint8Array) => URLSearchParams;
/** The messages of an answer; what is said beside them is put into `trailers`. */
export type Answer = (
  call: ReadCall,
  trailers: Record<string, string>,
) => AsyncIterable<Uint8Array> | Promise<Iterable<Uint8Array>>;

const SERVICE = '/tempopb.StreamingQuerier/';
const METHOD = 'POST';
const HTTP_OK = 200;

export function addStreamingMethods(methods: GrpcMethods, options: StreamingOptions): void {
  const add = (name: string, op: Op, paramsOf: ParamsOf, answer: Answer): void => {
    methods.serverStream(SERVICE + name, watched(options, SERVICE + name, op, paramsOf, answer));
  };
  add('Search', 'search', grpcSearchParams, (call, trailers) => searchMessages(options, call, trailers));
  for (const [name, stream] of Object.entries(TAG_STREAMS)) {
    const paramsOf = name.startsWith('SearchTagValues') ? grpcTagValueParams : grpcTagParams;
    add(name, 'metadata', paramsOf, (call, trailers) => stream(options, call, trailers));
  }
  for (const [name, stream] of Object.entries(METRICS_STREAMS)) {
    const paramsOf = name === 'MetricsQueryInstant' ? grpcInstantParams : grpcRangeParams;
    add(name, 'metrics', paramsOf, (call, trailers) => stream(options, call, trailers));
  }
}

/**
 * A handler that counts and logs its calls, and ends when the caller leaves.
 *
 * @param isSubRequest what it is asked for is a part of a query of another process.
 */
export function watched(
  { watch, tenantOf }: StreamingOptions,
  path: string,
  op: Op,
  paramsOf: ParamsOf,
  answer: Answer,
  isSubRequest = false,
): StreamHandler {
  return async function* ({ message, metadata, signal, trailers }: GrpcCall) {
    const query = watch.begin(op, isSubRequest);
    const { seen } = query;
    signal.addEventListener('abort', query.cancel, { once: true });
    let tenant: string | undefined;
    let url = path;
    try {
      tenant = tenantOf(metadata[TENANT_HEADER]);
      const params = paramsOf(message);
      url = `${path}?${params.toString()}`;
      const part = isSubRequest ? parseQueryPart(params) : undefined;
      const call = { tenant, params, signal: query.signal, seen, part };
      const packets = await answer(call, trailers);
      const slice = new Slice();
      for await (const packet of packets) {
        query.responseBytes += packet.length;
        yield packet;
        // A reader that is as fast as we are would else keep the thread until all is sent.
        if (slice.isOver) await slice.next();
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
