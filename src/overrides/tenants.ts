// The file of `overrides.per_tenant_override_config`: its text to the limits of each tenant it names. Reading
// the file is the caller's.
import { joinPath, moveOldKeys } from '../config/aliases.ts';
import { decode } from '../config/decode.ts';
import { ConfigError, type Notes, type Problem } from '../config/errors.ts';
import { expandEnv, type Environment } from '../config/expand-env.ts';
import { block } from '../config/field.ts';
import { parseYaml, type YamlMap, type YamlNode } from '../config/yaml.ts';
import { nearest } from '../lib/nearest.ts';
import { dimensionsProblem } from './cost-attribution.ts';
import { dedicatedColumnsProblems } from './dedicated-columns.ts';
import { LEGACY_LIMIT_KEYS, type Limits, LIMIT_ALIASES, limitsFields, tenantLimitsFields } from './limits.ts';

/** Holds for tenants that the file does not name. */
export const ANY_TENANT = '*';

export interface TenantsFile {
  readonly name: string;
  readonly text: string;
  /** Expands `${NAME}`; undefined = no expansion. */
  readonly env: Environment | undefined;
  /** Of ingesters. */
  readonly replicationFactor: number;
}

export interface LoadedTenants {
  readonly tenants: ReadonlyMap<string, Limits>;
  readonly warnings: readonly Problem[];
}

const OVERRIDES = 'overrides';

const tenantBlock = block(tenantLimitsFields, '', {
  aliases: { ...LEGACY_LIMIT_KEYS, ...LIMIT_ALIASES },
});

/** @throws ConfigError with every problem found. */
export function loadTenants({ name, text, env, replicationFactor }: TenantsFile): LoadedTenants {
  const problems: Problem[] = [];
  const warnings: Problem[] = [];
  const tenants = new Map<string, Limits>();
  const tree = parseYaml(env === undefined ? text : expandEnv(text, env, name), name);
  for (const [tenant, { value }] of tenantNodes(tree, problems)) {
    const path = joinPath(OVERRIDES, tenant);
    const limits = tenantLimits(value, path, { problems, warnings });
    tenants.set(tenant, limits);
    const wrong = dimensionsProblem(limits.costAttribution.dimensions);
    if (wrong !== undefined) {
      problems.push({ at: value.at, path: `${path}.cost_attribution.dimensions`, text: wrong });
    }
    for (const text of dedicatedColumnsProblems(limits.storage.parquetDedicatedColumns ?? [])) {
      problems.push({ at: value.at, path: `${path}.storage.parquet_dedicated_columns`, text });
    }
    const { rateLimitBytes, burstSizeBytes, tenantShardSize } = limits.ingestion;
    const small = shardSizeProblem(tenantShardSize, replicationFactor);
    if (small !== undefined)
      problems.push({ at: value.at, path: `${path}.ingestion.tenant_shard_size`, text: small });
    if (rateLimitBytes > 0 && burstSizeBytes > 0) continue;
    const missing = rateLimitBytes > 0 ? 'burst_size_bytes' : 'rate_limit_bytes';
    const text = 'is 0 or missing, all spans of the tenant are refused: nothing is inherited here';
    warnings.push({ at: value.at, path: `${path}.ingestion.${missing}`, text });
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return { tenants, warnings };
}

function tenantNodes(tree: YamlNode | undefined, problems: Problem[]): YamlMap['entries'] {
  const none: YamlMap['entries'] = new Map();
  if (tree === undefined) return none;
  const needsMap = ({ at }: YamlNode, path: string): YamlMap['entries'] => {
    problems.push({ at, path, text: 'needs keys and values' });
    return none;
  };
  if (tree.kind !== 'map') return needsMap(tree, '');
  for (const [key, { at }] of tree.entries) {
    if (key === OVERRIDES) continue;
    const near = nearest(key, [OVERRIDES]) === undefined ? '' : `, did you mean ${OVERRIDES}?`;
    problems.push({ at, path: key, text: `unknown key${near}` });
  }
  const overrides = tree.entries.get(OVERRIDES)?.value;
  if (overrides === undefined || (overrides.kind === 'scalar' && overrides.text === '')) return none;
  return overrides.kind === 'map' ? overrides.entries : needsMap(overrides, OVERRIDES);
}

/** One tenant, in the scoped or in the flat form. */
function tenantLimits(node: YamlNode, path: string, notes: Notes): Limits {
  const { problems } = notes;
  if (node.kind === 'map') refuseMixedForms(node, path, problems);
  // Flat keys are no fault of such a file, so nobody is warned of them.
  moveOldKeys(tenantBlock, node, path, { problems, warnings: [] });
  return decode(tenantBlock, node, path, notes) as Limits;
}

/** Both forms know these. */
const COMMON = new Set(['forwarders', 'cost_attribution']);

function refuseMixedForms(node: YamlMap, path: string, problems: Problem[]): void {
  const keys = [...node.entries.keys()].filter((key) => !COMMON.has(key));
  const flat = keys.find((key) => Object.hasOwn(LEGACY_LIMIT_KEYS, key));
  const scoped = keys.find((key) => Object.hasOwn(limitsFields, key));
  if (flat === undefined || scoped === undefined) return;
  const text = `flat key beside the scoped key ${scoped}: a tenant has one form`;
  problems.push({ at: node.entries.get(flat)?.at ?? node.at, path: joinPath(path, flat), text });
}

/** What is wrong with a shard that has fewer ingesters than each trace has copies; 0 = all ingesters. */
export function shardSizeProblem(shardSize: number, replicationFactor: number): string | undefined {
  if (shardSize === 0 || shardSize >= replicationFactor) return undefined;
  return `is ${shardSize}, fewer ingesters than the replication factor (${replicationFactor})`;
}
