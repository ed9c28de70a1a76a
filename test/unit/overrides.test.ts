// Limits of tenants: the overrides file in both forms, tenants inside the configuration, which limits hold,
// what the pages show, and a file that changes while the program runs.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import t from 'tap';
import { blockRetention } from '../../src/app/compaction-settings.ts';
import { rootBlock } from '../../src/app/config.ts';
import { createOverridesService } from '../../src/app/overrides-service.ts';
import { registerOverridesRoutes } from '../../src/app/overrides-routes.ts';
import { registerUserOverridesRoutes } from '../../src/app/user-overrides-routes.ts';
import { ConfigError } from '../../src/config/errors.ts';
import { loadConfig } from '../../src/config/load.ts';
import { TempoError } from '../../src/lib/errors.ts';
import { MemoryStore } from '../../src/objectstore/memory.ts';
import { Overrides } from '../../src/overrides/overrides.ts';
import { overridesPage, runtimeConfigText, tenantPage } from '../../src/overrides/pages.ts';
import { loadTenants } from '../../src/overrides/tenants.ts';
import { mergePatch, userLimitsFromPlain } from '../../src/overrides/user-limits.ts';
import { createUserOverridesMetrics, UserOverrides } from '../../src/overrides/user-overrides.ts';
import { createLogger, silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import fastify from 'fastify';
import { FewThreads } from '../support/few-threads.ts';
import { testFolder } from '../support/test-folder.ts';

const load = (text: string, env?: Readonly<Record<string, string>>) =>
  loadTenants({ name: 'overrides.yaml', text, env, replicationFactor: 3 });

const configOf = (text: string) => loadConfig(rootBlock, { file: { name: 'tempo.yaml', text } });

t.test('a shard has an ingester for each copy', (t) => {
  const of = (size: number): string => `overrides: {a: {ingestion: {tenant_shard_size: ${size}}}}`;
  for (const size of [0, 3, 7]) t.equal(load(of(size)).tenants.get('a')?.ingestion.tenantShardSize, size);
  for (const size of [-1, 1, 2]) {
    t.throws(() => load(of(size)), {
      message: new RegExp(
        `tenant_shard_size: is ${size}, fewer ingesters than the replication factor \\(3\\)`,
      ),
    });
  }
  t.end();
});

function overridesOf(config = '', file = '') {
  const { overrides } = configOf(config).config;
  const metrics = new Metrics();
  const result = new Overrides({ defaults: overrides.defaults, inline: overrides.inlineTenants, metrics });
  if (file !== '') result.replace(load(file).tenants);
  return { overrides: result, metrics };
}

const GOOD = `
overrides:
  scoped: {ingestion: {rate_limit_bytes: 1_000, burst_size_bytes: 2000, max_traces_per_user: 3}}
  flat:
    {ingestion_rate_limit_bytes: 5, ingestion_burst_size_bytes: 6, max_bytes_per_trace: 7, forwarders: [x]}
  '*': {ingestion: {rate_limit_bytes: 8, burst_size_bytes: 9}, read: {max_search_duration: 1d}}
`;

t.test('the file, each tenant in one of two forms', (t) => {
  const { tenants, warnings } = load(GOOD);
  t.same([...tenants.keys()], ['scoped', 'flat', '*']);
  t.same(warnings, []);
  t.match(tenants.get('scoped'), {
    ingestion: { rateLimitBytes: 1000, burstSizeBytes: 2000, maxTracesPerUser: 3, retryInfoEnabled: false },
    global: { maxBytesPerTrace: 0 },
  });
  t.match(tenants.get('flat'), {
    ingestion: { rateLimitBytes: 5, burstSizeBytes: 6, maxTracesPerUser: 0 },
    global: { maxBytesPerTrace: 7 },
    forwarders: ['x'],
  });
  t.equal(tenants.get('*')?.read.maxSearchDurationMs, 86_400_000);
  const refusing = load('overrides: {a: {ingestion: {rate_limit_bytes: 1}}}').warnings;
  t.match(refusing, [{ path: 'overrides.a.ingestion.burst_size_bytes', text: /all spans .* are refused/ }]);
  for (const empty of ['', 'overrides:', 'overrides: {}']) t.equal(load(empty).tenants.size, 0, empty);
  const expanded = load('overrides: {a: {ingestion_rate_limit_bytes: ${N:-4}}}', { N: '17' });
  t.equal(expanded.tenants.get('a')?.ingestion.rateLimitBytes, 17);
  t.end();
});

t.test('bad files', (t) => {
  const table: readonly { name: string; input: string; want: RegExp }[] = [
    {
      name: 'typo',
      input: 'overrides: {a: {ingestion: {rate: 1}}}',
      want: /^overrides.yaml:1: overrides.a.ingestion.rate: unknown key/,
    },
    { name: 'top', input: 'override: {}', want: /override: unknown key, did you mean overrides\?/ },
    { name: 'other top', input: 'zzz: {}', want: /zzz: unknown key$/ },
    {
      name: 'mixed in a tenant',
      input: 'overrides:\n  a:\n    ingestion_rate_limit_bytes: 5\n    ingestion: {burst_size_bytes: 4}\n',
      want: /^overrides.yaml:3: overrides.a.ingestion_rate_limit_bytes: flat key beside the scoped key/,
    },
    { name: 'syntax', input: 'overrides: [', want: /not valid YAML/ },
    { name: 'list', input: 'overrides: [a]', want: /needs keys and values/ },
    { name: 'text', input: 'hello', want: /needs keys and values/ },
    { name: 'tenant', input: 'overrides: {a: 5}', want: /overrides.a: needs keys and values/ },
    { name: 'duration', input: 'overrides: {a: {max_search_duration: x}}', want: /max_search_duration/ },
  ];
  for (const { name, input, want } of table) {
    t.throws(() => load(input), { constructor: ConfigError, message: want }, name);
  }
  t.end();
});

t.test('tenants inside the configuration', (t) => {
  const { config, warnings } = configOf(`
overrides:
  defaults: {ingestion: {burst_size_bytes: 77}, read: {max_bytes_per_trace: 55}}
  tenant_a: {ingestion: {rate_limit_bytes: 30_000_000}}
  tenant_b: {max_bytes_per_trace: 5}
`);
  const text = /^tenants belong into the file/;
  t.match(warnings, [
    { path: 'overrides.defaults.read.max_bytes_per_trace' },
    { at: 'tempo.yaml:4', path: 'overrides.tenant_a', text },
    { at: 'tempo.yaml:5', path: 'overrides.tenant_b', text },
    { path: 'overrides.tenant_b.max_bytes_per_trace', text: /^deprecated key/ },
  ]);
  t.equal(warnings.length, 4);
  t.match(config.overrides.inlineTenants, {
    tenant_a: {
      ingestion: { rateLimitBytes: 30_000_000, burstSizeBytes: 77 },
      global: { maxBytesPerTrace: 55 },
    },
    tenant_b: {
      ingestion: { rateLimitBytes: 15_000_000, burstSizeBytes: 77 },
      global: { maxBytesPerTrace: 5 },
    },
  });
  t.throws(() => configOf('overrides: {defualts: {ingestion: {burst_size_bytes: 7}}}'), {
    message: /unknown key, did you mean defaults\?/,
  });
  t.throws(() => configOf('overrides: {tenant_a: 5}'), { message: /overrides.tenant_a: unknown key/ });
  t.throws(() => configOf('overrides: {tenant_a: {ingestion: {rate: 5}}}'), { message: /rate: unknown key/ });
  t.end();
});

t.test('which limits hold', async (t) => {
  const { overrides, metrics } = overridesOf('overrides: {inline: {ingestion: {burst_size_bytes: 1}}}', GOOD);
  const burst = (tenant: string): number => overrides.of(tenant).ingestion.burstSizeBytes;
  t.equal(burst('scoped'), 2000);
  t.equal(burst('inline'), 1);
  t.equal(burst('nobody'), 9);
  t.same(
    ['flat', 'inline', 'nobody'].map((tenant) => overrides.sourceOf(tenant)),
    ['flat', 'inline', '*'],
  );
  t.match(overrides.ingestionOf('scoped'), {
    ingestionRateLimitBytes: 1000,
    limitsTraces: true,
    isRateGlobal: false,
  });
  t.equal(overrides.ingestionOf('nobody').limitsTraces, false);
  t.equal(overrides.ingestionOf('nobody'), overrides.ingestionOf('nobody too'), 'one object for all');
  const range = (...tenants: string[]): number =>
    overrides.leastOf(tenants, ({ read }) => read.maxSearchDurationMs);
  t.equal(range('flat', 'scoped'), 0);
  t.equal(range('flat', 'nobody'), 86_400_000, 'the strictest of those that have one');
  const text = await metrics.text();
  t.match(text, 'tempo_limits_defaults{limit_name="max_local_traces_per_user"} 10000');
  t.match(text, 'tempo_limits_overrides{limit_name="ingestion_burst_size_bytes",user="flat"} 6');
  overrides.replace(
    load('overrides: {inline: {ingestion: {burst_size_bytes: 3, rate_limit_bytes: 3}}}').tenants,
  );
  t.equal(burst('inline'), 3, 'the file wins');
  t.equal(burst('nobody'), 20_000_000);
  t.equal(overrides.sourceOf('nobody'), 'default');
  t.notMatch(await metrics.text(), 'user="flat"');
  t.end();
});

t.test('how long blocks are kept', (t) => {
  const kept = (text: string, file = ''): readonly [block: number, compacted: number] | undefined => {
    const { overrides } = overridesOf(text, file);
    const times = blockRetention(configOf(text).config, overrides);
    return times && [times.blockMsOf('team') / 3_600_000, times.compactedMs / 3_600_000];
  };
  const file = 'overrides: { team: { compaction: { block_retention: 2160h } } }';
  const table = [
    { text: '', want: [336, 1] },
    { text: 'compactor: { compaction: { block_retention: 48h } }', want: [48, 1] },
    {
      text: 'backend_worker: { compaction: { block_retention: 720h, compacted_block_retention: 2h } }',
      want: [720, 2],
    },
    {
      text: `compactor: { compaction: { block_retention: 48h } }
backend_worker: { compaction: { block_retention: 720h } }`,
      want: [48, 1],
    },
    { text: 'overrides: { defaults: { compaction: { block_retention: 24h } } }', want: [24, 1] },
    { text: 'overrides: { defaults: { compaction: { block_retention: 24h } } }', file, want: [2160, 1] },
    { text: 'compactor: { disabled: true }', file, want: undefined },
  ];
  for (const { text, want, ...rest } of table) t.same(kept(text, rest.file), want, text);
  const ofWorker = (text: string): number => {
    const times = blockRetention(configOf(text).config, overridesOf('', '').overrides, 'backend-worker');
    return times!.blockMsOf('team') / 3_600_000;
  };
  const both = (compactor: string, worker: string): string =>
    `compactor: { compaction: { block_retention: ${compactor} } }
backend_worker: { compaction: { block_retention: ${worker} } }`;
  t.equal(ofWorker(both('48h', '336h')), 336, 'a worker deletes no earlier than its own block says');
  t.equal(ofWorker(both('720h', '336h')), 720);
  t.equal(ofWorker(both('720h', '24h')), 24);
  t.equal(ofWorker(both('0s', '336h')), 0);
  const { overrides } = overridesOf('', file);
  t.equal(blockRetention(configOf('').config, overrides)?.blockMsOf('other'), 336 * 3_600_000, 'others');
  const frozen = overridesOf('', 'overrides: { team: { compaction: { compaction_disabled: true } } }');
  const times = blockRetention(configOf('').config, frozen.overrides);
  t.same([times?.isOff('team'), times?.isOff('other')], [true, false], 'a tenant without compaction');
  t.end();
});

t.test('pages', async (t) => {
  const { overrides } = overridesOf(
    '',
    `${GOOD}  '<b>': {ingestion: {rate_limit_bytes: 15_000_000, burst_size_bytes: 1}}\n`,
  );
  const all = await runtimeConfigText(overrides, undefined);
  t.match(all, /^GET \/status\/runtime_config\n---\ndefaults:\n {2}ingestion:\n {4}rate_strategy: local\n/);
  t.match(all, /\noverrides:\n {2}'\*':\n {4}ingestion:\n {6}rate_limit_bytes: 8\n/);
  t.match(
    all,
    '\n  flat:\n    ingestion:\n      rate_limit_bytes: 5\n      burst_size_bytes: 6\n    forwarders:\n',
  );
  const diff = await runtimeConfigText(overrides, 'diff');
  t.notMatch(diff, 'defaults:');
  t.match(
    diff,
    '\n  <b>:\n    ingestion:\n      burst_size_bytes: 1\n',
    'what equals the defaults is left out',
  );
  const tenants = overridesPage(overrides, new Date(0));
  t.match(tenants, '<a href="overrides/%3Cb%3E">&#60;b&#62;</a>');
  t.notMatch(tenants, '<b>');
  const one = tenantPage(overrides, '<i>', new Date(0));
  t.match(one, 'for tenant: <strong>&#60;i&#62;</strong>');
  t.match(one, 'Source of runtime overrides: <strong>*</strong>');
  const app = fastify();
  registerOverridesRoutes(app, overrides);
  t.match((await app.inject('/status/overrides/flat')).body, 'max_bytes_per_trace: 7');
  t.match((await app.inject('/status/overrides')).headers['content-type'], 'text/html');
  t.end();
});

t.test('the file changes', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'overrides-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'overrides.yaml');
  const lines: string[] = [];
  const logger = createLogger({ level: 'warn', format: 'logfmt', write: (line) => void lines.push(line) });
  const { overrides, metrics } = overridesOf();
  const service = createOverridesService({
    overrides,
    path,
    periodMs: 0,
    env: undefined,
    replicationFactor: 1,
    logger,
    metrics,
  });
  const isGood = async (): Promise<string | undefined> =>
    /tempo_runtime_config_last_reload_successful\{config="overrides"\} (\d)/.exec(await metrics.text())?.[1];
  await t.rejects(service.start(), { message: /per_tenant_override_config: .* cannot be read$/ });
  writeFileSync(path, 'overrides: {a: {nope: 1}}');
  await t.rejects(service.start(), { message: /overrides.a.nope: unknown key/ });
  writeFileSync(path, GOOD);
  await service.start();
  t.equal(overrides.sourceOf('flat'), 'flat');
  t.equal(await isGood(), '1');
  const hash = /tempo_runtime_config_hash\{config="overrides",sha256="([0-9a-f]{64})"\} 1/;
  t.match(await metrics.text(), hash);
  writeFileSync(path, 'overrides: {b: {nope: 1}}');
  await service.reload();
  t.equal(overrides.sourceOf('flat'), 'flat', 'the last good one holds');
  t.equal(await isGood(), '0');
  t.match(lines.splice(0).join(''), /^.*level=error .*overrides.b.nope: unknown key.*\n$/);
  await service.reload();
  t.same(lines, [], 'it is told once');
  rmSync(path);
  await service.reload();
  t.equal(await isGood(), '0');
  writeFileSync(path, 'overrides: {b: {ingestion: {rate_limit_bytes: 1, burst_size_bytes: 1}}}');
  await service.reload();
  t.equal(await isGood(), '1');
  t.same([...overrides.tenants.keys()], ['b']);
  await service.stop();
});

t.test('a file for which no thread may start is read the next time', async (t) => {
  const path = join(testFolder(t), 'overrides.yaml');
  const tenants = Array.from({ length: 1000 }, (_, i) => `  t${i}: {ingestion: {rate_limit_bytes: 1}}`);
  writeFileSync(path, GOOD);
  const { overrides, metrics } = overridesOf();
  const few = new FewThreads(1);
  const service = createOverridesService({
    overrides,
    path,
    periodMs: 0,
    env: undefined,
    replicationFactor: 1,
    logger: silentLogger,
    metrics,
    startThread: few.start,
  });
  await service.start();
  writeFileSync(path, `overrides:\n${tenants.join('\n')}`);
  await service.reload();
  t.equal(overrides.tenants.size < 1000, true);
  await service.reload();
  t.equal(overrides.tenants.size, 1000);
  t.equal(few.refused, 1);
});

t.test('a large file is read beside the work', async (t) => {
  const path = join(testFolder(t), 'overrides.yaml');
  const fileOf = (count: number, key: string): string => {
    const tenants = Array.from(
      { length: count },
      (_, i) => `  t${i}: {ingestion: {${key}: 1, burst_size_bytes: ${i + 1}}}`,
    );
    return `overrides:\n${tenants.join('\n')}`;
  };
  const { overrides, metrics } = overridesOf();
  const lines: string[] = [];
  const logger = createLogger({ level: 'error', format: 'logfmt', write: (line) => void lines.push(line) });
  const env = { HOME: '/' };
  const service = createOverridesService({
    overrides,
    path,
    periodMs: 0,
    env,
    replicationFactor: 1,
    logger,
    metrics,
  });
  writeFileSync(path, fileOf(20, 'rate_limit_bytes'));
  await service.start();
  writeFileSync(path, fileOf(1500, 'rate_limit_bytes'));
  const delays = monitorEventLoopDelay({ resolution: 1 });
  delays.enable();
  await service.reload();
  delays.disable();
  t.equal(overrides.tenants.size, 1500);
  t.equal(overrides.of('t1499').ingestion.burstSizeBytes, 1500);
  // On the main thread it takes a second and more.
  t.ok(delays.max < 400e6, `the loop waited for ${delays.max / 1e6} ms`);
  let turns = 0;
  const turning = setInterval(() => void turns++, 1);
  t.match(
    await runtimeConfigText(overrides, 'diff'),
    '\n  t99:\n    ingestion:\n      burst_size_bytes: 100\n',
  );
  clearInterval(turning);
  t.ok(turns > 2, 'others have their turn while it is shown');
  writeFileSync(path, fileOf(1500, 'rate_limit'));
  await service.reload();
  t.equal(overrides.tenants.size, 1500, 'the last good one holds');
  t.match(lines.join(''), /t9.ingestion.rate_limit: unknown key; and 1490 more/);
  writeFileSync(path, fileOf(1000, 'rate_limit_bytes'));
  const late = service.reload();
  await service.stop();
  await late;
});

t.test('what may stand in place of the file', async (t) => {
  const path = join(testFolder(t), 'overrides.yaml');
  const lines: string[] = [];
  const logger = createLogger({ level: 'warn', format: 'logfmt', write: (line) => void lines.push(line) });
  const { overrides, metrics } = overridesOf();
  let asked = 0;
  const env = {
    get X(): string {
      return String(++asked);
    },
  };
  const service = createOverridesService({
    overrides,
    path,
    periodMs: 0,
    env,
    replicationFactor: 1,
    logger,
    metrics,
  });
  writeFileSync(path, GOOD);
  await service.start();
  const replaced = async (make: () => void): Promise<string> => {
    rmSync(path, { recursive: true });
    make();
    await service.reload();
    t.equal(overrides.sourceOf('flat'), 'flat', 'the last good one holds');
    return lines.at(-1) ?? '';
  };
  // Whoever opens a pipe waits for its writer, with a thread that files need.
  t.match(
    await replaced(() => void execFileSync('sh', ['-c', 'mkfifo "$0"', path])),
    /is not a regular file/,
  );
  t.match(await replaced(() => mkdirSync(path)), /is a folder/);
  t.match(await replaced(() => writeFileSync(path, ' '.repeat((8 << 20) + 1))), /8388609 bytes of at most/);
  const tenants = Array.from({ length: 12 }, (_, i) => `t${i}: {nope: 1}`);
  const bad = `overrides: {${tenants.join()}, x: "\${X}"}`;
  t.match(await replaced(() => writeFileSync(path, bad)), /t9.nope: .*; and \d+ more/);
  const askedOnce = asked;
  await service.reload();
  t.equal(asked, askedOnce, 'a bad file is not read for what it says twice');
  t.ok(askedOnce > 0);
  await replaced(() => writeFileSync(path, GOOD));
  t.match(await metrics.text(), 'tempo_runtime_config_last_reload_successful{config="overrides"} 1');
  await service.stop();
});

const EMPTY_USER_LIMITS = {
  cost_attribution: {},
  metrics_generator: { processor: { service_graphs: {}, span_metrics: {}, host_info: {} } },
};

function userSetUp(config = '', file = '', refusesConflicts = false) {
  const { overrides, metrics } = overridesOf(config, file);
  const lines: string[] = [];
  const logger = createLogger({ level: 'warn', format: 'logfmt', write: (line) => void lines.push(line) });
  const store = new MemoryStore();
  const userMetrics = createUserOverridesMetrics(metrics);
  const userOverrides = new UserOverrides({
    store,
    overrides,
    pollIntervalMs: 0,
    metrics: userMetrics,
    logger,
  });
  const app = fastify();
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  registerUserOverridesRoutes(app, {
    httpApiPrefix: '/p',
    multitenancyEnabled: true,
    userOverrides,
    overrides,
    forwarders: new Set(['f', 'g']),
    refusesConflicts,
  });
  const ask = async (method: string, body?: unknown, query = '', ifMatch: string | undefined = '0') => {
    const { statusCode, headers, payload } = await app.inject({
      method: method as 'GET',
      url: `/p/api/overrides${query}`,
      headers: {
        'x-scope-orgid': 'one',
        'content-type': 'application/json',
        ...(ifMatch === undefined ? {} : { 'if-match': ifMatch }),
      },
      ...(body === undefined ? {} : { payload: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const json = String(headers['content-type']).includes('json');
    return { status: statusCode, etag: headers['etag'], body: json ? JSON.parse(payload) : payload };
  };
  const stored = async (tenant = 'one'): Promise<unknown> =>
    JSON.parse(new TextDecoder().decode(await store.read(`overrides/${tenant}/overrides.json`)));
  return { overrides, metrics, store, userOverrides, ask, stored, lines };
}

t.test('limits that a tenant sets itself: the API', async (t) => {
  const { ask, stored, overrides, userOverrides } = userSetUp(
    'overrides: {defaults: {forwarders: [g], cost_attribution: {dimensions: {a: b}},' +
      ' metrics_generator: {processors: [service-graphs]}}}',
  );
  await userOverrides.start();
  t.match(await ask('GET'), { status: 404, body: '' });
  t.match(await ask('GET', undefined, '?scope=merged'), { status: 404 });
  const scope = 'unknown scope "x", valid options are api and merged\n';
  t.match(await ask('GET', undefined, '?scope=x'), { status: 400, body: scope });
  const first = { forwarders: ['f'], cost_attribution: { dimensions: { 'service.name': '' } } };
  t.match(await ask('POST', first, '', ''), { status: 428, body: 'must specify If-Match header\n' });
  t.match(await ask('POST', first), { status: 200, etag: '0', body: '' });
  const limits = overrides.ingestionOf('one');
  t.same(limits.forwarders, ['f'], 'it holds at once');
  t.same(limits.costAttribution.dimensions, { 'service.name': '' });
  t.same(overrides.ingestionOf('two').forwarders, ['g']);
  t.same(await stored(), { ...EMPTY_USER_LIMITS, ...first });
  const patch = {
    forwarders: null,
    metrics_generator: { collection_interval: '90s', processors: ['host-info'] },
  };
  const patched = {
    ...EMPTY_USER_LIMITS,
    cost_attribution: first.cost_attribution,
    metrics_generator: {
      processors: ['host-info'],
      collection_interval: '1m30s',
      ...EMPTY_USER_LIMITS.metrics_generator,
    },
  };
  t.match(await ask('PATCH', patch, '', undefined), { status: 200, etag: '0', body: patched });
  t.same((await ask('GET')).body, patched);
  const merged = await ask('GET', undefined, '?scope=merged');
  t.match(merged.body, {
    forwarders: ['g'],
    metrics_generator: {
      processors: ['host-info', 'service-graphs'],
      collection_interval: '1m30s',
      native_histogram_bucket_factor: 1.1,
      processor: { span_metrics: { dimensions: null, enable_instance_label: true } },
    },
  });
  const own = tenantPage(overrides, 'one', new Date(0));
  t.match(own, 'collection_interval: 1m30s');
  t.notMatch(own, 'span_metrics');
  t.match(tenantPage(overrides, 'two', new Date(0)), 'No user-configurable overrides set');
  t.match(overridesPage(overrides, new Date(0)), '>one</a></td><td></td><td>x</td>');
  t.match(await runtimeConfigText(overrides, undefined), '\n---\nuser_configurable_overrides:\n  one:\n');
  t.match(await ask('DELETE', undefined, '', ''), { status: 428 });
  t.match(await ask('DELETE'), { status: 200, body: '' });
  t.match(await ask('DELETE'), { status: 200 }, 'what is not there is deleted');
  t.match(await ask('GET'), { status: 404 });
  t.same(overrides.ingestionOf('one').forwarders, ['g']);
  t.match(await ask('PATCH', { forwarders: ['f', 'g'] }), { status: 200, body: { forwarders: ['f', 'g'] } });
  t.match(await ask('PUT', {}), { status: 405 });
});

t.test('limits that a tenant sets itself: what cannot be', async (t) => {
  const generator = (limits: unknown) => ({ metrics_generator: limits });
  const spans = (limits: unknown) => generator({ processor: { span_metrics: limits } });
  const cases: [body: unknown, text: string][] = [
    [{ forwarders: ['x'] }, 'forwarder "x" is not a known forwarder, contact your system administrator'],
    [{ nope: 1 }, 'overrides: found unknown field: nope'],
    ['{"__proto__": {}}', 'overrides: found unknown field: __proto__'],
    ['[]', 'overrides: must be an object'],
    ['', 'no valid JSON: Unexpected end of JSON input'],
    [`${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}`, 'overrides: nested more than 64 deep'],
    [{ forwarders: 'f' }, 'forwarders: must be a list'],
    [{ forwarders: [1] }, 'forwarders[0]: must be a text'],
    [
      { cost_attribution: { dimensions: { a: '__b' } } },
      "cost_attribution.dimensions config has invalid label name: '__b'",
    ],
    [
      { cost_attribution: { dimensions: { a: 'c', b: 'c' } } },
      "cost_attribution.dimensions has duplicate label name: 'c', both 'a' and 'b' map to it",
    ],
    [generator({ processors: ['nope'] }), 'metrics_generator.processor "nope" is not a known processor'],
    [
      generator({ collection_interval: '1s' }),
      'metrics_generator.collection_interval "1s" is outside acceptable range',
    ],
    [generator({ collection_interval: 5 }), 'metrics_generator.collection_interval "5ns" is outside'],
    [generator({ collection_interval: true }), 'metrics_generator.collection_interval: must be a duration'],
    [generator({ collection_interval: '5' }), 'metrics_generator.collection_interval: "5" is no duration'],
    [generator({ ingestion_time_range_slack: '20h' }), '"20h0m0s" is outside acceptable range of 0s to 12h'],
    [generator({ native_histogram_max_bucket_number: -1 }), 'must be a whole number'],
    [generator({ native_histogram_bucket_factor: 1 }), 'must be greater than 1'],
    [generator({ generate_native_histograms: 'x' }), 'generate_native_histograms "x" is not a valid value'],
    [
      generator({ trace_id_label_name: 'a b' }),
      'trace_id_label_name "a b" is not a valid Prometheus label name',
    ],
    [generator({ processor: { host_info: { metric_name: '' } } }), 'metric_name is invalid'],
    [spans({ histogram_buckets: [3, 2] }), 'must be strictly increasing: bucket[1]=2 is <= bucket[0]=3'],
    [spans({ intrinsic_dimensions: { nope: true } }), 'intrinsic dimension "nope" is not supported'],
    [spans({ filter_policies: [{}] }), 'policies must have at least an `include` or `exclude`'],
    [spans({ filter_policies: [{ include: { match_type: 'x', attributes: [] } }] }), 'invalid match type: x'],
    [spans({ dimension_mappings: [{ source_labels: ['a'] }] }), 'dimension_mappings: name cannot be empty'],
    [
      spans({ dimension_mappings: [{ name: 'n' }] }),
      'source_labels cannot be empty for mapping with name "n"',
    ],
  ];
  const { ask, store } = userSetUp();
  for (const [body, text] of cases) {
    for (const method of ['POST', 'PATCH']) {
      const answer = await ask(method, body);
      t.equal(answer.status, 400, `${method} ${JSON.stringify(body).slice(0, 100)}`);
      t.match(answer.body, text);
    }
  }
  t.same(await store.listFolders('overrides'), [], 'nothing was stored');
  t.match(
    (await ask('POST', {}, '?skip-conflicting-overrides-check=maybe')).body,
    'must be a boolean value\n',
  );
  const conflicting =
    'overrides: {one: {forwarders: [f], ingestion: {rate_limit_bytes: 1, burst_size_bytes: 1}}}';
  const other = userSetUp('', conflicting, true);
  t.match(await other.ask('POST', {}), {
    status: 400,
    body: /^tenant has conflicting overrides set in runtime/,
  });
  t.match(await other.ask('POST', {}, '?skip-conflicting-overrides-check=1'), { status: 200 });
  t.match(await other.ask('POST', {}), { status: 200 }, 'who has set something may go on');
  const joined = conflicting.replace('forwarders: [f]', 'metrics_generator: {processors: [span-metrics]}');
  t.match(await userSetUp('', joined, true).ask('POST', {}), { status: 200 }, 'processors are joined');
  t.match(await userSetUp('', '', true).ask('POST', {}), { status: 400 }, 'the defaults say something, too');
});

t.test('limits that a tenant sets itself: the bucket', async (t) => {
  const { overrides, store, userOverrides, metrics, lines } = userSetUp();
  const put = (tenant: string, text: string) =>
    store.write(`overrides/${tenant}/overrides.json`, new TextEncoder().encode(text));
  await put('one', '{"forwarders":["x"]}');
  await put('two', '{"forwarders":["y"]}');
  await userOverrides.start();
  t.same(overrides.of('one').forwarders, ['x'], 'another process has set it');
  overrides.replace(load(GOOD).tenants);
  t.match(overrides.of('one'), { forwarders: ['x'], ingestion: { rateLimitBytes: 8 } });
  await put('one', '{"forwarders":');
  await put('two', '{"forwarders":["z"]}');
  await userOverrides.poll();
  t.same(overrides.of('one').forwarders, ['x'], 'the last good one holds');
  t.same(overrides.of('two').forwarders, ['z']);
  t.match(lines.join(''), /level=error .*tenant=one err=".*overrides\/one\/overrides.json cannot be read/);
  store.listFolders = () => Promise.reject(new TempoError('unavailable', 'no answer'));
  await userOverrides.poll();
  t.same([...overrides.userLimits.keys()].toSorted(), ['one', 'two']);
  const text = await metrics.text();
  t.match(text, 'tempo_overrides_user_configurable_overrides_reload_failed_total 2\n');
  t.match(text, 'tempo_overrides_user_configurable_overrides_list_total 3\n');
  t.match(text, 'tempo_overrides_user_configurable_overrides_fetch_total{tenant="two"} 2\n');
  t.equal(await userOverrides.get('stranger'), undefined);
  t.match(await metrics.text(), 'tenant="stranger"');
  metrics.tenants.sweep(-1);
  await metrics.forgotten;
  t.notMatch(await metrics.text(), 'tenant="stranger"', 'names of strangers are forgotten as others are');
  // Changes of one tenant do not take each other back.
  const adding = (name: string) =>
    userOverrides.set('two', (before) => ({
      ...userLimitsFromPlain({}),
      forwarders: [...(before?.forwarders ?? []), name],
    }));
  await Promise.all(['a', 'b', 'c'].map(adding));
  t.same(overrides.of('two').forwarders, ['z', 'a', 'b', 'c']);
  await userOverrides.stop();
});

t.test('merge patches: the examples of RFC 7386', (t) => {
  const cases: [target: unknown, patch: unknown, want: unknown][] = [
    [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
    [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
    [{ a: 'b' }, { a: null }, {}],
    [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
    [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
    [{ a: 'c' }, { a: ['b'] }, { a: ['b'] }],
    [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
    [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
    [
      ['a', 'b'],
      ['c', 'd'],
      ['c', 'd'],
    ],
    [{ a: 'b' }, ['c'], ['c']],
    [{ a: 'foo' }, null, null],
    [{ a: 'foo' }, 'bar', 'bar'],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: 'b', c: null }, { a: 'b' }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ];
  for (const [target, patch, want] of cases) t.same(mergePatch(target, patch), want, JSON.stringify(patch));
  t.end();
});
