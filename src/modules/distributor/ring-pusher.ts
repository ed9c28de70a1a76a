// The pusher of a distributor in a process of its own: each trace goes to the ingesters that the ring names
// for it, all traces of an ingester in one message. A push counts when each trace has its quorum; a slow
// ingester more or less does not hold it up.
import {
  DISCARD_REASONS,
  PUSH_BYTES_PATH,
  type PushReason,
  pushReasons,
} from '../../contracts/push-bytes.ts';
import type { Pusher, PushRequest, PushResult } from '../../contracts/push.ts';
import { type ErrorCode, TempoError } from '../../lib/errors.ts';
import { fnv1of32 } from '../../lib/hash.ts';
import { TraceLayout } from '../../model/otlp/trace-layout.ts';
import { TENANT_HEADER } from '../../model/tenant.ts';
import { KeyBatch, type KeyShare } from '../../ring/quorum.ts';
import type { Operation, ReplicationSet, RingSnapshot } from '../../ring/ring.ts';
import type { BufferPool } from '../../rpc/buffer-pool.ts';
import type { GrpcPool } from '../../rpc/grpc-pool.ts';
import type { MessageCompression } from '../../rpc/message-compression.ts';
import { type OutgoingMessage, OutgoingTraces } from './outgoing-traces.ts';
import { PushVerdicts } from './push-verdicts.ts';

export interface RingPusherOptions {
  /** The ingesters as they are now. */
  readonly ring: () => RingSnapshot;
  readonly operation: Operation;
  /** Ingesters of a tenant; 0 = all. */
  readonly shardSize: (tenant: string) => number;
  readonly clients: Pick<GrpcPool, 'unary'>;
  /** For messages until they are answered. */
  readonly buffers: BufferPool;
  readonly messageBytesMax: number;
  /** Time for one ingester's answer. */
  readonly timeoutMs: number;
  /** undefined = messages go as they are. */
  readonly compression: MessageCompression | undefined;
  /** Is told of every message to an ingester, and of those that came to nothing. */
  readonly onSent: (address: string) => void;
  readonly onFailed: (address: string) => void;
  /** Since the epoch. */
  readonly nowMs: () => number;
}

const ALL_KEPT: PushResult = { rejected: [] };
/** What is the request's fault goes back as it is; all else clients may try again. */
const PASSED_ON: readonly ErrorCode[] = [
  'invalid_argument',
  'too_large',
  'resource_exhausted',
  'deadline_exceeded',
];

export class RingPusher implements Pusher {
  readonly layout = new TraceLayout();
  readonly #options: RingPusherOptions;

  constructor(options: RingPusherOptions) {
    this.#options = options;
  }

  async push({ tenant, body, namesRejected = false }: PushRequest): Promise<PushResult> {
    const { buffers, messageBytesMax } = this.#options;
    const sets = this.#setsOf(tenant, body);
    const batch = new KeyBatch(sets);
    const verdicts = new PushVerdicts(sets);
    const traces = new OutgoingTraces(this.layout, body, buffers, messageBytesMax);
    try {
      for (const share of batch.shares) void this.#send(tenant, share, { traces, batch, verdicts });
      await batch.done;
      const reasons = await verdicts.reasons();
      return reasons === undefined ? ALL_KEPT : resultOf(tenant, reasons, traces, namesRejected);
    } catch (err) {
      throw refusalOf(err);
    } finally {
      traces.release();
    }
  }

  /** Throws TempoError `unavailable` when a trace cannot have its quorum. */
  #setsOf(tenant: string, body: Uint8Array): ReplicationSet[] {
    const { ring, operation, shardSize, nowMs } = this.#options;
    const { layout } = this;
    const shard = ring().shard(tenant, shardSize(tenant));
    const tenantHash = fnv1of32(Buffer.from(tenant));
    const sets: ReplicationSet[] = [];
    const now = nowMs();
    for (let trace = 0; trace < layout.count; trace++) {
      const token = fnv1of32(body, layout.idAt(trace), 16, tenantHash);
      sets.push(shard.replicas(token, operation, now));
    }
    return sets;
  }

  async #send(
    tenant: string,
    { instance, keys }: KeyShare,
    { traces, batch, verdicts }: { traces: OutgoingTraces; batch: KeyBatch; verdicts: PushVerdicts },
  ): Promise<void> {
    const { onSent, onFailed } = this.#options;
    const { addr } = instance;
    let message: OutgoingMessage | undefined;
    try {
      message = traces.messageOf(keys);
      onSent(addr);
      const reasons = pushReasons(await this.#call(tenant, addr, message));
      if (reasons !== undefined && reasons.length !== keys.length) {
        const text = `${addr} answered for ${reasons.length} of ${keys.length} traces`;
        throw new TempoError('internal', text);
      }
      verdicts.answered(keys, reasons);
      batch.succeeded(keys);
    } catch (err) {
      onFailed(addr);
      verdicts.failed(keys);
      batch.failed(keys, err);
    } finally {
      if (message !== undefined) traces.giveBack(message);
    }
  }

  async #call(tenant: string, address: string, message: OutgoingMessage): Promise<Uint8Array> {
    const { clients, compression, timeoutMs } = this.#options;
    const headers = { [TENANT_HEADER]: tenant };
    const options = { timeoutMs };
    if (compression === undefined) {
      return clients.unary(address, PUSH_BYTES_PATH, message.bytes, headers, options);
    }
    message.compressed ??= compression.run(message.bytes);
    const bytes = await message.compressed;
    const named = { ...headers, 'grpc-encoding': compression.encoding };
    return clients.unary(address, PUSH_BYTES_PATH, bytes, named, options);
  }
}

function resultOf(
  tenant: string,
  reasons: Uint8Array,
  traces: OutgoingTraces,
  namesRejected: boolean,
): PushResult {
  const codes = [...new Set(reasons)].filter((code) => code !== 0) as Exclude<PushReason, 0>[];
  const rejected = codes.map((code) => {
    const ids: string[] = [];
    let spanCount = 0;
    reasons.forEach((each, trace) => {
      if (each !== code) return;
      spanCount += traces.spans[trace]!;
      if (namesRejected || ids.length === 0) ids.push(traces.idOf(trace));
    });
    const reason = DISCARD_REASONS[code];
    const refused = `${reason.toUpperCase()}: ingesters refused ${spanCount} spans of tenant ${tenant}`;
    const message = `${refused}, the first of trace ${ids[0]}`;
    return { reason, spanCount, message, traceIds: namesRejected ? new Set(ids) : undefined };
  });
  return { rejected };
}

function refusalOf(err: unknown): unknown {
  if (!(err instanceof TempoError) || err.code === 'unavailable' || PASSED_ON.includes(err.code)) return err;
  return new TempoError('unavailable', err.message, err);
}
