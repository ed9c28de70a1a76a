// Runs tap over the test files below the given paths and prints the true counts as the last line.
// It fails when a test fails, when no test ran, and, with --no-skip, when a test was skipped.
import { spawnSync } from 'node:child_process';
import { globSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

type Counts = { readonly pass: number; readonly fail: number; readonly skip: number };

const TAP = 'node_modules/tap/dist/esm/run.mjs';
const TAP_BUILT = 'node_modules/@tapjs/test/test-built/dist/esm/index.js';

function run(args: readonly string[]): number {
  const { status, error } = spawnSync(process.execPath, [TAP, ...args], {
    stdio: ['ignore', 'inherit', 'inherit'],
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

/** Reads the summary that tap writes at the end of its TAP output. */
function readCounts(tapText: string): Counts | undefined {
  const summary = tapText.match(/^# \{ total: .*\}$/m)?.[0];
  if (summary === undefined) return undefined;
  const count = (name: string): number => Number(summary.match(new RegExp(`\\b${name}: (\\d+)`))?.[1] ?? 0);
  return { pass: count('pass'), fail: count('fail'), skip: count('skip') + count('todo') };
}

function main(args: readonly string[]): number {
  const noSkip = args.includes('--no-skip');
  const files = args.filter((arg) => !arg.startsWith('--')).flatMap(testFiles);
  if (files.length === 0) {
    console.error('no test files found');
    return 1;
  }
  buildTapOnce();
  const folder = mkdtempSync(join(tmpdir(), 'tempo-tap-'));
  try {
    const output = join(folder, 'output.tap');
    const status = run([`--output-file=${output}`, ...files]);
    const counts = readCounts(readFileSync(output, 'utf8'));
    if (counts === undefined) {
      console.error('tap ended without a summary');
      return 1;
    }
    const forbiddenSkips = noSkip ? counts.skip : 0;
    const skipped = counts.skip > 0 ? `, ${counts.skip} skipped` : '';
    console.log(`${counts.pass} passed, ${counts.fail} failed${skipped}`);
    if (forbiddenSkips > 0) console.error('a skipped test counts as a failure here');
    return status !== 0 || counts.fail > 0 || counts.pass === 0 || forbiddenSkips > 0 ? 1 : 0;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

process.exitCode = main(process.argv.slice(2));
