// Roles apart behind nginx, as `npm run cluster` starts them, with two query-frontends, distributors and
// queriers: what clients ask reaches the role that has it, and one of each pair may be restarted without a
// push or a read that fails, after which streams reach it again.
import path from 'node:path';
import t from 'tap';
import { GATEWAY_CONFIG_FILE, gatewayEnvironment, ROLES } from '../../cmd/cluster/layout.ts';
import { connectOtlp } from '../../src/rpc/otlp-client.ts';
import { Cluster, type Role, type RoleName, SECOND_ROLES } from '../faults/cluster.ts';
import { Load } from '../faults/load.ts';
import { restartAmidQueries } from '../faults/usual-faults.ts';
import { SHORT, violations } from '../faults/world.ts';
import { metric, until } from '../support/hostile.ts';
import { aTrace, encodeTraces, hexId } from '../support/otlp.ts';
import { tracesStreamed } from '../support/read-api.ts';
import { freePorts } from '../support/server.ts';
import { StreamingClient } from '../support/streaming-client.ts';
import { testFolder } from '../support/test-folder.ts';
import { startGateway } from './gateway.ts';

t.setTimeout(600_000);

const TRACES = 30;
const folder = testFolder(t);
const roles: readonly Role[] = [...ROLES, ...SECOND_ROLES];
const cluster = await Cluster.create(path.join(folder, 'cluster'), { roles, keepsHosts: true });
t.teardown(() => cluster.end());
await cluster.startAll();
const own = await freePorts();
const url = `http://127.0.0.1:${own.http}`;
const behind = roles.map((role) => ({
  ...role,
  ports: cluster.portsOf(role.name),
  grpcHost: cluster.grpcHostOf(role.name),
}));
t.teardown(await startGateway(GATEWAY_CONFIG_FILE, gatewayEnvironment(folder, own, behind)));

await t.test('pushes and queries', async (t) => {
  const startUnixNano = BigInt(Date.now()) * 1_000_000n;
  const body = (i: number): Uint8Array =>
    encodeTraces(aTrace(i, 3, () => ({ startUnixNano, endUnixNano: startUnixNano + 1000n })));
  const client = await connectOtlp(`http://127.0.0.1:${own.otlpGrpc}`);
  for (let i = 1; i <= TRACES - 2; i++) await client.send(body(i));
  client.close();
  for (const [i, port] of [own.otlpHttp, own.http].entries()) {
    const { status } = await fetch(`http://127.0.0.1:${port}/v1/traces`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-protobuf' },
      body: Buffer.from(body(TRACES - 1 + i)),
    });
    t.equal(status, 200, `HTTP on port ${i}`);
  }
  for (let i = 1; i <= TRACES; i++) {
    t.equal((await fetch(`${url}/api/traces/${hexId(i, 16)}`)).status, 200, `trace ${i}`);
  }
  const took = cluster.namesOf('distributor').map((name) => cluster.at(name));
  const spans = await Promise.all(took.map((each) => metric(each, 'tempo_distributor_spans_received_total')));
  t.ok(Math.min(...spans) > 0, `both distributors took some: ${spans.join()}`);

  const frontend = `${cluster.grpcHostOf('query-frontend')}:${cluster.portsOf('query-frontend').grpc}`;
  for (const address of [`127.0.0.1:${own.grpc}`, frontend]) {
    t.same(await tracesStreamed(address, 2 * TRACES), [0, TRACES], `a stream of ${address}`);
    const streaming = new StreamingClient(address);
    const wrong = await streaming.ask('Search', { Query: '{' });
    streaming.close();
    t.equal(wrong.code, 3, wrong.details);
  }
});

await t.test('pages are those of the role that has them', async (t) => {
  const gateway = async (page: string, accept = '*/*'): Promise<readonly [number, string]> => {
    const answer = await fetch(url + page, { headers: { accept } });
    return [answer.status, await answer.text()];
  };
  t.same(await gateway('/'), [200, 'OK']);
  const [, page] = await gateway('/', 'text/html');
  const [, script = ''] = /(ui\/[^"]+\.js)"/.exec(page) ?? [];
  t.equal((await gateway(`/${script}`))[0], 200, 'the page and what belongs to it');
  t.equal((await gateway('/metrics'))[0], 404);
  const table: readonly (readonly [RoleName, number, readonly string[]])[] = [
    ['query-frontend', 200, ['/ready', '/api/echo', '/api/status/buildinfo', '/status/config']],
    ['distributor', 200, ['/ingester/ring', '/metrics-generator/ring', '/live-store/ring', '/memberlist']],
    // Not there without a tracker of usage, and without global rates; said in words of Tempo's.
    ['distributor', 404, ['/usage_metrics', '/distributor/ring']],
    ['backend-scheduler', 200, ['/status/backendscheduler']],
    ['backend-worker', 404, ['/backend-worker/ring', '/compactor/ring']],
  ];
  for (const [name, status, pages] of table) {
    for (const page of pages) {
      const kind = async (from: string): Promise<unknown> => {
        const { status, headers } = await fetch(from + page);
        return [status, headers.get('content-type')];
      };
      const direct = (await kind(cluster.at(name).url)) as readonly [number, string];
      t.same(await kind(url), direct, page);
      t.equal(direct[0], status, page);
    }
  }
});

await t.test('all ingesters flush, and none ends', async (t) => {
  const ingesters = cluster.namesOf('ingester');
  t.equal((await fetch(`${url}/flush`, { method: 'POST' })).status, 204);
  for (const name of ingesters) {
    const wasAsked = async (): Promise<boolean> =>
      /^tempo_request_duration_seconds_count\{method="POST",route="flush"/m.test(
        await (await cluster.at(name).get('/metrics')).text(),
      );
    t.ok(await until(wasAsked), `${name} was told`);
  }
  t.equal((await fetch(`${url}/shutdown`, { method: 'POST' })).status, 404);
  for (const name of ingesters) t.equal((await cluster.at(name).get('/ready')).status, 200, name);
});

await t.test('they may be restarted', async (t) => {
  const load = new Load({ push: () => [`http://127.0.0.1:${own.otlpHttp}`], query: () => [url] });
  t.teardown(() => load.abandon());
  load.start();
  await load.goesOn(SHORT.steps);
  const world = { cluster, load, pace: SHORT };
  const seconds: readonly RoleName[] = SECOND_ROLES.map(({ name }) => name);
  // One of each pair, the other one is alike; test/e2e/two-of-a-role.test.ts restarts both.
  const restarted = cluster.names.filter((name) => name === 'ingester-1' || seconds.includes(name));
  for (const name of restarted) await restartAmidQueries(world, name, () => load.goesOn(SHORT.steps));
  await load.stop();
  const counts = await load.lap();
  t.strictSame(violations({ costs: [] }, counts), [], load.complaints.join('; '));
  t.ok(counts.tracesAcknowledged > 0);
  const answered = (): Promise<number> =>
    metric(cluster.at('query-frontend-1'), 'tempo_query_frontend_queries_total');
  const before = await answered();
  const isAsked = async (): Promise<boolean> => {
    const [code, count] = await tracesStreamed(`127.0.0.1:${own.grpc}`, 10_000);
    t.ok(code === 0 && count >= TRACES, `a stream of ${count} traces, status ${code}`);
    return (await answered()) > before;
  };
  t.ok(await until(isAsked, 30_000), 'streams reach who was restarted');
});
