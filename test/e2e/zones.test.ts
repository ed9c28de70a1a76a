// Four ingesters in three zones with replication factor 3, under load: each trace lies in every zone, all
// ingesters of a zone die at once and nobody notices, and without two zones pushes are refused and answers
// say what they lack.
import { createHash } from 'node:crypto';
import t from 'tap';
import { ROLES } from '../../cmd/cluster/layout.ts';
import { MORE_INGESTERS } from '../faults/cluster.ts';
import { runFault, SHORT, startWorld, violations, type World } from '../faults/world.ts';
import { ingestersOf, inZones, killZone, loseZone, partialNow, startZone } from '../faults/zones.ts';
import { heldBy } from '../support/held-traces.ts';
import { grpcExport, grpcSession, framed, httpExport, until } from '../support/hostile.ts';
import { aSpan, encodeTraces } from '../support/otlp.ts';
import { testFolder } from '../support/test-folder.ts';

t.setTimeout(300_000);

const TRACES = 40;
const UNAVAILABLE = 14;
const NAMES_INGESTER = /127\.0\.0\.1:\d+: \w+/;

t.test('ingesters in three zones', async (t) => {
  let started: World | undefined;
  t.teardown(() => started?.end());
  const roles = [...ROLES, MORE_INGESTERS[0]].filter(({ target }) => !target.startsWith('backend-'));
  const world = (started = await startWorld(testFolder(t), SHORT, inZones(roles)));
  const { cluster, load } = world;
  const distributor = cluster.at('distributor');

  const ids = Array.from({ length: TRACES }, (_, i) => createHash('md5').update(`zones ${i}`).digest('hex'));
  const startUnixNano = BigInt(Date.now()) * 1_000_000n;
  const spans = ids.map((traceId) => aSpan({ traceId, startUnixNano, endUnixNano: startUnixNano + 1000n }));
  t.equal((await httpExport(distributor, encodeTraces(spans))).status, 200);
  for (const zone of ['a', 'b', 'c'] as const) {
    const names = ingestersOf(cluster, zone);
    const isInZone = async (): Promise<boolean> => {
      const held = await Promise.all(names.map((name) => heldBy(cluster.portsOf(name).grpc, ids)));
      if (ids.every((id) => held.filter((set) => set.has(id)).length === 1)) return true;
      // Two zones are enough for a push: on a busy machine the third may have missed it.
      await httpExport(distributor, encodeTraces(spans));
      return false;
    };
    t.ok(await until(isInZone), `each trace has one copy in zone ${zone}, of ${names.length} ingesters`);
  }

  const withoutOne = await runFault(world, { run: () => loseZone(world, 'a') });
  t.strictSame(violations({ costs: [] }, withoutOne), [], load.complaints.join('; '));

  const withoutTwo = await runFault(world, {
    run: async () => {
      await killZone(cluster, 'b');
      const { status, body } = await httpExport(distributor, encodeTraces(spans));
      t.equal(status, 503);
      t.match(body.toString(), NAMES_INGESTER);
      const session = await grpcSession(distributor);
      const answer = await grpcExport(session, framed(encodeTraces(spans)));
      session.close();
      t.equal(answer.status, UNAVAILABLE);
      t.match(answer.message, NAMES_INGESTER);
      t.match(await partialNow(cluster), /3 of 4 ingesters could not be asked/);
      await startZone(cluster, 'b');
      await load.goesOn(world.pace.steps);
      await startZone(cluster, 'a');
    },
  });
  t.strictSame(violations({ costs: ['pushErrors', 'partial'] }, withoutTwo), [], load.complaints.join('; '));

  await load.stop();
  const { lost, duplicated, tracesAcknowledged } = await load.checkAll();
  t.strictSame({ lost, duplicated }, { lost: 0, duplicated: 0 }, `all of ${tracesAcknowledged} traces`);
});
