// The overrides block: limits of all tenants, the file with those of some, and the API by which tenants set
// their own.
import { block, bool, days, duration, map, oneOf, text, type BlockOptions } from '../config/field.ts';
import { azureFields, gcsFields, localFields, s3Fields } from '../objectstore/config.ts';
import { defaultsBlock, inlineTenantBlock, moveInlineTenants } from './inline.ts';
import { LEGACY_LIMIT_KEYS } from './limits.ts';

export const overridesFields = {
  defaults: defaultsBlock,
  inline_tenants: map(inlineTenantBlock, {}, 'tenants that stand inside this block', { hidden: true }),
  per_tenant_override_config: text('', 'file with the limits of some tenants, read again when it changes', {
    flag: 'config.per-user-override-config',
  }),
  per_tenant_override_period: days('10s', 'how often that file is looked at', {
    flag: 'config.per-user-override-period',
  }),
  enable_legacy_overrides: bool(true, 'accept the flat form', { hidden: true }),
  user_configurable_overrides: block({
    enabled: bool(false, 'serve /api/overrides'),
    poll_interval: duration('1m', 'how often the bucket is looked at'),
    client: block({
      backend: oneOf(['', 'local', 's3', 'gcs', 'azure'], '', 'object store'),
      confirm_versioning: bool(true, 'check at start that the bucket keeps versions'),
      local: block(localFields),
      gcs: block(gcsFields),
      s3: block(s3Fields),
      azure: block(azureFields),
    }),
    api: block({
      check_for_conflicting_runtime_overrides: bool(false, 'refuse what the overrides file sets too'),
    }),
  }),
};

/** Flat form -> scoped form, below `overrides`. */
const OVERRIDES_ALIASES: Readonly<Record<string, string>> = Object.fromEntries([
  ...Object.entries(LEGACY_LIMIT_KEYS).map(([key, path]) => [key, `defaults.${path}`]),
  ['ingestion_max_batch_size', 'defaults.ingestion.burst_size_bytes'],
  ['forwarders', 'defaults.forwarders'],
  ['cost_attribution', 'defaults.cost_attribution'],
]);

export const overridesOptions: BlockOptions = {
  obsolete: [
    'ingestion_rate_limit',
    'max_spans_per_trace',
    'max_search_bytes_per_trace',
    'search_tags_allow_list',
    'search_tags_deny_list',
  ],
  aliases: OVERRIDES_ALIASES,
  rearrange: (node, path, notes) => moveInlineTenants(node, path, Object.keys(overridesFields), notes),
};
