// A query-frontend and two queriers as processes of their own, over the blocks of a writer: every answer is
// that of one process, and stays so while queriers and the query-frontend are stopped, killed and frozen.
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { canonical, canonicalTrace } from '../support/canonical.ts';
import { goldenAnswers } from '../support/golden-blocks.ts';
import { httpExport, metric, until } from '../support/hostile.ts';
import { aTrace, encodeTraces, hexId } from '../support/otlp.ts';
import { freePorts, type Ports, type RunningTempo, startTempo } from '../support/server.ts';
import { StreamingClient } from '../support/streaming-client.ts';
import { testFolder } from '../support/test-folder.ts';

t.setTimeout(240_000);

const QUESTIONS_EACH = 40;
const AT_ONCE = 12;
const RANGE = 'start=1795212987&end=1795213468';
const SEARCH = `/api/search?q=%7B%7D&limit=200&${RANGE}`;
const LIMITS = `
query_frontend: { search: { max_duration: 0s }, metrics: { max_duration: 0s } }
`;
const HEDGED = `
query_frontend:
  search: { max_duration: 0s, hedge_requests_at: 200ms }
  metrics: { max_duration: 0s, hedge_requests_at: 200ms }
  trace_by_id: { hedge_requests_at: 200ms }
`;

/** The blocks that real Tempo wrote, as those of the one tenant. */
function copyBlocks(folder: string): void {
  for (const name of ['vparquet4', 'vparquet5-3.0']) {
    const from = fileURLToPath(new URL(`../golden/${name}`, import.meta.url));
    const meta = JSON.parse(readFileSync(join(from, 'meta.json'), 'utf8')) as { readonly blockID: string };
    const to = join(folder, 'single-tenant', meta.blockID);
    mkdirSync(to, { recursive: true });
    for (const object of ['data.parquet', 'bloom-0']) copyFileSync(join(from, object), join(to, object));
    writeFileSync(join(to, 'meta.json'), JSON.stringify({ ...meta, tenantID: 'single-tenant' }));
  }
}

interface FoundTraces {
  readonly traces: readonly { readonly traceID: string }[];
}

class Cluster {
  readonly folder: string;
  readonly backend: string;
  readonly frontendPorts: Ports;
  frontend: RunningTempo | undefined;
  readonly queriers: RunningTempo[] = [];

  constructor(folder: string, frontendPorts: Ports) {
    this.folder = folder;
    this.backend = `    backend: local\n    local: { path: '${folder}/blocks' }\n`;
    this.frontendPorts = frontendPorts;
    copyBlocks(`${folder}/blocks`);
  }

  start(
    name: string,
    target: string,
    more: { ports?: Ports; yaml?: string; limits?: string } = {},
  ): Promise<RunningTempo> {
    const { ports, yaml = '', limits = LIMITS } = more;
    return startTempo(`${this.folder}/${name}`, {
      backend: this.backend,
      yaml: limits + yaml,
      args: [`-target=${target}`],
      ...(ports === undefined ? {} : { ports }),
    });
  }

  querier(name: string): Promise<RunningTempo> {
    const address = `127.0.0.1:${this.frontendPorts.grpc}`;
    const backoff = 'grpc_client_config: { backoff_config: { min_period: 20ms, max_period: 200ms } }';
    const worker = `{ frontend_address: '${address}', ${backoff}, id: ${name}, dns_lookup_duration: 200ms }`;
    return this.start(name, 'querier', { yaml: `querier: { frontend_worker: ${worker} }\n` });
  }

  /** The query-frontend is ready when there is a querier. */
  async startReads(): Promise<void> {
    const starting = this.start('frontend', 'query-frontend', { ports: this.frontendPorts });
    const names = ['one', 'two'];
    const [frontend, ...queriers] = await Promise.all([starting, ...names.map((name) => this.querier(name))]);
    this.frontend = frontend;
    this.queriers.push(...queriers);
    await this.untilConnected(names.length);
  }

  async untilConnected(count: number): Promise<void> {
    const name = 'tempo_query_frontend_connected_clients';
    assert.ok(await until(async () => (await metric(this.frontend!, name)) === count), `${count} queriers`);
  }

  async end(): Promise<void> {
    const all = [this.frontend, ...this.queriers].filter((each) => each !== undefined);
    // Whoever is frozen must be able to end.
    for (const { pid } of all) signal(pid, 'SIGCONT');
    await Promise.all(all.map((each) => each.kill()));
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code !== 'ESRCH') throw err;
  }
}

async function ask(tempo: RunningTempo, request: string): Promise<string> {
  const response = await tempo.get(request);
  const body = await response.text();
  const partial = response.headers.get('x-tempo-partial');
  if (response.status !== 200 || partial !== null) return `${response.status} ${partial} ${body}`;
  const form = request.includes('/traces/') ? canonicalTrace : canonical;
  return JSON.stringify(form(JSON.parse(body) as unknown));
}

const cluster = new Cluster(testFolder(t), await freePorts());
t.teardown(() => cluster.end());
const whole = await cluster.start('whole', 'querier,query-frontend');
t.teardown(() => whole.kill());
await cluster.startReads();
const frontend = (): RunningTempo => cluster.frontend!;

/** Many at once, while something happens to the queriers. @returns the answers that are wrong. */
async function wrongAnswers(meanwhile: () => Promise<unknown>): Promise<string[]> {
  const expected = await ask(whole, SEARCH);
  const asked = Array.from({ length: AT_ONCE }, () => ask(frontend(), SEARCH));
  await meanwhile();
  return (await Promise.all(asked)).filter((answer) => answer !== expected);
}

await t.test('answers are those of one process', async (t) => {
  const all = ['read', 'random-search', 'metrics', 'random-metrics'].flatMap((file) => {
    const answers = goldenAnswers(file);
    const step = Math.max(1, Math.floor(answers.length / QUESTIONS_EACH));
    return answers.filter((_, i) => i % step === 0);
  });
  t.ok(all.length > 100);
  for (const { name, request } of all) {
    t.equal(await ask(frontend(), request), await ask(whole, request), `${name}: ${request}`);
  }
  for (const request of [
    '/api/search?q=%7B',
    '/api/traces/xyz',
    '/api/traces/abcdef0123',
    '/api/v2/traces/ab',
  ]) {
    t.equal(await ask(frontend(), request), await ask(whole, request), request);
  }
  const noted = async (tempo: RunningTempo): Promise<unknown> => {
    const { headers } = await tempo.get(`/api/search?q=%7B%7D&limit=2&${RANGE}`);
    return ['x-tempo-more', 'x-tempo-next-cursor'].map((name) => headers.get(name));
  };
  t.same(await noted(frontend()), await noted(whole));
});

await t.test('streams are those of one process', async (t) => {
  const [here, there] = [whole, frontend()].map(
    ({ ports }) => new StreamingClient(`127.0.0.1:${ports.grpc}`),
  ) as [StreamingClient, StreamingClient];
  t.teardown(() => {
    here.close();
    there.close();
  });
  const seconds = { start: 1795212987, end: 1795213468 };
  const nanos = { start: 1795212987000000000n, end: 1795213468000000000n };
  const rate = { ...nanos, query: '{ } | rate() by (resource.service.name)', step: 60_000_000_000n };
  const table: readonly (readonly [string, Record<string, unknown>])[] = [
    ['Search', { ...seconds, Query: '{ }', Limit: 50 }],
    ['SearchTagsV2', seconds],
    ['SearchTagValuesV2', { ...seconds, tagName: 'resource.service.name' }],
    ['MetricsQueryRange', rate],
    ['Search', { ...seconds, Query: '{' }],
  ];
  for (const [method, request] of table) {
    const [got, want] = [await there.ask(method, request), await here.ask(method, request)];
    t.equal(got.code, want.code, method);
    t.equal(got.details, want.details, method);
    t.same(found(got.messages), found(want.messages), method);
  }
});

/** What all messages say together, without how it was found. */
function found(messages: readonly Record<string, unknown>[]): unknown {
  const text = (value: unknown): string =>
    JSON.stringify(value, (_, part: unknown) => (typeof part === 'bigint' ? `${part}` : part));
  const said = messages.flatMap((message) => Object.entries(message).filter(([name]) => name !== 'metrics'));
  return [...new Set(said.flatMap(([, value]) => [value].flat().map(text)))].sort();
}

await t.test('a querier that is killed amid queries', async (t) => {
  const [one] = cluster.queriers.splice(0, 1);
  // Frozen it has some of them when it dies.
  signal(one!.pid, 'SIGSTOP');
  t.same(await wrongAnswers(() => one!.kill()), []);
  t.ok((await metric(frontend(), 'tempo_query_frontend_retries_sum')) > 0, 'it had some');
  await cluster.untilConnected(1);
  cluster.queriers.unshift(await cluster.querier('one'));
  await cluster.untilConnected(2);
});

await t.test('a querier that says nothing any more', async (t) => {
  const { pid } = cluster.queriers[0]!;
  signal(pid, 'SIGSTOP');
  t.same(await wrongAnswers(async () => undefined), []);
  signal(pid, 'SIGCONT');
  t.same(await wrongAnswers(async () => undefined), [], 'and comes back');
});

await t.test('a querier that does not answer in time, and another one that does', async (t) => {
  const restart = async (limits: string): Promise<void> => {
    await frontend().stop();
    const ports = cluster.frontendPorts;
    cluster.frontend = await cluster.start('frontend', 'query-frontend', { ports, limits });
    await cluster.untilConnected(2);
  };
  const count = (name: string): Promise<number> => metric(frontend(), `tempo_query_frontend_${name}`);
  await restart(HEDGED);
  t.same(await wrongAnswers(async () => undefined), []);
  const { pid } = cluster.queriers[0]!;
  signal(pid, 'SIGSTOP');
  t.same(await wrongAnswers(async () => undefined), []);
  const { traceID } = (JSON.parse(await (await whole.get(SEARCH)).text()) as FoundTraces).traces[0]!;
  for (const request of [
    `/api/v2/traces/${traceID}`,
    `/api/v2/search/tags?${RANGE}`,
    `/api/v2/search/tag/resource.service.name/values?${RANGE}`,
    `/api/metrics/query_range?q=%7B%7D%20%7C%20rate()&step=60&${RANGE}`,
  ]) {
    const before = await count('hedged_roundtrips_total');
    const answers = await Promise.all(Array.from({ length: 4 }, () => ask(frontend(), request)));
    t.same([...new Set(answers)], [await ask(whole, request)], request);
    t.ok((await count('hedged_roundtrips_total')) > before, `copies of ${request}`);
  }
  const client = new StreamingClient(`127.0.0.1:${cluster.frontendPorts.grpc}`);
  const search = { Query: '{ }', Limit: 50, start: 1795212987, end: 1795213468 };
  const streams = await Promise.all(Array.from({ length: 4 }, () => client.ask('Search', search)));
  client.close();
  const wholeOne = new StreamingClient(`127.0.0.1:${whole.ports.grpc}`);
  const want = found((await wholeOne.ask('Search', search)).messages);
  wholeOne.close();
  for (const { messages } of streams) t.same(found(messages), want);
  t.ok((await count('hedged_roundtrips_won_total')) >= 10, 'the frozen one had many');
  t.equal(await count('retries_sum'), 0, 'none had to be given up for its silence');
  signal(pid, 'SIGCONT');
  t.same(await wrongAnswers(async () => undefined), [], 'and comes back');
  await restart(LIMITS);
});

await t.test('a querier that is stopped finishes what it has', async (t) => {
  const [one] = cluster.queriers.splice(0, 1);
  t.same(await wrongAnswers(async () => t.equal(await one!.stop(), 0)), []);
  await cluster.untilConnected(1);
  t.match(frontend().output(), /a querier is leaving.*querier=one/);
});

await t.test('a query-frontend that dies, and comes back', async (t) => {
  await frontend().kill();
  cluster.frontend = await cluster.start('frontend', 'query-frontend', { ports: cluster.frontendPorts });
  await cluster.untilConnected(1);
  t.same(await wrongAnswers(async () => undefined), []);
  t.equal(await frontend().stop(), 0);
});

await t.test('a query-frontend without queriers', async (t) => {
  await cluster.queriers[0]!.kill();
  cluster.frontend = undefined;
  const alone = cluster.start('frontend', 'query-frontend', { ports: cluster.frontendPorts });
  const url = `http://127.0.0.1:${cluster.frontendPorts.http}/ready`;
  const ready = async (): Promise<string> => (await fetch(url)).text().catch(() => '');
  await until(
    async () => (await ready().catch(() => '')) !== '' && !(await ready()).startsWith('Some services'),
  );
  t.equal(
    await ready(),
    'Query Frontend not ready: not ready: number of queriers connected to query-frontend is 0\n',
  );
  cluster.queriers[0] = await cluster.querier('one');
  cluster.frontend = await alone;
  t.equal((await frontend().get('/ready')).status, 200);
});

await t.test('recent spans of the ingesters of a ring', async (t) => {
  const ring = '{ replication_factor: 1, kvstore: { store: inmemory } }';
  const lifecycler = `{ address: 127.0.0.1, min_ready_duration: 0s, ring: ${ring} }`;
  const start = (name: string, target: string): Promise<RunningTempo> =>
    startTempo(`${cluster.folder}/${name}`, {
      yaml: `ingester: { lifecycler: ${lifecycler} }\n`,
      args: [`-target=${target}`],
    });
  const [one, ringed] = await Promise.all([
    start('one-process', 'all'),
    start('ringed', 'scalable-single-binary'),
  ]);
  t.teardown(() => Promise.all([one.kill(), ringed.kill()]));
  const startUnixNano = BigInt(Math.floor(Date.now() / 1000) - 60) * 1_000_000_000n;
  const spans = Array.from({ length: 50 }, (_, i) =>
    aTrace(1 + i, 4, () => ({ startUnixNano, endUnixNano: startUnixNano + 1000n })),
  );
  for (const tempo of [one, ringed]) {
    t.equal((await httpExport(tempo, encodeTraces(spans.flat()))).status, 200);
  }
  const sec = Number(startUnixNano / 1_000_000_000n);
  const range = `start=${sec - 60}&end=${sec + 120}`;
  const requests = [
    `/api/search?q=%7B%7D&limit=30&${range}`,
    `/api/search?q=%7B%7D%20%3E%20%7B%7D&limit=100&${range}`,
    `/api/traces/${hexId(7, 16)}`,
    `/api/v2/search/tags?${range}`,
    `/api/metrics/query_range?q=%7B%7D%20%7C%20count_over_time()&step=60&${range}`,
  ];
  for (const request of requests) t.equal(await ask(ringed, request), await ask(one, request), request);
  const name = 'tempo_querier_ingester_sessions';
  t.ok(await until(async () => (await metric(ringed, name)) === 0), 'nothing is held when all is answered');
  t.equal(await ringed.stop(), 0);
});
