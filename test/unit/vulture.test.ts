// tempo-vulture: its traces follow from the time, every kind of loss is told, and its flags are Tempo's.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import {
  type Check,
  checkById,
  checkMetrics,
  checkTagSearch,
  checkTraceqlSearch,
} from '../../cmd/tempo-vulture/checks.ts';
import { type KnownTrace, knownTrace, requestOf } from '../../cmd/tempo-vulture/known-trace.ts';
import { vultureOptions } from '../../cmd/tempo-vulture/options.ts';
import { TempoApi } from '../../cmd/tempo-vulture/tempo-api.ts';
import { WrittenTraces } from '../../cmd/tempo-vulture/written-traces.ts';
import { resourceSpansJson } from '../../src/api/trace-json.ts';
import { decodeTraces } from '../support/otlp.ts';

/** A moment whose trace has several writes. */
const LONG_MS = Array.from({ length: 20 }, (_, at) => 1_800_000_000_000 + at).find(
  (ms) => knownTrace(ms, '').writes.length === 3,
) as number;

type Handler = (url: URL, request: IncomingMessage, response: ServerResponse) => void;

/** A server that answers every request with the handler. */
async function serve(t: Test, handler: Handler): Promise<string> {
  const server = createServer((request, response) =>
    handler(new URL(request.url ?? '', 'http://x'), request, response),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function apiOf(queryUrl: string, tenant = ''): TempoApi {
  return new TempoApi({ queryUrl, tenant, queryLiveStores: false, rf1After: '', accessToken: undefined });
}

/** The trace as Tempo's JSON has it. */
function jsonOf(trace: KnownTrace): string {
  const bytes = Buffer.concat(trace.writes.flat().map((batch) => requestOf(trace, batch)));
  return `{"batches":${resourceSpansJson(bytes)}}`;
}

t.test('a trace follows from its time and tenant', (t) => {
  t.same(knownTrace(LONG_MS, 'a'), knownTrace(LONG_MS, 'a'));
  t.not(knownTrace(LONG_MS, 'a').traceId, knownTrace(LONG_MS, 'b').traceId);
  t.not(knownTrace(LONG_MS, 'a').traceId, knownTrace(LONG_MS + 1, 'a').traceId);
  const trace = knownTrace(LONG_MS, '');
  for (const batch of trace.writes.flat()) {
    const decoded = decodeTraces(requestOf(trace, batch));
    t.equal(decoded.length, batch.spans.length);
    for (const [at, span] of decoded.entries()) {
      const known = batch.spans[at];
      t.equal(span.traceId, trace.traceId);
      t.equal(span.parentSpanId, at === 0 ? '' : decoded[at - 1]?.spanId, 'each is the child of the last');
      t.equal(span.name, known?.name);
      t.equal(span.startUnixNano, BigInt(LONG_MS) * 1_000_000n + BigInt(at) * 1000n);
      t.ok(span.endUnixNano > span.startUnixNano);
      const attributes = new Map(span.attributes);
      t.equal(attributes.get('vulture-int'), BigInt(known?.attributes['vulture-int'] as number));
      t.equal(attributes.get('vulture-double'), known?.attributes['vulture-double']);
      t.equal(attributes.get('vulture-bool'), known?.attributes['vulture-bool']);
      t.equal(span.events.length, known?.events.length);
    }
  }
  t.end();
});

t.test('a trace by id', async (t) => {
  const trace = knownTrace(LONG_MS, '');
  const whole = jsonOf(trace);
  const parsed = JSON.parse(whole) as { batches: { scopeSpans: { spans: { spanId: string }[] }[] }[] };
  const cut = { batches: parsed.batches.slice(1) };
  const added = JSON.parse(whole) as typeof parsed;
  const first = added.batches[0]?.scopeSpans[0]?.spans;
  first?.push({ ...(first[0] as { spanId: string }), spanId: Buffer.from('12345678').toString('base64') });
  const cases = [
    { name: 'as it was written', status: 200, body: whole, want: undefined },
    { name: 'not there', status: 404, body: 'trace not found', want: 'notfound_byid' },
    { name: 'without spans', status: 200, body: '{"batches":[]}', want: 'notfound_byid' },
    { name: 'a batch lost', status: 200, body: JSON.stringify(cut), want: 'missingspans' },
    { name: 'a span too many', status: 200, body: JSON.stringify(added), want: 'incorrectresult' },
    {
      name: 'another value',
      status: 200,
      body: whole.replace('"tempo-vulture"', '"other"'),
      want: 'incorrectresult',
    },
    {
      name: 'another type',
      status: 200,
      body: whole.replace('"boolValue":', '"intValue":'),
      want: 'incorrectresult',
    },
    {
      name: 'another time',
      status: 200,
      body: whole.replace(/"startTimeUnixNano":"\d/, '"startTimeUnixNano":"9'),
      want: 'incorrectresult',
    },
    {
      name: 'another event',
      status: 200,
      body: whole.replace('"name":"event-', '"name":"x-'),
      want: 'incorrectresult',
    },
    { name: 'refused', status: 500, body: 'out of order', want: 'requestfailed' },
    { name: 'no JSON', status: 200, body: '<html>', want: 'requestfailed' },
  ];
  for (const { name, status, body, want } of cases) {
    let asked: URL | undefined;
    const url = await serve(t, (at, _request, response) => {
      asked = at;
      response.writeHead(status).end(body);
    });
    const problem = await checkById(apiOf(url), trace);
    t.equal(problem?.kind, want, name);
    t.equal(asked?.pathname, `/api/traces/${trace.traceId}`);
  }
  t.equal((await checkById(apiOf('http://127.0.0.1:1'), trace))?.kind, 'requestfailed', 'nobody listens');
});

t.test('searches and metrics', async (t) => {
  const trace = knownTrace(LONG_MS, '');
  const found = `{"traces":[{"traceID":"${trace.traceId.replace(/^0+/, '')}","spanSets":[{"matched":2}]}]}`;
  const series = (...sums: number[]): string =>
    JSON.stringify({
      series: sums.map((sum) => ({ samples: [{ timestampMs: '1', value: sum - 1 }, {}, { value: 1 }] })),
    });
  const cases: { name: string; check: Check; search: string; range?: string; want: string | undefined }[] = [
    { name: 'tag', check: checkTagSearch, search: found, want: undefined },
    { name: 'no tag', check: checkTagSearch, search: '{"traces":[]}', want: 'notfound_search' },
    { name: 'traceql', check: checkTraceqlSearch, search: found, want: undefined },
    { name: 'no traceql', check: checkTraceqlSearch, search: '{}', want: 'notfound_traceql' },
    { name: 'count', check: checkMetrics, search: found, range: series(2), want: undefined },
    { name: 'none', check: checkMetrics, search: found, range: series(), want: 'notfound_metrics' },
    { name: 'off', check: checkMetrics, search: found, range: series(3), want: 'inaccurate_metrics' },
    {
      name: 'two',
      check: checkMetrics,
      search: found,
      range: series(1, 1),
      want: 'incorrect_metrics_result',
    },
    { name: 'no metrics', check: checkMetrics, search: found, want: 'requestfailed' },
  ];
  for (const { name, check, search, range, want } of cases) {
    const url = await serve(t, (at, request, response) => {
      const body = at.pathname === '/api/search' ? search : range;
      const start = Number(at.searchParams.get('start'));
      const end = Number(at.searchParams.get('end'));
      const inside = start * 1000 <= LONG_MS && LONG_MS <= end * 1000;
      const isAsked = inside && request.headers['x-scope-orgid'] === 'team';
      response.writeHead(body === undefined || !isAsked ? 404 : 200).end(body ?? '');
    });
    t.equal((await check(apiOf(url, 'team'), trace))?.kind, want, name);
  }
});

t.test('which traces are read', (t) => {
  let random = 0;
  const written = new WrittenTraces({
    retentionMs: 1000,
    recentMs: 100,
    settleMs: 10,
    random: () => random,
  });
  t.equal(written.pick('recent', 0), undefined);
  written.add(300, 330);
  written.add(100, 110);
  written.add(200, 210);
  t.equal(written.pick('recent', 335), undefined, 'too fresh');
  t.equal(written.pick('recent', 340), 300);
  t.equal(written.pick('old', 340), 100);
  random = 0.99;
  t.equal(written.pick('old', 340), 200, 'in the order of their times');
  t.equal(written.pick('recent', 450), undefined, 'all are old');
  t.same(written.settled(450), [100, 200, 300]);
  t.same(written.settled(1150), [200, 300], 'beyond the retention');
  t.equal(written.count, 2);
  for (let at = 0; at < 200_001; at++) written.add(10_000 + at, 10_000 + at);
  t.equal(written.count, 100_002, 'half are forgotten beyond 200,000');
  t.end();
});

t.test('flags', (t) => {
  const urls = ['-tempo-query-url=http://h:3200/', '--tempo-push-url', 'http://h'];
  t.match(vultureOptions(urls), {
    queryUrl: 'http://h:3200',
    pushUrl: 'http://h:4317',
    writeBackoffMs: 15_000,
    longWriteBackoffMs: 60_000,
    readBackoffMs: 30_000,
    searchBackoffMs: 60_000,
    metricsBackoffMs: 0,
    retentionMs: 336 * 3_600_000,
    recentMs: 14 * 60_000,
    listenAddress: ':80',
    metricsPath: '/metrics',
    validation: false,
    validationCycles: 3,
  });
  t.equal(vultureOptions([...urls, '-tempo-push-tls'])?.pushUrl, 'https://h:4317');
  t.equal(vultureOptions(['-tempo-query-url=http://h', '-tempo-push-url=h:99'])?.pushUrl, 'http://h:99');
  t.equal(vultureOptions(['-help']), undefined);
  const bad = [
    { args: urls.slice(0, 1), want: /-tempo-push-url: is needed/ },
    { args: urls.slice(1), want: /-tempo-query-url: is needed/ },
    { args: [...urls, '-tempo-read-backoff-duration=5'], want: /-tempo-read-backoff-duration: "5" is no/ },
    { args: [...urls, '-tempo-search-backoff-duration=-5s'], want: /negative/ },
    { args: [...urls, '-tempo-write-backoff-duration=0s'], want: /must be at least 1ms/ },
    { args: [...urls, '-validation-cycles=x'], want: /-validation-cycles: "x" is no count/ },
    {
      args: [...urls, '-tempo-read-backoff-duration=0s', '-tempo-search-backoff-duration=0s'],
      want: /nothing is read/,
    },
    { args: [...urls, '-tempo-querry-url=x'], want: /did you mean -tempo-query-url/ },
  ];
  for (const { args, want } of bad) t.throws(() => vultureOptions(args), want);
  t.end();
});
