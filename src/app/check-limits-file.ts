// `-config.verify` of the file of limits by tenant, which the program itself reads when it starts.
import { readFileSync } from 'node:fs';
import { ConfigError, type Problem } from '../config/errors.ts';
import { loadTenants, type TenantsFile } from '../overrides/tenants.ts';

export interface LimitsFindings {
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
}

/** @param path '' = there is no file. @param env undefined = nothing is expanded. */
export function checkLimitsFile(
  path: string,
  { env, replicationFactor }: Pick<TenantsFile, 'env' | 'replicationFactor'>,
): LimitsFindings {
  if (path === '') return { problems: [], warnings: [] };
  try {
    const text = readFileSync(path, 'utf8');
    return { problems: [], warnings: loadTenants({ name: path, text, env, replicationFactor }).warnings };
  } catch (err) {
    if (err instanceof ConfigError) return { problems: err.problems, warnings: [] };
    const reason = err instanceof Error ? err.message : String(err);
    const text = `cannot be read: ${reason}`;
    return { problems: [{ at: '', path: 'overrides.per_tenant_override_config', text }], warnings: [] };
  }
}
