// Compaction in this process, as the configuration has it.
import path from 'node:path';
import { Compactor } from '../modules/compactor/index.ts';
import { LocalStore } from '../objectstore/local.ts';
import type { Overrides } from '../overrides/overrides.ts';
import { BlockJoiner } from '../store/block-joiner.ts';
import { showOutstanding } from '../store/compaction-metrics.ts';
import { CompactionThread } from '../store/compaction-thread.ts';
import type { Store } from '../store/store.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Admission } from './admission.ts';
import { compactionSettings } from './compaction-settings.ts';
import type { TempoConfig } from './config.ts';

export interface CompactionParts {
  readonly config: TempoConfig;
  readonly store: Store;
  readonly admission: Admission;
  /** Counts spans that were left out. */
  readonly discarded: (tenant: string, reason: string, spans: number) => void;
  readonly overrides: Overrides;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** @returns undefined = `compactor.disabled`. */
export function createCompactor(parts: CompactionParts): Compactor | undefined {
  const { config, store, admission, overrides, logger, metrics } = parts;
  if (config.compactor.disabled) return undefined;
  const outstanding = new Map<string, number>();
  showOutstanding(metrics, () => outstanding);
  return new Compactor({
    ...compactionSettings(config, overrides),
    blocklist: store.blocklist,
    joiner: createJoiner(parts),
    outstanding,
    refusal: (sizeBytes) => admission.upkeepRefusal(sizeBytes),
    logger: logger.child({ module: 'compactor' }),
    nowMs: Date.now,
  });
}

function createJoiner(parts: CompactionParts): BlockJoiner {
  const { config, store, discarded, overrides, logger, metrics } = parts;
  const { wal, local, backend, block } = config.storage.trace;
  const scratchPath = path.resolve(wal.path, 'compaction');
  const bloom = {
    falsePositive: block.bloomFilterFalsePositive,
    shardSizeBytes: block.bloomFilterShardSizeBytes,
  };
  const backendPath = backend === 'local' ? path.resolve(local.path) : '';
  return new BlockJoiner({
    blocklist: store.blocklist,
    backend: store.objectStore,
    scratch: new LocalStore(scratchPath),
    scratchPath,
    thread: new CompactionThread({ scratchPath, backendPath, bloom }, () => store.remote?.connect()),
    traceBytesMaxOf: (tenant) => overrides.of(tenant).global.maxBytesPerTrace,
    onCompacted: (meta, inputs) => store.blockCompacted(meta, inputs),
    discarded,
    logger: logger.child({ module: 'compactor' }),
    metrics,
    nowMs: Date.now,
  });
}
