// Where the attributes of each tenant are cut, in a form that can be handed to another thread.
import type { Overrides, TenantsLimits } from './overrides.ts';
import { ANY_TENANT } from './tenants.ts';

/** Bytes of keys and string values; 0 = they are not cut. */
export interface AttributeLimits {
  readonly byTenant: ReadonlyMap<string, number>;
  readonly otherwise: number;
}

/**
 * @param moduleBytes what holds for tenants that set nothing.
 * @returns a function that answers with the same object as long as no tenant's limits change.
 */
export function attributeLimitsOf(overrides: Overrides, moduleBytes: number): () => AttributeLimits {
  let known: TenantsLimits | undefined;
  let limits: AttributeLimits = { byTenant: new Map(), otherwise: 0 };
  return () => {
    const { tenants, defaults } = overrides;
    if (tenants === known) return limits;
    known = tenants;
    const byTenant = new Map<string, number>();
    for (const [tenant, { ingestion }] of tenants) {
      byTenant.set(tenant, ingestion.maxAttributeBytes || moduleBytes);
    }
    const otherwise = byTenant.get(ANY_TENANT) ?? (defaults.ingestion.maxAttributeBytes || moduleBytes);
    limits = { byTenant, otherwise };
    return limits;
  };
}
