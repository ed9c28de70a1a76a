// The configuration as YAML in Tempo's own shape: same keys, same order, Go durations; secrets are not shown.
import { stringify } from 'yaml';
import { formatDuration } from '../lib/duration.ts';
import { formatSize } from '../lib/size.ts';
import { decode } from './decode.ts';
import { propertyName, type BlockField, type ConfigOf, type Field, type Shape } from './field.ts';

export function printConfig<S extends Shape>(root: BlockField<S>, config: ConfigOf<S>): string {
  return stringify(plainConfig(root, config), { indent: 4, lineWidth: 0 });
}

/** The configuration as a plain object with YAML keys. */
export function plainConfig<S extends Shape>(root: BlockField<S>, config: ConfigOf<S>): unknown {
  return plain(root, config);
}

function plain(field: Field, value: unknown): unknown {
  switch (field.kind) {
    case 'block':
      return plainBlock(field, value as Readonly<Record<string, unknown>>);
    case 'optional':
      return value === undefined ? undefined : plain(field.field, value);
    case 'list': {
      const items = value as readonly unknown[];
      return field.orText === true && items.length === 0 ? '' : items.map((item) => plain(field.item, item));
    }
    case 'map':
      return Object.fromEntries(
        Object.entries(value as object).map(([key, item]) => [
          key,
          field.secret === true ? '<secret>' : plain(field.value, item),
        ]),
      );
    case 'duration':
      return formatDuration(value as number);
    case 'size':
      return formatSize(value as number);
    default:
      return field.secret === true && value !== field.default ? '<secret>' : value;
  }
}

function plainBlock(field: BlockField<Shape>, value: Readonly<Record<string, unknown>>): unknown {
  const out: Record<string, unknown> = {};
  for (const [key, child] of Object.entries(field.shape)) {
    const item = value[propertyName(key, child)];
    if (child.hidden === true && isDefault(child, item)) continue;
    out[key] = plain(child, item);
  }
  return out;
}

function isDefault(field: Field, value: unknown): boolean {
  return JSON.stringify(value) === JSON.stringify(decode(field, undefined, '', []));
}
