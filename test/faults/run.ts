// `npm run faults`: every fault at its full length, and the table of what was counted. Arguments are parts of
// names: only faults that have one of them are run. `--short` takes the lengths of `npm test`.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, loadavg, release, tmpdir } from 'node:os';
import path from 'node:path';
import type { Counts } from './load.ts';
import { runSpecial, SPECIAL_FAULTS } from './special-faults.ts';
import { TABLE_HEAD, tableRow } from './table.ts';
import { USUAL_FAULTS } from './usual-faults.ts';
import { FULL, type Fault, runFault, SHORT, startWorld, violations } from './world.ts';

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
console.log(`\n${TABLE_HEAD}`);

function tell(fault: Pick<Fault, 'name' | 'costs'>, counts: Counts, complaints: readonly string[]): void {
  console.log(tableRow(fault.name, counts));
  const found = violations(fault, counts);
  if (found.length > 0) problems.push(`${fault.name}: ${found.join(', ')}: ${complaints.join('\n  ')}`);
}

const failed = ({ name }: Pick<Fault, 'name'>, err: unknown): number =>
  problems.push(`${name}: ${err instanceof Error ? err.message : String(err)}`);

/** One cluster for all of them, which is not what it should be once one of them failed. */
async function runUsual(faults: readonly Fault[]): Promise<void> {
  const world = await startWorld(path.join(folder, 'usual'), pace);
  let fault = faults[0]!;
  try {
    for (fault of faults) tell(fault, await runFault(world, fault), world.load.complaints);
  } catch (err) {
    failed(fault, err);
  } finally {
    await world.end();
  }
}

try {
  const usual = USUAL_FAULTS.filter(isWanted);
  if (usual.length > 0) await runUsual(usual);
  for (const fault of SPECIAL_FAULTS.filter(isWanted)) {
    try {
      const own = path.join(folder, `special-${SPECIAL_FAULTS.indexOf(fault)}`);
      for (const { counts, complaints } of await runSpecial([fault], own, pace))
        tell(fault, counts, complaints);
    } catch (err) {
      failed(fault, err);
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(`\n${Math.round(performance.now() / 1000)} s in all`);
for (const problem of problems) console.log(`\nPROBLEM ${problem}`);
process.exitCode = problems.length === 0 ? 0 : 1;
