// As whom the tenants of a read are counted: there are more combinations of names than names, and each may be
// long.

/** Characters; that of one tenant is always shorter. */
const LENGTH_MAX = 512;
/** With a space, so that it is no tenant's name. */
const SEVERAL = 'several tenants';

/** @param tenants one, or several as one text: `a|b`, which is what Tempo counts them as. */
export function tenantLabel(tenants: string): string {
  return tenants.length <= LENGTH_MAX ? tenants : SEVERAL;
}
