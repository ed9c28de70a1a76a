// The texts of /status/overrides, /status/overrides/{tenant} and /status/runtime_config, as Tempo shows them.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { stringify } from 'yaml';
import { block } from '../config/field.ts';
import { difference, plainConfig } from '../config/print.ts';
import { escapeHtml, htmlPage } from '../lib/html.ts';
import { type Limits, limitsFields, tenantLimitsFields } from './limits.ts';
import type { Overrides } from './overrides.ts';
import { type UserLimits, userLimitsFromPlain } from './user-limits.ts';

type Plain = Readonly<Record<string, unknown>>;

const defaultsBlock = block(limitsFields);
/** Longest stretch of work without a pause. */
const SLICE_MS = 5;

const tenantBlock = block(tenantLimitsFields);

/**
 * YAML of all limits. It pauses between tenants, so that thousands of them hold up nothing else.
 * @param mode `diff` = only what tenants have other than the defaults.
 */
export async function runtimeConfigText(overrides: Overrides, mode: string | undefined): Promise<string> {
  const isDiff = mode === 'diff';
  const defaults = plainConfig(defaultsBlock, overrides.defaults) as Plain;
  const tenants = await tenantTexts(overrides.tenants, (limits) => {
    const plain = plainTenant(limits);
    return isDiff ? difference(plain, defaults) : plain;
  });
  const users = await tenantTexts(overrides.userLimits, plainUserLimits);
  const parts = [isDiff ? '' : yaml({ defaults }), tenants === '' ? '' : `overrides:\n${tenants}`];
  if (tenants === '') parts.push(isDiff ? '{}\n' : 'overrides: {}\n');
  if (users !== '') parts.push(`---\nuser_configurable_overrides:\n${users}`);
  return `GET /status/runtime_config\n---\n${parts.join('')}`;
}

/** @param plainOf undefined = the tenant is not shown. */
async function tenantTexts<T>(
  limitsOf: ReadonlyMap<string, T>,
  plainOf: (limits: T) => unknown,
): Promise<string> {
  const texts: string[] = [];
  let pauseAtMs = performance.now() + SLICE_MS;
  for (const [tenant, limits] of sortedByKey(limitsOf)) {
    const plain = plainOf(limits);
    if (plain !== undefined) texts.push(yaml({ [tenant]: plain }).replaceAll(/^(?=.)/gm, '  '));
    if (performance.now() < pauseAtMs) continue;
    await nextTurn();
    pauseAtMs = performance.now() + SLICE_MS;
  }
  return texts.join('');
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
  return htmlPage(
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
  return htmlPage(
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
