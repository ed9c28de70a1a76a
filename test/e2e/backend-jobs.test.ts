// A scheduler and two workers as processes over one folder of blocks, killed at random moments while
// blocks come in: nothing is lost, nothing is found twice, and in the end all is compacted. KILL_ROUNDS
// sets the number of kills, KILL_SEED the moments.
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { httpExport, metric, until } from '../support/hostile.ts';
import { aSpan, encodeTraces, hexId } from '../support/otlp.ts';
import { flush, spanIdsOfTrace } from '../support/read-api.ts';
import { freePorts, type Ports, type RunningTempo, startTempo } from '../support/server.ts';

t.setTimeout(400_000);

const rounds = Number(process.env['KILL_ROUNDS'] ?? 6);
const seed = Number(process.env['KILL_SEED'] ?? Date.now() % 1_000_000) || 1;
const LIFE_MS_MAX = 900;
const TRACES_PER_FLUSH = 40;
const LIMIT_MS = 90_000;
const TENANT = 'single-tenant';

let state = seed;
/** A number in [0, 1) that follows from the seed. */
function random(): number {
  state = (state * 48271) % 0x7fffffff;
  return state / 0x7fffffff;
}

const JOBS = `
backend_scheduler:
  maintenance_interval: 200ms
  backend_flush_interval: 500ms
  job_timeout: 1s
  work: { silent_job_timeout: 3s }
  provider: { retention: { interval: 500ms }, compaction: { min_cycle_interval: 200ms } }
`;

type Role = 'scheduler' | 'one' | 'two';

class Cluster {
  readonly folder: string;
  readonly blocks: string;
  readonly running = new Map<Role, RunningTempo>();
  readonly ports: Readonly<Record<Role, Ports>>;

  constructor(folder: string, ports: Readonly<Record<Role, Ports>>) {
    this.folder = folder;
    this.blocks = `${folder}/ingest/blocks`;
    this.ports = ports;
  }

  async start(role: Role): Promise<RunningTempo> {
    const worker = `
backend_worker:
  backend_scheduler_addr: 127.0.0.1:${this.ports.scheduler.grpc}
  backoff: { max_period: 500ms }
  alive_interval: 200ms
  compaction: { compacted_block_retention: 1s }
  ring: { instance_id: ${role} }
backend_scheduler_client:
  grpc_client_config: { connect_backoff_base_delay: 100ms, connect_backoff_max_delay: 500ms }
`;
    const work = JOBS.replace(
      'backend_scheduler:',
      `backend_scheduler:\n  local_work_path: '${this.folder}/work'`,
    );
    const target = role === 'scheduler' ? 'backend-scheduler' : 'backend-worker';
    const tempo = await startTempo(`${this.folder}/${role}`, {
      ports: this.ports[role],
      backend: `    backend: local\n    local: { path: '${this.blocks}' }\n`,
      yaml: work + worker,
      args: [`-target=${target}`, '-storage.trace.blocklist_poll=300ms'],
    });
    this.running.set(role, tempo);
    return tempo;
  }

  async end(how: 'stop' | 'kill'): Promise<void> {
    await Promise.all([...this.running.values()].map((tempo) => tempo[how]()));
    this.running.clear();
  }
}

async function aCluster(t: Test): Promise<Cluster> {
  const cluster = new Cluster(t.testdir(), {
    scheduler: await freePorts(),
    one: await freePorts(),
    two: await freePorts(),
  });
  t.teardown(() => cluster.end('kill'));
  return cluster;
}

/** Takes spans in and makes blocks of them; leaves the blocks of the backend alone. */
async function startIngest(t: Test, { folder }: Cluster): Promise<RunningTempo> {
  const tempo = await startTempo(`${folder}/ingest`, {
    args: ['-storage.trace.blocklist_poll=500ms', '-compactor.disabled=true'],
    yaml: 'ingester: { complete_block_timeout: 50ms, flush_check_period: 50ms }',
  });
  t.teardown(() => tempo.kill());
  return tempo;
}

/** How many spans each trace has that was sent. */
const sent = new Map<string, number>();

/** New traces, and one more span of some that are in earlier blocks. */
async function sendBlock(tempo: RunningTempo): Promise<void> {
  const startUnixNano = BigInt(Date.now()) * 1_000_000n;
  const more = [...sent.keys()].filter(() => random() < 0.1);
  const fresh = Array.from({ length: TRACES_PER_FLUSH }, (_, i) => hexId(sent.size + i + 1, 16));
  const spans = [...more, ...fresh].flatMap((traceId) => {
    const before = sent.get(traceId) ?? 0;
    const count = before === 0 ? 1 + Math.floor(random() * 8) : 1;
    sent.set(traceId, before + count);
    return Array.from({ length: count }, (_, i) =>
      aSpan({ traceId, spanId: hexId(before + i + 1, 8), startUnixNano, endUnixNano: startUnixNano + 1000n }),
    );
  });
  const { status } = await httpExport(tempo, encodeTraces(spans));
  if (status !== 200) throw new Error(`push answered ${status}`);
  await flush(tempo);
}

async function wrongTraces(tempo: RunningTempo): Promise<string[]> {
  const wrong: string[] = [];
  for (const [traceId, count] of sent) {
    const found = await spanIdsOfTrace(tempo, traceId);
    if (found.length !== count || new Set(found).size !== count)
      wrong.push(`${traceId}: ${found.length} of ${count}`);
  }
  return wrong;
}

/** Live blocks as their metas say. */
function liveBlocks({
  blocks,
}: Cluster): { readonly blockID: string; readonly compactionLevel?: number; readonly endTime: string }[] {
  return readdirSync(`${blocks}/${TENANT}`).flatMap((name) => {
    try {
      return [JSON.parse(readFileSync(`${blocks}/${TENANT}/${name}/meta.json`, 'utf8'))];
    } catch {
      return [];
    }
  });
}

/** No two blocks are left that could be joined. */
function isCompacted(cluster: Cluster): boolean {
  const groups = liveBlocks(cluster).map(
    ({ compactionLevel = 0, endTime }) => `${compactionLevel} ${endTime.slice(0, 13)}`,
  );
  return new Set(groups).size === groups.length;
}

async function jobStates(scheduler: RunningTempo): Promise<readonly string[]> {
  const page = await (await scheduler.get('/status/backendscheduler')).text();
  return page.match(/JOB_STATUS_\w+/g) ?? [];
}

t.test(`${rounds} kills (KILL_SEED=${seed})`, { timeout: 180_000 + rounds * 10_000 }, async (t) => {
  const cluster = await aCluster(t);
  const ingest = await startIngest(t, cluster);
  for (let i = 0; i < 6; i++) await sendBlock(ingest);
  const roles: readonly Role[] = ['scheduler', 'one', 'two'];
  await Promise.all(roles.map((role) => cluster.start(role)));
  let away: Role | undefined;
  for (let round = 0; round < rounds; round++) {
    await sendBlock(ingest);
    await sendBlock(ingest);
    await pause(random() * LIFE_MS_MAX);
    const role = roles[Math.floor(random() * roles.length)]!;
    await cluster.running.get(role)?.kill();
    cluster.running.delete(role);
    if (away !== undefined) await cluster.start(away);
    // Now and then a worker stays away for a while: its job must not wait for it.
    away = role !== 'scheduler' && round % 2 === 1 ? role : undefined;
    if (away === undefined && !cluster.running.has(role)) await cluster.start(role);
  }
  for (const role of roles) if (!cluster.running.has(role)) await cluster.start(role);
  t.ok(
    await until(() => isCompacted(cluster), LIMIT_MS),
    `all is compacted: ${liveBlocks(cluster).length} blocks are left`,
  );
  const scheduler = cluster.running.get('scheduler')!;
  const one = cluster.running.get('one')!;
  t.ok(await until(async () => (await jobStates(scheduler)).includes('JOB_STATUS_SUCCEEDED'), LIMIT_MS));
  await ingest.stop();
  t.equal(await metric(one, 'tempodb_compaction_errors_total'), 0);
  t.equal((await one.get('/ingester/ring')).status, 404);
  // The inputs are gone for good.
  const folders = (): string[] =>
    readdirSync(`${cluster.blocks}/${TENANT}`).filter((name) => name.length === 36);
  t.ok(
    await until(() => folders().length === liveBlocks(cluster).length, LIMIT_MS),
    'only live blocks are left',
  );
  await cluster.end('stop');
  const reader = await startTempo(`${cluster.folder}/reader`, {
    backend: `    backend: local\n    local: { path: '${cluster.blocks}' }\n`,
    args: ['-compactor.disabled=true'],
  });
  t.teardown(() => reader.kill());
  t.strictSame(await wrongTraces(reader), [], `${sent.size} traces are whole and once`);
});

t.test(
  'a worker that stops ends its job, and one process is enough for both',
  { timeout: 120_000 },
  async (t) => {
    sent.clear();
    const cluster = await aCluster(t);
    const ingest = await startIngest(t, cluster);
    for (let i = 0; i < 3; i++) await sendBlock(ingest);
    const scheduler = await cluster.start('scheduler');
    const worker = await cluster.start('one');
    t.ok(
      await until(
        async () => (await metric(worker, 'tempo_backend_worker_jobs_total')) > 0 || isCompacted(cluster),
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
    const { shards } = JSON.parse(readFileSync(`${cluster.blocks}/work.json`, 'utf8')) as {
      readonly shards: unknown[];
    };
    t.equal(shards.length, 256);
    for (let i = 0; i < 2; i++) await sendBlock(ingest);
    const both = await startTempo(`${cluster.folder}/both`, {
      backend: `    backend: local\n    local: { path: '${cluster.blocks}' }\n`,
      yaml: `${JOBS}  local_work_path: '${cluster.folder}/work'`,
      args: ['-target=backend-scheduler,backend-worker', '-storage.trace.blocklist_poll=300ms'],
    });
    t.teardown(() => both.kill());
    t.ok(await until(() => isCompacted(cluster), LIMIT_MS), 'what is left is compacted');
    t.strictSame(await wrongTraces(ingest), []);
    t.equal(await both.stop(), 0);
  },
);
