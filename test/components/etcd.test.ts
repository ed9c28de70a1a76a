// Rings in a real etcd: members of two processes see each other, both write at once and nothing is lost, and
// a restart of etcd is survived, also where etcd wants certificates and passwords.
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import https from 'node:https';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { systemClock } from '../../src/lib/clock.ts';
import { EtcdStore } from '../../src/ring/etcd-store.ts';
import { EMPTY_RING, instanceOf, withInstance } from '../../src/ring/instance.ts';
import { type MemberConfig, type RingConfig, Rings } from '../../src/ring/rings.ts';
import { silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { AUTHORITY, certFile, identity } from '../support/certs.ts';
import { freePort } from '../support/free-port.ts';
import { memberlistConfig } from '../support/memberlist.ts';
import { startEtcd } from './etcd.ts';
import { testFolder } from '../support/test-folder.ts';

t.setTimeout(120_000);
const scratch = testFolder(t);

type EtcdKeys = NonNullable<RingConfig['kvstore']['etcd']>;

function ringIn(endpoint: string, keys: Partial<EtcdKeys> = {}): RingConfig {
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
        ...keys,
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
  const place = { folder: `${scratch}/etcd`, port: await freePort(), peerPort: await freePort() };
  const { port } = place;
  let etcd = await startEtcd(place);
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
  etcd = await startEtcd(place);
  const restartedSec = Math.floor(Date.now() / 1000);
  await until('heartbeats go on', () => one.newest() > restartedSec && two.newest() > restartedSec);
  t.equal(two.active(), 'a,b,c,e');
  for (const { members, followed, rings } of [one, two]) {
    for (const member of members) await member.stop();
    await followed.stop();
    await rings.stop();
  }
});

/** What etcd is told as an administrator would, over its JSON. */
async function tell(port: number, path: string, body: object, token = ''): Promise<string> {
  const options = { host: '127.0.0.1', port, path, method: 'POST', ca: AUTHORITY, ...identity('client') };
  const headers = { 'content-type': 'application/json', ...(token === '' ? {} : { authorization: token }) };
  const request = https.request({ ...options, headers });
  request.end(JSON.stringify(body));
  const [answer] = (await once(request, 'response')) as [IncomingMessage];
  const text = Buffer.concat(await answer.toArray()).toString();
  if (answer.statusCode !== 200) throw new Error(`${path}: ${answer.statusCode} ${text}`);
  return text;
}

t.test('etcd over TLS, with a certificate of the client, a user and a password', async (t) => {
  const tls = `--cert-file ${certFile('member')} --key-file ${certFile('member', 'key')} --client-cert-auth`;
  const place = {
    folder: `${scratch}/secured`,
    port: await freePort(),
    peerPort: await freePort(),
    tls: `${tls} --trusted-ca-file ${certFile('authority')}`.split(' '),
  };
  const { port } = place;
  let etcd = await startEtcd(place);
  t.teardown(() => etcd.stop());
  for (const name of ['root', 'tempo']) {
    await tell(port, '/v3/auth/user/add', { name, password: `${name} secret` });
    await tell(port, '/v3/auth/role/add', { name });
    await tell(port, '/v3/auth/user/grant', { user: name, role: name });
  }
  // No more than the keys of the rings: from collectors/ to before collectors0.
  const key = Buffer.from('collectors/').toString('base64');
  const rangeEnd = Buffer.from('collectors0').toString('base64');
  const perm = { permType: 'READWRITE', key, range_end: rangeEnd };
  await tell(port, '/v3/auth/role/grant', { name: 'tempo', perm });
  await tell(port, '/v3/auth/enable', {});

  const secured = {
    endpoints: [`https://127.0.0.1:${port}`],
    tlsEnabled: true,
    tlsCaPath: certFile('authority'),
    tlsCertPath: certFile('client'),
    tlsKeyPath: certFile('client', 'key'),
    username: 'tempo',
    password: 'tempo secret',
  };
  const ring = ringIn('', secured);
  const one = await aProcess(ring, ['a', 'b']);
  const two = await aProcess(ring, ['c']);
  // Follows the ring and never writes, as distributors and queriers do.
  const follower = await aProcess(ring, []);
  const all = [one, two, follower];
  await until('all see all', () => all.every(({ active }) => active() === 'a,b,c'));

  await etcd.stop();
  etcd = await startEtcd(place);
  const restartedSec = Math.floor(Date.now() / 1000);
  await until('all see heartbeats, although no token is valid any more', () =>
    all.every(({ newest }) => newest() > restartedSec),
  );
  await two.members[0]?.stop();
  await until('one left', () => follower.active() === 'a,b');

  const refusal = async (keys: Partial<EtcdKeys>): Promise<string> => {
    const { etcd: etcdKeys } = ringIn('', { ...secured, ...keys }).kvstore;
    const options = {
      ...etcdKeys!,
      dialTimeoutMs: 2000,
      maxRetries: 2,
      clock: systemClock,
      logger: silentLogger,
    };
    const { tlsCaPath: caFile, tlsCertPath: certPath, tlsKeyPath: keyFile } = etcdKeys!;
    const clientTls = {
      name: 'kvstore.etcd',
      caFile,
      certFile: certPath,
      keyFile,
      serverName: '',
      acceptsAny: false,
    };
    const store = new EtcdStore({ ...options, tls: clientTls });
    const said = await store.open().then(() => store.get('collectors/ring').then(String, saidBy), saidBy);
    await store.close();
    return said;
  };
  t.match(await refusal({ password: 'another' }), /invalid user ID or password/);
  t.match(await refusal({ username: '' }), /user name is empty|permission denied|client\b/);
  t.match(await refusal({ tlsCertPath: '', tlsKeyPath: '' }), /certificate/);
  t.match(await refusal({ tlsCaPath: certFile('stranger') }), /certificate|self.signed/);

  for (const { members, followed, rings } of all) {
    for (const member of members) await member.stop();
    await followed.stop();
    await rings.stop();
  }
});

function saidBy(err: unknown): string {
  if (!(err instanceof Error)) return String(err);
  return err.cause === undefined ? err.message : `${err.message}: ${saidBy(err.cause)}`;
}
