// The modules that look after the blocks of the backend, as the configuration has them: the compactor, or the
// scheduler and its workers.
import path from 'node:path';
import { BackendScheduler } from '../modules/backend-scheduler/index.ts';
import { BackendWorker, SchedulerClient } from '../modules/backend-worker/index.ts';
import { Compactor } from '../modules/compactor/index.ts';
import { LocalStore } from '../objectstore/local.ts';
import type { Overrides } from '../overrides/overrides.ts';
import type { WorkShare } from '../ring/work-share.ts';
import type { GrpcMethods } from '../rpc/grpc-methods.ts';
import { BlockJoiner } from '../store/block-joiner.ts';
import { showOutstanding } from '../store/compaction-metrics.ts';
import { CompactionThread } from '../store/compaction-thread.ts';
import type { Store } from '../store/store.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Admission } from './admission.ts';
import { compactionSettings, schedulerLimits } from './compaction-settings.ts';
import type { TempoConfig } from './config.ts';
import { targetsOf } from './graph.ts';
import { grpcClientOptions } from './grpc-client-options.ts';
import type { HttpServer } from './http-server.ts';
import { registerSchedulerPage } from './scheduler-page.ts';

export interface UpkeepParts {
  readonly config: TempoConfig;
  readonly store: Store;
  readonly admission: Admission;
  /** Counts spans that were left out. */
  readonly discarded: (tenant: string, reason: string, spans: number) => void;
  readonly overrides: Overrides;
  readonly server: HttpServer;
  readonly grpcMethods: GrpcMethods;
  /** Of the jobs of compactors; undefined = all are this process's. */
  readonly share: WorkShare | undefined;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export class BlockUpkeep {
  readonly #parts: UpkeepParts;
  #joiner: BlockJoiner | undefined;
  #outstanding: Map<string, number> | undefined;

  constructor(parts: UpkeepParts) {
    this.#parts = parts;
  }

  /** @returns undefined = `compactor.disabled`. */
  createCompactor(): Compactor | undefined {
    const { config, store, admission, overrides, share, logger } = this.#parts;
    if (config.compactor.disabled) return undefined;
    return new Compactor({
      ...compactionSettings(config, overrides),
      blocklist: store.blocklist,
      joiner: this.#joinerInto('compaction', 'compactor'),
      share: share && { owns: (key) => share.owns(key), backend: store.objectStore },
      outstanding: this.#outstandingBlocks(),
      refusal: (sizeBytes) => admission.upkeepRefusal(sizeBytes),
      logger: logger.child({ module: 'compactor' }),
      nowMs: Date.now,
    });
  }

  /** Its methods and its page are on the server before that listens. */
  addScheduler(): BackendScheduler {
    const { config, store, overrides, server, grpcMethods, logger, metrics } = this.#parts;
    const { work, provider, ...keys } = config.backendScheduler;
    const { compaction, retention } = provider;
    const scheduler = new BackendScheduler({
      blocklist: store.blocklist,
      backend: store.objectStore,
      local: new LocalStore(path.resolve(keys.localWorkPath)),
      limitsOf: schedulerLimits(config, overrides),
      times: {
        pruneMs: work.pruneAgeMs,
        deadMs: work.deadJobTimeoutMs,
        silentMs: work.silentJobTimeoutMs,
        restMs: Math.max(1, compaction.minCycleIntervalMs),
      },
      waitMs: keys.jobTimeoutMs,
      maintenanceMs: keys.maintenanceIntervalMs,
      flushMs: keys.backendFlushIntervalMs,
      retentionMs: retention.intervalMs,
      lookMsMin: compaction.minCycleIntervalMs,
      lookMsMax: Math.max(compaction.measureIntervalMs, compaction.minCycleIntervalMs),
      jobsPerTurn: Math.max(1, compaction.maxJobsPerTenant),
      outstanding: this.#outstandingBlocks(),
      logger: logger.child({ module: 'backend-scheduler' }),
      metrics,
      nowMs: Date.now,
    });
    store.onPolled(() => scheduler.polled());
    scheduler.registerMethods(grpcMethods);
    registerSchedulerPage(server.app, () => scheduler.jobs());
    return scheduler;
  }

  createWorker(): BackendWorker {
    const { config, store, admission, logger, metrics } = this.#parts;
    const { backoff, finishOnShutdownTimeoutMs, ring } = config.backendWorker;
    const workerId = ring.instanceId;
    return new BackendWorker({
      workerId,
      source: schedulerClient(config),
      joiner: this.#joinerInto(`backend-worker/${encodeURIComponent(workerId)}`, 'backend-worker'),
      backend: store.objectStore,
      retain: () => store.retainNow(),
      refusal: (sizeBytes) => admission.upkeepRefusal(sizeBytes),
      backoff: { minMs: backoff.minPeriodMs, maxMs: backoff.maxPeriodMs, triesMax: backoff.maxRetries },
      finishMs: finishOnShutdownTimeoutMs,
      aliveMs: config.backendWorker.aliveIntervalMs,
      logger: logger.child({ module: 'backend-worker' }),
      metrics,
    });
  }

  #outstandingBlocks(): Map<string, number> {
    if (this.#outstanding !== undefined) return this.#outstanding;
    const outstanding = new Map<string, number>();
    this.#outstanding = outstanding;
    showOutstanding(this.#parts.metrics, () => outstanding);
    return outstanding;
  }

  /** The one of the process: whoever comes second has its blocks joined by it too. */
  #joinerInto(folder: string, module: string): BlockJoiner {
    const { config, store, discarded, overrides, logger, metrics } = this.#parts;
    if (this.#joiner !== undefined) return this.#joiner;
    const { wal, local, backend, block } = config.storage.trace;
    const scratchPath = path.resolve(wal.path, folder);
    const bloom = {
      falsePositive: block.bloomFilterFalsePositive,
      shardSizeBytes: block.bloomFilterShardSizeBytes,
    };
    const backendPath = backend === 'local' ? path.resolve(local.path) : '';
    this.#joiner = new BlockJoiner({
      blocklist: store.blocklist,
      backend: store.objectStore,
      scratch: new LocalStore(scratchPath),
      scratchPath,
      thread: new CompactionThread(
        {
          scratchPath,
          backendPath,
          bloom,
          valueFilterBytesMax: block.valueFilterMaxBytes,
          compression: block.parquetCompression,
        },
        () => store.remote?.connect(),
      ),
      traceBytesMaxOf: (tenant) => overrides.of(tenant).global.maxBytesPerTrace,
      onCompacted: (meta, inputs) => store.blockCompacted(meta, inputs),
      discarded,
      logger: logger.child({ module }),
      metrics,
      nowMs: Date.now,
    });
    return this.#joiner;
  }
}

/** Where no distributor of this process counts them. */
export function countDiscarded(metrics: Metrics): UpkeepParts['discarded'] {
  const labels = ['reason', 'tenant'];
  const help = 'Spans that were dropped, by reason.';
  const discarded = metrics.counter('tempo_discarded_spans_total', help, labels);
  return (tenant, reason, spans) => {
    metrics.tenants.seen(tenant);
    discarded.inc({ reason, tenant }, spans);
  };
}

function schedulerClient(config: TempoConfig): SchedulerClient {
  const { grpcClientConfig: client } = config.backendSchedulerClient;
  const { tls, compression } = grpcClientOptions(client, 'backend_scheduler_client.grpc_client_config');
  return new SchedulerClient({
    address: schedulerAddress(config),
    tls,
    compression,
    reconnectMs: { min: client.connectBackoffBaseDelayMs, max: client.connectBackoffMaxDelayMs },
    waitMs: config.backendScheduler.jobTimeoutMs,
  });
}

/** The scheduler of the process itself, where nothing else is said. */
function schedulerAddress(config: TempoConfig): string {
  const { backendSchedulerAddr: address } = config.backendWorker;
  if (address !== '' || !targetsOf(config.target).includes('backend-scheduler')) return address;
  const { grpcListenAddress: host, grpcListenPort: port } = config.server;
  return `${host === '' || host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host}:${port}`;
}
