// How long blocks are kept: as the compactor says, and in files of 3.x, which have no compactor, as the
// backend_worker says; a tenant may have a time of its own.
import type { Overrides } from '../overrides/overrides.ts';
import type { RetentionTimes } from '../store/retention.ts';
import { rootBlock, type TempoConfig } from './config.ts';

const DEFAULTS = rootBlock.shape.compactor.shape.compaction.shape;

/** @returns undefined = `compactor.disabled`: nothing is deleted. */
export function blockRetention(config: TempoConfig, overrides: Overrides): RetentionTimes | undefined {
  if (config.compactor.disabled) return undefined;
  const compactor = config.compactor.compaction;
  const worker = config.backendWorker.compaction;
  const either = (ofCompactor: number, ofWorker: number, byDefault: number): number =>
    ofCompactor === byDefault ? ofWorker : ofCompactor;
  const blockMs = either(
    compactor.blockRetentionMs,
    worker.blockRetentionMs,
    DEFAULTS.block_retention.default,
  );
  return {
    blockMsOf: (tenant) => {
      const own = overrides.of(tenant).compaction.blockRetentionMs;
      return own > 0 ? own : blockMs;
    },
    compactedMs: either(
      compactor.compactedBlockRetentionMs,
      worker.compactedBlockRetentionMs,
      DEFAULTS.compacted_block_retention.default,
    ),
  };
}
