// How blocks are compacted and how long they are kept: as the compactor says, and in files of 3.x, which have
// no compactor, as the backend_worker says; a tenant may have values of its own.
import { WRITTEN_FORMATS } from '../block/vparquet/schema.ts';
import type { Overrides } from '../overrides/overrides.ts';
import type { CompactionLimits } from '../store/compaction-select.ts';
import type { RetentionTimes } from '../store/retention.ts';
import { rootBlock, type TempoConfig } from './config.ts';

const DEFAULTS = rootBlock.shape.compactor.shape.compaction.shape;

type Compaction = TempoConfig['compactor']['compaction'];
type NumberKey = { [K in keyof Compaction]: Compaction[K] extends number ? K : never }[keyof Compaction];

/** Who compacts or chooses: its own block counts most, the others where it has the default. */
type Role = 'compactor' | 'backend-worker' | 'backend-scheduler';

function blocksOf({ compactor, backendWorker, backendScheduler }: TempoConfig, role: Role): Compaction[] {
  const [ofCompactor, ofWorker] = [compactor.compaction, backendWorker.compaction];
  if (role === 'compactor') return [ofCompactor, ofWorker];
  const ofScheduler = backendScheduler.provider.compaction.compaction;
  return role === 'backend-worker' ? [ofWorker, ofCompactor] : [ofScheduler, ofWorker, ofCompactor];
}

/** The value of the first block that does not have the default. */
function valueOf(config: TempoConfig, role: Role, key: NumberKey, byDefault: number): number {
  const values = blocksOf(config, role).map((each) => each[key]);
  return values.find((value) => value !== byDefault) ?? byDefault;
}

/** As the worker's block says; by default as the compactor's if that is longer. 0 = for ever. */
function retentionOfWorker(config: TempoConfig, role: Role, key: NumberKey, byDefault: number): number {
  const [own, ofCompactor] = blocksOf(config, role).map((each) => each[key]) as [number, number];
  if (own !== byDefault) return own;
  return own === 0 || ofCompactor === 0 ? 0 : Math.max(own, ofCompactor);
}

/** Who looks after the store in a process of these modules, and by whose settings. */
export function upkeepOf(
  order: readonly string[],
  isDisabled: boolean,
): 'compactor' | 'backend-worker' | 'none' {
  const isWorker = order.includes('backend-worker');
  if (order.includes('compactor') && !(isDisabled && isWorker)) return 'compactor';
  return isWorker ? 'backend-worker' : 'none';
}

/** @returns undefined = `compactor.disabled`: the compactor deletes nothing. */
export function blockRetention(
  config: TempoConfig,
  overrides: Overrides,
  role: 'compactor' | 'backend-worker' = 'compactor',
): RetentionTimes | undefined {
  if (role === 'compactor' && config.compactor.disabled) return undefined;
  const timeOf = role === 'backend-worker' ? retentionOfWorker : valueOf;
  const blockMs = timeOf(config, role, 'blockRetentionMs', DEFAULTS.block_retention.default);
  const { default: compactedMs } = DEFAULTS.compacted_block_retention;
  return {
    // As in Tempo: who freezes a tenant keeps what is there.
    isOff: (tenant) => overrides.of(tenant).compaction.compactionDisabled,
    blockMsOf: (tenant) => {
      const own = overrides.of(tenant).compaction.blockRetentionMs;
      return own > 0 ? own : blockMs;
    },
    compactedMs: timeOf(config, role, 'compactedBlockRetentionMs', compactedMs),
  };
}

const FORMATS: ReadonlySet<string> = new Set(WRITTEN_FORMATS);

export interface CompactionSettings {
  readonly cycleMs: number;
  readonly tenantTimeMsMax: number;
  /** undefined = the tenant's blocks stay as they are. */
  readonly limitsOf: (tenant: string) => CompactionLimits | undefined;
}

export function compactionSettings(config: TempoConfig, overrides: Overrides): CompactionSettings {
  const role = 'compactor';
  return {
    cycleMs: valueOf(config, role, 'compactionCycleMs', DEFAULTS.compaction_cycle.default),
    tenantTimeMsMax: valueOf(config, role, 'maxTimePerTenantMs', DEFAULTS.max_time_per_tenant.default),
    limitsOf: limitsOf(config, overrides, role),
  };
}

/** What the scheduler chooses by. */
export function schedulerLimits(config: TempoConfig, overrides: Overrides): CompactionSettings['limitsOf'] {
  const { compaction } = config.backendScheduler.provider;
  const limits = limitsOf(config, overrides, 'backend-scheduler');
  return (tenant) => {
    const ofTenant = limits(tenant);
    if (ofTenant === undefined) return undefined;
    const { minInputBlocks, maxInputBlocks, maxCompactionLevel: levelMax } = compaction;
    return { ...ofTenant, inputsMin: minInputBlocks, inputsMax: maxInputBlocks, levelMax };
  };
}

function limitsOf(config: TempoConfig, overrides: Overrides, role: Role): CompactionSettings['limitsOf'] {
  const windowMs = valueOf(config, role, 'compactionWindowMs', DEFAULTS.compaction_window.default);
  const limits = {
    objectsMax: valueOf(config, role, 'maxCompactionObjects', DEFAULTS.max_compaction_objects.default),
    blockBytesMax: valueOf(config, role, 'maxBlockBytes', DEFAULTS.max_block_bytes.default),
    formats: FORMATS,
  };
  return (tenant) => {
    const { compactionDisabled, compactionWindowMs: own } = overrides.of(tenant).compaction;
    if (compactionDisabled) return undefined;
    const wholeSec = Math.floor((own > 0 ? own : windowMs) / 1000);
    return { ...limits, windowMs: 1000 * Math.max(1, wholeSec) };
  };
}
