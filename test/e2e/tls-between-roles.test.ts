// A cluster of processes that speak TLS with each other everywhere, and show certificates on both sides:
// pushes, queries, jobs and gossip work, and strangers are refused at every port without any harm.
import tls from 'node:tls';
import t, { type Test } from 'tap';
import type { TempoError } from '../../src/lib/errors.ts';
import { ALL_ROLES, Cluster, type RoleName } from '../faults/cluster.ts';
import { AUTHORITY, certFile, identity } from '../support/certs.ts';
import { channelTo } from '../support/channel.ts';
import { httpExport, metric, until } from '../support/hostile.ts';
import { aTrace, encodeTraces, hexId } from '../support/otlp.ts';
import { tracesFound } from '../support/read-api.ts';
import type { RunningTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';

t.setTimeout(180_000);

const HEALTH = '/grpc.health.v1.Health/Check';
/** Of a push that would be taken, were it not a stranger's. */
const PUSH = '/tempopb.Pusher/PushBytesV2';
const INGESTERS = ['ingester-0', 'ingester-1', 'ingester-2'] as const;
const TRACES = 20;
const SPANS_EACH = 3;

/** Of all clients of a role; no server's certificate has it. */
const wrongName = new Map<RoleName, string>();

function keysOf(role: RoleName): Record<string, object> {
  const files = {
    tls_enabled: true,
    tls_cert_path: certFile('member'),
    tls_key_path: certFile('member', 'key'),
    tls_ca_path: certFile('authority'),
  };
  const client = { ...files, tls_server_name: wrongName.get(role) ?? '' };
  return {
    server: {
      grpc_tls_config: {
        cert_file: certFile('member'),
        key_file: certFile('member', 'key'),
        client_ca_file: certFile('authority'),
        client_auth_type: 'RequireAndVerifyClientCert',
      },
    },
    ingester_client: { grpc_client_config: client },
    querier: { frontend_worker: { grpc_client_config: client } },
    backend_scheduler_client: { grpc_client_config: client },
    // The distributor is to hear of the ingesters.
    memberlist: role === 'distributor' ? files : client,
  };
}

const cluster = await Cluster.create(testFolder(t), { keysOf });
t.teardown(() => cluster.end());
const at = (name: RoleName): RunningTempo => cluster.at(name);
let traces = 0;

async function push(): Promise<{ readonly status: number; readonly text: string }> {
  const startUnixNano = BigInt(Date.now()) * 1_000_000n;
  const spans = Array.from({ length: TRACES }, () =>
    aTrace(++traces, SPANS_EACH, () => ({ startUnixNano, endUnixNano: startUnixNano + 1000n })),
  );
  const { status, body } = await httpExport(at('distributor'), encodeTraces(spans.flat()));
  return { status, text: body.toString('latin1') };
}

/** Pushes some more, and finds all that there are. */
async function works(t: Test, what: string): Promise<void> {
  const { status, text } = await push();
  t.equal(status, 200, `${what}: ${text}`);
  t.equal(await tracesFound(at('query-frontend')), traces, what);
  const id = hexId(traces, 16);
  t.equal((await at('query-frontend').get(`/api/traces/${id}`)).status, 200, what);
}

type Stranger = 'none' | 'client' | 'strange-client';

/** One call with the certificate. @returns 'answered', or what failed. */
async function call(port: number, who: Stranger | 'plain', path: string): Promise<string> {
  const own = who === 'none' || who === 'plain' ? undefined : who;
  const files = own && { certFile: certFile(own), keyFile: certFile(own, 'key') };
  const tls = who === 'plain' ? undefined : { caFile: certFile('authority'), ...files };
  const channel = channelTo(port, tls);
  const answer = await channel.unary(path, new Uint8Array(0), {}).then(
    () => 'answered',
    ({ code, message }: TempoError) => `${code}: ${message}`,
  );
  channel.close();
  return answer;
}

/** Bytes that come back for a stream of gossip that begins with something unknown; members are told so. */
function gossip(port: number, who: Stranger): Promise<number> {
  const own = who === 'none' ? {} : identity(who);
  return new Promise((resolve) => {
    let bytes = 0;
    const options = { ...own, ca: AUTHORITY, host: '127.0.0.1', port };
    const socket = tls.connect(options, () => socket.write(Uint8Array.of(2, 200, 0, 0, 0, 0)));
    socket.on('data', (chunk) => (bytes += chunk.length));
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(bytes));
  });
}

const sum = async (name: string): Promise<number> =>
  (await Promise.all(INGESTERS.map((each) => metric(at(each), name)))).reduce((a, b) => a + b, 0);

t.test('all roles work together', async (t) => {
  await cluster.startAll();
  const jobs = 'tempo_backend_worker_jobs_total';
  await works(t, 'pushes and queries');
  for (const name of INGESTERS) t.ok((await at(name).get('/flush')).ok);
  t.ok(await until(async () => (await metric(at('backend-worker'), jobs)) > 0, 30_000), 'and jobs');
  await works(t, 'over blocks');
  for (const name of ALL_ROLES) t.notMatch(at(name).output(), /gossip takes connections/, name);
});

t.test('strangers at the gRPC ports', async (t) => {
  const before = await sum('tempo_ingester_bytes_received_total');
  for (const name of ALL_ROLES) {
    const { grpc } = cluster.portsOf(name);
    for (const who of ['none', 'strange-client', 'plain'] as const) {
      t.match(await call(grpc, who, HEALTH), /^unavailable/, `${name}: ${who}`);
      t.match(await call(grpc, who, PUSH), /^unavailable/, `${name}: ${who}`);
    }
    t.equal(await call(grpc, 'client', HEALTH), 'answered', `${name} goes on`);
  }
  t.equal(await sum('tempo_ingester_bytes_received_total'), before, 'nothing was taken');
  await works(t, 'afterwards');
});

t.test('strangers at the gossip ports', async (t) => {
  const refused = 'tempo_memberlist_tcp_transport_connections_refused_total';
  for (const name of [...INGESTERS, 'distributor', 'querier'] as const) {
    const port = cluster.gossipPortOf(name);
    t.ok((await gossip(port, 'client')) > 0, `${name}: who has a certificate is heard`);
    const before = await metric(at(name), refused);
    for (const who of ['none', 'strange-client'] as const)
      t.equal(await gossip(port, who), 0, `${name}: ${who}`);
    t.ok(await until(async () => (await metric(at(name), refused)) >= before + 2), `${name} counts both`);
    t.match(at(name).output(), /gossip connection without TLS, or without a certificate/);
  }
  await works(t, 'afterwards');
});

t.test('a name that the certificate does not have', async (t) => {
  const roles = ['distributor', 'querier', 'backend-worker'] as const;
  await Promise.all(roles.map((name) => cluster.stop(name)));
  for (const name of roles) wrongName.set(name, 'other.example');
  await Promise.all(roles.map((name) => cluster.start(name)));
  const { status, text } = await push();
  t.equal(status, 503);
  t.match(text, /ingester_client\.grpc_client_config\.tls_server_name must be a name of the server/);
  const told = (name: RoleName, key: string): Promise<boolean> =>
    until(() => at(name).output().includes(`${key}.tls_server_name must be a name`));
  t.ok(await told('querier', 'querier.frontend_worker.grpc_client_config'));
  t.ok(await told('backend-worker', 'backend_scheduler_client.grpc_client_config'));
  t.ok(await told('querier', 'memberlist'));
});
