// The distributor module: receivers in front, the push contract behind.
import type { Service } from '../../lib/service.ts';
import type { Pusher } from '../../contracts/push.ts';
import { TempoError } from '../../lib/errors.ts';
import { OtlpGrpcReceiver, type OtlpGrpcOptions } from '../../receivers/otlp-grpc.ts';
import { OtlpHttpReceiver, type OtlpHttpOptions } from '../../receivers/otlp-http.ts';
import type { BoundAddress, Receiver, TraceConsumer } from '../../receivers/receiver.ts';
import { ForwarderMetrics } from './forwarder-metrics.ts';
import { Forwarders, type ForwarderSettings } from './forwarders.ts';
import { limitLines, type Logger } from '../../telemetry/log.ts';
import type { ExpositionFormat } from '../../telemetry/exposition.ts';
import type { Metrics } from '../../telemetry/metrics.ts';
import { Distributor, type TenantLimits } from './distributor.ts';
import { type AppendCounters, DistributorMetrics } from './metrics.ts';
import { RingIngesters, type RingIngestersSettings } from './ring-ingesters.ts';
import { type LogSpansSettings, type MetricSpansSettings, SpanLog } from './span-log.ts';
import { UsageTracker } from './usage-tracker.ts';

/** The part of the configuration that the module reads. */
export interface DistributorSettings {
  readonly receivers: {
    readonly otlp?:
      | {
          readonly protocols: {
            readonly grpc?: OtlpGrpcOptions | undefined;
            readonly http?: OtlpHttpOptions | undefined;
          };
        }
      | undefined;
  };
  readonly retryAfterOnResourceExhaustedMs: number;
  readonly forwarders: readonly ForwarderSettings[];
  readonly logReceivedSpans: LogSpansSettings;
  readonly logDiscardedSpans: LogSpansSettings;
  readonly metricReceivedSpans: MetricSpansSettings;
  readonly artificialDelayMs: number;
  readonly usage: {
    readonly costAttribution: {
      readonly enabled: boolean;
      readonly maxCardinality: number;
      readonly staleDurationMs: number;
    };
  };
}

export interface DistributorModuleOptions {
  readonly config: DistributorSettings;
  readonly limits: (tenant: string) => TenantLimits;
  readonly multitenancyEnabled: boolean;
  /** Throws when a push of that size may not come in now. */
  readonly admit: (sizeBytes: number) => void;
  readonly ingesters: Ingesters;
  /** Of those that share global rates; undefined = there is no other one. */
  readonly distributorsCount?: (() => number) | undefined;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** Where spans go: to the ingester of this process, or to those of a ring. */
export type Ingesters =
  | { readonly kind: 'here'; readonly pusher: Pusher }
  | ({ readonly kind: 'ring' } & RingIngestersSettings);

export interface DistributorService extends Service {
  /** Bound addresses by receiver name, while running. */
  addresses(): ReadonlyMap<string, BoundAddress>;
  /** What /usage_metrics answers; undefined where costs are not attributed. */
  readonly usageMetrics: ((format: ExpositionFormat) => Promise<Buffer>) | undefined;
  /** Counts spans that were dropped after they were taken. */
  readonly discarded: (tenant: string, reason: string, spans: number) => void;
}

/** As many as the main thread writes beside its work. */
const SPAN_LINES_PER_SEC = 5000;
const REFUSALS_PER_SEC = 10;
/** Time for open requests when stopping. With the other modules' the process ends within its five seconds. */
const STOP_GRACE_MS = 1500;
/** Then for what waits for forwarders. */
const FORWARD_GRACE_MS = 1000;

/** What metrics call the ingester of this process. */
const IN_PROCESS = 'in-process';
/** How often stale usage is looked for. */
const PURGE_MS = 60_000;

/** What listens when no receiver is configured. */
const DEFAULT_GRPC: OtlpGrpcOptions = {
  endpoint: 'localhost:4317',
  maxRecvMsgSizeMib: 0,
  maxConcurrentStreams: 0,
};

export function createDistributor(options: DistributorModuleOptions): DistributorService {
  const { config, logger } = options;
  const metrics = new DistributorMetrics(options.metrics);
  const limited = (linesPerSec: number): Logger =>
    limitLines(logger, {
      linesPerSec,
      dropped: () => metrics.droppedLines.inc(),
      nowMs: () => performance.now(),
    });
  const forwarders = new Forwarders({
    settings: config.forwarders,
    metrics: new ForwarderMetrics(options.metrics),
    logger,
    failures: limited(REFUSALS_PER_SEC),
  });
  const spanLog = createSpanLog(config, limited(SPAN_LINES_PER_SEC), metrics);
  metrics.onForget((tenants) => {
    forwarders.forget(tenants);
    spanLog.forget(tenants);
  });
  const usage = createUsageTracker(config, metrics);
  const ingesters = openIngesters(options, metrics);
  const consumer = new Distributor({
    limits: options.limits,
    multitenancyEnabled: options.multitenancyEnabled,
    admit: options.admit,
    pusher: ingesters.pusher,
    forward: (tenant, names, body) => forwarders.forward(tenant, names, body),
    metrics,
    spanLog,
    usage,
    refusals: limited(REFUSALS_PER_SEC),
    artificialDelayMs: config.artificialDelayMs,
    distributorsCount: options.distributorsCount ?? (() => 1),
    retryAfterMs: config.retryAfterOnResourceExhaustedMs,
    nowMs: () => performance.now(),
  });
  const receivers = createReceivers(config.receivers, consumer, logger, limited(REFUSALS_PER_SEC));
  const addresses = new Map<string, BoundAddress>();
  const purger = setInterval(() => usage?.purge(), PURGE_MS).unref();
  const stop = async (): Promise<void> => {
    clearInterval(purger);
    addresses.clear();
    await Promise.all(receivers.map((receiver) => receiver.stop(STOP_GRACE_MS)));
    await forwarders.stop(FORWARD_GRACE_MS);
    ingesters.stop();
  };
  return {
    name: 'distributor',
    addresses: () => addresses,
    usageMetrics: usage === undefined ? undefined : (format) => usage.bytes(format),
    discarded: (tenant, reason, spans) => metrics.discard(tenant, reason, spans),
    stop,
    async start() {
      try {
        ingesters.start();
        await forwarders.start();
        for (const receiver of receivers) {
          const bound = await receiver.start();
          addresses.set(receiver.name, bound);
          const { address, port } = bound;
          logger.info('receiver listens', { receiver: receiver.name, address, port });
        }
      } catch (err) {
        await stop();
        throw err;
      }
    },
  };
}

function openIngesters(
  { ingesters, logger, metrics }: DistributorModuleOptions,
  own: DistributorMetrics,
): { readonly pusher: Pusher; start(): void; stop(): void } {
  if (ingesters.kind === 'ring') return new RingIngesters(ingesters, own, { logger, metrics });
  metrics.gauge('tempo_distributor_ingester_clients', 'Ingesters that batches are sent to.').set(1);
  const pusher = countedPusher(ingesters.pusher, own.appendsTo(IN_PROCESS));
  return { pusher, start: () => undefined, stop: () => undefined };
}

function countedPusher(pusher: Pusher, { sent, failed }: AppendCounters): Pusher {
  return {
    async push(request) {
      sent.inc(1);
      try {
        return await pusher.push(request);
      } catch (err) {
        failed.inc(1);
        throw err;
      }
    },
  };
}

function createSpanLog(config: DistributorSettings, logger: Logger, metrics: DistributorMetrics): SpanLog {
  return new SpanLog({
    received: config.logReceivedSpans,
    discarded: config.logDiscardedSpans,
    counted: config.metricReceivedSpans,
    logger,
    spans: metrics.debugSpans,
  });
}

function createUsageTracker(
  { usage: { costAttribution } }: DistributorSettings,
  { usageErrors }: DistributorMetrics,
): UsageTracker | undefined {
  const { enabled, maxCardinality, staleDurationMs } = costAttribution;
  if (!enabled) return undefined;
  return new UsageTracker({
    maxCardinality,
    staleDurationMs,
    errors: usageErrors,
    nowMs: () => performance.now(),
  });
}

/** What OTLP is taken by: the default where no receiver is configured, nothing where others are. */
export function otlpProtocols(
  receivers: DistributorSettings['receivers'],
): NonNullable<DistributorSettings['receivers']['otlp']>['protocols'] {
  if (receivers.otlp !== undefined) return receivers.otlp.protocols;
  const isConfigured = Object.values(receivers).some((value) => value !== undefined);
  return isConfigured ? {} : { grpc: DEFAULT_GRPC };
}

function createReceivers(
  config: DistributorSettings['receivers'],
  consumer: TraceConsumer,
  logger: Logger,
  refusals: Logger,
): readonly Receiver[] {
  const { grpc, http } = otlpProtocols(config);
  if (config.otlp !== undefined && grpc === undefined && http === undefined) {
    throw new TempoError(
      'invalid_argument',
      'distributor.receivers.otlp.protocols names neither grpc nor http',
    );
  }
  return [
    ...(grpc === undefined ? [] : [new OtlpGrpcReceiver(grpc, consumer, logger)]),
    ...(http === undefined ? [] : [new OtlpHttpReceiver(http, consumer, logger, {}, refusals)]),
  ];
}
