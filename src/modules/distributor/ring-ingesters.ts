// The ingesters of other processes, as a distributor of its own has them: channels to them, what may be on
// its way, and the pusher over both.
import { BufferPool } from '../../rpc/buffer-pool.ts';
import type { ChannelOptions } from '../../rpc/grpc-channel.ts';
import { GrpcPool } from '../../rpc/grpc-pool.ts';
import type { MessageCompression } from '../../rpc/message-compression.ts';
import { WRITE, WRITE_NO_EXTEND } from '../../ring/ring.ts';
import type { WatchedRing } from '../../ring/watched-ring.ts';
import type { Logger } from '../../telemetry/log.ts';
import type { Metrics } from '../../telemetry/metrics.ts';
import type { AppendCounters, DistributorMetrics } from './metrics.ts';
import { RingPusher } from './ring-pusher.ts';

export interface RingIngestersSettings {
  readonly ring: Pick<WatchedRing, 'current'>;
  /** `ingester_client`. */
  readonly client: {
    readonly remoteTimeoutMs: number;
    readonly maxUnansweredBytes: number;
    readonly poolConfig: {
      readonly checkintervalMs: number;
      readonly healthcheckenabled: boolean;
      readonly healthchecktimeoutMs: number;
      readonly healthcheckgraceperiodMs: number;
      readonly maxconcurrenthealthchecks: number;
    };
    readonly channel: Omit<ChannelOptions, 'address'>;
    readonly compression: MessageCompression | undefined;
  };
  /** `distributor.extend_writes`. */
  readonly extendWrites: boolean;
  /** Of a tenant; 0 = all ingesters. */
  readonly shardSize: (tenant: string) => number;
  /** Of all messages that are not answered. */
  readonly bufferBytesMax: number;
}

const CHECKS_AT_A_TIME = 16;
/** Share of the buffers that is kept for the next pushes. */
const IDLE_SHARE = 0.25;

export class RingIngesters {
  readonly pusher: RingPusher;
  readonly #clients: GrpcPool;

  constructor(
    settings: RingIngestersSettings,
    own: DistributorMetrics,
    { logger, metrics }: { readonly logger: Logger; readonly metrics: Metrics },
  ) {
    const { ring, client, extendWrites, shardSize, bufferBytesMax } = settings;
    const { poolConfig } = client;
    this.#clients = new GrpcPool({
      channel: client.channel,
      health: {
        enabled: poolConfig.healthcheckenabled,
        periodMs: poolConfig.checkintervalMs,
        timeoutMs: poolConfig.healthchecktimeoutMs,
        graceMs: poolConfig.healthcheckgraceperiodMs,
        parallelMax: poolConfig.maxconcurrenthealthchecks || CHECKS_AT_A_TIME,
      },
      isKnown: (address) => ring.current.instances.some(({ addr }) => addr === address),
      inFlightBytesMax: client.maxUnansweredBytes,
      logger,
      onClosed: (address) => {
        appends.delete(address);
        own.forgetIngester(address);
      },
    });
    const appends = new Map<string, AppendCounters>();
    const appendsTo = (address: string): AppendCounters => {
      let counters = appends.get(address);
      if (counters === undefined) {
        counters = own.appendsTo(address);
        appends.set(address, counters);
      }
      return counters;
    };
    this.pusher = new RingPusher({
      ring: () => ring.current,
      operation: extendWrites ? WRITE : WRITE_NO_EXTEND,
      shardSize,
      clients: this.#clients,
      buffers: new BufferPool(bufferBytesMax, bufferBytesMax * IDLE_SHARE),
      messageBytesMax: client.channel.sendMessageBytesMax,
      timeoutMs: client.remoteTimeoutMs,
      compression: client.compression,
      onSent: (address) => appendsTo(address).sent.inc(1),
      onFailed: (address) => appendsTo(address).failed.inc(1),
      nowMs: Date.now,
    });
    showClients(metrics, this.#clients);
  }

  start(): void {
    this.#clients.start();
  }

  stop(): void {
    this.#clients.stop();
  }
}

function showClients(metrics: Metrics, clients: GrpcPool): void {
  metrics.gauge('tempo_distributor_ingester_clients', 'Ingesters that batches are sent to.', [], (gauge) =>
    gauge.set(clients.size),
  );
  metrics.gauge(
    'tempo_distributor_ingester_unanswered_bytes',
    'Bytes of batches that ingesters have not answered.',
    [],
    (gauge) => gauge.set(clients.bytesInFlight),
  );
}
