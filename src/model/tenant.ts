// Tenant ids: which texts are one, and how a request's X-Scope-OrgID names it.
import { TempoError } from '../lib/errors.ts';

/** The tenant of every request when multitenancy is off. */
export const SINGLE_TENANT = 'single-tenant';
export const TENANT_HEADER = 'x-scope-orgid';

/** The header as Node hands it over. */
export type TenantHeader = string | readonly string[] | undefined;

const TENANT_LENGTH_MAX = 150;
/** Of one read. */
const TENANTS_MAX = 1000;
/** Characters of the header. */
const HEADER_LENGTH_MAX = 65_536;
/** Between the tenants of one read. */
const SEPARATOR = '|';
/** What follows it says something about a request, as `product=k6` does, and is no part of its tenant. */
const METADATA = ':';
/** How Node joins the values of a header that came several times. */
const REPEATED = ', ';
/** Tempo's text, to the letter: gateways and clients match it, so that it does not name the header. */
const NO_TENANT = 'no org id';
const SEVERAL_TENANTS = 'multiple org IDs present';
const UNSUPPORTED = /[^A-Za-z0-9!_.*'()-]/;

/** Throws TempoError invalid_argument unless the text may name a tenant. */
export function checkTenant(tenant: string): void {
  if (tenant === '') throw new TempoError('invalid_argument', NO_TENANT);
  if (tenant === '.' || tenant === '..') throw new TempoError('invalid_argument', "tenant ID is '.' or '..'");
  const bad = UNSUPPORTED.exec(tenant);
  if (bad !== null) {
    throw new TempoError(
      'invalid_argument',
      `tenant ID '${tenant}' contains unsupported character '${bad[0]}'`,
    );
  }
  if (tenant.length <= TENANT_LENGTH_MAX) return;
  throw new TempoError('invalid_argument', `tenant ID is too long: max ${TENANT_LENGTH_MAX} characters`);
}

/**
 * Finds the one tenant of a write.
 * @param header value of X-Scope-OrgID; HTTP joins a repeated header by commas, and equal values are one
 * tenant.
 */
export function tenantOfHeader(header: TenantHeader, multitenancyEnabled: boolean): string {
  if (!multitenancyEnabled) return SINGLE_TENANT;
  const text = valueOf(header);
  if (!text.includes(SEPARATOR)) {
    const tenant = withoutMetadata(text);
    checkTenant(tenant);
    return tenant;
  }
  const [tenant = '', ...more] = new Set(splitTenants(text).map(withoutMetadata));
  checkTenant(tenant);
  if (more.length > 0) throw new TempoError('invalid_argument', SEVERAL_TENANTS);
  return tenant;
}

/**
 * Finds the tenants of a read, sorted, each once, as one text: `a|b`.
 * @param severalAllowed `query_frontend.multi_tenant_queries_enabled`.
 */
export function tenantsOfHeader(
  header: TenantHeader,
  multitenancyEnabled: boolean,
  severalAllowed: boolean,
): string {
  if (!multitenancyEnabled) return SINGLE_TENANT;
  if (!severalAllowed) return tenantOfHeader(header, multitenancyEnabled);
  const tenants = new Set(splitTenants(valueOf(header)).map(withoutMetadata));
  if (tenants.size > TENANTS_MAX) {
    throw new TempoError('invalid_argument', `too many tenants: ${tenants.size}, max ${TENANTS_MAX}`);
  }
  for (const tenant of tenants) checkTenant(tenant);
  return [...tenants].toSorted().join(SEPARATOR);
}

/** The tenants of a text that `tenantsOfHeader` gave. */
export function splitTenants(tenants: string): string[] {
  return tenants.split(SEPARATOR);
}

function withoutMetadata(text: string): string {
  const at = text.indexOf(METADATA);
  return at < 0 ? text : text.slice(0, at);
}

/** The header as one text; values that differ are refused, and so is one that is too long to look at. */
function valueOf(header: TenantHeader): string {
  const joined = typeof header === 'object' ? header.join(REPEATED) : (header ?? '');
  if (joined.length > HEADER_LENGTH_MAX) {
    throw new TempoError('invalid_argument', `tenant IDs are too long: max ${HEADER_LENGTH_MAX} characters`);
  }
  const [text = '', ...more] = new Set(joined.split(REPEATED).map((value) => value.trim()));
  if (more.length > 0) throw new TempoError('invalid_argument', SEVERAL_TENANTS);
  if (text === '') throw new TempoError('unauthenticated', NO_TENANT);
  return text;
}
