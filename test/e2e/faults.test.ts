// Faults of a whole cluster of processes under load: every acknowledged trace is found in the end, once, and
// no answer meanwhile is wrong.
import t from 'tap';
import { ALL_ROLES, Cluster } from '../faults/cluster.ts';
import { Load } from '../faults/load.ts';

t.setTimeout(240_000);

/** Pushes and reads that are waited for after a fault. */
const STEP = 4;

t.test('kill -9 of each role in turn', async (t) => {
  const cluster = await Cluster.create(t.testdir());
  t.teardown(() => cluster.end());
  await cluster.startAll();
  const load = new Load({
    push: () => `http://127.0.0.1:${cluster.portsOf('distributor').otlpHttp}`,
    query: () => `http://127.0.0.1:${cluster.portsOf('query-frontend').http}`,
  });
  load.start();
  await load.goesOn(STEP);
  for (const name of ALL_ROLES) {
    await cluster.kill(name);
    if (name !== 'distributor' && name !== 'query-frontend' && name !== 'querier') await load.goesOn(STEP);
    await cluster.start(name);
    await load.goesOn(STEP);
    const { pushErrors, readErrors, partial, wrong, lost, duplicated } = await load.lap();
    const all = { partial, wrong, lost, duplicated };
    t.strictSame(
      all,
      { partial: 0, wrong: 0, lost: 0, duplicated: 0 },
      `${name}: ${load.complaints.join('; ')}`,
    );
    if (name !== 'distributor') t.equal(pushErrors, 0, `${name}: no push is refused`);
    if (!name.startsWith('quer')) t.equal(readErrors, 0, `${name}: no read fails`);
  }
  await load.stop();
  const { lost, duplicated, tracesAcknowledged } = await load.checkAll();
  t.strictSame({ lost, duplicated }, { lost: 0, duplicated: 0 }, `all of ${tracesAcknowledged} traces`);
});
