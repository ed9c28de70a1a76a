// One ring by gossip, with two members of Grafana Tempo and one of ours: all list all, also after one of
// theirs is killed and after ours has left. Needs TEMPO_BIN.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { type MemberConfig, type RingConfig, Rings } from '../../src/ring/rings.ts';
import { silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { freePort } from '../support/free-port.ts';
import { memberlistConfig } from '../support/memberlist.ts';
import { testFolder } from '../support/test-folder.ts';

t.setTimeout(240_000);
const scratch = testFolder(t);
const LABEL = 'interop';

interface Theirs {
  readonly name: string;
  readonly gossipPort: number;
  readonly url: string;
  readonly kill: () => void;
}

async function startTheirs(t: Test, name: string, join: readonly number[]): Promise<Theirs> {
  const [http, grpc, otlp, gossip] = [await freePort(), await freePort(), await freePort(), await freePort()];
  const kvstore = '{store: memberlist}';
  const file = `${scratch}/${name}.yaml`;
  const members = join.map((port) => `"127.0.0.1:${port}"`).join();
  writeFileSync(
    file,
    `target: ${name === 'theirs-1' ? 'ingester' : 'distributor'}
server:
  http_listen_address: 127.0.0.1
  http_listen_port: ${http}
  grpc_listen_address: 127.0.0.1
  grpc_listen_port: ${grpc}
distributor:
  ring: {instance_id: ${name}, instance_addr: 127.0.0.1, kvstore: ${kvstore}}
  receivers: {otlp: {protocols: {grpc: {endpoint: "127.0.0.1:${otlp}"}}}}
ingester: {lifecycler: {id: ${name}, address: 127.0.0.1, ring: {kvstore: ${kvstore}, replication_factor: 3}}}
memberlist:
  bind_addr: [127.0.0.1]
  bind_port: ${gossip}
  advertise_addr: 127.0.0.1
  advertise_port: ${gossip}
  node_name: ${name}
  randomize_node_name: false
  cluster_label: ${LABEL}
  join_members: [${members}]
storage:
  trace:
    backend: local
    local: {path: ${scratch}/${name}/blocks}
    wal: {path: ${scratch}/${name}/wal}
usage_report: {reporting_enabled: false}
`,
  );
  const program = process.env['TEMPO_BIN'];
  if (program === undefined) throw new Error('TEMPO_BIN must name the program of Grafana Tempo 2.10');
  const child = spawn(program, [`-config.file=${file}`], { stdio: 'ignore' });
  t.teardown(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  });
  return { name, gossipPort: gossip, url: `http://127.0.0.1:${http}`, kill: () => child.kill('SIGKILL') };
}

const json = { headers: { accept: 'application/json' } };

async function listed({ url }: Theirs): Promise<string> {
  const { shards } = (await (await fetch(`${url}/ingester/ring`, json)).json()) as {
    readonly shards: readonly { readonly id: string; readonly state: string }[];
  };
  return shards
    .map(({ id, state }) => `${id} ${state}`)
    .toSorted()
    .join(', ');
}

async function membersOf({ url }: Theirs): Promise<string> {
  const page = (await (await fetch(`${url}/memberlist`, json)).json()) as {
    readonly SortedMembers: readonly { readonly Name: string }[];
  };
  return page.SortedMembers.map(({ Name }) => Name)
    .toSorted()
    .join();
}

async function until(what: string, isSo: () => Promise<boolean> | boolean): Promise<void> {
  const end = performance.now() + 90_000;
  for (;;) {
    const answer = await Promise.resolve(isSo()).catch(() => false);
    if (answer) return;
    if (performance.now() > end) throw new Error(`${what}: not in 90 s`);
    await pause(100);
  }
}

t.test('a ring of both', async (t) => {
  const first = await startTheirs(t, 'theirs-1', []);
  await until('theirs is up', async () => (await listed(first)) === 'theirs-1 ACTIVE');
  const second = await startTheirs(t, 'theirs-2', [first.gossipPort]);
  const memberlist = memberlistConfig({
    bindAddr: ['127.0.0.1'],
    bindPort: 0,
    nodeName: 'ours',
    randomizeNodeName: false,
    clusterLabel: LABEL,
    joinMembers: [`127.0.0.1:${first.gossipPort}`],
    abortIfClusterJoinFails: true,
  });
  const rings = new Rings({
    isSingleProcess: false,
    memberlist,
    logger: silentLogger,
    metrics: new Metrics(),
  });
  const ring: RingConfig = {
    name: 'ingester',
    key: 'ring',
    kvstore: { store: 'memberlist', prefix: 'collectors/' },
    settings: {
      replicationFactor: 3,
      heartbeatTimeoutMs: 60_000,
      zoneAwarenessEnabled: false,
      excludedZones: [],
    },
  };
  const config: MemberConfig = {
    id: 'ours',
    addr: '127.0.0.1',
    interfaceNames: [],
    enableInet6: false,
    port: 9095,
    zone: '',
    tokensCount: 128,
    heartbeatPeriodMs: 1000,
  };
  const followed = rings.createRing(ring);
  await rings.start();
  await followed.start();
  const member = rings.createMember(ring, config);
  await member.start();
  const both = 'ours ACTIVE, theirs-1 ACTIVE';
  await until(
    'theirs list ours',
    async () => (await listed(first)) === both && (await listed(second)) === both,
  );
  const { current } = followed.ring;
  t.same(
    current.instances.map(({ id, tokens }) => [id, tokens.length]),
    [
      ['ours', 128],
      ['theirs-1', 128],
    ],
  );
  const all = 'ours,theirs-1,theirs-2';
  await until(
    'all are members',
    async () => (await membersOf(first)) === all && (await membersOf(second)) === all,
  );
  const stateOf = (name: string): string | undefined =>
    rings.gossip?.members.find((each) => each.name === name)?.state;
  second.kill();
  await until('ours knows that one is dead', () => stateOf('theirs-2') === 'dead');
  await until('theirs too', async () => (await membersOf(first)) === 'ours,theirs-1');
  t.equal(stateOf('theirs-1'), 'alive');
  await member.stop();
  await until('theirs know that the instance left', async () => (await listed(first)) === 'theirs-1 ACTIVE');
  await followed.stop();
  await rings.stop();
  await until('and that the member left', async () => (await membersOf(first)) === 'theirs-1');
});
