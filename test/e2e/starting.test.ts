// A process whose ring is not there yet, as etcd does not answer: it listens, and refuses queries so that a
// gateway asks another, in place of answers without what others of the ring have. So does one whose ring has
// no ingester.
import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { HEALTH_CHECK_PATH, isServing } from '../../src/rpc/grpc-health.ts';
import { channelTo } from '../support/channel.ts';
import { freePort } from '../support/free-port.ts';
import { httpExport, until } from '../support/hostile.ts';
import { aTrace, encodeTraces } from '../support/otlp.ts';
import { configText, freePorts, startTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';

t.setTimeout(120_000);

const folder = testFolder(t);
const RANGE = 'start=1700000000&end=1700003600';
const QUERIES = [
  '/api/traces/0000000000000001000000000000016a',
  '/api/v2/traces/0000000000000001000000000000016a',
  `/api/search?q=%7B%7D&${RANGE}`,
  '/api/search/tags',
  '/api/v2/search/tags',
  '/api/search/tag/service.name/values',
  '/api/v2/search/tag/resource.service.name/values',
  `/api/metrics/query_range?q=%7B%7D%20%7C%20rate()&step=60&${RANGE}`,
  `/api/metrics/query?q=%7B%7D%20%7C%20rate()&${RANGE}`,
];

for (const target of ['scalable-single-binary', 'query-frontend,querier']) {
  t.test(`${target} without its ring`, async (t) => {
    const ports = await freePorts();
    const data = path.join(folder, target);
    mkdirSync(data);
    const config = path.join(data, 'tempo.yaml');
    const etcd = `{ store: etcd, etcd: { endpoints: ['127.0.0.1:${await freePort()}'] } }`;
    const ring = `ingester: { lifecycler: { ring: { kvstore: ${etcd} } } }\n`;
    writeFileSync(config, configText(data, ports) + ring);
    const args = ['cmd/tempo/main.ts', `-config.file=${config}`, `-target=${target}`];
    const child = spawn(process.execPath, args, { stdio: 'ignore' });
    t.teardown(() => child.kill('SIGKILL'));
    const url = `http://127.0.0.1:${ports.http}`;
    const isUp = (): Promise<boolean> =>
      fetch(`${url}/ready`).then(
        ({ status }) => status === 503,
        () => false,
      );
    t.ok(await until(isUp, 60_000), 'it listens and is not ready');
    for (const query of QUERIES) {
      const answer = await fetch(url + query);
      const seen = [answer.status, (await answer.text()).trim()];
      t.strictSame(seen, [503, 'the process is starting'], query);
    }
  });
}

t.test('a ring without an ingester', async (t) => {
  const gossip = await freePort();
  const tempo = await startTempo(path.join(folder, 'alone'), {
    args: ['-target=distributor,query-frontend,querier'],
    yaml: `
memberlist: { bind_addr: [127.0.0.1], bind_port: ${gossip}, advertise_addr: 127.0.0.1 }
ingester: { lifecycler: { ring: { kvstore: { store: memberlist } } } }
`,
  });
  t.teardown(() => tempo.kill());
  for (const query of QUERIES) {
    const answer = await tempo.get(query);
    const seen = [answer.status, (await answer.text()).trim()];
    t.strictSame(seen, [503, 'the ring has no ingester to ask for recent spans'], query);
  }
  const { status, body } = await httpExport(tempo, encodeTraces(aTrace(1, 2)));
  t.equal(status, 503);
  t.match(body.toString(), /empty ring/);
});

t.test('an ingester that waits until it is ready serves', async (t) => {
  const ports = await freePorts();
  const data = path.join(folder, 'waiting');
  mkdirSync(data);
  const config = path.join(data, 'tempo.yaml');
  const gossip = `memberlist: { bind_addr: [127.0.0.1], bind_port: ${await freePort()} }\n`;
  const ring = '{ address: 127.0.0.1, min_ready_duration: 1h, ring: { kvstore: { store: memberlist } } }';
  writeFileSync(config, `${configText(data, ports)}${gossip}ingester: { lifecycler: ${ring} }\n`);
  const args = ['cmd/tempo/main.ts', `-config.file=${config}`, '-target=ingester'];
  const child = spawn(process.execPath, args, { stdio: 'ignore' });
  t.teardown(() => child.kill('SIGKILL'));
  const text = (): Promise<string> =>
    fetch(`http://127.0.0.1:${ports.http}/ready`).then(
      async (answer) => answer.text(),
      () => '',
    );
  const isWaiting = async (): Promise<boolean> => (await text()).includes('after being ready');
  t.ok(await until(isWaiting, 60_000));
  t.equal((await text()).trim(), 'Ingester not ready: waiting for 3600s after being ready');
  const channel = channelTo(ports.grpc);
  t.teardown(() => channel.close());
  const health = await channel.unary(HEALTH_CHECK_PATH, new Uint8Array(), {}, { timeoutMs: 10_000 });
  t.ok(isServing(health), 'distributors keep their connections');
});
