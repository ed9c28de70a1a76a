// Tenant ids: which texts are one, and how a request's X-Scope-OrgID names it.
import { TempoError } from '../lib/errors.ts';

/** The tenant of every request when multitenancy is off. */
export const SINGLE_TENANT = 'single-tenant';
export const TENANT_HEADER = 'x-scope-orgid';

/** The header as Node hands it over. */
export type TenantHeader = string | readonly string[] | undefined;

const TENANT_LENGTH_MAX = 150;
const UNSUPPORTED = /[^A-Za-z0-9!_.*'()-]/;

/** Throws TempoError invalid_argument unless the text may name a tenant. */
function checkTenant(tenant: string): void {
  if (tenant.length > TENANT_LENGTH_MAX) {
    throw new TempoError('invalid_argument', `tenant ID is too long: max ${TENANT_LENGTH_MAX} characters`);
  }
  if (tenant === '.' || tenant === '..') {
    throw new TempoError('invalid_argument', `tenant ID '${tenant}' is not allowed`);
  }
  const bad = UNSUPPORTED.exec(tenant);
  if (bad === null) return;
  throw new TempoError(
    'invalid_argument',
    `tenant ID '${tenant}' contains unsupported character '${bad[0]}'`,
  );
}

/**
 * Finds the one tenant of a write.
 * @param header value of X-Scope-OrgID; HTTP joins a repeated header by commas, and equal values are one
 * tenant.
 */
export function tenantOfHeader(header: TenantHeader, multitenancyEnabled: boolean): string {
  if (!multitenancyEnabled) return SINGLE_TENANT;
  const joined = typeof header === 'object' ? header.join() : (header ?? '');
  const values = new Set(joined.split(',').map((value) => value.trim()));
  values.delete('');
  const [tenant, ...more] = values;
  if (tenant === undefined) throw new TempoError('unauthenticated', 'no org id');
  if (more.length > 0 || tenant.includes('|')) {
    throw new TempoError('invalid_argument', 'multiple org IDs present');
  }
  checkTenant(tenant);
  return tenant;
}
