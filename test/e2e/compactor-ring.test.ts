// Compactors as processes over one folder of blocks, in a ring by gossip: each job is done once, by one of
// them; what one has that is killed goes to the others, and what one has that stops goes at once.
import t from 'tap';
import { blocksInFolder, CompactorRing, LIMIT_MS, NAMES, TENANTS } from '../support/compactor-ring.ts';
import { freePort } from '../support/free-port.ts';
import { metric, until } from '../support/hostile.ts';
import { startTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';

t.setTimeout(400_000);

t.test('three compactors, one of them is killed, one stops', async (t) => {
  const folder = testFolder(t);
  const cluster = await CompactorRing.over(t, folder, blocksInFolder(`${folder}/blocks`));
  const { running } = cluster;
  const ingest = await cluster.startIngest(t);
  for (let i = 0; i < 3; i++) await cluster.sendBlocks(ingest);
  await Promise.all(NAMES.map((name) => cluster.start(name)));
  const all = 'one ACTIVE, three ACTIVE, two ACTIVE';
  for (const name of NAMES) t.equal(await cluster.members(name), all);
  t.ok(await until(() => cluster.isCompacted(), LIMIT_MS), 'all is compacted');
  const work = await cluster.work();
  const sum = work.reduce((a, b) => a + b);
  t.equal(sum, 3 * TENANTS.length, `each block once: ${work.join()}`);
  t.ok(work.filter((blocks) => blocks > 0).length > 1, 'by several');
  const isOneBuilder = async (): Promise<boolean> => (await cluster.builders()).every((count) => count === 1);
  t.ok(await until(isOneBuilder, LIMIT_MS), 'each index is written by one');

  await running.get('two')!.kill();
  running.delete('two');
  for (let i = 0; i < 2; i++) await cluster.sendBlocks(ingest);
  t.ok(await until(() => cluster.isCompacted(), LIMIT_MS), 'what the killed one had goes to the others');
  const left = 'one ACTIVE, three ACTIVE';
  t.ok(await until(async () => (await cluster.members('one')) === left, LIMIT_MS), 'it is forgotten');

  t.equal(await running.get('three')!.stop(), 0);
  running.delete('three');
  t.ok(await until(async () => (await cluster.members('one')) === 'one ACTIVE', LIMIT_MS), 'one has left');
  for (let i = 0; i < 2; i++) await cluster.sendBlocks(ingest);
  t.ok(await until(() => cluster.isCompacted(), LIMIT_MS), 'the last one does all');
  const last = running.get('one')!;
  t.equal(await metric(last, 'tempodb_compaction_errors_total'), 0);
  t.match(await (await last.get('/metrics')).text(), 'tempo_ring_members{name="compactor",state="ACTIVE"} 1');
  t.ok(await until(() => cluster.isClean(), LIMIT_MS), 'inputs are deleted, whoever had them');
  t.strictSame(await cluster.wrong(ingest), [], 'each trace is whole and once');
  t.equal(await last.stop(), 0);
  // Before its folder is removed: it polls, and may write.
  await ingest.kill();
});

t.test('one process of all modules that shares with others', async (t) => {
  const [own, other] = [await freePort(), await freePort()];
  const tempo = await startTempo(testFolder(t), {
    yaml: `compactor: { ring: { kvstore: { store: memberlist }, instance_id: one, instance_addr: 127.0.0.1 } }
memberlist: { bind_addr: [127.0.0.1], bind_port: ${own}, join_members: ['127.0.0.1:${other}'] }
`,
  });
  t.teardown(() => tempo.kill());
  const shards = async (path: string): Promise<unknown> =>
    ((await (await tempo.get(path)).json()) as { readonly shards: unknown }).shards;
  t.match(await shards('/compactor/ring'), [{ id: 'one', state: 'ACTIVE' }]);
  t.match(await shards('/ingester/ring'), [{ state: 'ACTIVE' }]);
  const shown = await (await tempo.get('/metrics')).text();
  for (const name of ['compactor', 'ingester']) {
    t.match(shown, `tempo_ring_members{name="${name}",state="ACTIVE"} 1\n`);
  }
  t.equal(await tempo.stop(), 0);
});
