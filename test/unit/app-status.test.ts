// The pages that tell about the process, against what Tempo 2.10.8 answers in one process.
import t from 'tap';
import { parse } from 'yaml';
import { rootBlock, type TempoConfig } from '../../src/app/config.ts';
import { startOrder } from '../../src/app/graph.ts';
import { createHttpServer } from '../../src/app/http-server.ts';
import { registerRingPages } from '../../src/app/ring-pages.ts';
import { ServerMetrics } from '../../src/app/server-metrics.ts';
import { registerStatusPages } from '../../src/app/status-pages.ts';
import { createDistributorRing } from '../../src/app/wire-distributors.ts';
import type { Parts } from '../../src/app/wire-parts.ts';
import { createWorkShares, sharing } from '../../src/app/wire-shares.ts';
import { loadConfig } from '../../src/config/load.ts';
import { type MemberConfig, type RingConfig, Rings } from '../../src/ring/rings.ts';
import { WorkShare } from '../../src/ring/work-share.ts';
import type { Service } from '../../src/lib/service.ts';
import { Overrides } from '../../src/overrides/overrides.ts';
import { silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { ManualClock } from '../support/manual-clock.ts';

const configOf = (text: string) => loadConfig(rootBlock, { file: { name: 'tempo.yaml', text } }).config;

function pagesOf(config: TempoConfig, rings?: Rings, nowMs = 1_500) {
  const metrics = new Metrics();
  const { app, routes } = createHttpServer({
    config: config.server,
    httpApiPrefix: '',
    logger: silentLogger,
    metrics,
    serverMetrics: new ServerMetrics(metrics),
    readiness: () => undefined,
  });
  const { defaults, inlineTenants } = config.overrides;
  const overrides = new Overrides({ defaults, inline: inlineTenants, metrics });
  const stateOf = (name: string) => (name === 'store' ? 'Starting' : 'Running');
  registerStatusPages(app, { config, overrides, routes, stateOf });
  registerRingPages(app, config, {
    hasIngester: startOrder(config.target).includes('ingester'),
    rings,
    now: () => new Date(nowMs),
  });
  app.all('/api/traces/:traceID', () => '');
  app.all('/api/search/tag/*', () => '');
  return app;
}

const LOCAL = 'storage: {trace: {backend: local, local: {path: /b}, wal: {path: /w}}}\n';

t.test('status pages', async (t) => {
  const app = pagesOf(configOf(LOCAL));
  const services = `GET /status/services
+----------------+----------+--------------+
| SERVICE NAME   |   STATUS | FAILURE CASE |
+----------------+----------+--------------+
| compactor      |  Running |              |
| distributor    |  Running |              |
| ingester       |  Running |              |
| overrides      |  Running |              |
| querier        |  Running |              |
| query-frontend |  Running |              |
| server         |  Running |              |
| store          | Starting |              |
+----------------+----------+--------------+
`;
  const table = [
    { url: '/status/version', body: /^GET \/status\/version\ntempo, version \d+\.\d+\.\d+ \(branch: / },
    { url: '/status/services', body: services },
    { url: '/status/endpoints', body: /^GET \/status\/endpoints\n\+-+\+-+\+\n\| NAME +\| REGEX +\|\n/ },
    { url: '/status/endpoints', body: '| /api/traces/{traceID} ' },
    { url: '/status/endpoints', body: '| ^/api/traces/(?P<v0>[^/]+)$ ' },
    { url: '/status/endpoints', body: '| /api/search/tag/{tagName:.*}/values ' },
    { url: '/status/endpoints', body: '| ^/api/search/tag/(?P<v0>.*)/values$ ' },
    { url: '/status/endpoints', body: /\+\n\nAPI documentation: https:.*\n\n$/ },
    {
      url: '/status/runtime_config',
      body: /^GET \/status\/runtime_config\n---\ndefaults:\n[^]*\noverrides: {}\n$/,
    },
    { url: '/status/runtime_config?mode=diff', body: 'GET /status/runtime_config\n---\n{}\n' },
    { url: '/status/usage-stats', body: 'usage-stats is not enabled\n' },
    { url: '/memberlist', body: "This instance doesn't use memberlist." },
  ];
  for (const { url, body } of table) {
    const answer = await app.inject(url);
    t.equal(answer.statusCode, 200, url);
    t.match(answer.headers['content-type'], /^text\/plain/, url);
    if (typeof body === 'string') t.ok(answer.body.includes(body), `body of ${url}`);
    else t.match(answer.body, body, url);
  }
  const all = (await app.inject('/status')).body;
  const heads = [...all.matchAll(/^GET (.*)$/gm)].map(([, path]) => path);
  t.same(
    heads,
    ['version', 'services', 'endpoints', 'runtime_config', 'config'].map((name) => `/status/${name}`),
  );
  t.equal((await app.inject('/status/nope')).statusCode, 404);
  t.equal((await app.inject({ method: 'POST', url: '/status/version' })).statusCode, 405);
});

t.test('the configuration: as it is, what differs, and the defaults', async (t) => {
  const config = configOf(`${LOCAL}server: {log_level: warn}\nmultitenancy_enabled: true\n`);
  const app = pagesOf(config);
  const documentOf = (body: string): unknown => {
    t.match(body, /^GET \/status\/config\n---\n/);
    return parse(body.slice(body.indexOf('---')));
  };
  const whole = documentOf((await app.inject('/status/config')).body);
  t.match(whole, {
    target: 'all',
    multitenancy_enabled: true,
    server: { log_level: 'warn', http_listen_port: 3200 },
  });
  t.same(documentOf((await app.inject('/status/config?mode=diff')).body), {
    multitenancy_enabled: true,
    server: { log_level: 'warn' },
    storage: { trace: { backend: 'local', local: { path: '/b' }, wal: { path: '/w' } } },
  });
  const otlp = "{otlp: {protocols: {grpc: , http: {endpoint: 'a:1'}}}}";
  const listening = pagesOf(configOf(`distributor: {receivers: ${otlp}}`));
  t.same(documentOf((await listening.inject('/status/config?mode=diff')).body), {
    distributor: { receivers: { otlp: { protocols: { grpc: {}, http: { endpoint: 'a:1' } } } } },
  });
  t.match(documentOf((await app.inject('/status/config?mode=defaults')).body), {
    server: { log_level: 'info' },
  });
  const bad = await app.inject('/status/config?mode=x');
  t.equal(bad.statusCode, 500);
  t.equal(bad.body, 'unknown value for mode query parameter: x\nGET /status/config\n');
  const badInAll = await app.inject('/status?mode=x');
  t.equal(badInAll.statusCode, 500);
  t.match(badInAll.body, /^unknown value .*: x\nGET \/status\/version\n[^]*GET \/status\/config\n$/);
});

/** Every place where a secret may stand, described or not. */
const SECRETS = `${LOCAL}
server: {http_tls_config: {key: hush-pem}}
ingester: {lifecycler: {ring: {kvstore: {consul: {acl_token: hush-1}, etcd: {password: hush-2}}}}}
ingest: {kafka: {sasl_username: me, sasl_password: hush-3}}
cache:
  caches:
    - roles: [bloom]
      redis: {endpoint: 'redis:6379', password: hush-4, master_name: kept}
distributor:
  receivers:
    otlp:
      protocols:
        http:
          response_headers: {Authorization: hush-5}
          auth: {token: hush-6}
          tls: {key_pem: '-----BEGIN PRIVATE KEY----- hush-7', key_file: /kept}
    kafka: {auth: {plain_text: {username: me, password: hush-8}}}
metrics_generator:
  storage:
    remote_write:
      - url: https://me:hush-10@prometheus/write
        basic_auth: {username: me, password: hush-11, password_file: /kept}
        authorization: {type: Bearer, credentials: hush-12}
        headers: {X-Scope-OrgID: hush-13}
        sigv4: {access_key: hush-14, secret_key: hush-15}
overrides:
  user_configurable_overrides: {client: {s3: {secret_key: hush-16}}}
  defaults: {metrics_generator: {remote_write_headers: {authorization: hush-17}}}
querier: {trace_by_id: {external: {endpoint: 'http://me:hush-18@other'}}}
`;
const STORAGE_SECRETS = `storage:
  trace:
    backend: local
    s3: {access_key: hush-20, secret_key: hush-21, session_token: hush-22, sse: {encryption_key: hush-23}}
    azure: {storage_account_key: hush-24}
    redis: {password: hush-25}
    memcached: {host: kept}
`;

t.test('secrets are not shown', async (t) => {
  for (const text of [SECRETS, STORAGE_SECRETS]) {
    const app = pagesOf(configOf(text));
    for (const url of ['/status/config', '/status/config?mode=diff', '/status', '/status/runtime_config']) {
      const { body, statusCode } = await app.inject(url);
      t.equal(statusCode, 200);
      t.notMatch(body, 'hush', url);
      t.match(body, url.endsWith('runtime_config') ? 'defaults' : '<secret>', url);
    }
    t.match((await app.inject('/status/config')).body, 'kept', 'what is no secret is');
  }
});

t.test('rings of one process', async (t) => {
  const config = configOf(`${LOCAL}ingester: {lifecycler: {id: '<one>', availability_zone: z}}\n`);
  const app = pagesOf(config);
  const shard = {
    id: '<one>',
    state: 'ACTIVE',
    address: '127.0.0.1:9095',
    timestamp: '1970-01-01T00:00:01Z',
    registered_timestamp: '1970-01-01T00:00:01Z',
    read_only: false,
    read_only_updated_timestamp: '0001-01-01T00:00:00Z',
    zone: 'z',
    tokens: [],
  };
  const now = '1970-01-01T00:00:01.500Z';
  const json = { headers: { accept: '*/*' } };
  t.same((await app.inject({ url: '/ingester/ring', ...json })).json(), { shards: [shard], now });
  t.same((await app.inject({ url: '/metrics-generator/ring', ...json })).json(), { shards: [], now });
  const browser = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8';
  const page = await app.inject({ url: '/ingester/ring', headers: { accept: browser } });
  t.match(page.headers['content-type'], /^text\/html/);
  t.match(page.body, '<td>&#60;one&#62;</td><td>z</td><td>ACTIVE</td>');
  t.equal((await app.inject({ method: 'POST', url: '/ingester/ring' })).statusCode, 302);
  for (const url of ['/distributor/ring', '/compactor/ring', '/partition/ring']) {
    t.equal((await app.inject(url)).statusCode, 404, url);
  }
});

t.test('rings of several processes', async (t) => {
  const clock = new ManualClock(1_800_000_000_000);
  const config = configOf(LOCAL);
  const { memberlist } = config;
  const logger = silentLogger;
  const rings = new Rings({ isSingleProcess: true, memberlist, logger, metrics: new Metrics(), clock });
  const ring: RingConfig = {
    name: 'ingester',
    key: 'ring',
    kvstore: { store: 'inmemory', prefix: '' },
    settings: {
      replicationFactor: 1,
      heartbeatTimeoutMs: 60_000,
      zoneAwarenessEnabled: false,
      excludedZones: [],
    },
  };
  const member: MemberConfig = {
    id: 'one',
    addr: '10.0.0.1',
    interfaceNames: [],
    enableInet6: false,
    port: 9095,
    zone: 'z',
    tokensCount: 4,
    heartbeatPeriodMs: 0,
  };
  const followed = rings.createRing(ring);
  await rings.start();
  await followed.start();
  await rings.createMember(ring, member).start();
  const two = rings.createMember(ring, { ...member, id: '<two>', tokensCount: 12 });
  await two.start();
  const json = async (nowMs: number): Promise<readonly (readonly unknown[])[]> => {
    const { shards } = (await pagesOf(config, rings, nowMs).inject('/ingester/ring')).json();
    return shards.map(({ id, state, tokens }: Record<string, unknown[]>) => [id, state, tokens?.length]);
  };
  t.same(await json(clock.nowMs()), [
    ['<two>', 'ACTIVE', 12],
    ['one', 'ACTIVE', 4],
  ]);
  t.same((await json(clock.nowMs() + 100_000))[1], ['one', 'UNHEALTHY', 4]);
  const app = pagesOf(config, rings, clock.nowMs());
  const page = await app.inject({ url: '/ingester/ring', headers: { accept: 'text/html' } });
  t.match(page.body, '<td>false</td><td>12</td>');
  t.match(page.body, 'value="&#60;two&#62;"');
  const tokens = [...(followed.ring.current.instance('<two>')?.tokens ?? [])];
  t.equal(tokens.length, 12);
  const html = async (url: string): Promise<string> =>
    (await app.inject({ url, headers: { accept: 'text/html' } })).body;
  t.match(page.body, '<a href="?tokens=true">Show Tokens</a>');
  t.notMatch(page.body, String(tokens[0]), 'tokens are shown to who asks for them');
  t.notMatch(await html('/ingester/ring?tokens=false'), String(tokens[0]));
  const long = await html('/ingester/ring?tokens=true');
  t.match(long, '<a href="?tokens=false">Hide Tokens</a>');
  t.match(long, `<h2>Instance: &#60;two&#62;</h2>\n<p>Tokens:<br>${tokens.join(' ')}</p>`);
  t.match(long, '<h2>Instance: one</h2>');
  const inJson = { url: '/ingester/ring?tokens=true', headers: { accept: 'application/json' } };
  t.same((await app.inject(inJson)).json().shards[0].tokens, tokens, 'in JSON they always are');
  await two.setReadOnly(true);
  t.match(await html('/ingester/ring'), /<td>true since \d{4}-\d\d-\d\dT[\d:]{8}Z<\/td>/);
  const forget = await app.inject({
    method: 'POST',
    url: '/ingester/ring',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    payload: 'forget=%3Ctwo%3E',
  });
  t.equal(forget.statusCode, 302);
  t.same(await json(clock.nowMs()), [['one', 'ACTIVE', 4]]);
  t.equal((await app.inject('/memberlist')).body, "This instance doesn't use memberlist.");
});

t.test('distributors that share rates know how many they are', async (t) => {
  const { memberlist } = configOf(LOCAL);
  const metrics = new Metrics();
  const rings = new Rings({ isSingleProcess: false, memberlist, logger: silentLogger, metrics });
  const order: string[] = [];
  const join = (id: string) => {
    const config = configOf(`${LOCAL}target: distributor
distributor: {ring: {instance_id: ${id}, instance_addr: 10.0.0.7, kvstore: {store: inmemory}}}`);
    const parts = { config, logger: silentLogger, metrics: new Metrics() } as unknown as Parts;
    const ring = createDistributorRing(parts, rings);
    const note = (what: string) => async (): Promise<void> => {
      order.push(`${id} ${what} ${ring.count()}`);
    };
    const readiness = (): string | undefined => (id === 'two' ? 'not yet' : undefined);
    return { ring, service: ring.join({ name: id, start: note('begins'), stop: note('ends'), readiness }) };
  };
  await rings.start();
  t.teardown(() => rings.stop());
  const [one, two] = [join('one'), join('two')];
  t.equal(one.ring.count(), 0);
  await one.service.start();
  await two.service.start();
  t.equal(one.ring.count(), 2);
  t.same(
    rings.all.map(({ name, current }) => [name, current.instances.map(({ id, addr }) => `${id} ${addr}`)]),
    [['distributor', ['one 10.0.0.7:9095', 'two 10.0.0.7:9095']]],
  );
  t.equal(one.service.readiness?.(), undefined);
  t.equal(two.service.readiness?.(), 'not yet');
  await one.service.stop();
  t.equal(two.ring.count(), 1, 'who stops leaves');
  await two.service.stop();
  t.same(
    order,
    ['one begins 1', 'two begins 2', 'one ends 2', 'two ends 1'],
    'in the ring while it takes spans',
  );
});

t.test('rings of those that share the upkeep of blocks', async (t) => {
  const sharesOf = (yaml: string): ReturnType<typeof createWorkShares> => {
    const config = configOf(LOCAL + yaml);
    const parts = { config, logger: silentLogger, metrics: new Metrics() } as unknown as Parts;
    return createWorkShares(parts, startOrder(config.target), undefined);
  };
  const kvstore = '{store: memberlist}';
  const cases: readonly { readonly yaml: string; readonly want: string }[] = [
    { yaml: 'target: compactor', want: '' },
    { yaml: 'target: compactor\ncompactor: {ring: {kvstore: {store: inmemory}}}', want: '' },
    { yaml: `target: compactor\ncompactor: {ring: {kvstore: ${kvstore}}}`, want: 'compactor' },
    { yaml: 'target: backend-worker', want: '' },
    { yaml: `target: backend-worker\nbackend_worker: {ring: {kvstore: ${kvstore}}}`, want: 'backend-worker' },
    { yaml: `target: distributor\ncompactor: {ring: {kvstore: ${kvstore}}}`, want: '' },
    { yaml: `compactor: {ring: {kvstore: ${kvstore}}}`, want: '' },
    {
      yaml: `compactor: {ring: {kvstore: ${kvstore}}}\nmemberlist: {join_members: [other]}`,
      want: 'compactor',
    },
    { yaml: 'target: scalable-single-binary', want: 'compactor' },
    {
      yaml: `target: scalable-single-binary
ingester: {lifecycler: {ring: {kvstore: {store: inmemory}}}}`,
      want: '',
    },
  ];
  for (const { yaml, want } of cases) {
    const { rings } = sharesOf(yaml);
    t.equal((rings?.all ?? []).map(({ name }) => name).join(), want, yaml);
  }
  const config = configOf(`target: backend-worker\n${LOCAL}
backend_worker: {ring: {instance_id: w, instance_addr: 10.0.0.7, kvstore: {store: inmemory}}}`);
  t.equal(sharesOf('target: backend-worker').worker, undefined, 'none by default');
  const metrics = new Metrics();
  const clock = new ManualClock();
  const options = { isSingleProcess: true, memberlist: config.memberlist, logger: silentLogger, metrics };
  const rings = new Rings({ ...options, clock, random: () => 0.5 });
  const { ring } = config.backendWorker;
  const settings = { replicationFactor: 1, zoneAwarenessEnabled: false, excludedZones: [] };
  const followed: RingConfig = {
    name: 'backend-worker',
    key: 'backend-worker',
    kvstore: ring.kvstore,
    settings: { ...settings, heartbeatTimeoutMs: 60_000 },
  };
  const share = new WorkShare({
    rings,
    followed: rings.createRing(followed),
    member: rings.createMember(followed, {
      id: ring.instanceId,
      addr: ring.instanceAddr,
      interfaceNames: [],
      enableInet6: false,
      port: 9095,
      zone: '',
      tokensCount: 1,
      heartbeatPeriodMs: 5000,
    }),
    id: ring.instanceId,
    activeMsMax: 1000,
    stableMsMin: 2000,
    stableMsMax: 9000,
    clock,
    logger: silentLogger,
  });
  const states: string[] = [];
  const app = pagesOf(config, rings, clock.nowMs());
  const seen = async (): Promise<unknown> => (await app.inject('/backend-worker/ring')).json().shards;
  const worker: Service = {
    name: 'backend-worker',
    start: async () => void states.push(JSON.stringify(await seen())),
    stop: async () => void states.push(JSON.stringify(await seen())),
    readiness: () => 'busy',
  };
  t.equal(sharing(undefined, worker, true), worker);
  t.equal(sharing(undefined, undefined, true), undefined, 'a compactor that is disabled');
  const service = sharing(share, worker, true);
  await service?.start();
  t.match(states[0], '"id":"w","state":"ACTIVE","address":"10.0.0.7:9095"', 'before it works');
  t.equal(service?.readiness?.(), 'waiting until the backend-worker ring is stable');
  t.equal(sharing(share, worker, false)?.readiness?.(), 'busy');
  await clock.pass(2000);
  t.equal(service?.readiness?.(), 'busy');
  await service?.stop();
  t.match(states[1], '"id":"w"', 'until it has stopped');
  t.same(await seen(), []);
  t.equal((await app.inject('/ingester/ring')).statusCode, 404);
});
