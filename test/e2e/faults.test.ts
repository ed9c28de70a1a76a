// Faults of a whole cluster of processes under load, each of them short: no answer is wrong meanwhile, and in
// the end every acknowledged trace is found, once. `npm run faults` has their full lengths.
import { readFileSync } from 'node:fs';
import t from 'tap';
import { TABLE_HEAD } from '../faults/table.ts';
import { FIRST_FAULTS } from '../faults/usual-faults.ts';
import { runFault, SHORT, startWorld, violations, type World } from '../faults/world.ts';
import { testFolder } from '../support/test-folder.ts';

t.setTimeout(900_000);

t.test('what `npm run faults` prints is the table of the docs', async (t) => {
  const page = readFileSync(new URL('../../docs/reliability.md', import.meta.url), 'utf8');
  t.ok(page.includes(`${TABLE_HEAD}\n`), TABLE_HEAD);
});

t.test('a cluster of processes', async (t) => {
  let started: World | undefined;
  // Said before there is a folder: tap would else delete it while the processes still write there.
  t.teardown(() => started?.end());
  const world = (started = await startWorld(testFolder(t), SHORT));
  for (const fault of FIRST_FAULTS) {
    const counts = await runFault(world, fault);
    const { complaints } = world.load;
    t.strictSame(violations(fault, counts), [], `${fault.name} ${complaints.join('; ')}`);
  }
  await world.load.stop();
  const { lost, duplicated, tracesAcknowledged } = await world.load.checkAll();
  t.strictSame({ lost, duplicated }, { lost: 0, duplicated: 0 }, `all of ${tracesAcknowledged} traces`);
});
