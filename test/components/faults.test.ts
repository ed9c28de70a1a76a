// Faults of a cluster of processes that need a foreign program, a disk of their own or wrong clocks, each of
// them short: no answer is wrong meanwhile, and every acknowledged trace is found in the end, once.
import path from 'node:path';
import t from 'tap';
import { runSpecial, SPECIAL_FAULTS } from '../faults/special-faults.ts';
import { SHORT, violations } from '../faults/world.ts';
import { testFolder } from '../support/test-folder.ts';

t.setTimeout(300_000);

/** Those of one line have one cluster; `npm run faults` runs all, each for itself. */
const CHOSEN: readonly RegExp[][] = [
  [/^full disk/, /^slow disk/, /^clocks/],
  [/^rings in etcd/],
  [/^object store away until/],
];

for (const patterns of CHOSEN) {
  const faults = patterns.map((pattern) => SPECIAL_FAULTS.find(({ name }) => pattern.test(name))!);
  t.test(faults.map(({ name }) => name).join('; '), async (t) => {
    const outcomes = await runSpecial(faults, path.join(testFolder(t), 'world'), SHORT);
    t.equal(outcomes.length, faults.length);
    for (const { fault, counts, complaints } of outcomes) {
      t.strictSame(violations(fault, counts), [], `${fault.name} ${complaints.join('; ')}`);
      t.ok(counts.tracesAcknowledged > 0);
    }
  });
}
