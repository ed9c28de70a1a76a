// Limits that tenants set for themselves, and by what their bytes are counted: both programs answer alike.
import { mkdirSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { aResource, aScope, aSpan, encodeTraces, hexId } from '../support/otlp.ts';
import { type RunningTempo, startTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';

const program = process.env['TEMPO_BIN'];
if (program === undefined) throw new Error('TEMPO_BIN must name the program of Grafana Tempo 2.10');

t.setTimeout(120_000);

interface Call {
  readonly method: string;
  readonly query?: string;
  readonly body?: unknown;
  readonly ifMatch?: string;
  /** The text is our own. */
  readonly isOurText?: boolean;
  /** Tempo shows what was set after its next look. */
  readonly waits?: boolean;
}

const generator = (limits: unknown) => ({ metrics_generator: limits });
const CALLS: readonly Call[] = [
  { method: 'GET' },
  { method: 'GET', query: '?scope=merged' },
  { method: 'GET', query: '?scope=x' },
  { method: 'DELETE', ifMatch: '' },
  { method: 'DELETE' },
  { method: 'POST', body: {}, ifMatch: '' },
  { method: 'POST', body: { forwarders: ['f'] } },
  { method: 'POST', body: { nope: 1 }, isOurText: true },
  { method: 'POST', body: '{', isOurText: true },
  { method: 'POST', body: {}, query: '?skip-conflicting-overrides-check=maybe' },
  { method: 'POST', body: generator({ processors: ['nope'] }) },
  { method: 'POST', body: generator({ collection_interval: '1s' }) },
  { method: 'POST', body: generator({ ingestion_time_range_slack: '20h' }) },
  { method: 'POST', body: generator({ generate_native_histograms: 'x' }) },
  { method: 'POST', body: generator({ native_histogram_bucket_factor: 1 }) },
  { method: 'POST', body: generator({ trace_id_label_name: 'a b' }) },
  { method: 'POST', body: generator({ processor: { span_metrics: { histogram_buckets: [3, 2] } } }) },
  { method: 'POST', body: generator({ processor: { span_metrics: { intrinsic_dimensions: { x: true } } } }) },
  { method: 'POST', body: { cost_attribution: { dimensions: { a: '__b' } } } },
  { method: 'POST', body: generator({ collection_interval: '90s', processors: ['host-info'] }) },
  { method: 'GET' },
  { method: 'PATCH', body: generator({ collection_interval: null, disable_collection: true }), ifMatch: '' },
  { method: 'PATCH', body: generator({ nope: 1 }), isOurText: true },
  { method: 'GET' },
  { method: 'PATCH', body: { metrics_generator: { processors: null } } },
  { method: 'GET', query: '?scope=merged', waits: true },
  { method: 'PUT', body: {} },
  { method: 'DELETE', ifMatch: '7' },
  { method: 'GET' },
];

async function ask({ url }: RunningTempo, { method, query = '', body, ifMatch = '0', waits }: Call) {
  if (waits === true) await pause(1000);
  const headers = { 'x-scope-orgid': 'one', ...(ifMatch === '' ? {} : { 'if-match': ifMatch }) };
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const response = await fetch(`${url}/api/overrides${query}`, {
    method,
    headers,
    ...(body === undefined ? {} : { body: text }),
  });
  const type = response.headers.get('content-type');
  const answer = await response.text();
  return { status: response.status, etag: response.headers.get('etag'), type, answer };
}

t.test('overrides and usage', async (t) => {
  const start = (data: string, of: string | undefined) => {
    mkdirSync(`${data}/overrides`, { recursive: true });
    return startTempo(data, {
      configFile: 'test/interop/overrides.yaml',
      args: ['-config.expand-env=true'],
      ...(of === undefined ? {} : { program: of }),
    });
  };
  const folder = testFolder(t);
  const ours = await start(`${folder}/ours`, undefined);
  t.teardown(() => ours.kill());
  const real = await start(`${folder}/real`, program);
  t.teardown(() => real.kill());

  for (const call of CALLS) {
    const [own, tempo] = [await ask(ours, call), await ask(real, call)];
    const name = `${call.method} ${call.query ?? ''} ${JSON.stringify(call.body) ?? ''}`;
    t.equal(own.status, tempo.status, name);
    t.equal(own.etag, tempo.etag, name);
    if (call.isOurText === true || call.query === '?scope=x') continue;
    t.equal(own.type, tempo.type, name);
    if (own.type === 'application/json') t.same(JSON.parse(own.answer), JSON.parse(tempo.answer), name);
    else t.equal(own.answer, tempo.answer, name);
  }

  // A status is set, as Tempo counts spans after it has written them again, with one.
  const scope = aScope();
  const status = { code: 1, message: '' };
  const resources = [aResource('shop', [['host', 'h1']]), aResource('cart'), aResource('')];
  const spans = Array.from({ length: 40 }, (_, i) =>
    aSpan({
      traceId: hexId(i + 1, 16),
      spanId: hexId(i + 1, 8),
      startUnixNano: BigInt(Date.now()) * 1_000_000n,
      endUnixNano: BigInt(Date.now()) * 1_000_000n + 1000n,
      attributes: [
        ['route', `/${i % 2}`],
        ['n', 'x'.repeat(i)],
        ['service.name', i % 7 === 0 ? 'own' : ''],
      ],
      resource: resources[Math.floor(i / 5) % 3]!,
      scope,
      status,
    }),
  );
  const usage = async (tempo: RunningTempo): Promise<string[]> => {
    const headers = { 'content-type': 'application/x-protobuf', 'x-scope-orgid': 'two' };
    const body = Buffer.from(encodeTraces(spans));
    const pushed = await fetch(`http://127.0.0.1:${tempo.ports.otlpHttp}/v1/traces`, {
      method: 'POST',
      headers,
      body,
    });
    t.equal(pushed.status, 200);
    const text = await (await tempo.get('/usage_metrics')).text();
    return text
      .split('\n')
      .filter((line) => line !== '')
      .toSorted();
  };
  const own = await usage(ours);
  t.ok(own.some((line) => line.includes('__overflow__')));
  t.same(own, await usage(real));
});
