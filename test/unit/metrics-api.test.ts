// The API of TraceQL metrics over an invented querier: what it asks for, the bodies of its answers over HTTP
// and gRPC, and the summary that is made of three queries.
import fastify from 'fastify';
import t from 'tap';
import { httpStatusOf } from '../../src/api/errors.ts';
import { type MetricsLimits, parseInstantParams, parseRangeParams } from '../../src/api/metrics-params.ts';
import { FilledTextWriter } from '../../src/lib/filled-text.ts';
import type { MetricsAnswer, MetricsProgress, MetricsQuery, Querier } from '../../src/contracts/query.ts';
import { QueryFrontend } from '../../src/modules/query-frontend/index.ts';
import { GrpcMethods } from '../../src/rpc/grpc-methods.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import {
  decodeMessage,
  encodeMessage,
  QueryInstantRequest,
  QueryInstantResponse,
  QueryRangeRequest,
  QueryRangeResponse,
  TimeSeries,
} from '../support/tempopb.ts';

const NOW_MS = 1_795_213_468_000;
const LIMITS: MetricsLimits = {
  queryBytesMax: 1000,
  durationMaxMs: 3 * 3_600_000,
  intervalsMax: 10_000,
  exemplarsMax: 100,
  seriesMax: 1000,
  nowMs: NOW_MS,
};
const NO_STATS = {
  inspectedTraces: 0,
  inspectedSpans: 0,
  inspectedBytes: 0,
  totalBlocks: 0,
  totalBlockBytes: 0,
  totalJobs: 0,
  completedJobs: 0,
};
const NONE: MetricsAnswer = { series: [], isCut: false, stats: NO_STATS, partial: [] };
const NEVER = new AbortController().signal;
const SECOND = 1_000_000_000n;
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

function setUp(
  answer: (
    query: MetricsQuery,
    report: (progress: MetricsProgress) => void,
    signal: AbortSignal,
  ) => MetricsAnswer | Promise<MetricsAnswer>,
  answerBytes = { allMax: 1 << 28, oneMax: 1 << 28 },
) {
  const asked: MetricsQuery[] = [];
  const isTold: boolean[] = [];
  const notAsked = async () => Promise.reject(new Error('not asked'));
  const querier: Querier = {
    search: (_query, _signal, report) => {
      isTold.push(report !== undefined);
      return Promise.resolve({ traces: [], hasMore: false, stats: NO_STATS, partial: [] });
    },
    findTrace: notAsked,
    tagNames: notAsked,
    tagValues: notAsked,
    metrics: async (query, signal, report) => {
      asked.push(query);
      isTold.push(report !== undefined);
      return answer(query, report ?? (() => {}), signal ?? NEVER);
    },
  };
  const lines: string[] = [];
  const metrics = new Metrics();
  const app = fastify();
  app.setErrorHandler((err, _request, reply) => reply.code(httpStatusOf(err)).send((err as Error).message));
  const { durationMaxMs, intervalsMax, exemplarsMax, seriesMax } = LIMITS;
  const frontend = new QueryFrontend({
    querier,
    searchLimits: {
      defaultLimit: 20,
      limitMax: 100,
      defaultSpansPerSpanSet: 3,
      spansPerSpanSetMax: 100,
      durationMaxMs: 0,
      queryBytesMax: 1000,
    },
    metricsLimits: { durationMaxMs, intervalsMax, exemplarsMax, seriesMax },
    metricsDurationMaxMs: (tenant) => (tenant === 'short' ? 60_000 : 0),
    traceBytesMax: () => 0,
    apiTimeoutMs: 0,
    urlDenyList: [],
    logHeaders: '',
    packetBytesMax: 300,
    earlySeriesMs: 0,
    logger: createLogger({ level: 'info', format: 'logfmt', write: (line) => void lines.push(line) }),
    tagValueBytesMax: () => 0,
    answerBytes,
    endCutoff: { cutoffMs: 0, sinceMs: 0 },
    recentMs: 0,
    nowMs: () => NOW_MS,
    multitenancyEnabled: true,
    multiTenantQueriesEnabled: true,
    searchDurationMaxMs: () => 0,
    httpApiPrefix: '',
    metrics,
  });
  frontend.registerRoutes(app);
  const methods = new GrpcMethods();
  frontend.registerMethods(methods);
  const get = (path: string, params: Record<string, string>, tenant = 'team') => {
    const headers = { 'x-scope-orgid': tenant, accept: 'application/protobuf' };
    return app.inject({ url: `/api/metrics/${path}?${new URLSearchParams(params).toString()}`, headers });
  };
  const stream = async (name: string, request: Uint8Array, onMessage = () => {}) => {
    const method = methods.find(`/tempopb.StreamingQuerier/${name}`);
    if (method?.kind !== 'stream') throw new Error(`${name} is no stream`);
    const messages: Uint8Array[] = [];
    const trailers: Record<string, string> = {};
    const call = { message: request, metadata: { 'x-scope-orgid': 'team' }, signal: NEVER, trailers };
    for await (const one of method.handle(call)) {
      messages.push(one);
      onMessage();
    }
    return { messages, trailers };
  };
  return { app, asked, isTold, lines, metrics, get, stream };
}

t.test('only a stream is told what was found so far', async (t) => {
  const { app, isTold, get, stream } = setUp(() => NONE);
  const params = { q: '{} | rate()', start: '1795213000', end: '1795213400', step: '10s' };
  t.equal((await get('query_range', params)).statusCode, 200);
  t.equal((await get('query', params)).statusCode, 200);
  const search = await app.inject({ url: '/api/search?q={}', headers: { 'x-scope-orgid': 'team' } });
  t.equal(search.statusCode, 200);
  t.same(isTold, [false, false, false], 'queriers of other processes send it for nobody');
  await stream('Search', Buffer.from('\x42\x02{}'));
  t.same(isTold.slice(3), [true]);
});

t.test('the range and the step that are meant', (t) => {
  const at = '1795213400';
  const range = (given: Record<string, string>, over: Partial<MetricsLimits> = {}) => {
    const params = new URLSearchParams({ q: '{} | rate()', ...given });
    const { startUnixNano, endUnixNano, stepNanos } = parseRangeParams(params, { ...LIMITS, ...over });
    return [startUnixNano, endUnixNano, stepNanos].map((nanos) => Number(nanos) / 1e9);
  };
  for (const [given, want] of [
    // Start is rounded down and one interval earlier, end is rounded up.
    [{ start: at, end: '1795213460', step: '60s' }, [1795213320, 1795213500, 60]],
    [{ start: '1795213380', end: '1795213440', step: '60' }, [1795213320, 1795213440, 60]],
    [{ start: at, end: at, step: '60' }, [1795213320, 1795213440, 60]],
    [{ start: '1795213380', end: '1795213380', step: '60' }, [1795213320, 1795213380, 60]],
    [{ start: at, end: '1795213401', step: '0.5' }, [1795213399.5, 1795213401, 0.5]],
    // As long as the range, which then reaches over two or three intervals.
    [{ start: '1795212960', end: '1795213440', step: '480' }, [1795212480, 1795213440, 480]],
    // Forms of times.
    [{ start: '1795213400.25', end: '1795213401.5', step: '1' }, [1795213399, 1795213402, 1]],
    [{ start: `${at}000000001`, end: '1795213401000000001', step: '1' }, [1795213399, 1795213402, 1]],
    [
      { start: '2026-11-20T22:23:20Z', end: '2026-11-20T22:23:20.000000001Z', step: '1s' },
      [1795213399, 1795213401, 1],
    ],
    [
      { start: '2026-11-21T00:23:20+02:00', end: '2026-11-20T22:23:21Z', step: '1s' },
      [1795213399, 1795213401, 1],
    ],
    [{ start: '0', end: '5', step: '1s' }, [0, 5, 1]],
    // Without a start the last hour, or `since`, before the end or now.
    [{}, [1795209840, 1795213470, 15]],
    [{ since: '10m', step: '60' }, [1795212780, 1795213500, 60]],
    [{ since: '1h30m', step: '600' }, [1795207200, 1795213800, 600]],
    [{ end: '1795213000', since: '10m', step: '60' }, [1795212300, 1795213020, 60]],
    [{ end: '1795213999', since: '10m', step: '60' }, [1795212780, 1795214040, 60]],
    [{ start: at, since: '10m', step: '60' }, [1795213320, 1795213500, 60]],
    // Default steps.
    [{ start: '1795212987', end: '1795213468' }, [1795212984, 1795213468, 2]],
    [{ start: '1795212987', end: '1795213001' }, [1795212986, 1795213001, 1]],
    [{ start: '1795209600', end: '1795216800' }, [1795209570, 1795216800, 30]],
    // The whole range as one interval.
    [{ start: at, end: '1795213460', step: '60s', instant: 'true' }, [1795213400, 1795213460, 60]],
    [{ start: at, end: '1795213461', step: '60s', instant: '1' }, [1795213400, 1795213461, 61]],
  ] as const) {
    t.same(range(given), want, JSON.stringify(given));
  }
  t.same(range({ start: '0', end: '9999', step: '1ms' }, { intervalsMax: 1e8 }).length, 3);
  t.throws(
    () => range({ start: '0', end: '9999', step: '1ms' }, { intervalsMax: 0 }),
    /minimum step .* 9.999ms/,
  );
  t.throws(() => range({ start: '0', end: '10801' }), /maximum allowed duration of 3h0m0s/);
  t.same(range({ start: '0', end: '10800' })[1], 10800, 'as long as is allowed, before it is aligned');
  t.end();
});

t.test('an instant is the range as it is given', (t) => {
  const params = new URLSearchParams({ query: '{} | rate()', start: '1795213400.5', end: '1795213460' });
  params.set('exemplars', '5');
  t.same(parseInstantParams(params, LIMITS), {
    query: '{} | rate()',
    startUnixNano: 1_795_213_400_500_000_000n,
    endUnixNano: 1_795_213_460_000_000_000n,
    stepNanos: 59_500_000_000n,
    exemplarsMax: 0,
    seriesMax: 1000,
  });
  t.end();
});

t.test('exemplars and series have limits, and a hint in the query wins', (t) => {
  const limits = (query: string, given: Record<string, string>, over: Partial<MetricsLimits> = {}) => {
    const params = new URLSearchParams({ q: query, step: '60', ...given });
    const { exemplarsMax, seriesMax } = parseRangeParams(params, { ...LIMITS, ...over });
    return [exemplarsMax, seriesMax];
  };
  const plain = '{} | rate()';
  t.same(limits(plain, {}), [100, 1000]);
  t.same(limits(plain, { exemplars: '7', maxSeries: '8' }), [7, 8]);
  t.same(limits(plain, { exemplars: '700', maxSeries: '8000' }), [100, 1000]);
  t.same(limits(plain, { exemplars: '0', maxSeries: '0' }), [100, 1000]);
  t.same(limits(plain, { exemplars: 'x', maxSeries: '-5' }), [100, 1000]);
  t.same(limits(plain, { maxSeries: '8000' }, { seriesMax: 0 }), [100, 8000]);
  t.same(limits(plain, { exemplars: '5' }, { exemplarsMax: 0 }), [0, 1000]);
  t.same(limits(`${plain} with(exemplars=3)`, { exemplars: '7' }), [3, 1000]);
  t.same(limits(`${plain} with(exemplars=300)`, {}), [100, 1000]);
  t.same(limits(`${plain} with(exemplars=false)`, { exemplars: '7' }), [0, 1000]);
  // What is of no use is as if it were not there.
  for (const odd of ['true', '2.5', '"3"', '3s', 'error', 'true, exemplars=false']) {
    t.same(limits(`${plain} with(exemplars=${odd})`, { exemplars: '7' }), [7, 1000], odd);
  }
  t.same(limits(`${plain} with(exemplars=false, exemplars=3, exemplars=4)`, {}), [3, 1000]);
  t.same(limits(`${plain} with(exemplars=minInt)`, {}), [0, 1000]);
  t.same(limits(`${plain} with(sample=7, most_recent="x", job_size=0, unknown=1)`, {}), [100, 1000]);
  for (const refused of ['exemplars=-1', 'sample=-0.5', 'exemplars=nil', 'exemplars=.x', 'exemplars', '']) {
    t.throws(() => limits(`${plain} with(${refused})`, {}), /^parse error at line 1, col \d+: syntax error/);
  }
  t.same(limits(`${plain} with(sample=true)`, { instant: 'true', start: '1795213400' }), [0, 1000]);
  t.end();
});

t.test('bodies over HTTP: finished series, statistics, why it is not complete', async (t) => {
  let answer = NONE;
  const { asked, lines, metrics, get } = setUp(() => answer);
  const empty = await get('query_range', { q: '{} | rate()', step: '60' });
  t.equal(empty.body, '{"series":[],"metrics":{}}');
  t.equal(empty.headers['content-type'], 'application/json', 'whatever is accepted');
  t.equal((await get('query', { q: '{} | rate()' })).body, '{"metrics":{}}');
  t.match(asked, [
    { tenant: 'team', query: '{} | rate()', isInstant: false, format: 'json', stepNanos: 60n * SECOND },
    { isInstant: true, format: 'json', startUnixNano: 1_795_209_868n * SECOND, stepNanos: 3600n * SECOND },
  ]);
  const stats = { ...NO_STATS, inspectedBytes: 2 ** 40, inspectedSpans: 3, totalJobs: 2, completedJobs: 2 };
  const text = new FilledTextWriter(utf8('_{},{}_'));
  text.add(utf8('{"labels":[],"samples":['));
  text.leaveOut(0, 1, 6);
  text.add(utf8(']},{"value":1}'));
  answer = { ...NONE, text: text.text(), stats };
  const found = await get('query_range', { q: '{} | rate()', step: '60' });
  t.equal(
    found.body,
    '{"series":[{"labels":[],"samples":[{},{}]},{"value":1}],"metrics":' +
      '{"inspectedBytes":"1099511627776","completedJobs":2,"totalJobs":2,"inspectedSpans":"3"}}',
  );
  t.equal(found.headers['x-tempo-partial'], undefined);
  answer = { ...NONE, series: [utf8('{"labels":[]}'), utf8('{"value":1}')], stats };
  const { series } = (await get('query', { q: '{} | rate()' })).json<{ series: unknown }>();
  t.strictSame(series, [{ labels: [] }, { value: 1 }], 'of an instant');
  answer = { ...answer, isCut: true, partial: ['block x could not be read: gone'] };
  const cut = await get('query', { q: '{} | rate()' });
  const message =
    'Response exceeds maximum series limit of 1000, a partial response is returned.; ' +
    'block x could not be read: gone';
  t.match(cut.json(), { status: 'PARTIAL', message });
  t.equal(cut.headers['x-tempo-partial'], message);
  const refused = await get('query_range', { q: '{} | rate()', since: '2m' }, 'short');
  t.same(
    [refused.statusCode, refused.body],
    [400, 'metrics query time range exceeds the maximum allowed duration of 1m0s'],
  );
  t.match(lines.at(-1), /msg="query stats" tenant=short method=GET url="\/api\/metrics\/query_range\?/);
  const counted = await metrics.text();
  t.match(counted, /queries_total\{tenant="team",op="metrics",result="completed"\} 5/);
  t.match(counted, /bytes_inspected_total\{tenant="team",op="metrics"\} 3298534883328/);
});

t.test('streams: series in messages of a size, each whole', async (t) => {
  const series = Array.from({ length: 20 }, (_, i) => {
    const label = { key: 'a', value: { stringValue: `${i}-${'x'.repeat(50)}` } };
    return encodeMessage(QueryRangeResponse[1]!.kind as never, { labels: [label] });
  });
  const stats = { ...NO_STATS, totalJobs: 3, completedJobs: 3 };
  const { asked, stream } = setUp(() => ({ series, isCut: false, stats, partial: ['one block'] }));
  const start = 1_795_213_400_000_000_001n;
  const end = start + 59n * SECOND;
  const request = { query: '{} | rate()', start, end, step: 5n * SECOND, exemplars: 4, maxSeries: 9 };
  const { messages, trailers } = await stream('MetricsQueryRange', encodeMessage(QueryRangeRequest, request));
  t.match(asked.at(-1), {
    query: '{} | rate()',
    startUnixNano: 1_795_213_395n * SECOND,
    endUnixNano: 1_795_213_460n * SECOND,
    stepNanos: 5n * SECOND,
    exemplarsMax: 4,
    seriesMax: 9,
    isInstant: false,
    format: 'proto',
  });
  const decoded = messages.map((message) => decodeMessage(QueryRangeResponse, message));
  t.ok(messages.length > 3 && messages.every(({ length }) => length <= 300));
  t.equal(decoded.flatMap((one) => one['series'] as unknown[]).length, 20);
  t.same(decoded[0]?.['metrics'], { completedJobs: 2, totalJobs: 3 });
  t.match(decoded.at(-1), { metrics: { completedJobs: 3, totalJobs: 3 }, status: 1, message: 'one block' });
  t.same(trailers, { 'x-tempo-partial': 'one block' });
  const instant = await stream(
    'MetricsQueryInstant',
    encodeMessage(QueryInstantRequest, { query: '{} | rate()', start, end }),
  );
  t.match(asked.at(-1), { startUnixNano: start, endUnixNano: end, isInstant: true, stepNanos: 59n * SECOND });
  t.ok(instant.messages.every((message) => 'metrics' in decodeMessage(QueryInstantResponse, message)));
  // Times below 10^10 ns are no seconds.
  await stream(
    'MetricsQueryInstant',
    encodeMessage(QueryInstantRequest, { query: '{} | rate()', start: 5n, end: 7n }),
  );
  t.match(asked.at(-1), { startUnixNano: 5n, endUnixNano: 7n });
});

/** Of a series of the given labels and samples. */
function seriesOf(text: string, ...samples: { readonly value: number; readonly timestampMs: bigint }[]) {
  const labels = [{ key: 'a', value: { stringValue: text } }];
  return encodeMessage(TimeSeries, { labels, samples });
}

t.test('streams: a slow query tells how far it is, and the series so far', async (t) => {
  let early: readonly Uint8Array[] | undefined = [seriesOf('one')];
  const ask = async (query: string) => {
    let finish = (): void => {};
    const { stream } = setUp(async (_query, report) => {
      const seriesSoFar = async () => Promise.resolve(early);
      const progress = (completedJobs: number): MetricsProgress => ({
        stats: { ...NO_STATS, totalJobs: 3, completedJobs },
        seriesSoFar,
      });
      report(progress(1));
      report(progress(2));
      await new Promise<void>((resolve) => (finish = resolve));
      const stats = { ...NO_STATS, totalJobs: 3, completedJobs: 3 };
      return { ...NONE, series: [seriesOf('one'), seriesOf('two')], stats };
    });
    const request = encodeMessage(QueryRangeRequest, { query, start: 1n, end: SECOND, step: SECOND });
    const { messages } = await stream('MetricsQueryRange', request, () => finish());
    return messages.map((message) => decodeMessage(QueryRangeResponse, message));
  };
  const labels = (text: string) => [{ key: 'a', value: { stringValue: text } }];
  const last = {
    series: [{ labels: labels('one') }, { labels: labels('two') }],
    metrics: { completedJobs: 3, totalJobs: 3 },
  };
  const metrics = { completedJobs: 2, totalJobs: 3 };
  t.match(await ask('{} | rate() by (.a)'), [{ series: [{ labels: labels('one') }], metrics }, last]);
  const without = [{ series: [], metrics }, last];
  for (const query of ['{} | rate() by (.a) | topk(1)', '{} | rate() by (.a) > 1', '{} | compare({})']) {
    t.match(await ask(query), without, `${query}: series may drop out again`);
  }
  early = undefined;
  t.match(await ask('{} | rate() by (.a)'), without, 'some are left out');
  early = Array.from({ length: 30 }, (_, i) => seriesOf(`${i}${'x'.repeat(50)}`));
  t.match(await ask('{} | rate() by (.a)'), without, 'more than a few messages');
});

t.test('streams: how far a query is, is asked as often as it is told', async (t) => {
  let read = 0;
  let finish = (): void => {};
  const { stream } = setUp(async (_query, report) => {
    const progress: MetricsProgress = {
      get stats() {
        read++;
        return { ...NO_STATS, totalJobs: 1000, completedJobs: read };
      },
      seriesSoFar: async () => undefined,
    };
    for (let job = 0; job < 1000; job++) report(progress);
    await new Promise<void>((resolve) => (finish = resolve));
    return NONE;
  });
  const request = encodeMessage(QueryRangeRequest, {
    query: '{} | rate()',
    start: 1n,
    end: SECOND,
    step: SECOND,
  });
  const { messages } = await stream('MetricsQueryRange', request, () => finish());
  t.equal(messages.length, 2);
  t.equal(read, 1);
});

t.test('streams: a series that is larger than a message comes in pieces', async (t) => {
  const samples = Array.from({ length: 100 }, (_, i) => ({ value: i + 0.5, timestampMs: BigInt(i + 1) }));
  const exemplars = [{ value: 3, timestampMs: 7n }];
  const labels = [{ key: 'a', value: { stringValue: 'big' } }];
  const big = encodeMessage(TimeSeries, { labels, samples, exemplars });
  const series = [seriesOf('small'), big, seriesOf('other')];
  const { stream } = setUp(() => ({ ...NONE, series }));
  const request = encodeMessage(QueryRangeRequest, { query: '{} | rate()', start: 1n, end: SECOND });
  const { messages } = await stream('MetricsQueryRange', request);
  t.ok(messages.length > 5 && messages.every(({ length }) => length <= 350), `${messages.length} messages`);
  const decoded = messages.flatMap(
    (message) => decodeMessage(QueryRangeResponse, message)['series'] as Record<string, never>[],
  );
  const pieces = decoded.slice(1, -1);
  t.ok(pieces.every((piece) => JSON.stringify(piece['labels']) === JSON.stringify(labels)));
  t.same(
    pieces.flatMap((piece) => piece['samples'] as unknown[]),
    samples.map(({ value, timestampMs }) => ({ value, timestampMs: String(timestampMs) })),
  );
  t.same(
    pieces.flatMap((piece) => (piece['exemplars'] ?? []) as unknown[]),
    [{ value: 3, timestampMs: '7' }],
  );
  const huge = setUp(() => ({ ...NONE, series: [seriesOf('x'.repeat(5 << 20))] }));
  await t.rejects(huge.stream('MetricsQueryRange', request), { code: 'too_large' });
});

t.test('summary: counts, errors and quantiles of each group', async (t) => {
  const series = (labels: object[], value: number): Uint8Array => utf8(JSON.stringify({ labels, value }));
  const status = (stringValue: string) => ({ key: 'status', value: { stringValue } });
  const code = (intValue: string) => ({ key: 'span.code', value: { intValue } });
  const bucket = (doubleValue: number) => ({ key: '__bucket', value: { doubleValue } });
  let isCut = false;
  const { asked, get } = setUp(({ query }) => {
    const rows = query.includes('histogram_over_time')
      ? [
          series([status('ok'), code('200'), bucket(2 ** 20 / 1e9)], 1),
          series([status('ok'), code('200'), bucket(2 ** 22 / 1e9)], 3),
          series([bucket(2 ** 10 / 1e9)], 1),
          series([code('0'), bucket(2 ** 10 / 1e9)], 1),
        ]
      : query.includes('status = error')
        ? [series([status('error')], 2)]
        : [
            series([status('error')], 2),
            series([status('ok'), code('200')], 4),
            series([status('nil')], 1),
            series([code('0')], 1),
          ];
    return { ...NONE, series: rows, isCut, stats: { ...NO_STATS, inspectedBytes: 5 } };
  });
  const params = {
    q: '{ name = "a" } | rate()',
    groupBy: 'status, span.code',
    start: '1795213400',
    end: '1795213460',
  };
  const found = await get('summary', params);
  const group = (value: object) => [
    { key: 'status', value: {} },
    { key: 'span.code', value },
  ];
  t.match(asked, [
    {
      query: '{ name = `a` } | count_over_time() by (status, span.code)',
      startUnixNano: 1_795_213_400n * SECOND - 1n,
      endUnixNano: 1_795_213_460n * SECOND - 1n,
      stepNanos: 60n * SECOND,
      isInstant: true,
    },
    { query: '{ name = `a` } | { status = error } | count_over_time() by (status, span.code)' },
    { query: '{ name = `a` } | histogram_over_time(duration) by (status, span.code)' },
  ]);
  t.same(found.json(), {
    summaries: [
      {
        spanCount: '4',
        series: [
          { key: 'status', value: { type: 12, status: 1 } },
          { key: 'span.code', value: { type: 3, n: '200' } },
        ],
        p99: '4194304',
        p95: '4194304',
        p90: '4194304',
        p50: String(Math.floor(2 ** 21 * 2 ** (1 / 3))),
      },
      {
        spanCount: '2',
        errorSpanCount: '2',
        series: [
          { key: 'status', value: { type: 12 } },
          { key: 'span.code', value: {} },
        ],
        p99: '1',
        p95: '1',
        p90: '1',
        p50: '1',
      },
      { spanCount: '1', series: group({ type: 3 }), p99: '1024', p95: '1024', p90: '1024', p50: '1024' },
      { spanCount: '1', series: group({}), p99: '1024', p95: '1024', p90: '1024', p50: '1024' },
    ],
  });
  for (const [given, status, text] of [
    [{ groupBy: '.a,.b,.c,.d,.e,.f' }, 400, 'max group by 5 attributes exceeded'],
    [
      { groupBy: 'foo' },
      400,
      'parsing groupby attribute: failed to parse identifier foo: parse error at line 1',
    ],
    [{ groupBy: '' }, 400, 'parsing groupby attribute: failed to parse identifier'],
    [{ groupBy: 'parent.a' }, 400, 'parent not yet supported'],
    [{ q: '{' }, 400, 'invalid TraceQL query: parse error at line 1, col 2'],
    [{ q: '{name>5ms}' }, 400, 'invalid TraceQL query: binary operations'],
    [{ start: '' }, 400, 'only one of start and end provided'],
    [{ end: '' }, 400, 'only one of start and end provided'],
    [
      { start: '17956326000' },
      400,
      'invalid start: strconv.ParseInt: parsing "17956326000": value out of range',
    ],
    [{ end: '1795213400' }, 400, 'end must be greater than start'],
    [{ end: '1795224000' }, 200, ''],
    [{ end: '1795224201' }, 400, 'exceeds the maximum allowed duration of 3h0m0s'],
    [{ limit: 'x' }, 400, 'invalid limit: strconv.Atoi: parsing "x": invalid syntax'],
    [{ limit: '1' }, 200, ''],
  ] as const) {
    const got = await get('summary', { ...params, ...given });
    t.equal(got.statusCode, status, JSON.stringify(given));
    t.ok(got.body.includes(text), got.body);
  }
  isCut = true;
  const cut = await get('summary', params);
  t.match(cut.json(), {
    summaries: [{ spanCount: '4' }, { series: group({ type: 3 }) }, { series: group({}) }],
  });
  t.equal(
    (cut.json() as { summaries: unknown[] }).summaries.length,
    3,
    'groups whose durations are not all here',
  );
  t.equal(cut.headers['x-tempo-partial'], 'more groups than fit into 100000 series');
  const several = await get('summary', params, 'a|b');
  t.same([several.statusCode, several.body], [400, 'multi-tenant query unsupported']);
});

t.test('summary: the memory of each answer counts until it is read, and no longer', async (t) => {
  const GROUPS = 1200;
  let held = 0;
  const first = Promise.withResolvers<void>();
  const { get } = setUp(async ({ query }, _report, signal) => {
    const isHistogram = query.includes('histogram_over_time');
    if (isHistogram) await first.promise; // there is no room for it yet
    const series = Array.from({ length: GROUPS }, (_, i) => {
      const labels = [{ key: 'name', value: { stringValue: `${i}` } }];
      const bucket = { key: '__bucket', value: { doubleValue: 2 ** 20 / 1e9 } };
      return utf8(JSON.stringify({ labels: isHistogram ? [...labels, bucket] : labels, value: 3 }));
    });
    held++;
    signal.addEventListener('abort', () => {
      held--;
      series.splice(0);
      first.resolve();
    });
    return { ...NONE, series };
  });
  const params = { q: '{}', groupBy: 'name', start: '1795213400', end: '1795213460' };
  const found = (await get('summary', params)).json() as { summaries?: object[] };
  t.equal(found.summaries?.length, GROUPS);
  t.match(found.summaries?.at(-1), { spanCount: '3', errorSpanCount: '3', p50: /^[1-9]\d+$/ });
  t.equal(held, 0);
});

t.test('summary: of several large ones those are refused that memory has no room for', async (t) => {
  const MIB = 1 << 20;
  let groups = 1200;
  const goOn = Promise.withResolvers<void>();
  let histograms = 0;
  let countsRead = 0;
  const { get } = setUp(
    async ({ query }, _report, signal) => {
      const isHistogram = query.includes('histogram_over_time');
      if (isHistogram && ++histograms === 1) await goOn.promise;
      else signal.addEventListener('abort', () => countsRead++);
      const series = Array.from({ length: isHistogram ? 1 : groups }, (_, i) => {
        const labels = [{ key: 'name', value: { stringValue: `${i}`.padStart(2000, '-') } }];
        return utf8(JSON.stringify({ labels, value: 3 }));
      });
      return { ...NONE, series };
    },
    { allMax: 2 * MIB, oneMax: 4 * MIB },
  );
  const params = { q: '{}', groupBy: 'name', start: '1795213400', end: '1795213460' };
  const first = get('summary', params);
  while (countsRead < 2) await new Promise((resolve) => setImmediate(resolve));
  const second = await get('summary', params);
  t.equal(second.statusCode, 503);
  t.match(second.body, /^traces and metrics summaries hold \d+ bytes of at most 2097152, try again later$/);
  goOn.resolve();
  t.equal((await first).statusCode, 200);
  t.equal((await get('summary', params)).statusCode, 200, 'nothing is held of those before');
  groups = 2000;
  const huge = await get('summary', params);
  t.equal(huge.statusCode, 413);
  t.match(
    huge.body,
    /^a trace or metrics summary has more than 4194304 bytes, the most that memory.limit leaves/,
  );
  groups = 10;
  t.equal((await get('summary', params)).statusCode, 200);
});
