// The configuration as YAML in Tempo's own shape: same keys, same order, Go durations; secrets are not shown.
import { stringify } from 'yaml';
import { formatDuration } from '../lib/duration.ts';
import { formatSize } from '../lib/size.ts';
import { decode } from './decode.ts';
import { propertyName, type BlockField, type ConfigOf, type Field, type Shape } from './field.ts';
import { SECRET, withoutSecrets } from './secrets.ts';

export function printConfig<S extends Shape>(root: BlockField<S>, config: ConfigOf<S>): string {
  return stringify(plainConfig(root, config), { indent: 4, lineWidth: 0 });
}

/** Only what differs from `base`, keys sorted. */
export function diffConfig<S extends Shape>(
  root: BlockField<S>,
  config: ConfigOf<S>,
  base: ConfigOf<S>,
): string {
  const changed = difference(plain(root, config), plain(root, base)) ?? {};
  return stringify(changed, { indent: 4, lineWidth: 0 });
}

/** What of a plain value is not in `base`, keys sorted; undefined = nothing. */
export function difference(value: unknown, base: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return JSON.stringify(value) === JSON.stringify(base) ? undefined : value;
  }
  const entries = Object.entries(value)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([key, item]): [string, unknown][] => {
      const rest = difference(item, (base as Readonly<Record<string, unknown>> | undefined)?.[key]);
      return rest === undefined ? [] : [[key, rest]];
    });
  // An empty map that was set is something, too.
  if (entries.length === 0) return base === undefined ? {} : undefined;
  return Object.fromEntries(entries);
}

/** The configuration as a plain object with YAML keys. */
export function plainConfig<S extends Shape>(root: BlockField<S>, config: ConfigOf<S>): unknown {
  return plain(root, config);
}

function plain(field: Field, value: unknown, sparse = field.sparse === true): unknown {
  switch (field.kind) {
    case 'block':
      return plainBlock(field, value as Readonly<Record<string, unknown>>, sparse);
    case 'optional':
      if (value === undefined) return field.orNull === true ? null : undefined;
      return plain(field.field, value, sparse);
    case 'list': {
      const items = value as readonly unknown[];
      return field.orText === true && items.length === 0 ? '' : items.map((item) => plain(field.item, item));
    }
    case 'map':
      return Object.fromEntries(
        Object.entries(value as object).map(([key, item]) => [
          key,
          field.secret === true ? SECRET : plain(field.value, item),
        ]),
      );
    case 'duration':
      return formatDuration(value as number);
    case 'size':
      return formatSize(value as number);
    default:
      if (field.secret === true) return value === field.default ? value : SECRET;
      return field.kind === 'raw' || field.kind === 'text' ? withoutSecrets(value) : value;
  }
}

function plainBlock(
  field: BlockField<Shape>,
  value: Readonly<Record<string, unknown>>,
  sparse: boolean,
): unknown {
  const out: Record<string, unknown> = {};
  for (const [key, child] of Object.entries(field.shape)) {
    const item = value[propertyName(key, child)];
    if ((sparse || child.hidden === true) && isDefault(child, item)) continue;
    out[key] = plain(child, item, sparse || child.sparse === true);
  }
  return out;
}

/** As JSON, by field. */
const defaults = new WeakMap<Field, string>();

function isDefault(field: Field, value: unknown): boolean {
  let text = defaults.get(field);
  if (text === undefined) {
    text = String(JSON.stringify(decode(field, undefined, '', { problems: [], warnings: [] })));
    defaults.set(field, text);
  }
  return String(JSON.stringify(value)) === text;
}
