// Three ingesters, a distributor, a query-frontend and a querier as processes that find each other by gossip,
// with replication factor 3 and messages in Snappy: recent spans are found once each, with one ingester gone
// too; with two gone the answer says that it may lack something.
import t from 'tap';
import { freePort } from '../support/free-port.ts';
import { httpExport, metric, until } from '../support/hostile.ts';
import { aTrace, encodeTraces, hexId } from '../support/otlp.ts';
import { spanIdsOfTrace } from '../support/read-api.ts';
import { freePorts, type Ports, type RunningTempo, startTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';

t.setTimeout(180_000);

const TRACES = 40;
const SPANS = 5;
const LIMIT_MS = 60_000;
const PUSHES = 'method="gRPC",route="/tempopb.Pusher/PushBytesV2"}';

const folder = testFolder(t);
const seed = await freePort();
const frontendPorts = await freePorts();
const backend = `    backend: local\n    local: { path: '${folder}/blocks' }\n`;
const running: RunningTempo[] = [];
t.teardown(() => Promise.all(running.map((tempo) => tempo.kill())));

async function start(name: string, target: string, gossipPort: number, ports?: Ports): Promise<RunningTempo> {
  const ring = '{ replication_factor: 3, heartbeat_timeout: 30s, kvstore: { store: memberlist } }';
  const times = 'heartbeat_period: 1s, min_ready_duration: 0s';
  const lifecycler = `{ id: ${name}, address: 127.0.0.1, ${times}, ring: ${ring} }`;
  const gossip = `bind_addr: [127.0.0.1], advertise_addr: 127.0.0.1, bind_port: ${gossipPort}`;
  const join = `join_members: ['127.0.0.1:${seed}']`;
  const snappy = 'grpc_client_config: { grpc_compression: snappy }';
  const tempo = await startTempo(`${folder}/${name}`, {
    backend,
    yaml: `
memberlist: { node_name: ${name}, ${gossip}, advertise_port: ${gossipPort}, ${join} }
ingester: { lifecycler: ${lifecycler} }
overrides: { defaults: { ingestion: { rate_strategy: global } } }
ingester_client: { ${snappy} }
querier: { frontend_worker: { frontend_address: '127.0.0.1:${frontendPorts.grpc}', ${snappy} } }
`,
    args: [`-target=${target}`],
    ...(ports === undefined ? {} : { ports }),
  });
  running.push(tempo);
  return tempo;
}

/** Answers of the query-frontend: traces found, spans counted, and what it says may be missing. */
async function found(tempo: RunningTempo): Promise<unknown> {
  const now = Math.floor(Date.now() / 1000);
  const range = `start=${now - 600}&end=${now + 60}`;
  const search = await tempo.get(`/api/search?q=%7B%7D&limit=1000&${range}`);
  const { traces = [] } = (await search.json()) as { traces?: { spanSets: { matched: number }[] }[] };
  const counted = await tempo.get(`/api/metrics/query?q=%7B%7D%20%7C%20count_over_time()&${range}`);
  const { series = [] } = (await counted.json()) as { series?: { value: number }[] };
  return {
    traces: traces.length,
    matched: traces.reduce((sum, { spanSets }) => sum + spanSets[0]!.matched, 0),
    counted: series[0]?.value,
    partial: [search, counted].map(({ headers }) => headers.get('x-tempo-partial')),
  };
}

t.test('recent spans in three replicas', async (t) => {
  const one = await start('one', 'ingester', seed);
  const [two, three, distributor, frontend, querier] = await Promise.all([
    start('two', 'ingester', await freePort()),
    start('three', 'ingester', await freePort()),
    start('distributor', 'distributor', await freePort()),
    start('frontend', 'query-frontend', await freePort(), frontendPorts),
    start('querier', 'querier', await freePort()),
  ]);
  const active = 'tempo_ring_members{name="ingester",state="ACTIVE"}';
  const seesAll = async (tempo: RunningTempo): Promise<boolean> => (await metric(tempo, active)) === 3;
  t.ok(await until(() => seesAll(distributor), LIMIT_MS), 'the distributor knows three');
  t.ok(await until(() => seesAll(querier), LIMIT_MS), 'so does the querier');
  const sharing = 'tempo_ring_members{name="distributor",state="ACTIVE"}';
  t.equal(await metric(distributor, sharing), 1, 'who shares the global rate is known');
  const page = (await (await distributor.get('/distributor/ring')).json()) as { readonly shards: unknown };
  t.match(page.shards, [{ state: 'ACTIVE' }]);
  const startUnixNano = BigInt(Date.now() - 60_000) * 1_000_000n;
  const spans = Array.from({ length: TRACES }, (_, i) =>
    aTrace(1 + i, SPANS, () => ({ startUnixNano, endUnixNano: startUnixNano + 1000n })),
  );
  const request = encodeTraces(spans.flat());
  const sent = until(async () => (await httpExport(distributor, request)).status === 200, LIMIT_MS);
  t.ok(await sent, 'all ingesters are in the ring in the end');
  for (const ingester of [one, two, three]) {
    const created = 'tempo_ingester_traces_created_total{tenant="single-tenant"}';
    t.ok(await until(async () => (await metric(ingester, created)) === TRACES), 'each gets all of them');
    const pushed = await metric(ingester, 'tempo_request_message_bytes_sum{' + PUSHES);
    t.ok(pushed > 0 && pushed < request.length / 2, `${pushed} bytes, of ${request.length} in OTLP`);
  }
  const all = { traces: TRACES, matched: TRACES * SPANS, counted: TRACES * SPANS, partial: [null, null] };
  t.same(await found(frontend), all);
  t.equal((await spanIdsOfTrace(frontend, hexId(3, 16))).length, SPANS);
  await two.kill();
  t.same(await found(frontend), all, 'one of three is gone');
  t.equal((await spanIdsOfTrace(frontend, hexId(4, 16))).length, SPANS);
  await one.kill();
  const missing = '2 of 3 ingesters could not be asked for recent spans';
  t.same(await found(frontend), { ...all, partial: [missing, missing] }, 'two are gone');
});
