// `npm run faults`: every fault at its full length, and the table of what was counted. Arguments are parts of
// names: only faults that have one of them are run. `--short` takes the lengths of `npm test`.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, loadavg, release, tmpdir } from 'node:os';
import path from 'node:path';
import type { Counts } from './load.ts';
import { runSpecial, SPECIAL_FAULTS } from './special-faults.ts';
import { USUAL_FAULTS } from './usual-faults.ts';
import { FULL, type Fault, runFault, SHORT, startWorld, violations } from './world.ts';

const HEAD = [
  'fault',
  'spans sent',
  'acknowledged',
  'traces checked',
  'lost',
  'twice',
  'reads',
  'failed',
  'partial',
  'wrong',
  'pushes refused',
  'longest gap of pushes, reads (s)',
];

function row(name: string, counts: Counts): string {
  const gaps = [counts.longestPushGapMs, counts.longestReadGapMs]
    .map((ms) => (ms / 1000).toFixed(1))
    .join(', ');
  const cells = [
    name,
    counts.spansSent,
    counts.spansAcknowledged,
    counts.tracesAcknowledged,
    counts.lost,
    counts.duplicated,
    counts.reads,
    counts.readErrors,
    counts.partial,
    counts.wrong,
    counts.pushErrors,
    gaps,
  ];
  return `| ${cells.join(' | ')} |`;
}

function machine(): string {
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
  const load = loadavg()
    .map((value) => value.toFixed(0))
    .join(', ');
  const cores = `${cpus().length} x ${cpus()[0]?.model}`;
  const versions = `Linux ${release()}, Node ${process.version}`;
  return `commit ${commit}, ${new Date().toISOString()}, ${cores}, ${versions}, load ${load}`;
}

const args = process.argv.slice(2);
const pace = args.includes('--short') ? SHORT : FULL;
const wanted = args.filter((arg) => !arg.startsWith('--'));
const isWanted = ({ name }: Pick<Fault, 'name'>): boolean =>
  wanted.length === 0 || wanted.some((part) => name.includes(part));
const folder = mkdtempSync(path.join(tmpdir(), 'tempo-faults-'));
const problems: string[] = [];
console.log(machine());
console.log(`\n| ${HEAD.join(' | ')} |\n|${' --- |'.repeat(HEAD.length)}`);

function tell(fault: Pick<Fault, 'name' | 'costs'>, counts: Counts, complaints: readonly string[]): void {
  console.log(row(fault.name, counts));
  const found = violations(fault, counts);
  if (found.length > 0) problems.push(`${fault.name}: ${found.join(', ')}: ${complaints.join('\n  ')}`);
}

try {
  const usual = USUAL_FAULTS.filter(isWanted);
  const world = usual.length === 0 ? undefined : await startWorld(path.join(folder, 'usual'), pace);
  for (const fault of usual) tell(fault, await runFault(world!, fault), world!.load.complaints);
  await world?.end();
  for (const fault of SPECIAL_FAULTS.filter(isWanted)) {
    try {
      const { counts, complaints } = await runSpecial(
        fault,
        path.join(folder, `special-${SPECIAL_FAULTS.indexOf(fault)}`),
        pace,
      );
      tell(fault, counts, complaints);
    } catch (err) {
      problems.push(`${fault.name}: ${err instanceof Error ? err.message : String(err)}`);
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
for (const problem of problems) console.log(`\nPROBLEM ${problem}`);
process.exitCode = problems.length === 0 ? 0 : 1;
