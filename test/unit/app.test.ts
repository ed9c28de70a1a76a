// Command line, module graph, start and stop, the HTTP server, and the whole program with an invented host.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { freshBundle } from '../../cmd/tempo/bundle.ts';
import { httpStatusOf } from '../../src/api/errors.ts';
import { App } from '../../src/app/app.ts';
import { checkConfig } from '../../src/app/check.ts';
import { parseCommandLine, UsageError } from '../../src/app/command-line.ts';
import { rootBlock } from '../../src/app/config.ts';
import { distributorId, ratesAloneReason } from '../../src/app/wire-distributors.ts';
import { scanThreads } from '../../src/app/wire-store.ts';
import { HOSTNAME } from '../../src/config/shared-blocks.ts';
import { isInRing, startOrder, targetMissing, targetProblem } from '../../src/app/graph.ts';
import { ServerMetrics } from '../../src/app/server-metrics.ts';
import { createHttpServer } from '../../src/app/http-server.ts';
import {
  builtInConfig,
  isWithoutConfiguration,
  userFolder,
  welcomeText,
} from '../../src/app/no-arguments.ts';
import { run } from '../../src/app/run.ts';
import { loadConfig } from '../../src/config/load.ts';
import type { FlagSpec } from '../../src/config/flags.ts';
import { RetryLaterError, TempoError } from '../../src/lib/errors.ts';
import type { Service } from '../../src/lib/service.ts';
import { createLogger, silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { observeProcess } from '../../src/telemetry/process-metrics.ts';
import { FakeHost } from '../support/fake-host.ts';

const configOf = (text: string) => loadConfig(rootBlock, { file: { name: 'tempo.yaml', text } }).config;

t.test('command lines as Go reads them', (t) => {
  const flag = (name: string, type: string): FlagSpec => {
    return { name, type, path: undefined, doc: '', default: '', isList: false };
  };
  const flags = [
    flag('config.file', 'value'),
    flag('target', 'string'),
    flag('on', 'bool'),
    flag('s3.key_a', 'int'),
  ];
  const table: readonly { input: string[]; want: Record<string, string[]> | string }[] = [
    { input: [], want: {} },
    { input: ['-config.file=a=b'], want: { 'config.file': ['a=b'] } },
    { input: ['--config.file', 'a', '-target', 'all'], want: { 'config.file': ['a'], target: ['all'] } },
    { input: ['-target', '-x'], want: { target: ['-x'] } },
    { input: ['-target='], want: { target: [''] } },
    { input: ['-on', '-target=x'], want: { on: ['true'], target: ['x'] } },
    { input: ['-on=F'], want: { on: ['false'] } },
    { input: ['--on', 'true'], want: { on: ['true'] } },
    { input: ['-target=a', '-target=b'], want: { target: ['a', 'b'] } },
    { input: ['-s3.key_a=1'], want: { 's3.key_a': ['1'] } },
    { input: ['-nope'], want: 'flag provided but not defined: -nope' },
    { input: ['-traget=x'], want: 'flag provided but not defined: -traget, did you mean -target?' },
    { input: ['--target'], want: 'flag needs an argument: -target' },
    { input: ['-on=maybe'], want: 'invalid boolean value "maybe" for -on: parse error' },
    { input: ['all'], want: 'unexpected argument: all' },
    { input: ['---target=x'], want: 'bad flag syntax: ---target=x' },
    { input: ['--'], want: 'bad flag syntax: --' },
  ];
  for (const { input, want } of table) {
    const name = input.join(' ');
    if (typeof want === 'string') t.throws(() => parseCommandLine(input, flags), new UsageError(want), name);
    else t.same(Object.fromEntries(parseCommandLine(input, flags)), want, name);
  }
  t.end();
});

t.test('the module graph', (t) => {
  const order = startOrder('all');
  const read = ['querier', 'query-frontend'];
  t.same(order, ['server', 'overrides', 'store', 'ingester', ...read, 'distributor', 'compactor']);
  t.equal(targetProblem('all'), undefined);
  t.same(startOrder('backend-scheduler'), ['server', 'overrides', 'store', 'backend-scheduler']);
  const both = startOrder('backend-worker, compactor');
  t.same(both, ['server', 'overrides', 'store', 'compactor', 'backend-worker']);
  t.equal(targetProblem('backend-scheduler,backend-worker'), undefined);
  t.equal(targetMissing('backend-scheduler,backend-worker'), undefined);
  t.match(targetMissing('backend-worker,live-store'), 'target "live-store" is not available in this build');
  t.same(startOrder('distributor'), ['server', 'ring', 'overrides', 'distributor']);
  t.same(startOrder('ingester'), ['server', 'ring', 'overrides', 'store', 'ingester']);
  t.same(startOrder('write'), ['server', 'ring', 'overrides', 'store', 'ingester', 'distributor']);
  const follows = (text: string): boolean => {
    const config = configOf(text);
    return isInRing(startOrder(config.target), config);
  };
  t.equal(follows('target: distributor'), true);
  t.equal(follows('target: query-frontend'), false);
  t.equal(follows("target: 'querier,query-frontend'"), false, 'nobody says where the ring is');
  t.equal(follows('target: querier\nmemberlist: { join_members: [gossip] }'), true);
  const store = 'ingester: { lifecycler: { ring: { kvstore: { store: etcd } } } }';
  t.equal(follows(`target: querier\n${store}`), true);
  t.notOk(startOrder('all,distributor').includes('ring'), 'a single process has no rings');
  t.match(targetProblem('compactor,al'), 'unknown target "al", did you mean all?');
  const apart = ['server', 'ring', 'overrides', 'store', ...read];
  t.same(startOrder('querier,query-frontend'), apart);
  t.same(startOrder('query-frontend,querier'), apart, 'what it asks is up before it');
  const whole = startOrder('scalable-single-binary');
  const answering = ['ring', 'overrides', 'store', 'ingester', ...read];
  t.same(whole, ['server', ...answering, 'distributor', 'compactor'], 'what it answers from is up before');
  t.equal(targetMissing('query-frontend,querier'), undefined);
  t.same(startOrder('query-frontend'), ['server', 'overrides', 'query-frontend']);
  t.match(targetProblem('queryer'), 'unknown target "queryer", did you mean querier?');
  t.end();
});

t.test('services start in order, stop backwards, and tell whether they are ready', async (t) => {
  const events: string[] = [];
  let busy: string | undefined = 'replaying';
  const service = (name: string, more: Partial<Service> = {}): Service => ({
    name,
    start: async () => void events.push(`start ${name}`),
    stop: async () => void events.push(`stop ${name}`),
    ...more,
  });
  const app = new App(silentLogger);
  t.match(app.readiness(), /^Some services are not Running:/);
  t.notOk(app.isServing);
  const allStarted = (): void => void events.push('all started');
  await app.start([service('a', { allStarted }), service('b', { readiness: () => busy })]);
  t.equal(app.readiness(), 'replaying');
  t.ok(app.isServing, 'who calls a module needs no ready process');
  busy = undefined;
  t.equal(app.readiness(), undefined);
  const stopping = app.stop();
  t.equal(app.readiness(), 'Application is stopping');
  t.notOk(app.isServing, 'others are to ask somebody else');
  await stopping;
  await app.stop();
  t.same(events, ['start a', 'start b', 'all started', 'stop b', 'stop a']);

  events.length = 0;
  const failing = new App(silentLogger);
  const broken = service('b', { start: () => Promise.reject(new Error('no disk')) });
  const stubborn = service('a', { stop: () => Promise.reject(new Error('stuck')) });
  await t.rejects(failing.start([service('z'), stubborn, broken, service('c')]), /no disk/);
  t.same(events, ['start z', 'start a', 'stop z'], 'a failed stop does not keep the others from stopping');
});

t.test('the HTTP server', async (t) => {
  const state: { reason: string | undefined } = { reason: undefined };
  const metrics = new Metrics();
  const stopProbe = observeProcess(metrics, '2.10.8', 'r');
  t.teardown(stopProbe);
  const { app } = createHttpServer({
    config: configOf('').server,
    httpApiPrefix: '/tempo',
    logger: silentLogger,
    metrics,
    serverMetrics: new ServerMetrics(metrics),
    readiness: () => state.reason,
  });
  app.all('/fails/:kind', (request) => {
    const { kind } = request.params as { readonly kind: string };
    if (kind === 'later') throw new RetryLaterError('resource_exhausted', 'job queue full', 1500);
    if (kind === 'plain') throw new Error('broken');
    throw new TempoError(kind === 'tenant' ? 'unauthenticated' : 'invalid_argument', 'no org id');
  });
  app.all('/api/search/tag/*', () => 'values');
  const table = [
    { url: '/ready', status: 200, body: 'ready\n' },
    { url: '/api/search/tag/a/b/values', status: 200, body: 'values' },
    { url: '/tempo/api/echo', status: 200, body: 'echo\n' },
    { url: '/api/echo', status: 404, body: '404 page not found\n' },
    { url: '/fails/tenant', status: 401, body: 'no org id\n' },
    { url: '/fails/argument', status: 400, body: 'no org id' },
    { url: '/fails/later', status: 429, body: 'job queue full' },
    { url: '/fails/plain', status: 500, body: 'broken' },
    { url: '/%zz', status: 400, body: /not a valid url/ },
  ];
  for (const { url, status, body } of table) {
    const answer = await app.inject(url);
    t.equal(answer.statusCode, status, url);
    t.match(answer.body, body, url);
    t.match(answer.headers['content-type'], /^text\/plain/, url);
  }
  t.equal((await app.inject('/fails/later')).headers['retry-after'], '2');
  const posted = await app.inject({
    method: 'POST',
    url: '/ready',
    payload: '{',
    headers: { 'content-type': 'a/b' },
  });
  t.equal(posted.statusCode, 200, 'any verb, any body');
  state.reason = 'Application is stopping';
  const stopping = await app.inject('/ready');
  t.same([stopping.statusCode, stopping.body], [503, 'Application is stopping\n']);
  const build = (await app.inject('/tempo/api/status/buildinfo')).json<{ version: string }>();
  t.match(build.version, /^[2-9]\.\d+\.\d+$/);
  const scraped = (await app.inject('/metrics')).body;
  t.match(scraped, /^tempo_main_thread_cpu_seconds_total \d+\.\d+$/m);
  t.match(
    scraped,
    /^tempo_request_duration_seconds_count\{method="GET",route="fails_kind",status_code="500",.*\} 1$/m,
  );
  t.match(
    scraped,
    /^tempo_request_duration_seconds_count\{method="GET",route="api_search_tag_tagname_values",/m,
  );
  t.match(scraped, /^tempo_build_info\{.*version="2\.10\.8"\} 1$/m);
  await app.close();
});

t.test('statuses of errors', (t) => {
  t.equal(httpStatusOf(new TempoError('deadline_exceeded', '')), 504);
  t.equal(httpStatusOf(Object.assign(new Error(''), { statusCode: 413 })), 413);
  t.equal(httpStatusOf(Object.assign(new Error(''), { statusCode: 200 })), 500);
  t.equal(httpStatusOf('text'), 500);
  t.end();
});

const LOCAL = 'storage: {trace: {backend: local, local: {path: /b}, wal: {path: /w}}}\n';

t.test('what a readable configuration can have wrong', (t) => {
  const problems = (text: string): string[] => checkConfig(configOf(text)).problems.map(({ path }) => path);
  const warnings = (text: string): string[] => checkConfig(configOf(text)).warnings.map(({ path }) => path);
  t.same(problems(LOCAL), []);
  t.same(warnings(LOCAL), []);
  t.same(problems('storage: {trace: {backend: local}}'), ['storage.trace.local.path']);
  t.same(problems(`${LOCAL}target: nope`), ['target']);
  t.same(problems(`${LOCAL}memory: {limit: 64}`), ['memory.limit'], 'a unit is missing');
  t.same(problems(`${LOCAL}memory: {limit: 1MiB}`), []);
  t.same(problems(`${LOCAL}http_api_prefix: tempo`), ['http_api_prefix']);
  t.same(problems(`${LOCAL}http_api_prefix: /tempo/`), []);
  const missing = (text: string): string[] => checkConfig(configOf(text)).missing.map(({ path }) => path);
  t.same(missing(LOCAL), []);
  t.same(missing(''), ['storage.trace.backend']);
  t.same(problems('storage: {trace: {backend: s3}}'), ['storage.trace.s3.bucket']);
  t.same(problems('storage: {trace: {backend: gcs}}'), ['storage.trace.gcs.bucket_name']);
  t.same(problems('storage: {trace: {backend: azure}}'), ['storage.trace.azure.container_name']);
  t.same(missing(`${LOCAL}target: live-store`), ['target']);
  t.same(problems(`${LOCAL}target: querier`), ['querier.frontend_worker.frontend_address']);
  const consul = 'ring: {kvstore: {store: consul}}';
  const inConsul = `${LOCAL}ingester: {lifecycler: {${consul}}}\ncompactor: {${consul}}\n`;
  const ofCompactor = 'compactor.ring.kvstore.store';
  const ofIngester = 'ingester.lifecycler.ring.kvstore.store';
  t.same(problems(inConsul), [], 'a single process');
  t.same(problems(`${inConsul}target: compactor`), [ofCompactor]);
  t.same(problems(`${inConsul}target: distributor`), [ofIngester]);
  t.same(problems(`${inConsul}target: 'ingester,compactor'`), [ofIngester, ofCompactor]);
  t.same(problems(`${inConsul}target: query-frontend`), []);
  const neverChecked = `${LOCAL}ingester_client: {pool_config: {checkinterval: 0s}}\n`;
  t.same(problems(neverChecked), []);
  t.same(problems(`${neverChecked}target: distributor`), ['ingester_client.pool_config.checkinterval']);
  const worker = `target: backend-worker\nbackend_worker: {backend_scheduler_addr: 'a:1', ${consul}}`;
  t.same(problems(LOCAL + worker), ['backend_worker.ring.kvstore.store']);
  t.same(problems(`${LOCAL}target: 'querier,query-frontend'`), []);
  t.same(problems(`${LOCAL}query_frontend: {trace_by_id: {query_shards: 1}, max_batch_size: 0}`), [
    'query_frontend.max_batch_size',
    'query_frontend.trace_by_id.query_shards',
  ]);
  t.same(problems(`${LOCAL}query_frontend: {search: {query_backend_after: 1h}}`), [
    'query_frontend.search.query_backend_after',
  ]);
  t.same(problems(`${LOCAL}query_frontend: {url_deny_list: [ok.*, '(']}`), ['query_frontend.url_deny_list']);
  t.same(warnings(`${LOCAL}ingester: {complete_block_timeout: 1m}\ndistributor: {receivers: {zipkin: }}`), [
    'ingester.complete_block_timeout',
    'distributor.receivers.zipkin',
  ]);
  for (const endpoint of ['127.0.0.1', 'http://127.0.0.1:4317', ':99999']) {
    const otlp = `otlp: {protocols: {http: , grpc: {endpoint: '${endpoint}'}}}`;
    t.same(
      problems(`${LOCAL}distributor: {receivers: {${otlp}}}`),
      ['distributor.receivers.otlp.protocols.grpc.endpoint'],
      endpoint,
    );
  }
  t.same(problems(`${LOCAL}query_frontend: {query_end_cutoff: 20m}`), ['query_frontend.query_end_cutoff']);
  const block = (text: string) => LOCAL.replace('{trace: {', `{trace: {block: {${text}}, `);
  t.same(problems(block('bloom_filter_false_positive: 0, bloom_filter_shard_size_bytes: 0')), [
    'storage.trace.block.bloom_filter_false_positive',
    'storage.trace.block.bloom_filter_shard_size_bytes',
  ]);
  t.same(problems(LOCAL.replace('{trace: {', '{trace: {blocklist_poll: 0s, ')), [
    'storage.trace.blocklist_poll',
  ]);
  const columns = (...names: string[]) =>
    block(`parquet_dedicated_columns: [${names.map((name) => `{scope: span, name: ${name}}`).join()}]`);
  const path = 'storage.trace.block.parquet_dedicated_columns';
  t.same(problems(columns('a', 'b', 'a', "''")), [path, path]);
  t.same(
    warnings(columns(...'a b c d e f g h i j k l'.split(' '))),
    [path],
    'one for both that are too many',
  );
  const listOf = (format: string, list: string) =>
    block(`version: ${format}, parquet_dedicated_columns: [${list}]`);
  const strings = (count: number, scope: string) =>
    Array.from({ length: count }, (_, i) => `{scope: ${scope}, name: a${i}}`).join();
  const int = '{scope: span, name: n, type: int}';
  const event = '{scope: event, name: e}';
  const blob = '{scope: span, name: b, options: [blob]}';
  const usual = '{scope: span, name: http.status_code, type: int}';
  const invisible = /more than 10 span string columns: Tempo 2.10 does not see .*, its compactor crashes/;
  const cases: readonly (readonly [string, string, readonly RegExp[]])[] = [
    ['vParquet5', strings(10, 'span'), []],
    ['vParquet5', strings(11, 'span'), [invisible]],
    ['vParquet5', `${strings(10, 'span')},${strings(10, 'event')}`, []],
    ['vParquet5', strings(21, 'span'), [invisible, /more than 20 span string columns/]],
    ['vParquet5', [int, event, blob].join(), []],
    ['vParquet4', [usual, '{scope: span, name: x}'].join(), []],
    ['vParquet4', int, [/need block.version: vParquet5 \(span.n\)/]],
    ['vParquet4', [usual, event, blob].join(), [/vParquet5 \(event.e, span.b\)/]],
  ];
  for (const [format, list, want] of cases) {
    const { warnings: found } = checkConfig(configOf(listOf(format, list)));
    t.equal(found.length, want.length, `${format} ${list}`);
    want.forEach((text, i) => t.match(found[i]?.text, text));
  }
  const ofTenant = `${LOCAL}overrides: {defaults: {storage: {parquet_dedicated_columns: [${event}]}}}`;
  t.same(warnings(ofTenant), ['overrides.defaults.storage.parquet_dedicated_columns']);
  t.end();
});

t.test('settings that work and will hurt: what Tempo warns of', (t) => {
  const table: readonly { input: string; want: string[] }[] = [
    { input: 'storage: {trace: {blocklist_poll: 20m}}', want: ['ingester.complete_block_timeout'] },
    {
      input: 'storage: {trace: {blocklist_poll: 40m}}',
      want: ['ingester.complete_block_timeout', 'backend_scheduler.work.prune_age'],
    },
    {
      input: 'compactor: {compaction: {block_retention: 1m, retention_concurrency: 0}}',
      want: ['compactor.compaction.block_retention', 'compactor.compaction.retention_concurrency'],
    },
    {
      input:
        'compactor: {compaction: {v2_in_buffer_bytes: 1, v2_out_buffer_bytes: 1, ' +
        'v2_prefetch_traces_count: 1}}',
      want: ['v2_in_buffer_bytes', 'v2_out_buffer_bytes', 'v2_prefetch_traces_count'].map(
        (key) => `compactor.compaction.${key}`,
      ),
    },
    {
      input: 'storage: {trace: {block: {v2_index_downsample_bytes: 1, v2_index_page_size_bytes: 1}}}',
      want: ['v2_index_downsample_bytes', 'v2_index_page_size_bytes'].map(
        (key) => `storage.trace.block.${key}`,
      ),
    },
    {
      input:
        'storage: {trace: {blocklist_poll_concurrency: 0, cache: redis, redis: {endpoint: r}, ' +
        's3: {native_aws_auth_enabled: true}, empty_tenant_deletion_enabled: true}}',
      want: [
        'blocklist_poll_concurrency',
        'empty_tenant_deletion_age',
        's3.native_aws_auth_enabled',
        'cache',
      ].map((key) => `storage.trace.${key}`),
    },
    { input: 'storage: {trace: {cache: none}}', want: ['storage.trace.cache'] },
    {
      input:
        'storage: {trace: {backend: local, local: {path: /b}}}\n' +
        'cache: {caches: [{roles: [bloom], memcached: {host: m}}]}',
      want: ['cache.caches'],
    },
    {
      input:
        'storage: {trace: {backend: local, local: {path: /b}}}\n' +
        'cache: {caches: [{roles: [frontend-search], memcached: {host: m}}]}',
      want: [],
    },
    {
      input: 'target: querier\nstorage: {trace: {backend: local, local: {path: /b}}}',
      want: ['storage.trace.backend'],
    },
    {
      input: 'distributor: {log_received_spans: {enabled: true}, log_discarded_spans: {enabled: true}}',
      want: ['distributor.log_received_spans', 'distributor.log_discarded_spans'],
    },
    {
      input: 'query_frontend: {mcp_server: {enabled: true}}',
      want: ['query_frontend.mcp_server', 'query_frontend.mcp_server'],
    },
    {
      input: 'query_frontend: {trace_by_id: {concurrent_shards: 51}}',
      want: ['query_frontend.trace_by_id.concurrent_shards'],
    },
    {
      input: 'query_frontend: {trace_by_id: {hedge_requests_at: 2s}}',
      want: ['query_frontend.trace_by_id.hedge_requests_at'],
    },
    { input: 'target: query-frontend\nquery_frontend: {search: {hedge_requests_at: 2s}}', want: [] },
    {
      input:
        'target: query-frontend\n' +
        'query_frontend: {metrics: {hedge_requests_at: 2s, hedge_requests_up_to: 1}}',
      want: ['query_frontend.metrics.hedge_requests_at'],
    },
    {
      input: 'target: distributor\nquery_frontend: {search: {hedge_requests_at: 2s}}',
      want: ['memberlist.join_members'],
    },
    { input: 'block_builder: {wal: {version: vParquet5}}', want: ['block_builder.wal.version'] },
    {
      input: 'block_builder: {assigned_partitions: {a: [1]}, partitions_per_instance: 2}',
      want: ['block_builder.partitions_per_instance'],
    },
    {
      input:
        'storage: {trace: {backend: s3, s3: {bucket: b}}}\n' +
        'overrides: {user_configurable_overrides: {enabled: true, client: {backend: s3, s3: {bucket: b}}}}',
      want: ['overrides.user_configurable_overrides.client'],
    },
    {
      input: 'storage: {trace: {backend: local, local: {path: /b}, block: {value_filter_max_bytes: 10}}}',
      want: ['storage.trace.block.value_filter_max_bytes'],
    },
    { input: 'storage: {trace: {backend: local, block: {value_filter_max_bytes: 0}}}', want: [] },
    { input: 'live_store: {complete_block_timeout: 1h}', want: [] },
    { input: 'live_store: {complete_block_timeout: 2h}', want: ['live_store'] },
    {
      input: 'overrides: {defaults: {ingestion: {burst_size_bytes: 0}}}',
      want: ['overrides.defaults.ingestion.burst_size_bytes'],
    },
  ];
  for (const { input, want } of table) {
    const { warnings } = checkConfig(configOf(input));
    t.same(
      warnings.map(({ path }) => path),
      want,
      input,
    );
  }
  t.end();
});

t.test('a memory budget that large answers may exceed', (t) => {
  const MIB = 1024 ** 2;
  const told = (input: string, mib: number, from = 'memory.limit'): string[] =>
    checkConfig(configOf(LOCAL + input), { bytes: mib * MIB, from })
      .warnings.filter(({ path }) => path === 'memory.limit')
      .map(({ text }) => text);
  t.same(told('', 400), [
    'is 400MiB: large answers, which have 24MiB of it, may take more than all: give it 700MiB, or lower ' +
      'query_frontend.search.max_result_limit (262144) and max_spans_per_span_set (100)',
  ]);
  t.match(told('', 699, 'the limit of the cgroup')[0], /^is 699MiB by the limit of the cgroup: large/);
  t.same(told('', 700), []);
  const limits = (limit: number, spans: number): string =>
    `query_frontend: {search: {max_result_limit: ${limit}, max_spans_per_span_set: ${spans}}}\n`;
  t.same(told(limits(1000, 100), 400), [], 'no answer is so large');
  t.equal(told(limits(1500, 100), 400).length, 1);
  t.equal(told(limits(0, 1), 400).length, 1);
  t.equal(told(limits(1, 0), 400).length, 1);
  t.same(told('target: distributor', 400), [], 'which answers nothing');
  t.same(told('target: ingester', 400), [], 'which has no part of it for answers');
  t.equal(told('target: querier', 400).length, 1);
  t.equal(told('target: query-frontend', 400).length, 1);
  t.end();
});

t.test('threads that scan: one a core, as far as memory goes', (t) => {
  const GIB = 1024 ** 3;
  t.equal(scanThreads(0.1 * GIB, 8), 1);
  t.equal(scanThreads(0.35 * GIB, 8), 2);
  t.equal(scanThreads(2 * GIB, 1), 2);
  t.equal(scanThreads(2 * GIB, 8), 8);
  t.equal(scanThreads(2 * GIB, 64), 12);
  t.end();
});

t.test('features that are asked for and not there yet', (t) => {
  const table = [
    { input: 'metrics_generator: {storage: {path: /g}}', want: 'metrics_generator' },
    {
      input: 'overrides: {defaults: {metrics_generator: {processors: [span-metrics]}}}',
      want: 'metrics_generator',
    },
    { input: 'ingest: {enabled: true}', want: 'ingest' },
    { input: 'distributor: {kafka_write_path_enabled: true}', want: 'ingest' },
    { input: 'distributor: {receivers: {kafka: }}', want: 'distributor.receivers.kafka' },
  ];
  for (const { input, want } of table) {
    const [warning, ...more] = checkConfig(configOf(input)).warnings;
    t.equal(warning?.path, want, input);
    t.match(warning?.text, /^is not available in this build yet: /);
    t.same(more, []);
  }
  t.end();
});

t.test('without configuration: a laptop', async (t) => {
  t.ok(isWithoutConfiguration([]));
  t.ok(isWithoutConfiguration(['log.level', 'server.http-listen-port']));
  for (const flag of ['config.file', 'target', 'storage.trace.backend']) {
    t.notOk(isWithoutConfiguration(['log.level', flag]), flag);
  }
  const table = [
    { platform: 'linux', env: { HOME: '/h/a' }, want: '/h/a/.local/share/tempo' },
    { platform: 'linux', env: { HOME: '/h/a', XDG_DATA_HOME: '/data' }, want: '/data/tempo' },
    {
      platform: 'linux',
      env: { HOME: '/h/a', XDG_DATA_HOME: 'data' },
      want: '/h/a/.local/share/tempo',
    },
    { platform: 'darwin', env: { HOME: '/u/a' }, want: '/u/a/Library/Application Support/tempo' },
    { platform: 'win32', env: { LOCALAPPDATA: 'C:\\a b' }, want: 'C:\\a b\\tempo' },
  ] as const;
  for (const { platform, env, want } of table) t.equal(userFolder({ platform, env }), want);
  const config = configOf(builtInConfig('/data/a "b"'));
  const { grpc, http } = config.distributor.receivers.otlp?.protocols ?? {};
  t.same([grpc?.endpoint, http?.endpoint], ['127.0.0.1:4317', '127.0.0.1:4318']);
  t.same([config.server.httpListenAddress, config.server.grpcListenAddress], ['127.0.0.1', '127.0.0.1']);
  const { local, wal } = config.storage.trace;
  t.same([local.path, wal.path], ['/data/a "b"/blocks', '/data/a "b"/wal']);
  t.equal(local.maxBytes, 10 * 2 ** 30);
  const welcome = welcomeText(config, '/data/a');
  t.match(welcome, 'OTLP over gRPC to 127.0.0.1:4317, over HTTP to http://127.0.0.1:4318/v1/traces\n');
  t.match(welcome, 'http://127.0.0.1:3200/');
  t.match(welcome, 'in /data/a, the oldest is deleted above 10GiB\n');
  const host = new FakeHost(['-config.verify=strict'], { HOME: temporaryFolder(t) });
  t.equal(await run(host), 0, host.stderr);
});

t.test('shards need an ingester for each copy', (t) => {
  const ring = 'ingester: { lifecycler: { ring: { replication_factor: 3 } } }\n';
  const problems = (text: string): string[] =>
    checkConfig(configOf(`storage: {trace: {backend: local, local: {path: /b}, wal: {path: /w}}}\n${text}`))
      .problems.filter(({ path }) => path.endsWith('tenant_shard_size'))
      .map(({ path, text }) => `${path} ${text}`);
  const ofDefaults = 'overrides: { defaults: { ingestion: { tenant_shard_size: 2 } } }\n';
  t.same(problems(ofDefaults), []);
  t.same(problems(ring + ofDefaults), [
    'overrides.defaults.ingestion.tenant_shard_size is 2, fewer ingesters than the replication factor (3)',
  ]);
  t.end();
});

t.test('replicas on local disks are told of', (t) => {
  const warned = (target: string): boolean =>
    checkConfig(configOf(`target: ${target}\nstorage: {trace: {backend: local}}`)).warnings.some(
      ({ path, text }) => path === 'storage.trace.backend' && text.startsWith('is local: '),
    );
  t.notOk(warned('all'));
  t.ok(warned('scalable-single-binary'));
  t.ok(warned('ingester'));
  t.end();
});

t.test('rings that would not do what they are for are told of', (t) => {
  const told = (text: string): string[] =>
    checkConfig(configOf(text))
      .warnings.filter(({ path }) => /memberlist|heartbeat|rate_strategy|lookback/.test(path))
      .map(({ path }) => path);
  const join = 'memberlist: { join_members: [one] }\n';
  const nobody = ['memberlist.join_members'];
  const gossip = 'kvstore: { store: memberlist }';
  const strategy = 'overrides.defaults.ingestion.rate_strategy';
  const isGlobal = 'overrides: { defaults: { ingestion: { rate_strategy: global } } }\n';
  const ofCompactors = `compactor: { ring: { ${gossip} } }\n`;
  const ofWorkers = `backend_worker: { ring: { ${gossip} } }\n`;
  const inEtcd = (store: string): string =>
    `ingester: { lifecycler: { ring: { kvstore: { store: ${store}, etcd: { endpoints: ['e:1'] } } } } }\n`;
  const lookback = 'querier.shuffle_sharding_ingesters_lookback_period';
  const sharded = (period: string): string =>
    `querier: { shuffle_sharding_ingesters_enabled: true, ${lookback.slice(8)}: ${period} }\n`;
  const table: readonly (readonly [text: string, want: readonly string[]])[] = [
    ['target: all', []],
    ['target: ingester', nobody],
    ['target: scalable-single-binary', nobody],
    [`${join}target: distributor`, []],
    [`${ofCompactors}target: compactor`, nobody],
    [`${ofCompactors}${join}target: compactor`, []],
    [`${ofWorkers}target: backend-worker`, nobody],
    [`${join}${isGlobal}target: distributor`, []],
    [`${isGlobal}target: distributor`, [...nobody, strategy]],
    [`${isGlobal}${inEtcd('etcd')}target: distributor`, [...nobody, strategy]],
    [`${isGlobal}target: all`, []],
    [
      `${join}${isGlobal}target: distributor\ndistributor: { ring: { kvstore: { store: inmemory } } }`,
      [strategy],
    ],
    [`${join}target: distributor\ndistributor: { ring: { kvstore: { store: inmemory } } }`, []],
    [`${join}${isGlobal}target: ingester\ndistributor: { ring: { kvstore: { store: inmemory } } }`, []],
    [`${join}${isGlobal}target: distributor\ndistributor: { ring: { kvstore: { store: etcd } } }`, []],
    [
      `${isGlobal}${inEtcd('etcd')}target: distributor\ndistributor: { ring: { kvstore: { store: etcd } } }`,
      [],
    ],
    [
      `${join}ingester: { lifecycler: { heartbeat_period: 6m } }\ntarget: ingester`,
      ['ingester.lifecycler.heartbeat_period'],
    ],
    [`${join}ingester: { lifecycler: { heartbeat_period: 6m } }\ntarget: all`, []],
    [`${join}${sharded('34m')}target: querier`, [lookback]],
    [`${join}${sharded('35m')}target: querier`, []],
    [`${join}${sharded('1m')}target: ingester`, []],
    [`${sharded('1m')}target: all`, []],
    [`${join}querier: { ${lookback.slice(8)}: 1m }\ntarget: querier`, []],
    [
      `${join}target: compactor\ncompactor: { ring: { ${gossip}, heartbeat_period: 1m } }`,
      ['compactor.ring.heartbeat_period'],
    ],
  ];
  for (const [text, want] of table) t.same(told(text), want, text);
  const apart = (text: string) => configOf(`${join}${isGlobal}target: distributor\n${text}`);
  const inMemory = apart('distributor: { ring: { kvstore: { store: inmemory } } }');
  t.equal(ratesAloneReason(inMemory), 'distributor.ring.kvstore.store is inmemory');
  t.equal(
    ratesAloneReason({ ...apart(''), memberlist: configOf('').memberlist }),
    'memberlist.join_members names nobody',
  );
  const idOf = (text: string): string => distributorId(configOf(text));
  t.equal(idOf('target: distributor'), HOSTNAME, 'a host for itself');
  t.equal(idOf('target: distributor\nserver: { grpc_listen_port: 9100 }'), `${HOSTNAME}-9100`);
  t.equal(idOf('target: distributor\ndistributor: { ring: { instance_id: d } }'), 'd');
  const named = 'ingester: { lifecycler: { id: replica-2 } }\n';
  t.equal(idOf(`${named}target: scalable-single-binary`), 'replica-2', 'that of the ingester beside it');
  t.equal(idOf(`${named}target: distributor`), HOSTNAME, 'and of none elsewhere');
  t.end();
});

t.test('the file of limits is verified too', async (t) => {
  const folder = temporaryFolder(t);
  const limits = join(folder, 'limits.yaml');
  const file = configFile(folder, `overrides: { per_tenant_override_config: ${limits} }`);
  const verify = async (): Promise<readonly [number, string]> => {
    const host = new FakeHost([`-config.file=${file}`, '-config.verify']);
    return [await run(host), host.stderr];
  };
  const [missing, why] = await verify();
  t.equal(missing, 1);
  t.match(why, /^error: overrides\.per_tenant_override_config: cannot be read: ENOENT/);
  writeFileSync(limits, 'overrides: { team: { ingestion: { rate_limit_bytes: x } } }');
  const [broken, text] = await verify();
  t.equal(broken, 1);
  t.match(text, /^error: .*rate_limit_bytes/);
  writeFileSync(limits, 'overrides: { team: { ingestion: { rate_limit_bytes: 5, burst_size_bytes: 5 } } }');
  t.same(await verify(), [0, '']);
});

/** A configuration file that listens on free loopback ports and writes below the folder. */
function configFile(folder: string, more = '', httpPort = 0): string {
  const path = join(folder, 'tempo.yaml');
  const text = `server: {http_listen_address: 127.0.0.1, http_listen_port: ${httpPort},
  grpc_listen_address: 127.0.0.1, grpc_listen_port: 0}
distributor: {receivers: {otlp: {protocols: {grpc: {endpoint: '127.0.0.1:0'}}}}}
storage: {trace: {backend: local, local: {path: ${folder}/blocks}, wal: {path: ${folder}/wal}}}
${more}`;
  writeFileSync(path, text);
  return path;
}

function temporaryFolder(t: Tap): string {
  const folder = mkdtempSync(join(tmpdir(), 'tempo-app-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  return folder;
}

type Tap = { teardown(action: () => void): void };

t.test('ends without starting', async (t) => {
  const folder = temporaryFolder(t);
  const good = configFile(folder);
  const usage = new FakeHost(['-nope']);
  t.equal(await run(usage), 2);
  t.match(usage.stderr, /^flag provided but not defined: -nope\nUsage of tempo:\n/);
  t.match(usage.stderr, /\n\nflag provided but not defined: -nope\n$/, 'again where the screen ends');
  const unexpanded = new FakeHost([`-config.file=${configFile(folder, 'shutdown_delay: ${DELAY:-1s}')}`]);
  t.equal(await run(unexpanded), 1);
  t.match(unexpanded.stderr, /shutdown_delay: .* is no duration.*\n.* -config\.expand-env=true\n$/);
  configFile(folder);
  const version = new FakeHost(['--version']);
  t.equal(await run(version), 0);
  t.match(version.stdout, /^tempo, version \d/);
  const help = new FakeHost(['-h']);
  t.equal(await run(help), 0);
  t.match(help.stdout, /-server\.http-listen-port int\n\s+.*\(default 3200\)/);
  t.equal(await run(new FakeHost([`-config.file=${good}`, '-config.verify'])), 0);
  const table = [
    {
      args: [`-config.file=${good}`, '-config.verify=true', '-distributor.log-received-spans.enabled'],
      code: 0,
      want: /^warning: distributor\.log_received_spans: /,
    },
    {
      args: [`-config.file=${good}`, '-config.verify=strict', '-distributor.log-received-spans.enabled'],
      code: 1,
      want: /^warning: distributor\.log_received_spans: /,
    },
    {
      args: [`-config.file=${good}`, '-config.verify=maybe'],
      code: 2,
      want: /^invalid boolean value "maybe" for -config\.verify: parse error\n/,
      lines: undefined,
    },
    {
      args: ['-config.file=/nowhere.yaml'],
      code: 1,
      want: /^failed parsing config: \/nowhere\.yaml: cannot be read/,
    },
    { args: [`-config.file=${good}`, '-server.http-listen-port=x'], code: 2, want: /needs a whole number/ },
    {
      args: [`-config.file=${good}`, '-target=live-store'],
      code: 1,
      want: / msg="error running Tempo" err="target .* is not available in this build yet/,
      lines: undefined,
    },
    {
      args: ['-target=all'],
      code: 1,
      want: / level=error msg="error running Tempo" err="failed to create store: unknown backend \\"\\"/,
    },
  ];
  for (const { args, code, want, ...rest } of table) {
    const host = new FakeHost(args);
    t.equal(await run(host), code, args.join(' '));
    t.match(host.stderr, want);
    if (!('lines' in rest)) t.equal(host.stderr.trimEnd().split('\n').length, 1, 'one line');
  }
});

t.test('compiled code is kept beside the dependencies', (t) => {
  const env: NodeJS.ProcessEnv = { ...process.env, NODE_DEBUG_NATIVE: 'COMPILE_CACHE' };
  delete env['NODE_COMPILE_CACHE'];
  const { stderr } = spawnSync(process.execPath, ['cmd/tempo/main.ts', '-version'], {
    env,
    encoding: 'utf8',
  });
  t.match(stderr, /node_modules\/\.cache\/tempo\//);
  const isBundled = freshBundle(process.cwd()) !== undefined;
  t.match(stderr, isBundled ? /cache for .*tempo-bundle\/app\/run\.mjs/ : /cache for .*src\/app\/run\.ts/);
  t.match(stderr, /cache for .*cmd\/tempo\/main\.ts/, 'also of what is read before the cache is on');
  t.end();
});

t.test('starts, answers, stops at a signal', async (t) => {
  const folder = temporaryFolder(t);
  const host = new FakeHost([`-config.file=${configFile(folder)}`]);
  const started = host.prints('Tempo started');
  const begin = process.cpuUsage();
  const ended = run(host);
  await Promise.race([started, ended]);
  // Of all threads: the time by the clock says more about the machine.
  const { user, system } = process.cpuUsage(begin);
  const cpuMs = Math.round((user + system) / 1000);
  t.ok(cpuMs < 1500, `started with ${cpuMs} ms of CPU`);
  const port = /msg="server listens" address=127\.0\.0\.1 port=(\d+)/.exec(host.stderr)?.[1];
  const ready = await fetch(`http://127.0.0.1:${port}/ready`);
  t.same([ready.status, await ready.text()], [200, 'ready\n']);
  host.signal('SIGTERM');
  host.signal('SIGTERM');
  t.same(host.exits, [], 'npm passes on what came to it too');
  t.equal(await ended, 0);
  t.same(host.exits, []);
  t.match(host.stderr, /msg="Tempo stopped"/);
  await pause(1000);
  host.signal('SIGTERM');
  t.same(host.exits, [1], 'a second signal ends at once');
});

t.test('cannot start: one line that names what is in the way', async (t) => {
  const folder = temporaryFolder(t);
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  const { port } = taken.address() as AddressInfo;
  const host = new FakeHost([`-config.file=${configFile(folder, '', port)}`, '-log.level=error']);
  t.equal(await run(host), 1);
  const why = `cannot listen on 127.0.0.1:${port}: address already in use`;
  t.match(host.stderr, / level=error msg="error running Tempo" /);
  t.ok(host.stderr.endsWith(` err="${why}"\n`), host.stderr);
  t.equal(host.stderr.split('\n').length, 2, 'one line');
  await new Promise((resolve) => taken.close(resolve));

  const noFolder = new FakeHost([
    `-config.file=${configFile(folder)}`,
    '-storage.trace.wal.path=/dev/null/wal',
    '-log.level=error',
  ]);
  t.equal(await run(noFolder), 1);
  t.match(noFolder.stderr, / msg="error running Tempo" err=.*\/dev\/null/);
  t.equal(noFolder.stderr.trimEnd().split('\n').length, 1, noFolder.stderr);

  const noBlocks = new FakeHost([
    `-config.file=${configFile(folder)}`,
    '-storage.trace.local.path=/dev/null/blocks',
    '-log.level=error',
  ]);
  t.equal(await run(noBlocks), 1);
  t.match(
    noBlocks.stderr,
    / msg="error running Tempo" err="folder of blocks \/dev\/null\/blocks cannot be written: /,
  );
  t.equal(noBlocks.stderr.trimEnd().split('\n').length, 1, noBlocks.stderr);
});

t.test('log lines', (t) => {
  const lines: string[] = [];
  const now = (): Date => new Date(0);
  const logger = createLogger({ level: 'info', format: 'logfmt', write: (line) => lines.push(line), now });
  logger.debug('not this');
  logger.child({ module: 'm' }).info('two words', { a: 'x=y', n: 5, err: new Error('no') });
  t.same(lines, ['ts=1970-01-01T00:00:00.000Z level=info msg="two words" module=m a="x=y" n=5 err=no\n']);
  t.end();
});
