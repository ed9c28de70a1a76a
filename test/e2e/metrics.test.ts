// TraceQL metrics asked of the running server as Grafana asks: over HTTP, and as gRPC streams on both ports;
// with the limits of the configuration, over a head, a block, and a block that is damaged. And the searches
// that its pages and older clients ask beside them.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { aResource, aSpan, encodeTraces, hexId } from '../support/otlp.ts';
import { flush } from '../support/read-api.ts';
import { type RunningTempo, startTempo } from '../support/server.ts';
import { StreamingClient } from '../support/streaming-client.ts';
import { testFolder } from '../support/test-folder.ts';

interface Label {
  readonly key: string;
  readonly value: { readonly stringValue?: string; readonly doubleValue?: number };
}

interface Series {
  readonly labels: readonly Label[];
  readonly samples?: readonly { readonly timestampMs: string; readonly value?: number }[];
  readonly exemplars?: readonly {
    readonly labels: readonly Label[];
    readonly timestampMs: string;
    readonly value?: number;
  }[];
  readonly value?: number;
}

interface Answer {
  readonly series?: readonly Series[];
  readonly metrics: { readonly inspectedSpans?: string };
  readonly status?: string;
  readonly message?: string;
}

const SECOND = 1_000_000_000n;
const TRACES = 60;
const RANGE_SEC = 600;

/** Two spans a trace and one trace a second, of three services; every fifth trace has an error. */
function spansFrom(startUnixNano: bigint) {
  return Array.from({ length: TRACES }, (_, i) => {
    const traceId = hexId(i + 1, 16);
    const start = startUnixNano + BigInt(i) * SECOND;
    const resource = aResource(`service-${i % 3}`);
    const root = aSpan({
      traceId,
      spanId: hexId(2 * i + 1, 8),
      name: 'GET /',
      kind: 2,
      startUnixNano: start,
      endUnixNano: start + 100_000_000n,
      status: { code: i % 5 === 0 ? 2 : 0, message: '' },
      resource,
    });
    const child = aSpan({
      traceId,
      spanId: hexId(2 * i + 2, 8),
      parentSpanId: root.spanId,
      name: 'query',
      kind: 3,
      startUnixNano: start + 1_000_000n,
      endUnixNano: start + 11_000_000n,
      status: { code: 0, message: '' },
      resource,
    });
    return [root, child];
  }).flat();
}

async function push(tempo: RunningTempo, startUnixNano: bigint): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${tempo.ports.otlpHttp}/v1/traces`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-protobuf' },
    body: Buffer.from(encodeTraces(spansFrom(startUnixNano))),
  });
  if (!response.ok) throw new Error(`push: ${response.status} ${await response.text()}`);
  await response.body?.cancel();
}

async function ask(
  tempo: RunningTempo,
  path: string,
  params: Record<string, string | number>,
): Promise<Answer> {
  const texts = Object.entries(params).map(([name, value]) => [name, String(value)]);
  const response = await tempo.get(`/api/metrics/${path}?${new URLSearchParams(texts).toString()}`);
  const text = await response.text();
  if (response.status !== 200) throw new Error(`${path}: ${response.status} ${text}`);
  return JSON.parse(text) as Answer;
}

const sumOf = ({ samples = [] }: Series): number => samples.reduce((sum, { value = 0 }) => sum + value, 0);
const labelOf = ({ labels }: Series, key: string): string | number | undefined => {
  const value = labels.find((label) => label.key === key)?.value;
  return value?.stringValue ?? value?.doubleValue;
};
const totals = (series: readonly Series[] = [], key = '__name__'): Record<string, number> =>
  Object.fromEntries(series.map((one) => [String(labelOf(one, key)), Number(sumOf(one).toFixed(9))]));

/** The requests of Grafana's panels and of Traces Drilldown. */
async function checkGrafana(t: Test, tempo: RunningTempo, startSec: number): Promise<void> {
  const range = { start: startSec, end: startSec + RANGE_SEC };
  const counts = await ask(tempo, 'query_range', { q: '{} | count_over_time()', step: '10s', ...range });
  t.same(totals(counts.series), { count_over_time: 2 * TRACES });
  t.equal(counts.metrics.inspectedSpans, String(2 * TRACES));
  const rates = await ask(tempo, 'query_range', {
    q: '{ nestedSetParent < 0 } | rate() by (resource.service.name) with(sample=true)',
    step: '10s',
    ...range,
  });
  const perSecond = totals(rates.series, 'resource.service.name');
  t.same(perSecond, { 'service-0': 2, 'service-1': 2, 'service-2': 2 });
  const samples = rates.series?.[0]?.samples ?? [];
  t.equal(samples[0]?.timestampMs, String(1000 * (startSec - (startSec % 10))), 'one interval in front');
  t.equal(samples.length, RANGE_SEC / 10 + (startSec % 10 === 0 ? 1 : 2));
  const quantiles = await ask(tempo, 'query_range', {
    q: '{ kind = client } | quantile_over_time(duration, .5, .99)',
    step: '600s',
    ...range,
  });
  t.same(quantiles.series?.map((one) => labelOf(one, 'p')).toSorted(), [0.5, 0.99]);
  for (const one of quantiles.series ?? []) {
    const largest = Math.max(...(one.samples ?? []).map(({ value = 0 }) => value));
    t.ok(largest > 2 ** 23 / 1e9 && largest <= 2 ** 24 / 1e9, `10 ms: ${largest}`);
  }
  const histogram = await ask(tempo, 'query_range', {
    q: '{} | histogram_over_time(duration)',
    step: '1m0s',
    start: `${startSec}000000000`,
    end: `${startSec + RANGE_SEC}000000000`,
    exemplars: 100,
  });
  t.same(totals(histogram.series, '__bucket'), { [2 ** 24 / 1e9]: TRACES, [2 ** 27 / 1e9]: TRACES });
  const compared = await ask(tempo, 'query_range', {
    q: '{} | compare({ status = error }, 10)',
    step: `${RANGE_SEC}s`,
    ...range,
  });
  const ofService = (compared.series ?? []).filter(
    (one) => labelOf(one, 'resource.service.name') !== undefined,
  );
  t.same(
    totals(
      ofService.filter((one) => labelOf(one, '__meta_type') === 'selection'),
      'resource.service.name',
    ),
    {
      'service-0': 4,
      'service-1': 4,
      'service-2': 4,
    },
  );
  t.same(
    totals(
      ofService.filter((one) => labelOf(one, '__meta_type') === 'baseline_total'),
      '__meta_type',
    ),
    {
      baseline_total: 2 * TRACES - 12,
    },
  );
  const instant = await ask(tempo, 'query', { q: '{ status = error } | count_over_time()', ...range });
  t.match(instant.series, [{ labels: [{ key: '__name__' }], value: 12 }]);
  const rate = await ask(tempo, 'query', { query: '{} | rate()', ...range });
  t.match(rate.series, [{ value: (2 * TRACES) / RANGE_SEC }]);
  const top = await ask(tempo, 'query', { q: '{} | rate() by (name, status) | topk(1)', ...range });
  t.equal(top.series?.length, 1);
}

async function checkExemplars(t: Test, tempo: RunningTempo, startSec: number): Promise<void> {
  const range = { start: startSec, end: startSec + RANGE_SEC, step: '60s' };
  const exemplars = async (q: string, params: Record<string, string | number> = {}) =>
    (await ask(tempo, 'query_range', { q, ...range, ...params })).series?.flatMap(
      (one) => one.exemplars ?? [],
    );
  const ids = new Set(Array.from({ length: TRACES }, (_, i) => hexId(i + 1, 16).replace(/^0+/, '')));
  const some = (await exemplars('{} | rate()', { exemplars: 6 })) ?? [];
  t.ok(some.length > 0 && some.length <= 6, `${some.length} exemplars`);
  for (const { labels, timestampMs } of some) {
    t.ok(ids.has(labels.find(({ key }) => key === 'trace:id')?.value.stringValue ?? ''));
    t.ok(Number(timestampMs) / 1000 >= startSec && Number(timestampMs) / 1000 <= startSec + RANGE_SEC);
  }
  t.ok(((await exemplars('{} | rate()', { exemplars: 1000 })) ?? []).length <= 20, 'the limit of the server');
  t.same(await exemplars('{} | rate() with(exemplars=false)', { exemplars: 6 }), []);
  t.ok(((await exemplars('{} | rate() with(exemplars=1)', { exemplars: 6 })) ?? []).length <= 1);
}

async function checkStreams(t: Test, tempo: RunningTempo, startSec: number): Promise<void> {
  const range = { start: BigInt(startSec) * SECOND, end: BigInt(startSec + RANGE_SEC) * SECOND };
  const query = '{} | rate() by (resource.service.name)';
  const overHttp = await ask(tempo, 'query_range', {
    q: `${query} with(exemplars=false)`,
    start: startSec,
    end: startSec + RANGE_SEC,
    step: '60s',
  });
  for (const port of [tempo.ports.grpc, tempo.ports.http]) {
    const client = new StreamingClient(`127.0.0.1:${port}`);
    const request = { query: `${query} with(exemplars=false)`, ...range, step: 60n * SECOND };
    const { code, messages } = await client.ask('MetricsQueryRange', request);
    t.equal(code, 0);
    const series = messages.flatMap((one) => one['series'] as Series[]);
    t.same(totals(series, 'resource.service.name'), totals(overHttp.series, 'resource.service.name'));
    t.same(
      series.map((one) => one.samples?.length),
      overHttp.series?.map((one) => one.samples?.length),
    );
    const { completedJobs, totalJobs } = messages.at(-1)!['metrics'] as Record<string, number>;
    t.ok(completedJobs !== undefined && completedJobs === totalJobs);
    const instant = await client.ask('MetricsQueryInstant', { query: '{} | count_over_time()', ...range });
    t.match(instant.messages.at(-1)?.['series'], [{ value: 2 * TRACES }]);
    client.close();
  }
}

/** Of the way between two powers of two. */
const quantile = (power: number, part: number): string => String(Math.floor(2 ** power * 2 ** part));

async function checkSummary(t: Test, tempo: RunningTempo, startSec: number): Promise<void> {
  const params = {
    q: '{}',
    groupBy: 'resource.service.name,status',
    start: startSec,
    end: startSec + RANGE_SEC,
  };
  const { summaries } = (await ask(tempo, 'summary', params)) as unknown as {
    readonly summaries: readonly Record<string, unknown>[];
  };
  t.equal(summaries.length, 6);
  t.match(summaries.slice(0, 1), [{ spanCount: '36', p50: quantile(23, 18 / 20), p99: String(2 ** 27) }]);
  const failed = summaries.filter(({ errorSpanCount }) => errorSpanCount !== undefined);
  t.match(failed, [{ spanCount: '4', errorSpanCount: '4', p50: quantile(26, 1 / 2) }, {}, {}]);
}

interface Found {
  readonly traces: readonly {
    readonly traceID: string;
    readonly spanSets?: readonly {
      readonly matched: number;
      readonly spans: readonly { readonly name?: string; readonly attributes?: readonly KeyValue[] }[];
    }[];
  }[];
}

interface KeyValue {
  readonly key: string;
  readonly value: { readonly intValue?: string; readonly stringValue?: string };
}

/** The Structure tab of Traces Drilldown, and the searches by tags of Kiali and tempo-query. */
async function checkSearches(t: Test, tempo: RunningTempo, startSec: number): Promise<void> {
  const range = { start: String(startSec), end: String(startSec + RANGE_SEC) };
  const json = async (path: string, params: Readonly<Record<string, string>>): Promise<unknown> => {
    const response = await tempo.get(`${path}?${new URLSearchParams({ ...params, ...range }).toString()}`);
    const text = await response.text();
    if (response.status !== 200) throw new Error(`${path}: ${response.status} ${text}`);
    return JSON.parse(text) as unknown;
  };
  const fields = 'status, resource.service.name, name, nestedSetParent, nestedSetLeft, nestedSetRight';
  const q = `{ nestedSetParent < 0 && kind = server } &>> { kind != server } | select(${fields})`;
  const { traces } = (await json('/api/search', { q, limit: '200', spss: '20' })) as Found;
  t.equal(traces.length, TRACES);
  const [set] = traces[0]!.spanSets!;
  t.equal(set?.matched, 2, 'both sides');
  const numbers = set!.spans.map(({ attributes = [] }) =>
    ['nestedSetParent', 'nestedSetLeft', 'nestedSetRight'].map(
      (name) => attributes.find(({ key }) => key === name)?.value.intValue,
    ),
  );
  t.same(numbers.map((three) => three.join(' ')).toSorted(), ['-1 1 4', '1 2 3']);
  const byTags = (await json('/api/search', {
    tags: 'service.name=service-0 status.code=error',
    limit: '200',
    minDuration: '50ms',
  })) as Found;
  t.equal(byTags.traces.length, 4);
  t.ok(byTags.traces.every(({ spanSets }) => spanSets === undefined));
  const services = { tagValues: ['service-0', 'service-1', 'service-2'] };
  t.match(await json('/api/search/tag/service.name/values', {}), services);
  t.match(await json('/api/search/tags', {}), { tagNames: ['service.name'] });
  for (const port of [tempo.ports.grpc, tempo.ports.http]) {
    const client = new StreamingClient(`127.0.0.1:${port}`);
    t.teardown(() => client.close());
    const times = { start: startSec, end: startSec + RANGE_SEC };
    const { messages, code } = await client.ask('Search', {
      Query: q,
      Limit: 200,
      SpansPerSpanSet: 20,
      ...times,
    });
    t.equal(code, 0);
    const streamed = messages.flatMap((message) => (message['traces'] ?? []) as { traceID: string }[]);
    t.same(
      streamed.map(({ traceID }) => traceID).toSorted(),
      traces.map(({ traceID }) => traceID).toSorted(),
    );
  }
  const accept = { headers: { accept: 'application/protobuf' } };
  const missing = await fetch(`${tempo.url}/api/v2/traces/${'f'.repeat(32)}`, accept);
  t.equal(missing.status, 200);
  const body = new Uint8Array(await missing.arrayBuffer());
  t.same([...body.subarray(0, 2)], [0x0a, 0], 'a trace that is empty, and there');
  const v1 = await fetch(`${tempo.url}/api/traces/${'f'.repeat(32)}`, accept);
  t.equal(v1.status, 404);
  await v1.body?.cancel();
}

t.setTimeout(120_000);

await t.test('metrics queries of clients', { timeout: 120_000 }, async (t) => {
  const data = testFolder(t);
  const tempo = await startTempo(data, {
    yaml: `
stream_over_http_enabled: true
query_frontend:
  metrics: { max_exemplars: 20, throughput_bytes_slo: 1, duration_slo: 60s, max_intervals: 5000 }
overrides: { defaults: { read: { max_metrics_duration: 20m } } }
ingester: { complete_block_timeout: 1h }
`,
  });
  t.teardown(() => tempo.stop());
  const startSec = Math.floor(Date.now() / 1000) - RANGE_SEC;
  await push(tempo, BigInt(startSec) * SECOND + 1n);
  for (const where of ['head', 'block']) {
    await t.test(`over a ${where}`, async (t) => {
      await checkGrafana(t, tempo, startSec);
      await checkExemplars(t, tempo, startSec);
      await checkStreams(t, tempo, startSec);
      await checkSummary(t, tempo, startSec);
      await checkSearches(t, tempo, startSec);
    });
    if (where === 'head') await flush(tempo);
  }
  await t.test('limits', async (t) => {
    const range = { start: startSec, end: startSec + RANGE_SEC, step: '60s' };
    const all = await ask(tempo, 'query_range', { q: '{} | rate() by (span:id)', maxSeries: 4, ...range });
    t.equal(all.series?.length, 4);
    t.match(all, { status: 'PARTIAL', message: /^Response exceeds maximum series limit of 4, / });
    const two = await ask(tempo, 'query_range', { q: '{} | rate() by (span:id)', maxSeries: 2, ...range });
    t.equal(two.series?.length, 2);
    t.match(two.message, /limit of 2, /);
    await t.rejects(ask(tempo, 'query', { q: '{} | rate()', since: '21m' }), /duration of 20m0s/);
    await t.rejects(ask(tempo, 'query_range', { q: '{} | rate()', ...range, step: '0.1' }), /is 120ms/);
    const search = await tempo.get('/api/search?q=%7Bstatus%3Derror%7D%7Crate()&limit=100');
    t.equal(
      ((await search.json()) as { traces: unknown[] }).traces.length,
      12,
      'as if only its filter were given',
    );
  });
  const counted = await (await tempo.get('/metrics')).text();
  for (const name of ['queries_total', 'queries_within_slo_total']) {
    t.match(counted, new RegExp(`${name}\\{tenant="single-tenant",op="metrics",result="completed"\\} \\d+`));
  }
  t.notMatch(tempo.output(), /level=error/);
});

await t.test('a damaged block makes an answer partial', { timeout: 60_000 }, async (t) => {
  const data = testFolder(t);
  const yaml = 'ingester: { complete_block_timeout: 1h }';
  const before = await startTempo(data, { yaml });
  const startSec = Math.floor(Date.now() / 1000) - RANGE_SEC;
  await push(before, BigInt(startSec) * SECOND + 1n);
  await flush(before);
  await before.stop();
  for (const folder of ['wal/blocks', 'blocks']) {
    const path = join(data, folder, 'single-tenant');
    for (const block of existsSync(path) ? readdirSync(path) : []) {
      const file = join(path, block, 'data.parquet');
      if (existsSync(file)) writeFileSync(file, readFileSync(file).fill(0, 4, 2000));
    }
  }
  const tempo = await startTempo(data, { yaml });
  t.teardown(() => tempo.stop());
  const params = { q: '{} | rate()', start: String(startSec), end: String(startSec + RANGE_SEC) };
  for (const path of ['query_range', 'query']) {
    const response = await tempo.get(`/api/metrics/${path}?${new URLSearchParams(params).toString()}`);
    t.match(await response.json(), {
      status: 'PARTIAL',
      message: /^block [0-9a-f-]{36} could not be read: /,
    });
    t.match(response.headers.get('x-tempo-partial'), /^block [0-9a-f-]{36} could not be read: /);
  }
});
