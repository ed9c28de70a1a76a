// Rings in a real etcd that are shared with Grafana Tempo: an ingester and a distributor of each. All list
// all, heartbeats of both are seen by both, spans of either distributor go to both ingesters by the same
// tokens, and who leaves is gone for the others. Needs TEMPO_BIN and ETCD.
import { writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { startEtcd } from '../components/etcd.ts';
import { freePort } from '../support/free-port.ts';
import { grpcExport, grpcSession, framed, metric } from '../support/hostile.ts';
import { aSpan, encodeTraces, hexId } from '../support/otlp.ts';
import { freePorts, type RunningTempo, startTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';

t.setTimeout(300_000);

const TRACES = 60;
const LIMIT_MS = 90_000;
const HEARTBEATS = 3;

const folder = testFolder(t);

function theirProgram(): string {
  const program = process.env['TEMPO_BIN'];
  if (program === undefined) throw new Error('TEMPO_BIN must name the program of Grafana Tempo 2.10');
  return program;
}

interface Shard {
  readonly id: string;
  readonly state: string;
  readonly timestamp: string;
}

async function shardsOf(tempo: RunningTempo, ring: string): Promise<readonly Shard[]> {
  const headers = { accept: 'application/json' };
  const { shards } = (await (await fetch(`${tempo.url}/${ring}/ring`, { headers })).json()) as {
    readonly shards: readonly Shard[];
  };
  return shards;
}

async function listed(tempo: RunningTempo, ring: string): Promise<string> {
  const shards = await shardsOf(tempo, ring);
  return shards
    .map(({ id, state }) => `${id} ${state}`)
    .toSorted()
    .join(', ');
}

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + LIMIT_MS;
  while (!(await isSo().catch(() => false))) {
    if (performance.now() > end) throw new Error(`${what}: not in ${LIMIT_MS} ms`);
    await pause(100);
  }
}

const kvstore = (port: number): string => `{store: etcd, etcd: {endpoints: ["127.0.0.1:${port}"]}}`;

/** Rings and limits, as both programs read them. */
function ringYaml(name: string, etcdPort: number): string {
  const ring = `{kvstore: ${kvstore(etcdPort)}, replication_factor: 1, heartbeat_timeout: 15s}`;
  const member = `id: ${name}, address: 127.0.0.1, min_ready_duration: 0s, heartbeat_period: 1s`;
  return `ingester: {lifecycler: {${member}, ring: ${ring}}}
overrides: {defaults: {ingestion: {rate_strategy: global}}}
`;
}

function distributorRing(name: string, etcdPort: number): string {
  const member = `instance_id: ${name}, instance_addr: 127.0.0.1, heartbeat_period: 1s`;
  return `ring: {${member}, heartbeat_timeout: 15s, kvstore: ${kvstore(etcdPort)}}`;
}

async function start(
  who: 'ours' | 'theirs',
  target: 'ingester' | 'distributor',
  etcdPort: number,
): Promise<RunningTempo> {
  const name = `${who}-${target}`;
  const ports = await freePorts();
  const configFile = `${folder}/${name}.yaml`;
  writeFileSync(
    configFile,
    `server:
  http_listen_address: 127.0.0.1
  http_listen_port: ${ports.http}
  grpc_listen_address: 127.0.0.1
  grpc_listen_port: ${ports.grpc}
distributor:
  ${distributorRing(name, etcdPort)}
  receivers: {otlp: {protocols: {grpc: {endpoint: "127.0.0.1:${ports.otlpGrpc}"}}}}
memberlist: {bind_addr: [127.0.0.1], bind_port: ${await freePort()}}
storage:
  trace:
    backend: local
    local: {path: ${folder}/blocks}
    wal: {path: ${folder}/${name}/wal}
usage_report: {reporting_enabled: false}
${ringYaml(name, etcdPort)}`,
  );
  return startTempo(`${folder}/${name}`, {
    ports,
    configFile,
    args: [`-target=${target}`],
    ...(who === 'theirs' ? { program: theirProgram() } : {}),
  });
}

async function push(tempo: RunningTempo): Promise<void> {
  const startUnixNano = BigInt(Date.now()) * 1_000_000n;
  const spans = Array.from({ length: TRACES }, (_, i) =>
    aSpan({
      // Far from each other, as their tokens are.
      traceId: hexId((BigInt(i + 1) * 0x9e3779b97f4a7c15f39cc0605cedc835n) % (1n << 128n), 16),
      startUnixNano,
      endUnixNano: startUnixNano + 1000n,
    }),
  );
  const session = await grpcSession(tempo);
  const { status, message } = await grpcExport(session, framed(encodeTraces(spans)));
  session.close();
  if (status !== 0) throw new Error(message);
}

t.test('rings of both in etcd', async (t) => {
  const port = await freePort();
  const etcd = await startEtcd({ folder: `${folder}/etcd`, port, peerPort: await freePort() });
  t.teardown(() => etcd.stop());
  const running: RunningTempo[] = [];
  t.teardown(() => Promise.all(running.map((tempo) => tempo.kill())));
  const all: Record<string, RunningTempo> = {};
  for (const who of ['theirs', 'ours'] as const) {
    for (const target of ['ingester', 'distributor'] as const) {
      const tempo = await start(who, target, port);
      running.push(tempo);
      all[`${who}-${target}`] = tempo;
    }
  }
  const at = (name: string): RunningTempo => all[name]!;
  const ingesters = 'ours-ingester ACTIVE, theirs-ingester ACTIVE';
  const distributors = 'ours-distributor ACTIVE, theirs-distributor ACTIVE';
  for (const [name, tempo] of Object.entries(all)) {
    await until(`${name} lists both ingesters`, async () => (await listed(tempo, 'ingester')) === ingesters);
  }
  for (const name of ['ours-distributor', 'theirs-distributor']) {
    const isSo = async (): Promise<boolean> => (await listed(at(name), 'distributor')) === distributors;
    await until(`${name} lists both distributors`, isSo);
  }

  const beats = new Map<string, Set<string>>();
  await until('heartbeats of each are seen by the other', async () => {
    for (const [name, tempo] of Object.entries(all)) {
      for (const { id, state, timestamp } of await shardsOf(tempo, 'ingester')) {
        t.equal(state, 'ACTIVE');
        const seen = beats.get(`${name} of ${id}`) ?? new Set();
        beats.set(`${name} of ${id}`, seen.add(timestamp));
      }
    }
    return [...beats.values()].every((seen) => seen.size > HEARTBEATS);
  });
  t.equal(beats.size, 8);

  const traces = 'tempo_ingester_traces_created_total';
  const counts = async (): Promise<readonly number[]> =>
    Promise.all(['ours-ingester', 'theirs-ingester'].map((name) => metric(at(name), traces)));
  await push(at('ours-distributor'));
  await until('ours pushes', async () => (await counts()).reduce((sum, count) => sum + count) === TRACES);
  const first = await counts();
  t.ok(
    first.every((count) => count > 0),
    `to both ingesters: ${first.join()}`,
  );
  // The same traces again: theirs finds the same ingesters, so that no trace is new.
  const received = async (): Promise<readonly number[]> =>
    Promise.all(
      ['ours-ingester', 'theirs-ingester'].map((name) =>
        metric(at(name), 'tempo_ingester_bytes_received_total'),
      ),
    );
  const before = await received();
  await push(at('theirs-distributor'));
  const haveMore = async (): Promise<boolean> =>
    (await received()).every((bytes, i) => bytes >= before[i]! * 1.9);
  await until('theirs pushes as much to each', haveMore);
  t.same(await counts(), first, 'by the same tokens');

  t.equal(await at('ours-ingester').stop(), 0);
  for (const name of ['theirs-ingester', 'theirs-distributor', 'ours-distributor']) {
    const isSo = async (): Promise<boolean> =>
      (await listed(at(name), 'ingester')) === 'theirs-ingester ACTIVE';
    await until(`${name} sees that ours has left`, isSo);
  }
  await at('theirs-ingester').stop();
  const isEmpty = async (): Promise<boolean> => (await listed(at('ours-distributor'), 'ingester')) === '';
  await until('ours sees that theirs has left', isEmpty);
  await at('theirs-distributor').kill();
  const isGone = async (): Promise<boolean> =>
    !(await listed(at('ours-distributor'), 'distributor')).includes('theirs-distributor ACTIVE');
  await until('ours sees that a killed one does not beat', isGone);
});
