// The command line flags that a description declares: each stands for one key.
import { formatDuration } from '../lib/duration.ts';
import { formatSize } from '../lib/size.ts';
import { joinPath } from './aliases.ts';
import type { BlockField, Field, Shape } from './field.ts';

export interface FlagSpec {
  readonly name: string;
  /** Dotted key; undefined = the flag concerns the program, not a key. */
  readonly path: string | undefined;
  /** As Go prints it behind the name: string, int, duration, ...; a `bool` needs no value. */
  readonly type: string;
  readonly doc: string;
  /** Default as text; empty = none worth printing. */
  readonly default: string;
  /** May be given several times; otherwise the last one counts. */
  readonly isList: boolean;
  /** What a `bool` takes beside true and false. */
  readonly values?: readonly string[];
}

/** Where two keys declare the same flag, the first one has it. */
export function flagsOf(root: BlockField<Shape>): readonly FlagSpec[] {
  const found = new Map<string, FlagSpec>();
  collect(root, '', undefined, found);
  return [...found.values()];
}

function collect(
  field: BlockField<Shape>,
  path: string,
  prefix: string | undefined,
  found: Map<string, FlagSpec>,
): void {
  for (const [key, child] of Object.entries(field.shape)) {
    const childPath = joinPath(path, key);
    const name = completed(child.flag, prefix);
    if (name !== undefined && !found.has(name)) found.set(name, specOf(name, childPath, child));
    const inner = child.kind === 'optional' ? child.field : child;
    if (inner.kind === 'block')
      collect(
        inner,
        childPath,
        inner.flagPrefix === undefined ? prefix : completed(inner.flagPrefix, prefix),
        found,
      );
  }
}

function completed(name: string | undefined, prefix: string | undefined): string | undefined {
  if (name?.startsWith('+') !== true) return name;
  return prefix === undefined ? undefined : prefix + name.slice(1);
}

const TYPES: Readonly<Partial<Record<Field['kind'], string>>> = {
  text: 'string',
  enum: 'string',
  bool: 'bool',
  int: 'int',
  float: 'float',
  duration: 'duration',
};

function specOf(name: string, path: string, field: Field): FlagSpec {
  const type = TYPES[field.kind] ?? 'value';
  const base = { name, path, type, doc: field.doc, isList: field.kind === 'list' };
  return { ...base, default: 'default' in field ? defaultText(field) : '' };
}

function defaultText(field: Field & { readonly default: unknown }): string {
  if (field.kind === 'duration') return field.default === 0 ? '' : formatDuration(field.default);
  if (field.kind === 'size') return formatSize(field.default);
  if (field.kind === 'text' || field.kind === 'enum') return field.default === '' ? '' : `"${field.default}"`;
  if (typeof field.default === 'number') return field.default === 0 ? '' : String(field.default);
  return field.default === true ? 'true' : '';
}
