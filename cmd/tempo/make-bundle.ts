// Makes the bundle that bundle.ts describes; `npm ci` runs this. The program runs without one, only slower
// from its first line to its first answer: so what is in the way is told, and is no failure.
import {
  chmodSync,
  cpSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import type { Plugin } from 'esbuild';
import { bundleInputs, bundlePlace } from './bundle.ts';

const root = path.resolve(import.meta.dirname, '../..');

/** Packages that every start loads. All others stay where they are, and are loaded by those who need them. */
const PACKAGES = ['commander', 'fastify', 'prom-client', 'yaml'];
/** Of those packages' own: they ask for it only where it is used. */
const LEFT_OUT = ['pino'];
/** Beside the sources: the last changes with every package that is installed. */
const OF_ALL = [
  'cmd/tempo/make-bundle.ts',
  'package.json',
  'tsconfig.json',
  'node_modules/.package-lock.json',
];

function packageOf(specifier: string): string {
  const parts = specifier.split('/');
  return specifier.startsWith('@') ? parts.slice(0, 2).join('/') : parts[0]!;
}

/** What is bundled and what is not, and modules of Node without imports of them. */
const choice: Plugin = {
  name: 'choice',
  setup(build) {
    // An import of a module of Node evaluates all that it exports, which loads others: 40 ms of a start.
    build.onResolve({ filter: /^node:/ }, ({ path: name, kind }) =>
      kind === 'import-statement' ? { path: name, namespace: 'builtin' } : { path: name, external: true },
    );
    build.onLoad({ filter: /./, namespace: 'builtin' }, ({ path: name }) => ({
      contents: `module.exports = process.getBuiltinModule(${JSON.stringify(name)});`,
    }));
    build.onResolve({ filter: /^[^./]/ }, ({ path: name, importer }) => {
      const isOwn = !importer.includes('/node_modules/');
      const isLeftOut = isOwn ? !PACKAGES.includes(packageOf(name)) : LEFT_OUT.includes(packageOf(name));
      return isLeftOut ? { path: name, external: true } : undefined;
    });
  },
};

async function bundle(outdir: string): Promise<void> {
  const { build } = await import('esbuild');
  await build({
    absWorkingDir: root,
    // Threads look for their code beside the module that starts them, so all are in one folder.
    entryPoints: ['src/app/run.ts', ...globSync('src/**/*-worker.ts', { cwd: root })],
    entryNames: '[name]',
    // Below node_modules, Node reads a whole `.js` to know of which kind it is.
    outExtension: { '.js': '.mjs' },
    outdir,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'es2024',
    plugins: [choice],
    // Packages in the older form ask for modules of Node by it.
    banner: {
      js: "const require = process.getBuiltinModule('node:module').createRequire(import.meta.url);",
    },
    logLevel: 'warning',
  });
}

async function make(): Promise<void> {
  const { folder, inputs } = bundlePlace(root);
  mkdirSync(path.dirname(folder), { recursive: true });
  // Beside its place, so that it takes it whole.
  const made = mkdtempSync(`${folder}-`);
  chmodSync(made, 0o755);
  try {
    const files = [...OF_ALL, ...globSync('src/**/*.*', { cwd: root })];
    const madeOf = JSON.stringify(bundleInputs(root, files));
    await bundle(path.join(made, 'app'));
    // The code of the page looks for its files beside its own folder.
    cpSync(path.join(root, 'src/ui'), path.join(made, 'ui'), { recursive: true });
    if (JSON.stringify(bundleInputs(root, files)) !== madeOf)
      throw new Error('a source has changed meanwhile');
    writeFileSync(path.join(made, path.basename(inputs)), madeOf);
    rmSync(folder, { recursive: true, force: true });
    renameSync(made, folder);
  } finally {
    rmSync(made, { recursive: true, force: true });
  }
}

try {
  await make();
} catch (err) {
  const isOther = err instanceof Error && 'code' in err && err.code === 'ENOTEMPTY';
  const text = isOther ? 'another one is made' : 'no bundle is made, a start takes longer without one';
  process.stderr.write(`${text}: ${String(err)}\n`);
}
