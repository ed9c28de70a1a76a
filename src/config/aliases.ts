// Old keys: moved to where they are read today, or dropped, each with a warning. Works on the tree before it
// is decoded.
import type { Notes } from './errors.ts';
import type { BlockField, Field, Shape } from './field.ts';
import type { YamlEntry, YamlMap, YamlNode } from './yaml.ts';

export function moveOldKeys(field: Field, node: YamlNode, path: string, notes: Notes): void {
  if (field.kind === 'optional') return moveOldKeys(field.field, node, path, notes);
  if (field.kind === 'map' && node.kind === 'map') {
    for (const [key, entry] of node.entries) moveOldKeys(field.value, entry.value, `${path}.${key}`, notes);
  }
  if (field.kind !== 'block' || node.kind !== 'map') return;
  moveInBlock(field, node, path, notes);
  for (const [key, entry] of node.entries) {
    const child = Object.hasOwn(field.shape, key) ? field.shape[key] : undefined;
    if (child !== undefined) moveOldKeys(child, entry.value, joinPath(path, key), notes);
  }
}

function moveInBlock(field: BlockField<Shape>, node: YamlMap, path: string, notes: Notes): void {
  for (const old of field.obsolete ?? []) {
    const entry = remove(node, old.split('.'));
    if (entry === undefined) continue;
    notes.warnings.push({ at: entry.at, path: joinPath(path, old), text: 'key without effect, ignored' });
  }
  for (const [old, current] of Object.entries(field.aliases ?? {})) {
    const entry = remove(node, old.split('.'));
    if (entry === undefined) continue;
    const conflict = put(node, current.split('.'), entry);
    const target = joinPath(path, current);
    if (conflict === undefined) {
      notes.warnings.push({ at: entry.at, path: joinPath(path, old), text: `deprecated key, use ${target}` });
    } else {
      const text = `old key of ${target}, which is set at ${conflict}`;
      notes.problems.push({ at: entry.at, path: joinPath(path, old), text });
    }
  }
  field.rearrange?.(node, path, notes);
}

function remove(node: YamlMap, keys: readonly string[]): YamlEntry | undefined {
  const [key = '', ...rest] = keys;
  const entry = node.entries.get(key);
  if (entry === undefined) return undefined;
  if (rest.length > 0) return entry.value.kind === 'map' ? remove(entry.value, rest) : undefined;
  node.entries.delete(key);
  return entry;
}

/** Sets a value below a map. @returns the place of what is there already; undefined = done. */
export function put(node: YamlMap, keys: readonly string[], entry: YamlEntry): string | undefined {
  const [key = '', ...rest] = keys;
  const there = node.entries.get(key);
  if (rest.length === 0) {
    if (there === undefined) node.entries.set(key, entry);
    return there?.at;
  }
  let child = there?.value;
  if (child?.kind !== 'map') {
    if (child?.kind === 'list') return child.at;
    child = { kind: 'map', at: entry.at, entries: new Map() };
    node.entries.set(key, { at: there?.at ?? entry.at, value: child });
  }
  return put(child, rest, entry);
}

export function joinPath(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}
