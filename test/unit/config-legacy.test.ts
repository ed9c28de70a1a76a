// Old keys: test/config/legacy-keys.txt lists each one and what becomes of it. Here: that the list and the
// description agree, that values arrive, and that each key is one warning.
import { readFileSync } from 'node:fs';
import t from 'tap';
import { stringify } from 'yaml';
import { rootBlock } from '../../src/app/config.ts';
import type { Field } from '../../src/config/field.ts';
import { loadConfig } from '../../src/config/load.ts';
import { plainConfig } from '../../src/config/print.ts';

const LIST = new URL('../config/legacy-keys.txt', import.meta.url).pathname;

type LegacyKey = { readonly old: string; readonly becomes: string };

const listed: readonly LegacyKey[] = readFileSync(LIST, 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map((line) => {
    const [old = '', becomes = ''] = line.split(' -> ');
    return { old, becomes };
  });

/** What the description knows of old keys, below `path`. */
function described(field: Field, path: string): LegacyKey[] {
  if (field.kind === 'optional') return described(field.field, path);
  if (field.kind !== 'block') return [];
  const at = (key: string): string => (path === '' ? key : `${path}.${key}`);
  const ignored = (field.obsolete ?? []).map((key) => ({ old: at(key), becomes: 'ignored' }));
  const moved = Object.entries(field.aliases ?? {}).map(([old, key]) => ({ old: at(old), becomes: at(key) }));
  const below = Object.entries(field.shape).flatMap(([key, child]) => described(child, at(key)));
  return [...ignored, ...moved, ...below];
}

/** A value that is not the default; as YAML reads it back. */
function sample(field: Field): unknown {
  switch (field.kind) {
    case 'optional':
      return sample(field.field);
    case 'block':
      return Object.fromEntries(Object.entries(field.shape).map(([key, child]) => [key, sample(child)]));
    case 'bool':
      return !field.default;
    case 'int':
    case 'float':
      return Number(field.default) + 7;
    case 'duration':
      return '7m0s';
    case 'size':
      return '7KiB';
    case 'enum':
      return field.values.findLast((value) => value !== field.default);
    case 'list':
      return [sample(field.item)];
    case 'map':
      return { k: sample(field.value) };
    default:
      return 'seven';
  }
}

/** How the sample is printed. */
function shown(field: Field): unknown {
  if (field.secret !== true) return sample(field);
  return field.kind === 'map' ? { k: '<secret>' } : '<secret>';
}

function fieldAt(path: string): Field {
  return path.split('.').reduce((field: Field, key): Field => {
    const inner = field.kind === 'optional' ? field.field : field;
    const child = inner.kind === 'block' ? inner.shape[key] : undefined;
    if (child === undefined) throw new Error(`no key ${path}`);
    return child;
  }, rootBlock);
}

function nested(path: string, value: unknown): unknown {
  return path.split('.').reduceRight((inner: unknown, key) => ({ [key]: inner }), value);
}

function valueAt(tree: unknown, path: string): unknown {
  return path
    .split('.')
    .reduce((node: unknown, key) => (node as Record<string, unknown> | undefined)?.[key], tree);
}

t.test('the list is complete and in order', (t) => {
  const byName = (a: LegacyKey, b: LegacyKey): number => (a.old < b.old ? -1 : 1);
  t.same(listed, described(rootBlock, '').toSorted(byName));
  t.ok(listed.length > 100, `${listed.length} keys`);
  t.end();
});

t.test('each old key: used or ignored, with one warning', (t) => {
  for (const { old, becomes } of listed) {
    const value = becomes === 'ignored' ? 'x' : sample(fieldAt(becomes));
    const text = stringify(nested(old, value));
    const { config, warnings } = loadConfig(rootBlock, { file: { name: 'f', text } });
    const want = becomes === 'ignored' ? 'key without effect, ignored' : `deprecated key, use ${becomes}`;
    t.same(
      warnings.map((warning) => [warning.path, warning.text]),
      [[old, want]],
      old,
    );
    if (becomes === 'ignored') continue;
    t.same(valueAt(plainConfig(rootBlock, config), becomes), shown(fieldAt(becomes)), becomes);
  }
  t.end();
});

t.test('an old key beside the new one is refused: which of them is meant?', (t) => {
  const text = 'query_frontend:\n  query_shards: 3\n  trace_by_id: {query_shards: 4}\n';
  t.throws(
    () => loadConfig(rootBlock, { file: { name: 'f', text } }),
    /f:2: query_frontend.query_shards: old key of query_frontend.trace_by_id.query_shards, .* f:3/,
  );
  t.end();
});
