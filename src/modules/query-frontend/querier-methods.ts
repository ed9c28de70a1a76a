// tempopb.Querier: what queriers of other processes ask of this one, whose heads and local blocks are recent
// data to them. SearchBlock names row groups of any block.
import {
  grpcSearchBlockParams,
  grpcSearchParams,
  grpcTagParams,
  grpcTagValueParams,
  grpcTraceParams,
} from '../../api/grpc-params.ts';
import { parseTraceId } from '../../api/params.ts';
import type { GrpcMethods } from '../../rpc/grpc-methods.ts';
import { joinedInSlices } from './body.ts';
import type { Op, ReadCall } from './reads.ts';
import { searchProto } from './search-response.ts';
import { tagNameOf } from './streamed-answers.ts';
import { type ParamsOf, type StreamingOptions, watched } from './streaming.ts';
import { listProto, scopesProto, valuesProto } from './tag-response.ts';
import { traceV2Proto } from './trace-response.ts';

const SERVICE = '/tempopb.Querier/';

export function addQuerierMethods(methods: GrpcMethods, options: StreamingOptions): void {
  const { reads } = options;
  const add = (
    name: string,
    op: Op,
    paramsOf: ParamsOf,
    answer: (call: ReadCall) => Promise<Uint8Array>,
  ): void => {
    const path = SERVICE + name;
    const handle = watched(options, path, op, paramsOf, async (call) => [await answer(call)], true);
    methods.unary(path, async (call) => {
      let answered: Uint8Array | undefined;
      // To its end, where it is counted and its timer stopped.
      for await (const message of handle(call)) answered = message;
      return answered!;
    });
  };
  add('FindTraceByID', 'traces', grpcTraceParams, async (call) => {
    call.params.set('mode', 'ingesters');
    const id = parseTraceId(call.params.get('traceID') ?? '');
    return Buffer.concat(traceV2Proto(await reads.trace(call, id, 'proto')));
  });
  const search = async (call: ReadCall): Promise<Uint8Array> =>
    searchProto(await reads.search(call, 'proto'));
  add('SearchRecent', 'search', grpcSearchParams, search);
  add('SearchBlock', 'search', grpcSearchBlockParams, search);
  add('SearchTags', 'metadata', grpcTagParams, async (call) => {
    const { names, inspectedBytes } = await reads.allNames(call);
    return joinedInSlices(listProto(names, inspectedBytes));
  });
  add('SearchTagsV2', 'metadata', grpcTagParams, async (call) => {
    const { scopes, inspectedBytes } = await reads.namesByScope(call);
    return scopesProto(scopes, inspectedBytes);
  });
  add('SearchTagValues', 'metadata', grpcTagValueParams, async (call) => {
    const { texts, inspectedBytes } = await reads.plainValues(call, tagNameOf(call));
    return joinedInSlices(listProto(texts, inspectedBytes));
  });
  add('SearchTagValuesV2', 'metadata', grpcTagValueParams, async (call) => {
    const { types, inspectedBytes } = await reads.typedValues(call, tagNameOf(call));
    return joinedInSlices(valuesProto(types, inspectedBytes));
  });
}
