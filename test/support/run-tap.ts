// Runs tap over the test files below the given paths, tells what failed, and prints the true counts as the
// last line. It fails when a test fails, when none ran, and, in CI and with --no-skip, when one was skipped.
// --timeout=N is for tap: seconds that a file may take.
import { spawnSync } from 'node:child_process';
import { globSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { readTap, type TapOutput } from './tap-output.ts';

const TAP = 'node_modules/tap/dist/esm/run.mjs';
const TAP_BUILT = 'node_modules/@tapjs/test/test-built/dist/esm/index.js';

/** Modules are compiled once for all files, which takes a sixth off the CPU of a file. */
const COMPILE_CACHE = resolve('node_modules/.cache/tempo-tests');

function run(args: readonly string[]): number {
  const { status, error } = spawnSync(process.execPath, [TAP, ...args], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { NODE_COMPILE_CACHE: COMPILE_CACHE, ...process.env },
  });
  if (error !== undefined) throw error;
  return status ?? 1;
}

/** A fresh install holds tap with its TypeScript plugin, and tap drops it one run too late. */
function buildTapOnce(): void {
  if (readFileSync(TAP_BUILT, 'utf8').includes('@tapjs/typescript')) run(['build']);
}

function testFiles(path: string): string[] {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) return [];
  return found.isFile() ? [path] : globSync(`${path}/**/*.test.ts`).toSorted();
}

function tell({ files, failures }: TapOutput): void {
  for (const { names, diagnostics } of failures) {
    console.log(`FAILED ${names.join(' > ')}`);
    if (diagnostics !== '') console.log(diagnostics.replace(/^/gm, '    '));
  }
  for (const { path, ok, timeMs } of files) {
    console.log(`${ok ? 'ok    ' : 'FAILED'} ${path} ${(timeMs / 1000).toFixed(1)} s`);
  }
}

function main(args: readonly string[]): number {
  const noSkip = args.includes('--no-skip') || process.env['CI'] === 'true';
  const files = args.filter((arg) => !arg.startsWith('--')).flatMap(testFiles);
  if (files.length === 0) {
    console.error('no test files found');
    return 1;
  }
  buildTapOnce();
  const folder = mkdtempSync(join(tmpdir(), 'tempo-tap-'));
  try {
    const path = join(folder, 'output.tap');
    const timeout = args.filter((arg) => arg.startsWith('--timeout='));
    const status = run(['--reporter=silent', `--output-file=${path}`, ...timeout, ...files]);
    const output = readTap(readFileSync(path, 'utf8'));
    tell(output);
    const { counts } = output;
    if (counts === undefined) {
      console.error('tap ended without a summary');
      return 1;
    }
    const forbidden = noSkip ? counts.skip : 0;
    if (forbidden > 0) console.error('a skipped test counts as a failure here');
    const skipped = counts.skip > 0 && !noSkip ? `, ${counts.skip} skipped` : '';
    console.log(`${counts.pass} passed, ${counts.fail + forbidden} failed${skipped}`);
    return status !== 0 || counts.fail + forbidden > 0 || counts.pass === 0 ? 1 : 0;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

process.exitCode = main(process.argv.slice(2));
