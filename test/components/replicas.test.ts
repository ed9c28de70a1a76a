// Three processes that each do all behind nginx, as `npm run cluster -- replicas` starts them, on a bucket of
// MinIO: they answer what one process answers, over heads and blocks, and any one of them may die or be
// restarted without a push or a read that fails.
import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import t from 'tap';
import {
  REPLICA_CONFIG_FILE,
  REPLICA_GATEWAY_CONFIG_FILE,
  replicaEnvironment,
  replicaGatewayEnvironment,
  REPLICAS,
} from '../../cmd/cluster/layout.ts';
import { connectOtlp } from '../../src/rpc/otlp-client.ts';
import { Load } from '../faults/load.ts';
import { freePort } from '../support/free-port.ts';
import { metric, until } from '../support/hostile.ts';
import { aResource, aTrace, encodeTraces } from '../support/otlp.ts';
import { flush, tracesStreamed } from '../support/read-api.ts';
import { freePorts, type RunningTempo, startTempo } from '../support/server.ts';
import { minioBucket, startMinio } from './clouds.ts';
import { startGateway } from './gateway.ts';
import { testFolder } from '../support/test-folder.ts';

t.setTimeout(300_000);

const TRACES = 60;
const STEPS = 5;
const folder = testFolder(t);
const minio = await startMinio(path.join(folder, 'minio'));
const ports = await Promise.all(
  REPLICAS.map(async () => ({ ...(await freePorts()), gossip: await freePort() })),
);
const own = await freePorts();
const url = `http://127.0.0.1:${own.http}`;

function startReplica(at: number): Promise<RunningTempo> {
  return startTempo(path.join(folder, REPLICAS[at]!), {
    configFile: REPLICA_CONFIG_FILE,
    ports: ports[at]!,
    args: ['-config.expand-env=true', '-target=scalable-single-binary'],
    env: replicaEnvironment(at, folder, ports, minioBucket(minio)),
  });
}

async function differences(a: string, b: string): Promise<string> {
  const args = ['cmd/tempo-cli/main.ts', 'compare', '--a', a, '--b', b, '--end', 'now'];
  const child = spawn(process.execPath, args);
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return out + err;
}

const replicas = await Promise.all(REPLICAS.map((_, at) => startReplica(at)));
const stopGateway = await startGateway(
  REPLICA_GATEWAY_CONFIG_FILE,
  replicaGatewayEnvironment(folder, own, ports),
);
mkdirSync(path.join(folder, 'alone'));
const alone = await startTempo(path.join(folder, 'alone'));
t.teardown(async () => {
  await stopGateway();
  await Promise.all([...replicas, alone].map((tempo) => tempo.kill()));
  await minio.stop();
});
for (const tempo of replicas) {
  const active = 'tempo_ring_members{name="ingester",state="ACTIVE"}';
  const isWhole = async (): Promise<boolean> => (await metric(tempo, active)) === REPLICAS.length;
  if (!(await until(isWhole, 60_000))) throw new Error(`${tempo.url} does not see the whole ring`);
}

await t.test('answers are those of one process', async (t) => {
  const startUnixNano = BigInt(Date.now()) * 1_000_000n - 60_000_000_000n;
  const body = (i: number): Uint8Array =>
    encodeTraces(
      aTrace(i + 1, 1 + (i % 9), (n) => ({
        startUnixNano: startUnixNano + BigInt(i * 1_000_000 + n),
        endUnixNano: startUnixNano + BigInt(i * 1_000_000 + n * 1000 + 1000),
        resource: aResource(['shop', 'cart', 'mail'][i % 3]!),
        attributes: [
          ['user.id', `user ${i % 7}`],
          ['n', BigInt(n)],
          ['ok', n % 2 === 0],
        ],
      })),
    );
  for (const target of [alone.ports.otlpGrpc, own.otlpGrpc]) {
    const client = await connectOtlp(`http://127.0.0.1:${target}`);
    for (let i = 0; i < TRACES; i++) await client.send(body(i));
    client.close();
  }
  const same = /^\d+ queries, 0 answered differently\n$/;
  t.match(await differences(alone.url, url), same, 'over heads');
  for (const [at, { http }] of ports.entries()) {
    t.match(await differences(alone.url, `http://127.0.0.1:${http}`), same, `by ${REPLICAS[at]} alone`);
  }
  const gateway = async (path: string, accept = '*/*'): Promise<readonly [number, string]> => {
    const answer = await fetch(url + path, { headers: { accept } });
    return [answer.status, await answer.text()];
  };
  t.same(await gateway('/'), [200, 'OK']);
  for (const path of ['/metrics', '/shutdown', '/flush']) t.equal((await gateway(path))[0], 404, path);
  const [, page] = await gateway('/', 'text/html');
  const [, script = ''] = /(ui\/[^"]+\.js)"/.exec(page) ?? [];
  t.equal((await gateway(`/${script}`))[0], 200, 'the page and what belongs to it');
  // Without global rates there is no ring of distributors, here as there.
  const rings = ['ingester', 'distributor', 'compactor', 'backend-worker', 'metrics-generator', 'live-store'];
  for (const page of [...rings.map((ring) => `/${ring}/ring`), '/usage_metrics']) {
    // What is not there is said in words of Tempo's, and not in nginx's page.
    const kind = async (from: string): Promise<unknown> => {
      const { status, headers } = await fetch(from + page);
      return [status, headers.get('content-type')];
    };
    t.same(await kind(url), await kind(`http://127.0.0.1:${ports[0]!.http}`), page);
  }
  await Promise.all([...replicas, alone].map(flush));
  t.match(await differences(alone.url, url), same, 'over blocks');
});

await t.test('streams of answers', async (t) => {
  const ask = (port: number): Promise<readonly [number, number]> =>
    tracesStreamed(`127.0.0.1:${port}`, 2 * TRACES);
  t.same(await ask(own.grpc), [0, TRACES], 'by the gateway');
  t.same(await ask(ports[0]!.grpc), [0, TRACES], 'as by a replica');
});

await t.test('any one of them may go', async (t) => {
  const load = new Load({ push: () => [`http://127.0.0.1:${own.otlpHttp}`], query: () => [url] });
  t.teardown(() => load.abandon());
  load.start();
  await load.goesOn(STEPS);
  for (const [at, how] of (['kill', 'stop', 'kill'] as const).entries()) {
    await replicas[at]![how]();
    await load.goesOn(STEPS);
    replicas[at] = await startReplica(at);
    await load.goesOn(STEPS);
    const { pushErrors, readErrors, partial, wrong, lost, duplicated } = await load.lap();
    t.strictSame(
      { pushErrors, readErrors, partial, wrong, lost, duplicated },
      { pushErrors: 0, readErrors: 0, partial: 0, wrong: 0, lost: 0, duplicated: 0 },
      `${how} of ${REPLICAS[at]} ${load.complaints.join('; ')}`,
    );
  }
  await load.stop();
  const { lost, duplicated, tracesAcknowledged } = await load.checkAll();
  t.strictSame({ lost, duplicated }, { lost: 0, duplicated: 0 }, `all of ${tracesAcknowledged} traces`);
});
