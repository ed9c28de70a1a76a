// The generated pages of docs/reference are those of today's description, and tell truly which keys act.
import { globSync, readFileSync } from 'node:fs';
import t from 'tap';
import { keysInEffect, keysNotNeeded, referencePages } from '../docs/pages.ts';
import { allKeys } from '../docs/reference.ts';

const ROOT = new URL('../../', import.meta.url).pathname;

t.test('pages are up to date: else run `npm run docs`', (t) => {
  for (const [path, text] of referencePages())
    t.ok(readFileSync(path, 'utf8') === text, path.slice(ROOT.length));
  t.end();
});

/** Files that name keys without acting upon them. */
const DESCRIPTION =
  /(\/config|server-config|shared-blocks|overrides\/(limits|inline|user-limits)|app\/check(-[a-z]+)?)\.ts$/;

/** Their names occur in the code, and are not what is read there. */
const NAMESAKES = new Set([
  'overrides.defaults.metrics_generator.max_active_series',
  'overrides.defaults.read.max_blocks_per_tag_values_query',
]);

t.test('keys in effect: the code speaks of them, and of no others', (t) => {
  const files = globSync('src/**/*.ts', { cwd: ROOT }).filter((path) => !DESCRIPTION.test(`/${path}`));
  const code = files.map((path) => readFileSync(ROOT + path, 'utf8').replaceAll(/\/\/.*$/gm, '')).join('\n');
  const names = new Set(code.match(/[A-Za-z_$][\w$]*/g));
  const inEffect = keysInEffect();
  const keys = allKeys();
  t.same(
    [...inEffect].filter((path) => !keys.some((key) => key.path === path)),
    [],
    'each is a key',
  );
  t.same(
    [...keysNotNeeded().keys()].filter(
      (path) => inEffect.has(path) || !keys.some((key) => key.path === path),
    ),
    [],
    'test/docs/keys-not-needed.tsv: each is a key that has no effect',
  );
  const silent = keys.filter(({ path, property }) => inEffect.has(path) && !names.has(property));
  t.same(
    silent.map(({ path }) => path),
    [],
    'nothing reads these: remove them from test/docs/keys-in-effect.txt',
  );
  const uses = new Map<string, number>();
  for (const { property } of keys) uses.set(property, (uses.get(property) ?? 0) + 1);
  const unlisted = keys.filter(({ path, property }) => {
    // Short and shared names occur for other reasons.
    const isTelling = uses.get(property) === 1 && /[a-z][A-Z].*[a-z][A-Z]/.test(property);
    return isTelling && names.has(property) && !inEffect.has(path) && !NAMESAKES.has(path);
  });
  t.same(
    unlisted.map(({ path }) => path),
    [],
    'something reads these: add them to test/docs/keys-in-effect.txt, then `npm run docs`',
  );
  t.end();
});
