// tempopb.Pusher: what distributors of other processes send. Segments of traces become one body for the log,
// in place; what single traces were refused for goes back by trace.
import {
  DISCARD_REASONS,
  OLD_PUSH_BYTES_PATH,
  PUSH_BYTES_PATH,
  type PushedTraces,
  pushResponse,
  PushReason,
  readPushRequest,
} from '../../contracts/push-bytes.ts';
import type { Pusher, PushResult } from '../../contracts/push.ts';
import { cutBadSpans, scanRequest } from '../../model/otlp/scan.ts';
import { TraceRuns } from '../../model/otlp/trace-runs.ts';
import { TENANT_HEADER, tenantOfHeader } from '../../model/tenant.ts';
import type { GrpcCall, GrpcMethods } from '../../rpc/grpc-methods.ts';

export interface PushMethodsOptions {
  readonly pusher: Pusher;
  readonly multitenancyEnabled: boolean;
  /** Throws when a push of that size may not come in now. */
  readonly admit: (sizeBytes: number) => void;
  /** Whether traces of the tenant are limited. */
  readonly limitsTraces: (tenant: string) => boolean;
}

const ALL_KEPT = pushResponse(undefined);

export function registerPushMethods(methods: GrpcMethods, options: PushMethodsOptions): void {
  const runs = new TraceRuns();
  methods.unary(PUSH_BYTES_PATH, (call) => pushBytes(options, runs, call));
  methods.unary(OLD_PUSH_BYTES_PATH, (call) => pushBytes(options, runs, call, 0));
}

async function pushBytes(
  options: PushMethodsOptions,
  runs: TraceRuns,
  { message, metadata }: GrpcCall,
  timesBytes?: number,
): Promise<Uint8Array> {
  const tenant = tenantOfHeader(metadata[TENANT_HEADER], options.multitenancyEnabled);
  options.admit(message.length);
  const pushed = readPushRequest(message, timesBytes);
  const traces = options.limitsTraces(tenant) ? runs : undefined;
  const { spanCount, badTraceIds, badSpanIds } = scanRequest(pushed.body, traces);
  const badCount = badTraceIds + badSpanIds;
  const goodCount = spanCount - badCount;
  let result: PushResult = { rejected: [] };
  if (goodCount > 0) {
    const body = badCount === 0 ? pushed.body : cutBadSpans(pushed.body);
    if (badCount > 0 && traces !== undefined) scanRequest(body, traces);
    const request = { tenant, body, spanCount: goodCount, traces, namesRejected: true };
    result = await options.pusher.push(request);
  }
  if (badCount === 0 && result.rejected.length === 0) return ALL_KEPT;
  return pushResponse(reasonsOf(pushed, result));
}

/** Why each trace was refused, whole; a trace with a span that is none counts as refused. */
function reasonsOf({ body, ends }: PushedTraces, { rejected }: PushResult): Uint8Array {
  const reasons = new Uint8Array(ends.length);
  const runs = new TraceRuns();
  let start = 0;
  ends.forEach((end, i) => {
    const segment = body.subarray(start, end);
    start = end;
    const { badTraceIds, badSpanIds } = scanRequest(segment, runs);
    if (badTraceIds + badSpanIds > 0) reasons[i] = PushReason.unknown;
    if (runs.count === 0) return;
    const idAt = runs.words[0]!;
    const id = Buffer.from(segment.subarray(idAt, idAt + 16)).toString('hex');
    const refusal = rejected.find(({ traceIds }) => traceIds?.has(id) === true);
    if (refusal !== undefined) reasons[i] = codeOf(refusal.reason);
  });
  return reasons;
}

function codeOf(reason: string): number {
  const code = Object.entries(DISCARD_REASONS).find(([, name]) => name === reason)?.[0];
  return code === undefined ? PushReason.unknown : Number(code);
}
