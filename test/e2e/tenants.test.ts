// Tenants from outside: who may write and read, what limits answer, and an overrides file that changes while
// the server runs.
import { renameSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { connectOtlp } from '../../src/rpc/otlp-client.ts';
import { aSpan, encodeTraces, hexId } from '../support/otlp.ts';
import { figuresOf, httpExport, metric, until } from '../support/hostile.ts';
import { flush } from '../support/read-api.ts';
import { configText, freePorts, type RunningTempo, startTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';

const TENANTS = Number(process.env['MANY_TENANTS'] ?? 300);
/** Of what a process has that took the same requests from one tenant. */
const RSS_SHARE_MAX = 1.15;
/** The blocks of tenants that are forgotten are still known. */
const KNOWN_BLOCK_BYTES = 2048;
/** Threads give memory back when they have been idle for a while. */
const SETTLE_MS = 40_000;
const START = BigInt(Date.now()) * 1_000_000n;
const span = (trace: number, id: number) =>
  aSpan({ traceId: hexId(trace, 16), spanId: hexId(id, 8), startUnixNano: START, endUnixNano: START + 5n });

t.setTimeout(120_000 + 100 * TENANTS);

t.test('tenants', async (t) => {
  const folder = testFolder(t);
  const file = `${folder}/overrides.yaml`;
  const limits = (burst: number): string =>
    `overrides: {few: {ingestion: {rate_limit_bytes: 1_000_000, burst_size_bytes: ${burst}, ` +
    'max_traces_per_user: 1}}}';
  // At once: an empty file is a good one.
  const write = (content: string): void => {
    writeFileSync(`${file}.new`, content);
    renameSync(`${file}.new`, file);
  };
  write(limits(1_000_000));
  const tempo = await startTempo(folder, {
    yaml: `multitenancy_enabled: true
overrides: {per_tenant_override_config: '${file}', per_tenant_override_period: 20ms}
`,
  });
  t.teardown(() => tempo.stop());
  const send = async (tenant: string | undefined, ...spans: ReturnType<typeof span>[]): Promise<string> => {
    const client = await connectOtlp(`http://127.0.0.1:${tempo.ports.otlpGrpc}`, { tenant });
    try {
      const { rejectedSpans, message } = await client.send(encodeTraces(spans));
      return message === '' ? 'ok' : `${rejectedSpans} rejected: ${message}`;
    } catch (err) {
      return (err as Error).message;
    } finally {
      client.close();
    }
  };
  const read = async (path: string, tenant?: string): Promise<string> => {
    const headers: Record<string, string> = tenant === undefined ? {} : { 'x-scope-orgid': tenant };
    const response = await fetch(tempo.url + path, { headers });
    return `${response.status} ${await response.text()}`;
  };

  t.test('of one name each', async (t) => {
    t.equal(await send(undefined, span(1, 1)), 'gRPC status 16: no org id');
    t.equal(await send('a|b', span(1, 1)), 'gRPC status 3: multiple org IDs present');
    t.equal(await send('..', span(1, 1)), "gRPC status 3: tenant ID is '.' or '..'");
    t.equal(await read('/api/search'), '401 no org id\n');
    t.equal(await read('/api/traces/1', 'a/b'), "400 tenant ID 'a/b' contains unsupported character '/'");
    const many = Array.from({ length: 1001 }, (_, i) => i).join('|');
    t.equal(await read('/api/search', many), '400 too many tenants: 1001, max 1000');
    const long = 'a|'.repeat(40_000) + 'a';
    t.equal(await read('/api/search', long), '400 tenant IDs are too long: max 65536 characters');
    t.equal(await read('/api/echo'), '200 echo\n');
  });

  t.test('several at once', async (t) => {
    t.equal(await send('a', span(1, 1), span(1, 2)), 'ok');
    t.equal(await send('b', span(1, 2), span(1, 3), span(2, 4)), 'ok');
    t.match(await read('/api/traces/2', 'a'), /^404/);
    t.equal((await read('/api/traces/1', 'a')).split('"spanId"').length - 1, 2);
    t.equal((await read('/api/traces/1', 'b|a')).split('"spanId"').length - 1, 3, 'each span once');
    t.equal((await read('/api/search?q={}', 'b|a|b')).split('"traceID"').length - 1, 2);
    t.match(await read('/api/search?q={}', 'c|d'), /^200 \{"traces":\[\]/);
  });

  t.test('limits', async (t) => {
    t.match(
      await send('few', span(1, 1), span(2, 2), span(1, 3)),
      /^1 rejected: LIVE_TRACES_EXCEEDED: max live traces exceeded for tenant few/,
    );
    const discarded = 'tempo_discarded_spans_total{reason="live_traces_exceeded",tenant="few"} 1';
    t.match(await read('/metrics'), discarded);
    t.equal((await read('/api/traces/1', 'few')).split('"spanId"').length - 1, 2);
    write(limits(10));
    let page = '';
    for (const endMs = performance.now() + 10_000; performance.now() < endMs; await pause(20)) {
      page = await read('/status/overrides/few');
      if (page.includes('burst_size_bytes: 10\n')) break;
    }
    t.match(page, 'burst_size_bytes: 10\n', 'the file is read again');
    t.match(await send('few', span(1, 9)), /^gRPC status 8: RATE_LIMITED: batch size .* for user few/);
    t.equal(await send('other', span(1, 9)), 'ok');
    write('overrides: [');
    const failed = 'tempo_runtime_config_last_reload_successful{config="overrides"} 0';
    let metrics = '';
    for (const endMs = performance.now() + 10_000; performance.now() < endMs; await pause(20)) {
      metrics = await read('/metrics');
      if (metrics.includes(failed)) break;
    }
    t.match(metrics, failed);
    t.match(await send('few', span(1, 9)), /RATE_LIMITED/, 'the last good one holds');
  });
});

t.test('a tenant says itself by what its bytes are counted', async (t) => {
  const folder = testFolder(t);
  const ports = await freePorts();
  const configFile = `${folder}/tempo.yaml`;
  const usual = configText(folder, ports).replace(
    'distributor:',
    'distributor:\n  usage: { cost_attribution: { enabled: true } }',
  );
  writeFileSync(
    configFile,
    `${usual}multitenancy_enabled: true
overrides:
  user_configurable_overrides:
    enabled: true
    client: { backend: local, local: { path: '${folder}/overrides' } }
`,
  );
  const tempo = await startTempo(folder, { ports, configFile });
  t.teardown(() => tempo.kill());
  const headers = { 'x-scope-orgid': 'one', 'if-match': '0' };
  const limits = JSON.stringify({ cost_attribution: { dimensions: { 'service.name': '' } } });
  const usage = async (): Promise<string> => (await tempo.get('/usage_metrics')).text();
  const send = async (): Promise<number> =>
    (await httpExport(tempo, encodeTraces([span(1, 1)]), headers)).status;
  t.equal(await send(), 200);
  t.equal(await usage(), '');
  const set = await fetch(`${tempo.url}/api/overrides`, { method: 'POST', headers, body: limits });
  t.equal(set.status, 200);
  t.equal(await send(), 200);
  t.match(
    await usage(),
    /^tempo_usage_tracker_bytes_received_total\{service_name="shop",tenant="one",tracker=/m,
  );
});

const MANY_YAML = 'multitenancy_enabled: true\nmemory: { idle_tenant_timeout: 3s }\n';

async function sendOne(tempo: RunningTempo, tenant: string, trace = 1): Promise<number> {
  const body = encodeTraces([span(trace, 1)]);
  return (await httpExport(tempo, body, { 'x-scope-orgid': tenant })).status;
}

/** As many requests as there are tenants, and a flush. @returns the statuses. */
async function sendMany(tempo: RunningTempo, tenantOf: (i: number) => string): Promise<ReadonlySet<number>> {
  const statuses = new Set<number>();
  let next = 0;
  const sender = async (): Promise<void> => {
    while (next < TENANTS) {
      const i = next++;
      statuses.add(await sendOne(tempo, tenantOf(i), i + 1));
    }
  };
  await Promise.all(Array.from({ length: 8 }, sender));
  return statuses;
}

/** Some tenants first, so that what every process needs is there. */
async function warmUp(tempo: RunningTempo): Promise<void> {
  for (let i = 0; i < 20; i++) await sendOne(tempo, `first-${i}`);
  await flush(tempo);
  t.ok(await until(async () => (await metric(tempo, 'tempo_ingester_live_traces')) === 0));
}

/** Thousands of blocks take longer than `fetch` waits. @returns the status. */
function flushAll(tempo: RunningTempo): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    request(`${tempo.url}/flush`, { method: 'POST' })
      .on('response', (response) => resolve(response.resume().statusCode))
      .on('error', reject)
      .end();
  });
}

/** Their time series are gone. It asks seldom: thousands of tenants are megabytes of text each time. */
function areForgotten(tempo: RunningTempo): Promise<boolean> {
  const series = (): Promise<number> => metric(tempo, 'tempo_distributor_spans_received_total');
  return until(async () => (await series()) === 0, 20_000 + TENANTS * 10, Math.max(50, TENANTS / 2));
}

/** An idle process gives memory back; a scrape a second would keep it busy. */
function isGivenBack(tempo: RunningTempo): Promise<boolean> {
  const given = (): Promise<number> => metric(tempo, 'tempo_memory_given_back_bytes_total');
  return until(async () => (await given()) > 0, SETTLE_MS, SETTLE_MS / 5);
}

t.test(
  `${TENANTS} tenants with one span each come and go`,
  { timeout: 120_000 + TENANTS * 60 },
  async (t) => {
    const alone = await startTempo(`${testFolder(t)}/one`, { yaml: MANY_YAML });
    t.teardown(() => alone.kill());
    await warmUp(alone);
    t.strictSame([...(await sendMany(alone, () => 'one'))], [200]);
    t.equal(await flushAll(alone), 204);
    t.ok(await areForgotten(alone));
    t.ok(await isGivenBack(alone));
    const one = figuresOf(alone.pid);
    await alone.kill();

    const tempo = await startTempo(`${t.testdirName}/many`, { yaml: MANY_YAML });
    t.teardown(() => tempo.kill());
    const bytesOfMetrics = async (): Promise<number> => (await (await tempo.get('/metrics')).text()).length;
    await warmUp(tempo);
    const before = { ...figuresOf(tempo.pid), metrics: await bytesOfMetrics() };
    t.strictSame([...(await sendMany(tempo, (i) => `tenant-${i}`))], [200]);
    const during = { ...figuresOf(tempo.pid), metrics: await bytesOfMetrics() };
    t.equal(await flushAll(tempo), 204);
    t.ok((await bytesOfMetrics()) > before.metrics, 'they have time series');
    t.ok(await areForgotten(tempo), 'their time series go');
    t.ok(await isGivenBack(tempo));
    t.ok(await until(() => figuresOf(tempo.pid).descriptors <= before.descriptors + 2), 'descriptors');
    const rssMibMax = one.rssMib * RSS_SHARE_MAX + (TENANTS * KNOWN_BLOCK_BYTES) / 2 ** 20;
    t.ok(await until(() => figuresOf(tempo.pid).rssMib <= rssMibMax, SETTLE_MS), 'memory is given back');
    const after = { ...figuresOf(tempo.pid), metrics: await bytesOfMetrics() };
    t.comment(`one tenant ${JSON.stringify(one)}, at most ${Math.round(rssMibMax)} MiB`);
    t.comment(`before ${JSON.stringify(before)}`);
    t.comment(`during ${JSON.stringify(during)}`);
    t.comment(`after ${JSON.stringify(after)}`);
    t.equal(await sendOne(tempo, 'tenant-7'), 200, 'and they may come again');
    t.equal(await tempo.stop(), 0);
  },
);
