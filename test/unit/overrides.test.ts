// Limits of tenants: the overrides file in both forms, tenants inside the configuration, which limits hold,
// what the pages show, and a file that changes while the program runs.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { blockRetention } from '../../src/app/block-retention.ts';
import { rootBlock } from '../../src/app/config.ts';
import { createOverridesService } from '../../src/app/overrides-service.ts';
import { registerOverridesRoutes } from '../../src/app/overrides-routes.ts';
import { ConfigError } from '../../src/config/errors.ts';
import { loadConfig } from '../../src/config/load.ts';
import { Overrides } from '../../src/overrides/overrides.ts';
import { overridesPage, runtimeConfigText, tenantPage } from '../../src/overrides/pages.ts';
import { loadTenants } from '../../src/overrides/tenants.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import fastify from 'fastify';

const load = (text: string, env?: Readonly<Record<string, string>>) =>
  loadTenants({ name: 'overrides.yaml', text, env });

const configOf = (text: string) => loadConfig(rootBlock, { file: { name: 'tempo.yaml', text } });

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
  const { overrides } = overridesOf('', file);
  t.equal(blockRetention(configOf('').config, overrides)?.blockMsOf('other'), 336 * 3_600_000, 'others');
  t.end();
});

t.test('pages', async (t) => {
  const { overrides } = overridesOf(
    '',
    `${GOOD}  '<b>': {ingestion: {rate_limit_bytes: 15_000_000, burst_size_bytes: 1}}\n`,
  );
  const all = runtimeConfigText(overrides, undefined);
  t.match(all, /^GET \/status\/runtime_config\n---\ndefaults:\n {2}ingestion:\n {4}rate_strategy: local\n/);
  t.match(all, /\noverrides:\n {2}'\*':\n {4}ingestion:\n {6}rate_limit_bytes: 8\n/);
  t.match(
    all,
    '\n  flat:\n    ingestion:\n      rate_limit_bytes: 5\n      burst_size_bytes: 6\n    forwarders:\n',
  );
  const diff = runtimeConfigText(overrides, 'diff');
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
  const service = createOverridesService({ overrides, path, periodMs: 0, env: undefined, logger, metrics });
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
  t.match(lines.at(-1), /level=error .*overrides.b.nope: unknown key/);
  rmSync(path);
  await service.reload();
  t.equal(await isGood(), '0');
  writeFileSync(path, 'overrides: {b: {ingestion: {rate_limit_bytes: 1, burst_size_bytes: 1}}}');
  await service.reload();
  t.equal(await isGood(), '1');
  t.same([...overrides.tenants.keys()], ['b']);
  await service.stop();
});

t.test('what may stand in place of the file', async (t) => {
  const path = join(t.testdir(), 'overrides.yaml');
  const lines: string[] = [];
  const logger = createLogger({ level: 'warn', format: 'logfmt', write: (line) => void lines.push(line) });
  const { overrides, metrics } = overridesOf();
  let asked = 0;
  const env = {
    get X(): string {
      return String(++asked);
    },
  };
  const service = createOverridesService({ overrides, path, periodMs: 0, env, logger, metrics });
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
