// Rings in a real etcd: members of two processes see each other, both write at once and nothing is lost, and
// a restart of etcd is survived.
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { systemClock } from '../../src/lib/clock.ts';
import { EtcdStore } from '../../src/ring/etcd-store.ts';
import { EMPTY_RING, instanceOf, withInstance } from '../../src/ring/instance.ts';
import { type MemberConfig, type RingConfig, Rings } from '../../src/ring/rings.ts';
import { silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { freePort } from '../support/free-port.ts';
import { memberlistConfig } from '../support/memberlist.ts';
import { type RunningComponent, startComponent } from './component.ts';
import { testFolder } from '../support/test-folder.ts';

t.setTimeout(120_000);
const scratch = testFolder(t);

function startEtcd(port: number, peerPort: number): Promise<RunningComponent> {
  const url = `http://127.0.0.1:${port}`;
  const peer = `http://127.0.0.1:${peerPort}`;
  const own = `--name one --data-dir ${scratch}/etcd`;
  const clients = `--listen-client-urls ${url} --advertise-client-urls ${url}`;
  const peers = `--listen-peer-urls ${peer} --initial-advertise-peer-urls ${peer}`;
  const cluster = `--initial-cluster one=${peer}`;
  const args = `${own} ${clients} ${peers} ${cluster}`.split(' ');
  return startComponent('ETCD', args, { env: { ETCD_UNSUPPORTED_ARCH: process.arch }, url: `${url}/health` });
}

function ringIn(endpoint: string): RingConfig {
  const none = { tlsCertPath: '', tlsKeyPath: '', tlsCaPath: '', tlsServerName: '' };
  return {
    name: 'ingester',
    key: 'ring',
    kvstore: {
      store: 'etcd',
      prefix: 'collectors/',
      etcd: {
        endpoints: ['127.0.0.1:1', endpoint],
        dialTimeoutMs: 2000,
        maxRetries: 10,
        username: '',
        password: '',
        tlsEnabled: false,
        tlsInsecureSkipVerify: false,
        ...none,
      },
    },
    settings: {
      replicationFactor: 1,
      heartbeatTimeoutMs: 60_000,
      zoneAwarenessEnabled: false,
      excludedZones: [],
    },
  };
}

async function aProcess(ring: RingConfig, ids: readonly string[]) {
  const logger = silentLogger;
  const memberlist = memberlistConfig();
  const rings = new Rings({ isSingleProcess: false, memberlist, logger, metrics: new Metrics() });
  const followed = rings.createRing(ring);
  await rings.start();
  await followed.start();
  const member: MemberConfig = {
    id: '',
    addr: '127.0.0.1',
    interfaceNames: [],
    enableInet6: false,
    port: 9095,
    zone: '',
    tokensCount: 16,
    heartbeatPeriodMs: 100,
  };
  const members = ids.map((id) => rings.createMember(ring, { ...member, id }));
  await Promise.all(members.map((each) => each.start()));
  const active = (): string =>
    followed.ring.current.instances
      .filter(({ state }) => state === 'ACTIVE')
      .map(({ id }) => id)
      .join();
  const newest = (): number => Math.min(...followed.ring.current.instances.map((each) => each.timestampSec));
  return { rings, followed, members, active, newest };
}

async function until(what: string, isSo: () => boolean): Promise<void> {
  const end = performance.now() + 40_000;
  while (!isSo()) {
    if (performance.now() > end) throw new Error(`${what}: not in 40 s`);
    await pause(20);
  }
}

/** They write each time they have read what the one before wrote, so all but one of them lose each round. */
async function writeAtOnce(t: Test, endpoint: string): Promise<void> {
  const none = { username: '', password: '', tls: undefined };
  const store = new EtcdStore({
    endpoints: [endpoint],
    dialTimeoutMs: 5000,
    maxRetries: 10,
    clock: systemClock,
    logger: silentLogger,
    ...none,
  });
  await store.open();
  const ids = Array.from({ length: 24 }, (_, i) => `writer-${i}`);
  const write = (id: string): Promise<void> =>
    store.change('race', (ring = EMPTY_RING) => withInstance(ring, instanceOf({ id })));
  const results = await Promise.allSettled(ids.map(write));
  t.same(
    results.flatMap((result) => (result.status === 'rejected' ? [String(result.reason)] : [])),
    [],
  );
  t.equal((await store.get('race'))?.size, ids.length);
  await store.close();
}

t.test('rings in etcd', async (t) => {
  const [port, peerPort] = [await freePort(), await freePort()];
  let etcd = await startEtcd(port, peerPort);
  t.teardown(() => etcd.stop());
  const ring = ringIn(`http://127.0.0.1:${port}`);
  const one = await aProcess(ring, ['a', 'b', 'c']);
  const two = await aProcess(ring, ['d', 'e']);
  await writeAtOnce(t, `http://127.0.0.1:${port}`);
  const all = 'a,b,c,d,e';
  await until('both see all', () => one.active() === all && two.active() === all);
  t.equal(one.followed.ring.current.tokensCount, 80, 'no token twice');
  await two.members[0]?.stop();
  await until('one left', () => one.active() === 'a,b,c,e');
  await etcd.stop();
  await pause(500);
  etcd = await startEtcd(port, peerPort);
  const restartedSec = Math.floor(Date.now() / 1000);
  await until('heartbeats go on', () => one.newest() > restartedSec && two.newest() > restartedSec);
  t.equal(two.active(), 'a,b,c,e');
  for (const { members, followed, rings } of [one, two]) {
    for (const member of members) await member.stop();
    await followed.stop();
    await rings.stop();
  }
});
