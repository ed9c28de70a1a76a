// The texts of /status/overrides, /status/overrides/{tenant} and /status/runtime_config, as Tempo shows them.
import { stringify } from 'yaml';
import { block } from '../config/field.ts';
import { difference, plainConfig } from '../config/print.ts';
import { escapeHtml } from '../lib/html.ts';
import { type Limits, limitsFields, tenantLimitsFields } from './limits.ts';
import type { Overrides } from './overrides.ts';
import { type UserLimits, userLimitsFromPlain } from './user-limits.ts';

type Plain = Readonly<Record<string, unknown>>;

const defaultsBlock = block(limitsFields);
const tenantBlock = block(tenantLimitsFields);

/**
 * YAML of all limits.
 * @param mode `diff` = only what tenants have other than the defaults.
 */
export function runtimeConfigText(overrides: Overrides, mode: string | undefined): string {
  const defaults = plainConfig(defaultsBlock, overrides.defaults) as Plain;
  const tenants = sortedByKey(overrides.tenants).map(([name, limits]): [string, Plain] => [
    name,
    plainTenant(limits),
  ]);
  const shown =
    mode === 'diff' ? differences(defaults, tenants) : { defaults, overrides: Object.fromEntries(tenants) };
  const users = sortedByKey(overrides.userLimits).map(([name, limits]) => [name, plainUserLimits(limits)]);
  const own =
    users.length === 0 ? '' : `---\n${yaml({ user_configurable_overrides: Object.fromEntries(users) })}`;
  return `GET /status/runtime_config\n---\n${yaml(shown)}${own}`;
}

function differences(defaults: Plain, tenants: readonly (readonly [string, Plain])[]): Plain {
  const differing = tenants.map(([name, limits]) => [name, difference(limits, defaults)] as const);
  const shown = differing.filter(([, limits]) => limits !== undefined);
  return shown.length === 0 ? {} : { overrides: Object.fromEntries(shown) };
}

export function overridesPage(overrides: Overrides, now: Date): string {
  const { tenants, userLimits } = overrides;
  const names = [...new Set([...tenants.keys(), ...userLimits.keys()])].toSorted();
  const rows = names.map((name) => {
    const link = `<a href="overrides/${encodeURIComponent(name)}">${escapeHtml(name)}</a>`;
    const marks = [tenants, userLimits].map((limits) => `<td>${limits.has(name) ? 'x' : ''}</td>`);
    return `<tr><td>${link}</td>${marks.join('')}</tr>\n`;
  });
  const heads = ['Tenant', 'Runtime overrides', 'User-configurable overrides'];
  const head = heads.map((text) => `<th>${text}</th>`).join('');
  const body = `<tbody>\n${rows.join('')}</tbody>`;
  return page(
    'Overrides: tenants',
    now,
    `<table border="1"><thead><tr>${head}</tr></thead>\n${body}</table>`,
  );
}

export function tenantPage(overrides: Overrides, tenant: string, now: Date): string {
  const source = overrides.sourceOf(tenant);
  const limits = overrides.runtimeOf(tenant);
  const shown =
    limits === overrides.defaults ? plainConfig(defaultsBlock, limits) : (plainTenant(limits) as unknown);
  return page(
    'Overrides: tenant',
    now,
    `<p>Showing overrides for tenant: <strong>${escapeHtml(tenant)}</strong></p>
<h3>User-configurable overrides</h3>
<pre><code>${userLimitsText(overrides, tenant)}</code></pre>
<h3>Runtime overrides</h3>
<p>Source of runtime overrides: <strong>${escapeHtml(source)}</strong></p>
<pre><code>${escapeHtml(yaml(shown))}</code></pre>`,
  );
}

function userLimitsText(overrides: Overrides, tenant: string): string {
  if (!overrides.hasUserLimits) return 'User-configurable overrides are not enabled';
  const own = overrides.userLimitsOf(tenant);
  return own === undefined ? 'No user-configurable overrides set' : escapeHtml(yaml(plainUserLimits(own)));
}

/** Without the blocks in which nothing is set. */
function plainUserLimits(limits: UserLimits): unknown {
  return difference(limits, userLimitsFromPlain({})) ?? {};
}

function page(title: string, now: Date, content: string): string {
  return `<!DOCTYPE html>
<html>
<head><meta charset="UTF-8"><title>${title}</title></head>
<body>
<h1>${title}</h1>
<p>Current time: ${now.toISOString()}</p>
${content}
</body>
</html>
`;
}

/** Empty blocks are left out, so that only what is set is shown. */
function plainTenant(limits: Limits): Plain {
  return plainConfig(tenantBlock, limits) as Plain;
}

function yaml(value: unknown): string {
  const text = stringify(value, { indent: 2, lineWidth: 0, indentSeq: false, singleQuote: true });
  return text.replaceAll(/: ''$/gm, ': ""');
}

function sortedByKey<T>(entries: Iterable<readonly [string, T]>): (readonly [string, T])[] {
  return [...entries].toSorted(([a], [b]) => (a < b ? -1 : 1));
}
