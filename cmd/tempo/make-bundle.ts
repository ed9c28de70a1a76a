// Makes the bundle that bundle.ts describes; `npm ci` runs this. The program runs without one, only slower
// from its first line to its first answer: so what is in the way is told, and is no failure.
import {
  chmodSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import type { Metafile, Plugin } from 'esbuild';
import { bundleInputs, bundlePlace } from './bundle.ts';

const root = path.resolve(import.meta.dirname, '../..');

/** Packages that every start loads. All others stay where they are, and are loaded by those who need them. */
const PACKAGES = ['commander', 'fastify', 'prom-client', 'yaml'];
/** Of those packages' own: they ask for it only where it is used. */
const LEFT_OUT = ['pino'];
/** Changes with every package. */
const LOCK = 'node_modules/.package-lock.json';

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

async function bundled(outdir: string): Promise<Metafile> {
  const { build } = await import('esbuild');
  const { metafile } = await build({
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
    metafile: true,
    logLevel: 'warning',
  });
  return metafile;
}

async function make(): Promise<void> {
  const { folder, inputs } = bundlePlace(root);
  rmSync(folder, { recursive: true, force: true });
  // Beside its place, so that it takes it whole.
  mkdirSync(path.dirname(folder), { recursive: true });
  const made = mkdtempSync(`${folder}-`);
  chmodSync(made, 0o755);
  try {
    const metafile = await bundled(path.join(made, 'app'));
    // The page's sources are sent as they are; the code looks for them beside its own folder.
    symlinkSync(path.join(root, 'src/ui'), path.join(made, 'ui'));
    const own = Object.keys(metafile.inputs).filter((file) => file.startsWith('src/'));
    const madeOf = bundleInputs(root, [...own, LOCK]);
    writeFileSync(path.join(made, path.basename(inputs)), JSON.stringify(madeOf));
    renameSync(made, folder);
  } finally {
    rmSync(made, { recursive: true, force: true });
  }
}

try {
  await make();
} catch (err) {
  process.stderr.write(`no bundle is made, a start takes longer without one: ${String(err)}\n`);
}
