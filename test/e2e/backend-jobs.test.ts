// A scheduler and two workers as processes over one folder of blocks, killed at random moments while
// blocks come in: nothing is lost, nothing is found twice, and in the end all is compacted. So it is when
// they take over from a compactor that still runs. KILL_ROUNDS sets the number of kills, KILL_SEED the
// moments.
import { readFileSync } from 'node:fs';
import t from 'tap';
import { metric, until } from '../support/hostile.ts';
import {
  JobCluster,
  JOBS,
  jobStates,
  LIMIT_MS,
  localJobStore,
  seededNumbers,
} from '../support/job-cluster.ts';
import { startTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';

t.setTimeout(400_000);

const rounds = Number(process.env['KILL_ROUNDS'] ?? 6);
const seed = Number(process.env['KILL_SEED'] ?? Date.now() % 1_000_000);

t.test(`${rounds} kills (KILL_SEED=${seed})`, { timeout: 180_000 + rounds * 10_000 }, async (t) => {
  const folder = testFolder(t, { blocks: { 'single-tenant': {} } });
  const cluster = await JobCluster.create(t, localJobStore(`${folder}/blocks`), seededNumbers(seed), folder);
  await cluster.survivesKills(t, rounds);
});

t.test(
  'a worker that stops ends its job, and one process is enough for both',
  { timeout: 120_000 },
  async (t) => {
    const folder = testFolder(t, { blocks: { 'single-tenant': {} } });
    const store = localJobStore(`${folder}/blocks`);
    const cluster = await JobCluster.create(t, store, seededNumbers(seed), folder);
    const ingest = await cluster.startIngest(t);
    for (let i = 0; i < 3; i++) await cluster.sendBlock(ingest);
    const scheduler = await cluster.start('scheduler');
    const worker = await cluster.start('one');
    t.ok(
      await until(
        async () =>
          (await metric(worker, 'tempo_backend_worker_jobs_total')) > 0 || (await cluster.isCompacted()),
        LIMIT_MS,
      ),
    );
    t.equal(await worker.stop(), 0);
    cluster.running.delete('one');
    t.ok(
      await until(async () => !(await jobStates(scheduler)).includes('JOB_STATUS_RUNNING'), LIMIT_MS),
      'nothing is left running',
    );
    t.equal(await scheduler.stop(), 0);
    cluster.running.delete('scheduler');
    const { shards } = JSON.parse(readFileSync(`${folder}/blocks/work.json`, 'utf8')) as {
      readonly shards: unknown[];
    };
    t.equal(shards.length, 256);
    for (let i = 0; i < 2; i++) await cluster.sendBlock(ingest);
    const both = await startTempo(`${folder}/both`, {
      backend: store.yaml,
      yaml: `${JOBS}  local_work_path: '${folder}/work'`,
      args: ['-target=backend-scheduler,backend-worker', '-storage.trace.blocklist_poll=300ms'],
    });
    t.teardown(() => both.kill());
    t.ok(await until(() => cluster.isCompacted(), LIMIT_MS), 'what is left is compacted');
    t.strictSame(await cluster.wrongTraces(ingest), []);
    t.equal(await both.stop(), 0);
  },
);

t.test('they take over from a compactor that still runs', { timeout: 180_000 }, async (t) => {
  const folder = testFolder(t, { blocks: { 'single-tenant': {} } });
  const store = localJobStore(`${folder}/blocks`);
  const cluster = await JobCluster.create(t, store, seededNumbers(seed), folder);
  const ingest = await cluster.startIngest(t);
  for (let i = 0; i < 3; i++) await cluster.sendBlock(ingest);
  const compactor = await startTempo(`${folder}/compactor`, {
    backend: store.yaml,
    yaml: 'compactor: { compaction: { compaction_cycle: 200ms, compacted_block_retention: 1s } }\n',
    args: ['-target=compactor', '-storage.trace.blocklist_poll=300ms'],
  });
  t.teardown(() => compactor.kill());
  const joined = 'tempodb_compaction_blocks_total';
  t.ok(await until(async () => (await metric(compactor, joined)) > 0, LIMIT_MS), 'the compactor works');
  for (let i = 0; i < 2; i++) await cluster.sendBlock(ingest);
  await cluster.start('scheduler');
  const worker = await cluster.start('one');
  for (let i = 0; i < 6; i++) await cluster.sendBlock(ingest);
  t.ok(await until(() => cluster.isCompacted(), LIMIT_MS), 'both at once compact all');
  const isRight = async (): Promise<boolean> => (await cluster.wrongTraces(ingest)).length === 0;
  t.ok(await until(isRight, LIMIT_MS), 'while both run all is whole and once');
  for (let i = 0; i < 2; i++) await cluster.sendBlock(ingest);
  t.equal(await compactor.stop(), 0);
  const before = await metric(worker, joined);
  for (let i = 0; i < 2; i++) await cluster.sendBlock(ingest);
  t.ok(
    await until(async () => (await metric(worker, joined)) > before && cluster.isCompacted(), LIMIT_MS),
    'then the worker compacts all',
  );
  t.ok(await until(async () => (await cluster.deadBlocks()) === 0, LIMIT_MS), 'and deletes what was joined');
  t.strictSame(await cluster.wrongTraces(ingest), [], `${cluster.traceCount} traces are whole and once`);
  await cluster.end('stop');
});
