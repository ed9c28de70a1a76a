// Faults of a cluster of processes that need a foreign program or a disk of its own, each of them short: no
// answer is wrong meanwhile, and every acknowledged trace is found in the end, once.
import path from 'node:path';
import t from 'tap';
import { runSpecial, SPECIAL_FAULTS } from '../faults/special-faults.ts';
import { SHORT, violations } from '../faults/world.ts';
import { testFolder } from '../support/test-folder.ts';

t.setTimeout(300_000);

/** Of each kind one; `npm run faults` runs all. */
const CHOSEN = /^full disk|^rings in etcd|^object store away until/;

for (const fault of SPECIAL_FAULTS.filter(({ name }) => CHOSEN.test(name))) {
  t.test(fault.name, async (t) => {
    const { counts, complaints } = await runSpecial(fault, path.join(testFolder(t), 'world'), SHORT);
    t.strictSame(violations(fault, counts), [], complaints.join('; '));
    t.ok(counts.tracesAcknowledged > 0);
  });
}
