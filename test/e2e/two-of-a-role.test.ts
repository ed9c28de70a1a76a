// Two query-frontends, which queriers find by name, two queriers, two distributors, three ingesters, a
// scheduler and a worker: all of them are stopped and started again while spans are written and read, and
// clients that ask another one where they are refused do not notice.
import t from 'tap';
import { ROLES } from '../../cmd/cluster/layout.ts';
import { type RoleName, SECOND_ROLES } from '../faults/cluster.ts';
import { connectionsReset } from '../faults/load.ts';
import { hasSecondLoopback } from '../support/free-port.ts';
import { metric, until } from '../support/hostile.ts';
import { testFolder } from '../support/test-folder.ts';
import { restartAmidQueries } from '../faults/usual-faults.ts';
import { SHORT, startWorld, violations, type World } from '../faults/world.ts';

t.setTimeout(600_000);

/** Who is restarted at the same time as another one. */
const ALSO: Partial<Record<RoleName, RoleName>> = {
  'backend-scheduler': 'ingester-1',
  'backend-worker': 'ingester-2',
};
const FRONTENDS: readonly RoleName[] = ['query-frontend', 'query-frontend-1'];
/** Of each query-frontend while another process is away. */
const QUERIES = 4;

/** Who connects between the last look and the end of a listener is reset. */
const RESETS_MAX = 2;

// Both query-frontends have one port, each at an address of its own.
const skip = (await hasSecondLoopback()) ? false : 'loopback has no 127.0.0.2';

t.test('a rolling restart of all with two of a role', { skip }, async (t) => {
  let started: World | undefined;
  t.teardown(() => started?.end());
  const roles = [...ROLES, ...SECOND_ROLES];
  const world = (started = await startWorld(testFolder(t), SHORT, { roles }));
  const { cluster, load } = world;

  const answered = (name: RoleName): Promise<number> =>
    metric(cluster.at(name), 'tempo_query_frontend_queries_total');
  const connected = (name: RoleName): Promise<number> =>
    metric(cluster.at(name), 'tempo_query_frontend_connected_clients');
  const executed = (name: RoleName): Promise<number> =>
    metric(cluster.at(name), 'tempo_querier_worker_request_executed_total');
  const allConnect = async (): Promise<boolean> => {
    const counts = await Promise.all(FRONTENDS.map(connected));
    return counts.every((count) => count === 2);
  };
  /** Each of those query-frontends has queries answered, while all goes on. */
  const bothAnswer = async (frontends: readonly RoleName[]): Promise<void> => {
    const before = await Promise.all(frontends.map(answered));
    const allHave = async (): Promise<boolean> => {
      const now = await Promise.all(frontends.map(answered));
      return now.every((count, i) => count >= before[i]! + QUERIES);
    };
    t.ok(await until(allHave, 30_000), `${frontends.join(' and ')} have queries answered`);
    await load.goesOn(world.pace.steps);
  };

  t.ok(await until(allConnect), 'both query-frontends have both queriers');
  const others = Object.values(ALSO);
  for (const name of cluster.names.filter((name) => !others.includes(name))) {
    const there = FRONTENDS.filter((frontend) => frontend !== name);
    const isQuerier = cluster.namesOf('querier').includes(name);
    const other = cluster.namesOf('querier').find((querier) => querier !== name)!;
    const before = await executed(other);
    const also = ALSO[name];
    await Promise.all([
      restartAmidQueries(world, name, () => bothAnswer(there)),
      also && restartAmidQueries(world, also, () => bothAnswer(there)),
    ]);
    // Without this querier the other one did it all, for both.
    if (isQuerier) t.ok((await executed(other)) > before, `${other} did the jobs`);
    t.ok(await until(allConnect), `${name} is back, and both query-frontends have both queriers`);
  }
  await load.stop();
  const counts = await load.lap();
  t.ok(counts.tracesAcknowledged > 100);
  t.ok(connectionsReset() <= RESETS_MAX, `${connectionsReset()} connections were reset`);
  t.strictSame(violations({ costs: [] }, counts), [], load.complaints.join('; '));
});
