// How blocks are compacted and how long they are kept: as the compactor says, and in files of 3.x, which have
// no compactor, as the backend_worker says; a tenant may have values of its own.
import type { Overrides } from '../overrides/overrides.ts';
import type { CompactionLimits } from '../store/compaction-select.ts';
import type { RetentionTimes } from '../store/retention.ts';
import { rootBlock, type TempoConfig } from './config.ts';

const DEFAULTS = rootBlock.shape.compactor.shape.compaction.shape;

type Compaction = TempoConfig['compactor']['compaction'];

/** A value of the backend_worker counts where the compactor has its default. */
function either(config: TempoConfig, key: keyof Compaction, byDefault: number): number {
  const ofCompactor = config.compactor.compaction[key];
  return ofCompactor === byDefault ? config.backendWorker.compaction[key] : ofCompactor;
}

/** @returns undefined = `compactor.disabled`: nothing is deleted. */
export function blockRetention(config: TempoConfig, overrides: Overrides): RetentionTimes | undefined {
  if (config.compactor.disabled) return undefined;
  const blockMs = either(config, 'blockRetentionMs', DEFAULTS.block_retention.default);
  return {
    blockMsOf: (tenant) => {
      const own = overrides.of(tenant).compaction.blockRetentionMs;
      return own > 0 ? own : blockMs;
    },
    compactedMs: either(config, 'compactedBlockRetentionMs', DEFAULTS.compacted_block_retention.default),
  };
}

/** Formats of blocks that can be written. */
const FORMATS: ReadonlySet<string> = new Set(['vParquet4']);

export interface CompactionSettings {
  readonly cycleMs: number;
  readonly tenantTimeMsMax: number;
  /** undefined = the tenant's blocks stay as they are. */
  readonly limitsOf: (tenant: string) => CompactionLimits | undefined;
}

export function compactionSettings(config: TempoConfig, overrides: Overrides): CompactionSettings {
  const windowMs = either(config, 'compactionWindowMs', DEFAULTS.compaction_window.default);
  const limits = {
    objectsMax: either(config, 'maxCompactionObjects', DEFAULTS.max_compaction_objects.default),
    blockBytesMax: either(config, 'maxBlockBytes', DEFAULTS.max_block_bytes.default),
    formats: FORMATS,
  };
  return {
    cycleMs: either(config, 'compactionCycleMs', DEFAULTS.compaction_cycle.default),
    tenantTimeMsMax: either(config, 'maxTimePerTenantMs', DEFAULTS.max_time_per_tenant.default),
    limitsOf: (tenant) => {
      const { compactionDisabled, compactionWindowMs: own } = overrides.of(tenant).compaction;
      if (compactionDisabled) return undefined;
      return { ...limits, windowMs: Math.max(1000, own > 0 ? own : windowMs) };
    },
  };
}
