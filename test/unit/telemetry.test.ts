// The registry: what scrapers are given, in which format, and that a scrape of many tenants holds up nothing.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import fastify from 'fastify';
import t from 'tap';
import { registerMetricsRoute } from '../../src/app/metrics-route.ts';
import { exponentialBuckets } from '../../src/lib/exponential-buckets.ts';
import { LiveTraces } from '../../src/block/head/live-traces.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';

function aRegistry(): Metrics {
  const metrics = new Metrics();
  metrics.counter('pushes_total', 'All\npushes, "all" \\ of them').inc(3);
  metrics.counter('accepted', 'Without the ending', ['tenant']).inc({ tenant: 'a"b\\c\nd' }, 2);
  metrics.gauge('live', 'Now').set(Number.NaN);
  metrics.histogram('queries', 'Seconds', [0.00005, 0.5, 1, 2 ** 20], ['op']).observe({ op: 'search' }, 0.7);
  metrics.counter('queries_total', 'Beside the histogram').inc();
  return metrics;
}

t.test('text format: escapes, numbers and bounds as Go writes them', async (t) => {
  t.equal(
    await aRegistry().text(),
    `# HELP pushes_total All\\npushes, "all" \\\\ of them
# TYPE pushes_total counter
pushes_total 3
# HELP accepted Without the ending
# TYPE accepted counter
accepted{tenant="a\\"b\\\\c\\nd"} 2
# HELP live Now
# TYPE live gauge
live NaN
# HELP queries Seconds
# TYPE queries histogram
queries_bucket{le="5e-05",op="search"} 0
queries_bucket{le="0.5",op="search"} 0
queries_bucket{le="1",op="search"} 1
queries_bucket{le="1.048576e+06",op="search"} 1
queries_bucket{le="+Inf",op="search"} 1
queries_sum{op="search"} 0.7
queries_count{op="search"} 1
# HELP queries_total Beside the histogram
# TYPE queries_total counter
queries_total 1
`,
  );
});

t.test('OpenMetrics: sample names stay, families are what the format wants', async (t) => {
  const text = await aRegistry().text('openmetrics');
  t.match(
    text,
    /^# HELP pushes All\\npushes, \\"all\\" \\\\ of them\n# TYPE pushes counter\npushes_total 3$/m,
  );
  t.match(text, /^# TYPE accepted unknown\naccepted\{/m, 'no ending is added');
  t.match(text, /^# TYPE queries_total unknown\nqueries_total 1$/m, 'the family has the name of another');
  t.match(text, /^queries_bucket\{le="1\.0",op="search"\} 1$/m);
  t.match(text, /^queries_bucket\{le="1\.048576e\+06",op="search"\} 1$/m);
  t.ok(text.endsWith('\n# EOF\n'));
});

t.test('GET /metrics: format by Accept, gzip when asked for', async (t) => {
  const metrics = aRegistry();
  const many = metrics.gauge('many', 'So that compressing pays', ['i']);
  for (let i = 0; i < 100; i++) many.set({ i }, i);
  const app = fastify();
  t.teardown(() => app.close());
  registerMetricsRoute(app, '/metrics', (format) => metrics.bytes(format));
  const text = 'text/plain; version=0.0.4; charset=utf-8';
  const open = 'application/openmetrics-text; version=1.0.0; charset=utf-8';
  const prometheus2 =
    'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,' +
    'text/plain;version=0.0.4;q=0.5,*/*;q=0.1';
  const cases = [
    { name: 'nothing said', accept: undefined, want: text },
    { name: 'anything', accept: '*/*', want: text },
    { name: 'Prometheus 2', accept: prometheus2, want: open },
    { name: 'text preferred', accept: 'text/plain, application/openmetrics-text;q=0.9', want: text },
    { name: 'without a version', accept: 'application/openmetrics-text', want: open },
    { name: 'a later version', accept: 'application/openmetrics-text;version=2.0.0', want: text },
    { name: 'protobuf first', accept: `application/vnd.google.protobuf,${prometheus2}`, want: open },
    { name: 'a browser', accept: 'text/html,application/xml;q=0.9,*/*;q=0.8', want: text },
    { name: 'refused', accept: 'application/openmetrics-text;q=0,text/plain;q=x', want: text },
  ];
  for (const { name, accept, want } of cases) {
    const answer = await app.inject({ url: '/metrics', headers: accept === undefined ? {} : { accept } });
    t.equal(answer.headers['content-type'], want, name);
    t.equal(answer.body.endsWith('# EOF\n'), want === open, name);
  }
  const zipped = await app.inject({ url: '/metrics', headers: { 'accept-encoding': 'br, gzip;q=0.5' } });
  t.equal(zipped.headers['content-encoding'], 'gzip');
  t.equal(gunzipSync(zipped.rawPayload).toString(), await metrics.text());
  const refused = await app.inject({ url: '/metrics', headers: { 'accept-encoding': 'gzip;q=0' } });
  t.equal(refused.headers['content-encoding'], undefined);
});

t.test('a histogram of counts shows what was added, as others do', async (t) => {
  const bounds = [300, 1800];
  const metrics = new Metrics();
  const counted = metrics.countedHistogram('distance', 'Seconds', bounds, 'tenant');
  const usual = new Metrics();
  const one = usual.histogram('distance', 'Seconds', bounds, ['tenant']);
  for (const value of [0, 300, 301, 5000, 1800]) one.observe({ tenant: 'a' }, value);
  counted.add('a', Float64Array.of(1, 1, 1, 301));
  counted.add('a', Float64Array.of(1, 1, 0, 7100));
  const inOneOrder = (text: string): string =>
    text.replaceAll(/\{tenant="a",(le=[^}]*)\}/g, '{$1,tenant="a"}');
  t.equal(inOneOrder(await metrics.text()), await usual.text());
  counted.remove('a');
  t.notMatch(await metrics.text(), /tenant/);
  metrics.countedHistogram('batch', 'Without a label', [2]);
  t.match(await metrics.text(), /^batch_bucket\{le="\+Inf"\} 0\nbatch_sum 0\nbatch_count 0$/m);
  t.same(exponentialBuckets(0.25, 2, 3), [0.25, 0.5, 1]);
});

t.test('live traces: until they were silent for the idle time', (t) => {
  const live = new LiveTraces(1600, 10_000);
  const first = live.see(0);
  t.equal(live.count, 1);
  live.advance(10_900);
  const second = live.see(0);
  t.equal(live.count, 2);
  live.advance(11_750);
  t.equal(live.count, 1, 'the first is silent for longer');
  t.notOk(live.isLive(first));
  live.see(second);
  t.equal(live.count, 1, 'seen again, counted once');
  live.advance(13_300);
  t.equal(live.count, 1);
  live.advance(9000);
  t.equal(live.count, 1, 'a clock that was set back');
  live.advance(1e9);
  t.equal(live.count, 0);
  t.end();
});

t.test('a scrape of a thousand tenants lets others run', async (t) => {
  const metrics = new Metrics();
  for (let m = 0; m < 100; m++) {
    const counter = metrics.counter(`tempo_x${m}_total`, 'One of many', ['tenant']);
    for (let i = 0; i < 1000; i++) counter.inc({ tenant: `tenant-${i}` }, i);
  }
  let isDone = false;
  const text = metrics.text().finally(() => {
    isDone = true;
  });
  let turns = 0;
  for (; !isDone; turns++) await nextTurn();
  t.equal((await text).split('\n').length, 100 * 1002 + 1);
  t.ok(turns > 2, `${turns} turns of the event loop meanwhile`);
});

t.test('forgetting one tenant of many holds up nothing else', async (t) => {
  let nowMs = 0;
  const metrics = new Metrics(() => nowMs);
  const counters = ['a', 'b', 'c'].map((name) => metrics.counter(name, 'x', ['tenant']));
  for (let i = 0; i < 12_000; i++) {
    metrics.tenants.seen(`t${i}`);
    for (const counter of counters) counter.inc({ tenant: `t${i}` });
    nowMs = 10_000;
  }
  let turns = 0;
  let isOver = false;
  const count = (): void => {
    turns++;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  metrics.tenants.sweep(5000);
  await metrics.forgotten;
  isOver = true;
  t.ok(turns >= 6, `${turns} turns of the event loop`);
  const text = await metrics.text();
  t.notMatch(text, 'tenant="t0"');
  t.match(text, 'c{tenant="t11999"} 1');
});

t.test('tenants that are silent are forgotten, and the oldest when there are too many', async (t) => {
  let nowMs = 0;
  const metrics = new Metrics(() => nowMs, 10);
  const told: string[] = [];
  metrics.tenants.onForget((tenants) => void told.push([...tenants].join()));
  const spans = metrics.counter('spans', 'Spans.', ['tenant', 'kind']);
  const live = metrics.gauge('live', 'Live.', ['tenant']);
  const waiting = metrics.gauge('waiting', 'Waiting.', ['user']);
  const seconds = metrics.histogram('seconds', 'Seconds.', [1, 2], ['tenant']);
  const sizes = metrics.countedHistogram('sizes', 'Sizes.', [1], 'tenant');
  const other = metrics.counter('other', 'Other.', ['name']);
  const send = (tenant: string): void => {
    metrics.tenants.seen(tenant);
    for (const kind of ['a', 'b']) spans.inc({ tenant, kind });
    live.set({ tenant }, 1);
    waiting.set({ user: tenant }, 1);
    seconds.observe({ tenant }, 1);
    sizes.add(tenant, Float64Array.of(1, 1, 1));
  };
  const tenantsOf = async (): Promise<string[]> => {
    await metrics.forgotten;
    const text = await metrics.text();
    const names = [...text.matchAll(/^(\w+)\{.*?(?:tenant|user)="(\w+)"/gm)].map(
      ([, name, tenant]) => `${name} ${tenant}`,
    );
    return [...new Set(names)];
  };
  other.inc({ name: 'early' });
  send('early');
  send('busy');
  nowMs = 60_000;
  send('busy');
  metrics.tenants.sweep(90_000);
  t.strictSame(told, [], 'nobody was silent for so long');
  nowMs = 100_000;
  metrics.tenants.sweep(90_000);
  t.strictSame(told, ['early']);
  const counted = ['spans', 'live', 'waiting'];
  const parts = ['seconds', 'sizes'].flatMap((name) => [`${name}_bucket`, `${name}_sum`, `${name}_count`]);
  t.strictSame(
    await tenantsOf(),
    [...counted, ...parts].map((name) => `${name} busy`),
  );
  t.match(await metrics.text(), /other\{name="early"\} 1/, 'a label of another meaning stays');
  send('early');
  t.match(await metrics.text(), /spans\{tenant="early",kind="a"\} 1\n/, 'who comes again begins anew');
  for (let i = 0; i < 9; i++) send(`t${i}`);
  t.strictSame(told.slice(1), ['busy,early'], 'a tenth more than is needed');
  t.equal(metrics.tenants.size, 9);
});

t.test('the log tells an error and its causes, each once', (t) => {
  const lines: string[] = [];
  const write = (line: string): void => void lines.push(line);
  const cause = new Error('refused');
  const told = new Error('a:1 cannot be reached: refused', { cause });
  for (const err of [told, new Error('no answer', { cause: told }), new Error('gone', { cause })]) {
    createLogger({ level: 'info', format: 'logfmt', write }).warn('failed', { err });
  }
  t.match(lines, [
    /err="a:1 cannot be reached: refused"/,
    /err="no answer: a:1 cannot be reached: refused"/,
    /err="gone: refused"/,
  ]);
  t.end();
});
