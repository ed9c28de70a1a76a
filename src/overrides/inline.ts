// Tenants that stand inside the `overrides` block of the configuration, as guides show it and Tempo refuses
// it: they are taken for tenants of the overrides file, with a warning each.
import { joinPath, moveOldKeys } from '../config/aliases.ts';
import type { Notes } from '../config/errors.ts';
import { block } from '../config/field.ts';
import type { YamlEntry, YamlMap, YamlNode } from '../config/yaml.ts';
import { nearest } from '../lib/nearest.ts';
import { LEGACY_LIMIT_KEYS, LIMIT_ALIASES, limitsFields } from './limits.ts';

const INLINE_TENANTS = 'inline_tenants';

export const defaultsBlock = block(limitsFields, 'limits of tenants that have none of their own', {
  aliases: LIMIT_ALIASES,
});

export const inlineTenantBlock = block(limitsFields, 'limits of a tenant', {
  aliases: { ...LEGACY_LIMIT_KEYS, ...LIMIT_ALIASES },
});

/**
 * Moves every unknown key with a map below it to `inline_tenants`. Such a tenant has the defaults of the same
 * file where it sets nothing: whoever wrote it did not know the rules of the overrides file.
 */
export function moveInlineTenants(node: YamlMap, path: string, known: readonly string[], notes: Notes): void {
  const defaults = node.entries.get('defaults')?.value;
  if (defaults !== undefined) moveOldKeys(defaultsBlock, defaults, joinPath(path, 'defaults'), notes);
  const tenants = new Map<string, YamlEntry>();
  for (const [key, entry] of node.entries) {
    if (known.includes(key) || entry.value.kind !== 'map' || nearest(key, known) !== undefined) continue;
    const text = 'tenants belong into the file of overrides.per_tenant_override_config, used as if there';
    notes.warnings.push({ at: entry.at, path: joinPath(path, key), text });
    moveOldKeys(inlineTenantBlock, entry.value, joinPath(path, key), notes);
    tenants.set(key, { at: entry.at, value: withDefaultsOf(entry.value, defaults) });
    node.entries.delete(key);
  }
  if (tenants.size === 0) return;
  node.entries.set(INLINE_TENANTS, {
    at: node.at,
    value: { kind: 'map', at: node.at, entries: tenants },
  });
}

/** A map of what either has; where both have a value, that of `node`. */
function withDefaultsOf(node: YamlNode, defaults: YamlNode | undefined): YamlNode {
  if (node.kind !== 'map' || defaults?.kind !== 'map') return node;
  const entries = new Map(defaults.entries);
  for (const [key, { at, value }] of node.entries) {
    entries.set(key, { at, value: withDefaultsOf(value, defaults.entries.get(key)?.value) });
  }
  return { kind: 'map', at: node.at, entries };
}
